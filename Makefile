# Each target sets up what it needs on a machine that has only Python 3.11 and make; a second call reuses it.
#   make PYTHON=/path/to/python3.12 demo      another interpreter
#   make demo RUN=runs/again                  another run folder (labels that exist are not computed again)

PYTHON ?= $(shell command -v python3.11 || command -v python3)
RUN ?= runs/demo
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test env bench clean

help:
	@echo "make demo    ammonia from nothing: DFT, a round of attacks, a report at $(RUN)/report.html"
	@echo "make test    formatting, types and tests"
	@echo "make env     the development environment in $(VENV)"
	@echo "make bench   what everything costs, beside a plain loop and beside matrix products alone: docs/performance"
	@echo "make clean   removes $(VENV) and caches; leaves runs/ and labels/ alone"

demo: $(VENV)/.demo
	$(BIN)/sparring run examples/ammonia.yaml --preset demo --folder $(RUN)

# One thread in each test process: several would only fight over the cores.
test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) -rs

env: $(VENV)/.dev

bench: $(VENV)/.demo
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/plots.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"sparring needs Python 3.11 or newer, got {sys.version.split()[0]} from $(PYTHON); set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV): a few minutes, this once."
	$(PIP) --editable ".[demo]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV): a few minutes, this once."
	$(PIP) --editable ".[dev]"
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist
	find src tests benchmarks examples studies -name __pycache__ -type d -prune -exec rm -rf {} +
