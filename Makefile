# Every target works on a fresh machine with make, Python >= 3.11 and pip. The first one takes minutes, to install.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two test processes share the machine's cores, so each keeps to one thread.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow check benchmark clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s  %s\n", $$1, $$2}'

install: $(STAMP)  ## make .venv and install everything (the other targets do it when needed)

$(STAMP): pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { echo "error: no '$(PYTHON)' found; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.version_info >= (3, 11) or sys.exit("error: Tribid needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + "; name a newer one: make PYTHON=python3.11")'
	@test -x $(BIN)/python && $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { rm -rf $(VENV) && "$(PYTHON)" -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

demo: $(STAMP)  ## show a first result
	$(BIN)/python scripts/demo.py

test: $(STAMP)  ## run the fast tests and the doctests
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -q

test-slow: $(STAMP)  ## run the tests that train
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -q -m slow

check: $(STAMP)  ## lint, format, types, layers, documentation
	$(BIN)/ruff check tribid scripts tests
	$(BIN)/ruff format --check tribid scripts tests
	$(BIN)/mypy --strict tribid scripts
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_docs.py

benchmark: $(STAMP)  ## measure speed on this machine
	$(BIN)/python scripts/benchmark.py

clean:  ## remove caches and builds; keeps .venv and runs/
	rm -rf build dist .numba_cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage *.egg-info
	find tribid scripts tests -type d -name __pycache__ -prune -exec rm -rf {} +
