# make write-up: the report and the slides in results/, from the runs that results/README.md names.
# make bench: beside other libraries (docs/performance.md).
# make demo: install, attack and defend bundled clips, write a page to listen to.  make test: install with the test extra, run the tests.
VENV ?= .venv
PYTHON ?= python3
OUT ?= runs/demo
EXTRAS ?= test
# What the report is about, the first run first; those that are not there are left out.
REPORTED ?= $(wildcard $(addprefix runs/,judge_weights targeted_pgd codec_and_bandpass evaluation_table break_everything certificates theory)) \
	results/training/resnet-1 results/training/resnet-at-1
# A peer of tests and benchmarks. It pins an old requests and asks for torchvision, and needs neither here.
PEER = 'torchattacks>=3.5,<4'

.PHONY: demo test write-up bench clean

demo: $(VENV)/.demo
	$(VENV)/bin/speechadv demo --out $(OUT)

test: $(VENV)/.$(EXTRAS)
	$(VENV)/bin/python -m pytest

write-up: $(VENV)/.$(EXTRAS)
	$(VENV)/bin/speechadv write-up $(REPORTED) --out results/write-up.html --out results/write-up.pdf
	$(VENV)/bin/speechadv write-up $(REPORTED) --slides --out results/slides.html --out results/slides.pdf

bench: $(VENV)/.bench
	$(VENV)/bin/python -m benchmarks

$(VENV)/.bench: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet -e '.[bench]'
	$(VENV)/bin/python -m pip install --quiet --no-deps $(PEER)
	touch $@

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("speechadv needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet -e .
	touch $@

$(VENV)/.$(EXTRAS): setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet -e '.[$(EXTRAS)]'
	$(VENV)/bin/python -m pip install --quiet --no-deps $(PEER)
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info runs
