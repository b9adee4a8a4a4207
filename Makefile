# make write-up: the report and the slides in results/, from the runs that results/README.md names.
# make test-lowest: a part of the tests on the lowest versions.  make coverage, make mutation: docs/mutation-testing.md.
# make test-pythons PYTHONS="python3.12 python3.13": the same part on other Pythons, each in a place of its own (6 GB).
# make cluster-demo: an evaluation on two Ray nodes of this machine, one of which is killed on the way (docs/cluster.md).
# make bench: beside other libraries (docs/performance.md).
# make demo: install, attack and defend bundled clips, write a page to listen to.  make test: install with the test extra, run the tests.
VENV ?= .venv
PYTHON ?= python3
OUT ?= runs/demo
EXTRAS ?= test
# What the report is about, the first run first; those that are not there are left out.
REPORTED ?= $(wildcard $(addprefix runs/,judge_weights targeted_pgd codec_and_bandpass evaluation_table break_everything theory certificates/*-0.01-*)) \
	results/training/resnet-1 results/training/resnet-at-1
# The lowest versions that setup.cfg allows, of what is small, before those of VENV; what runs on them in less than a minute.
LOWEST = build/lowest
QUICK = tests/test_audio.py tests/test_budgets.py tests/test_goals.py tests/test_masking.py tests/test_registry.py tests/test_config.py tests/test_terminal.py \
	tests/test_versions.py tests/data/test_loading.py tests/defenses/test_mp3.py tests/evaluation/test_numbers.py tests/evaluation/test_statistics.py tests/evaluation/test_quality.py \
	tests/models/test_pretrained.py tests/models/test_onnx.py tests/models/test_tflite.py tests/report/test_figures.py tests/report/test_findings.py
PYTHONS ?= python3.12 python3.13
# A peer of tests and benchmarks. It pins an old requests and asks for torchvision, and needs neither here.
PEER = 'torchattacks>=3.5,<4'

.PHONY: demo test test-lowest test-pythons coverage mutation write-up bench cluster-demo clean

demo: $(VENV)/.demo
	$(VENV)/bin/speechadv demo --out $(OUT)

test: $(VENV)/.$(EXTRAS)
	$(VENV)/bin/python -m pytest

test-lowest: $(LOWEST)/.ready
	PYTHONPATH=$(CURDIR) PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(LOWEST)/bin/python -m pytest -q -p pytest_timeout -p no:cacheprovider $(QUICK)

$(LOWEST)/.ready: tests/lowest.txt | $(VENV)/.$(EXTRAS)
	rm -rf $(LOWEST)
	$(VENV)/bin/python -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --no-deps -r tests/lowest.txt
	$(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > $$($(LOWEST)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/rest.pth
	touch $@

test-pythons:
	set -e; for python in $(PYTHONS); do \
	  place=build/pythons/$$(basename $$python); test -x $$place/bin/python || $$python -m venv $$place; \
	  $$place/bin/python -m pip install --quiet -e '.[test]'; \
	  $$place/bin/python -m pytest -q -p no:cacheprovider $(QUICK); \
	done

coverage: $(VENV)/.quality-of-tests
	rm -rf build/coverage && mkdir -p build/coverage
	$(VENV)/bin/python -m pytest -m "not cluster" --cov --cov-report= --deselect tests/test_cli.py::test_help_answers_in_a_third_of_a_second
	$(VENV)/bin/python -m benchmarks.coverage_report

mutation: $(VENV)/.quality-of-tests
	OMP_NUM_THREADS=1 $(VENV)/bin/mutmut run
	$(VENV)/bin/python -m benchmarks.mutation_score

write-up: $(VENV)/.$(EXTRAS)
	$(VENV)/bin/speechadv write-up $(REPORTED) --out results/write-up.html --out results/write-up.pdf
	$(VENV)/bin/speechadv write-up $(REPORTED) --slides --out results/slides.html --out results/slides.pdf

bench: $(VENV)/.bench
	$(VENV)/bin/python -m benchmarks

cluster-demo: $(VENV)/.ray
	$(VENV)/bin/python -m benchmarks.cluster_demo

$(VENV)/.bench: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet -e '.[bench]'
	$(VENV)/bin/python -m pip install --quiet --no-deps $(PEER)
	touch $@

$(VENV)/.quality-of-tests: setup.cfg pyproject.toml | $(VENV)/.$(EXTRAS)
	$(VENV)/bin/python -m pip install --quiet -e '.[quality-of-tests]'
	touch $@

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("speechadv needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet -e .
	touch $@

$(VENV)/.ray: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet -e '.[ray]'
	touch $@

$(VENV)/.$(EXTRAS): setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet -e '.[$(EXTRAS)]'
	$(VENV)/bin/python -m pip install --quiet --no-deps $(PEER)
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info runs
