# make help says what there is. The first target that needs it makes .venv and installs into it.
PYTHON ?= python3
EXTRAS ?= dev
STUDY_DIR ?= multirun/digits
SEEDS ?= 5
JOBS ?= -n auto --maxprocesses=4

VENV := .venv
BIN := $(VENV)/bin
comma := ,
STAMP = $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))
TRAIN = $(BIN)/python scripts/train.py -m 'seed=range(0,$(SEEDS))'

.PHONY: help install study test test-all lint clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  EXTRAS=dev,frameworks also installs PyTorch and Keras; PYTHON=python3.12 takes that Python"

install: $(STAMP)  ## make .venv with the package and EXTRAS

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, found " + sys.version)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-%: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

$(VENV)/.installed-base: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

study: $(VENV)/.installed-base  ## compare depths, activations, optimizers and frameworks on real digits; ends with the report
	$(TRAIN) +study=depth hydra.sweep.dir=$(STUDY_DIR)/depth
	$(TRAIN) +study=activation hydra.sweep.dir=$(STUDY_DIR)/activation
	$(TRAIN) +study=optimizer hydra.sweep.dir=$(STUDY_DIR)/optimizer
	$(BIN)/python scripts/compare_frameworks.py seeds=$(SEEDS) out=$(STUDY_DIR)/frameworks
	$(BIN)/python scripts/report.py $(STUDY_DIR)

test: $(STAMP)  ## run the tests
	$(BIN)/python -m pytest $(JOBS)

test-all: $(STAMP)  ## run the tests and the slow ones
	$(BIN)/python -m pytest $(JOBS) -m ''

lint: $(STAMP)  ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

clean:  ## remove .venv and caches, but no result
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis *.egg-info
