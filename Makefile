# make help says what there is. The first target that needs it makes .venv and installs into it.
PYTHON ?= python3
EXTRAS ?= dev
STUDY_DIR ?= multirun/digits
SEEDS ?= 8
JOBS ?= -n auto --maxprocesses=4 --dist=worksteal

VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv)
INSTALL = $(if $(UV),$(UV) pip install --compile-bytecode --python $(BIN)/python,$(BIN)/python -m pip install --disable-pip-version-check)
comma := ,
STAMP = $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))
TRAIN = $(BIN)/python scripts/train.py -m 'seed=range(0,$(SEEDS))'

# make reproduce: the published comparisons. FRAMEWORKS=null takes all adapters; the optimizers are always tuned, and
# TUNING={seeds:[1000],learning_rate:[0.3,1,3]} tunes every other arm too
DATA ?= mnist
EPOCHS ?= 2
FRAMEWORK_EPOCHS ?= 1
FRAMEWORKS ?= [numpy,jax_im2col,flax_linen,torch,keras_jax,keras_torch]
TUNING ?= null
RUNS ?= multirun/$(DATA)
RESULTS ?= docs/results/$(DATA)
CAN_FAIL = || test $$? -eq 1  # a failed run is in the report; anything else stops

STUDIES := reproduce-size reproduce-optimizer reproduce-activation reproduce-depth
CIFAR := reproduce-cifar reproduce-cifar-depth reproduce-cifar-architecture
ALL := reproduce $(STUDIES) reproduce-frameworks $(CIFAR)

.PHONY: help install study $(ALL) unit test test-all faults lint docs docs-serve clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  EXTRAS=dev,frameworks also installs PyTorch and Keras; PYTHON=python3.12 takes that Python"
	@echo "  uv installs where there is one; UV= takes pip"

install: $(STAMP)  ## make .venv with the package and EXTRAS

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, found " + sys.version)'
	$(if $(UV),$(UV) venv --quiet --seed --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV))

$(VENV)/.installed-%: $(BIN)/python pyproject.toml setup.py constraints.txt
	@echo "Installing this package, its libraries (JAX, Flax, Hydra, matplotlib and others) and the extras $(EXTRAS)" \
	    "into $(VENV). That takes one to three minutes, and nothing is shown meanwhile."
	$(INSTALL) --quiet -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

$(ALL): EXTRAS = frameworks
$(ALL): SEEDS = 8
$(CIFAR): DATA = cifar10
reproduce-cifar-architecture: SEEDS = 2
reproduce-cifar-architecture: EPOCHS = 1
$(ALL): export TFDS_DATA_DIR := $(or $(DATA_DIR),$(TFDS_DATA_DIR))
$(ALL): SETUP = data=$(DATA) training.epochs=$(EPOCHS)

$(VENV)/.installed-base: $(BIN)/python pyproject.toml setup.py constraints.txt
	@echo "Installing this package and its libraries (JAX, Flax, Hydra, matplotlib and others) into $(VENV)." \
	    "That takes about a minute, and nothing is shown meanwhile."
	$(INSTALL) --quiet -c constraints.txt -e .
	@touch $@

# the study compares all optimizers; these are the six of the published comparison
OPTIMIZERS = 'optimizer=sgd,momentum,adagrad,rmsprop,adam,adamw' 'study.arms=[sgd,momentum,adagrad,rmsprop,adam,adamw]'

study: $(VENV)/.installed-base  ## compare depths, activations, optimizers and frameworks on real digits; says what was found
	$(TRAIN) +study=depth hydra.sweep.dir=$(STUDY_DIR)/depth $(CAN_FAIL)
	$(BIN)/python scripts/report.py $(STUDY_DIR)
	$(TRAIN) +study=activation hydra.sweep.dir=$(STUDY_DIR)/activation $(CAN_FAIL)
	$(BIN)/python scripts/report.py $(STUDY_DIR)
	$(TRAIN) +study=optimizer $(OPTIMIZERS) hydra.sweep.dir=$(STUDY_DIR)/optimizer $(CAN_FAIL)
	$(BIN)/python scripts/report.py $(STUDY_DIR)
	$(BIN)/python scripts/compare_frameworks.py training.epochs=5 small=false report=false out=$(STUDY_DIR)/frameworks
	$(BIN)/python scripts/report.py $(STUDY_DIR) --open
	@echo "Next: source $(BIN)/activate, and change something: cnn-research train -m +study=depth data.train_limit=300" \
	    "'seed=range(0,8)'. docs/guides/sweep.md explains sweeps, and docs/explanations/claims.md the verdicts."

# each sweep is a target of its own, so that two can run side by side on a core each, by taskset -c 0 make reproduce-depth
# and taskset -c 1 make reproduce-size; make reproduce then runs what is left
reproduce: $(STUDIES) reproduce-frameworks  ## the published comparisons on MNIST (DATA_DIR=...), 8 seeds; goes on where it stopped
	$(BIN)/python scripts/report.py $(RUNS) --out $(RESULTS)

$(STUDIES): reproduce-%: $(VENV)/.installed-frameworks
	$(TRAIN) +study=$* $(if $(filter optimizer,$*),$(OPTIMIZERS),'study.tuning=$(TUNING)') $(SETUP) hydra.sweep.dir=$(RUNS)/$* $(CAN_FAIL)

reproduce-frameworks: $(VENV)/.installed-frameworks
	$(BIN)/python scripts/compare_frameworks.py data=$(DATA) seeds=$(SEEDS) training.epochs=$(FRAMEWORK_EPOCHS) \
	    'frameworks=$(FRAMEWORKS)' small=false process_per_seed=true out=$(RUNS)/frameworks

# modern_cnn and simple_resnet cost 23 and 58 times as much as plain: few seeds, half the images, one epoch
reproduce-cifar: reproduce-cifar-depth reproduce-cifar-architecture  ## depth 2-4, modern_cnn and simple_resnet on CIFAR-10 (DATA_DIR=...)
	$(BIN)/python scripts/report.py $(RUNS) --out $(RESULTS)

reproduce-cifar-depth: $(VENV)/.installed-base
	$(TRAIN) +study=depth 'model.depth=2,3,4' 'study.arms=[depth 2,depth 3,depth 4]' $(SETUP) 'study.tuning=$(TUNING)' \
	    hydra.sweep.dir=$(RUNS)/depth $(CAN_FAIL)

reproduce-cifar-architecture: $(VENV)/.installed-base
	$(TRAIN) +study=architecture 'model=plain,modern_cnn,simple_resnet' 'study.arms=[plain,modern_cnn,simple_resnet]' \
	    study.reference=plain $(SETUP) data.train_limit=22500 hydra.sweep.dir=$(RUNS)/architecture $(CAN_FAIL)

unit: $(STAMP)  ## run the tests of single modules, and the examples in the docstrings
	$(BIN)/python -m pytest $(JOBS) tests research -m 'not slow and not integration'

test: $(STAMP)  ## run the unit and integration tests and the fast notebooks
	$(BIN)/python -m pytest $(JOBS)

test-all: $(STAMP)  ## run every test, also the slow ones, with programs that XLA optimizes as it does for users
	CNN_TESTS_OPTIMIZE=1 $(BIN)/python -m pytest $(JOBS) -m ''

faults: $(STAMP)  ## kills, full disks, damaged files and the like, as often as was asked; about an hour
	$(BIN)/python tests/integration/faults/run.py

lint: $(STAMP)  ## ruff, pyright, and pip-audit where it reaches its list
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	@$(AUDIT)

# known vulnerabilities of what is installed end lint; that their list cannot be reached is said, and does not
AUDIT = found=$$($(BIN)/pip-audit --progress-spinner off --timeout 10 --skip-editable 2>&1); code=$$?; \
    left=$$(echo "$$found" | grep -c "could not be audited"); \
    case "$$code $$found" in \
        0*) echo "pip-audit: no known vulnerabilities; $$left packages could not be looked up";; \
        *"known vulnerabilit"*) echo "$$found"; exit 1;; \
        *) echo "pip-audit could not run, and lint goes on: $$(echo "$$found" | tail -n 1)";; \
    esac

docs docs-serve: EXTRAS = docs

docs: $(VENV)/.installed-docs  ## build the site of docs/ into site/; a broken link or a public name without a docstring fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

docs-serve: $(VENV)/.installed-docs  ## show the site on http://127.0.0.1:8000 while it is edited
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

clean:  ## remove .venv and caches, but no result
	rm -rf $(VENV) site .pytest_cache .ruff_cache .hypothesis *.egg-info
