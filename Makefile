# Every command a developer needs. `make` alone lists them.
#
# Nothing has to be installed first but Python 3.11 (or newer), make and access to a package index: the first
# command that needs the environment builds it in .venv, and rebuilds it when what it was built from changes.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# The Python that builds the environment: `make test PYTHON=/path/to/python3.12` uses another one.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
# Passed on to pytest: `make test ARGS="tests/core -k retry"`. A part of the suite is not held to full coverage.
ARGS ?=

AIRFLOW_VERSION := 3.3.2
CONSTRAINTS := tests/constraints/airflow-$(AIRFLOW_VERSION).txt
VENV := .venv
BIN := $(VENV)/bin
BUILT := $(VENV)/.built

# Importing Airflow writes a configuration file into its home. Keep it out of the developer's own.
export AIRFLOW_HOME := $(CURDIR)/$(VENV)/airflow-home
export AIRFLOW__CORE__LOAD_EXAMPLES := False

# No line of the repository may name a place that exists on one machine only, or the index packages came from.
LOCAL_PATHS := (^|[^A-Za-z0-9_./-])/(home|root|Users|work|mnt)/[A-Za-z0-9_.]
INDEX_HOSTS := --(extra-)?index-ur[l] |--find-link[s] |https?://[^ ]*/simple/?([" ]|$$)|py[p]i\.|python[h]osted

.PHONY: help
help: ## List the commands
	@echo 'Usage: make <command> [PYTHON=python3.11] [ARGS="pytest arguments"]'
	@echo
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)$$/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

.PHONY: venv
venv: $(BUILT) ## Build the development environment in .venv

$(BUILT): pyproject.toml sandbox/pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "make: '$(PYTHON)' is not a working Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) uv
	$(BIN)/python dev/environments.py $(AIRFLOW_VERSION)
	@touch $@

.PHONY: test
test: $(BUILT) ## Run the tests on the newest supported Airflow; core/ must be covered to the last branch
ifeq ($(ARGS),)
	$(BIN)/pytest --ignore=tests/compat --ignore=tests/system --cov --cov-report=
	$(BIN)/coverage report --skip-covered --include='provider/remote_tasks_provider/core/*' --fail-under=100
else
	$(BIN)/pytest $(ARGS)
endif

.PHONY: check
check: $(BUILT) ## Check format, lint, types, and that nothing local has slipped in
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@if git grep --untracked -nIE -e '$(LOCAL_PATHS)' -e '$(INDEX_HOSTS)' -- . ':!LICENSE'; then \
		echo 'make check: the lines above name a path of one machine, or a package index' >&2; exit 1; \
	fi

.PHONY: fix
fix: $(BUILT) ## Format the code and apply ruff's safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: test-compat
test-compat: $(BUILT) ## Run tests/compat and tests/bases on every supported Airflow (builds .venvs/); ARGS="--only 3.0.6 -k hook"
	$(BIN)/python -m dev.compat $(ARGS)

.PHONY: test-system
test-system: $(BUILT) ## Run a DAG of waits in a real Airflow whose triggerer is killed in its midst
	$(BIN)/pytest tests/system $(ARGS)

.PHONY: kills
kills: $(BUILT) ## Kill, clear and time out tasks in every supported Airflow, and look what becomes of the remote ones
	$(BIN)/python -m dev.kills $(ARGS)

.PHONY: bench
bench: $(BUILT) ## Compare with the http provider: waits, listing, imports, a real Airflow; ARGS="--only waits --quick"
	$(BIN)/python -m dev.bench $(ARGS)

.PHONY: demo
demo: $(BUILT) ## Run a branching DAG in a real Airflow against the sandbox; no key, no credits
	$(BIN)/python -m dev.demo

.PHONY: airflow
airflow: $(BUILT) ## Start Airflow with its UI, the sandbox and the example DAGs; Ctrl-C stops all
	$(BIN)/python -m dev.playground

.PHONY: sandbox
sandbox: $(BUILT) ## Start the sandbox alone, with demo tasks, on port 8099
	$(BIN)/python -m remote_tasks_sandbox --port 8099 --seed-demo

.PHONY: constraints
constraints: $(BUILT) ## Resolve tests/constraints anew (newest versions that pyproject.toml and the pins allow)
	$(BIN)/python -m dev.compat --refresh-constraints

.PHONY: clean
clean: ## Remove everything that make built
	rm -rf $(VENV) .venvs .hypothesis .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.* htmlcov dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
