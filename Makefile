# One command each: `make demo` shows it, `make test` tests it, `make check` lints it.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2

BIN := $(VENV)/bin
INPUTS := pyproject.toml constraints.txt Makefile
# The checkout's path is part of the key because the installation is editable.
KEY := $(shell { cat $(INPUTS); pwd; } | cksum | cut -d' ' -f1)
STAMP := $(VENV)/.installed-$(KEY)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -p no:cacheprovider -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# This checkout's sources win, even where a virtual environment is shared by several checkouts.
export PYTHONPATH := $(CURDIR)/src
export PYTHONDONTWRITEBYTECODE := 1
# On the CPU, torch spends much of its time on page faults of freed and reallocated tensors. Keeping
# freed memory and using huge pages made training here about three times faster; glibc only.
export GLIBC_TUNABLES := glibc.malloc.hugetlb=1
export MALLOC_MMAP_THRESHOLD_ := 8589934592
export MALLOC_TRIM_THRESHOLD_ := 8589934592
export MALLOC_TOP_PAD_ := 268435456

.PHONY: demo test test-all check setup help
.DEFAULT_GOAL := help

help:
	@echo "make demo      install, then specialise the embedded model on synthetic images (runs/demo)"
	@echo "make test      install, then run the tests"
	@echo "make test-all  the slow tests as well"
	@echo "make check     ruff, format, types, import contracts"
	@echo "make setup     only install, into VENV (now: $(VENV))"

setup: $(STAMP)

# No prerequisites: the key in the stamp's name says it all, and a fresh clone has fresh mtimes.
$(STAMP):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("residency needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Use make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --no-build-isolation -c constraints.txt -e '.[dev]'
	@rm -f $(VENV)/.installed-*
	@touch $@

demo: setup
	$(BIN)/residency demo

test: setup
	$(PYTEST) -m "not slow"

test-all: setup
	$(PYTEST)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
