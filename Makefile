# make demo: install, attack and defend bundled clips, write a page to listen to.  make test: install with the test extra, run the tests.
VENV ?= .venv
PYTHON ?= python3
OUT ?= runs/demo
EXTRAS ?= test

.PHONY: demo test clean

demo: $(VENV)/.demo
	$(VENV)/bin/speechadv demo --out $(OUT)

test: $(VENV)/.$(EXTRAS)
	$(VENV)/bin/python -m pytest

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("speechadv needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet -e .
	touch $@

$(VENV)/.$(EXTRAS): setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet -e '.[$(EXTRAS)]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info runs
