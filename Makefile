# Each target sets up what it needs on a machine that has only Python 3.11 and make; a second call reuses it.
#   make PYTHON=/path/to/python3.12 demo      another interpreter
#   make demo RUN=runs/again                  another run folder (labels that exist are not computed again)

PYTHON ?= $(shell command -v python3.11 || command -v python3)
RUN ?= runs/demo
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

FOREIGN_TESTS := tests/potentials/foreign tests/assembly/test_foreign.py tests/training/test_mace_run_train.py tests/test_examples.py

.DEFAULT_GOAL := help
.PHONY: help demo test test-foreign env bench clean

help:
	@echo "make demo    ammonia from nothing: DFT, a round of attacks, a report at $(RUN)/report.html"
	@echo "make test    formatting, types and tests"
	@echo "make test-foreign   tests of potentials of other packages, in environments of their own"
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

# Packages that exclude each other have environments of their own, on top of $(VENV).
test-foreign: $(VENV)-mace/.ready $(VENV)-sevennet/.ready
	for environment in $(^D); do \
	    OMP_NUM_THREADS=1 $$environment/bin/python -m pytest --numprocesses $(WORKERS) -rs -m extra $(FOREIGN_TESTS) || exit 1; \
	done

$(VENV)-mace/.ready: EXTRAS := mace,chgnet,torchani
$(VENV)-mace/.ready: MODULES := mace, chgnet, torchani
$(VENV)-sevennet/.ready: EXTRAS := sevennet
$(VENV)-sevennet/.ready: MODULES := sevenn
$(VENV)-%/.ready: pyproject.toml constraints.txt constraints-foreign.txt $(VENV)/.dev
	@echo "Installing $(EXTRAS) into $(@D)."
	$(BIN)/python -m venv --clear --without-pip $(@D)
	$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(' + repr(sysconfig.get_path('purelib')) + ')')" \
	    > $$($(@D)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/base.pth
	$(BIN)/python -m pip --python $(@D)/bin/python --disable-pip-version-check install --quiet \
	    --constraint constraints.txt --constraint constraints-foreign.txt --editable ".[$(EXTRAS)]"
	$(@D)/bin/python -c "import $(MODULES)"
	@touch $@

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
	rm -rf $(VENV) $(VENV)-mace $(VENV)-sevennet .mypy_cache .pytest_cache .ruff_cache build dist
	find src tests benchmarks examples studies -name __pycache__ -type d -prune -exec rm -rf {} +
