# Everything installs what it needs into .venv by itself, once, and again when pyproject.toml changes.
#
#   make demo       several hospitals learn together on this machine (no torch)      make demo DEMO=bank (credit, split)
#   make test       the fast suite          make test ARGS="-k shamir"
#   make test-all   the slow tests too
#   make lint       ruff, the formatter's check, mypy --strict
#   make bench      the benchmarks, Flower beside them in an environment of its own   make bench ARGS=--check

PYTHON ?= python3
# The one version with a small CPU build; a range would pull gigabytes of CUDA.
TORCH ?= torch==2.13.0
DEMO ?= hospitals
# The benchmarks by name (secagg, he, psi, vertical, ledger, dp, utility), and the peer of the first: what the extra
# `bench` names, without Silo beside it.
BENCH ?= secagg
PEER ?= flwr==1.41.*
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Flower pins older releases of rich and packaging, so it never shares Silo's environment.
BENCH_VENV := .venv-bench
BENCH_BIN := $(BENCH_VENV)/bin

export PIP_DISABLE_PIP_VERSION_CHECK := 1
INSTALL = -m pip install --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint bench clean

help:
	@sed -n '3,7s/^# *//p' Makefile

demo: $(VENV)/.stamp-demo$(if $(filter bank credit,$(DEMO)),-vertical)$(if $(filter split,$(DEMO)),-split)
	$(BIN)/silo demo $(DEMO)

test: $(VENV)/.stamp-dev
	$(BIN)/python -m pytest $(ARGS)

test-all: $(VENV)/.stamp-dev
	$(BIN)/python -m pytest -m "slow or not slow" $(ARGS)

lint: $(VENV)/.stamp-dev
	@failed=0; for step in "ruff check ." "ruff format --check ." "mypy --strict"; do \
	  echo "$$step"; $(BIN)/$$step || failed=1; \
	done; exit $$failed

# Only the masked sum does without torch, and only it has Flower beside it.
bench: $(if $(filter-out secagg,$(BENCH)),$(VENV)/.stamp-dev,$(VENV)/.stamp-demo)
bench: $(if $(filter secagg,$(BENCH)),$(BENCH_VENV)/.stamp-bench)
bench: $(if $(filter he,$(BENCH)),$(VENV)/.stamp-heu)
bench: $(if $(filter psi,$(BENCH)),$(VENV)/.stamp-openmined)
	@for name in $(BENCH); do \
	  SILO_BENCH_FLOWER_PYTHON="$(CURDIR)/$(BENCH_BIN)/python" $(BIN)/silo bench $$name $(ARGS) || exit $$?; \
	done

clean:
	rm -rf $(VENV) $(BENCH_VENV) build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find crypto protocols silo tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

%/.stamp-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Silo needs Python 3.11 or newer: name one, as in make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $*
	touch $@

$(VENV)/.stamp-demo: $(VENV)/.stamp-venv pyproject.toml
	$(BIN)/python $(INSTALL) -e '.[demo]'
	touch $@

$(VENV)/.stamp-demo-vertical: $(VENV)/.stamp-demo
	$(BIN)/python $(INSTALL) -e '.[demo,vertical,he]'
	touch $@

$(VENV)/.stamp-demo-split: $(VENV)/.stamp-torch $(VENV)/.stamp-demo-vertical
	$(BIN)/python $(INSTALL) -e '.[demo,dp,vertical]'
	touch $@

# torch first and pinned: the extras then find it there and leave it alone.
$(VENV)/.stamp-torch: $(VENV)/.stamp-venv
	$(BIN)/python $(INSTALL) '$(TORCH)'
	touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-torch pyproject.toml
	$(BIN)/python $(INSTALL) -e '.[dev,dp]'
	touch $@ $(VENV)/.stamp-demo $(VENV)/.stamp-demo-vertical $(VENV)/.stamp-demo-split

$(VENV)/.stamp-heu: $(VENV)/.stamp-dev
	$(BIN)/python $(INSTALL) -e '.[bench-he]'
	touch $@

$(VENV)/.stamp-openmined: $(VENV)/.stamp-dev
	$(BIN)/python $(INSTALL) -e '.[bench-psi]'
	touch $@

$(BENCH_VENV)/.stamp-bench: $(BENCH_VENV)/.stamp-venv
	$(BENCH_BIN)/python $(INSTALL) '$(PEER)'
	touch $@

.PRECIOUS: %/.stamp-venv
