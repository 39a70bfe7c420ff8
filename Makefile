# Every command of the checkout. Each one does its own set-up: a virtual environment in .venv, made again
# when Python or the folder changes and brought up to date when pyproject.toml changes.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Python >= 3.11 to build the environment with.
export PYTHON ?= python3
# Tests to run, the number of processes for them (one more than cores, for tests wait), and further arguments.
TESTS ?= tests
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
PYTEST_ARGS = -n $(WORKERS) --maxprocesses 4 --dist worksteal $(ARGS)

.PHONY: help demo test deep lint format docs bench wheel wheel-test redis clean

help: ## Show this list
	@echo "make demo and make test need nothing but Python 3.11, git and make."
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'Variables: PYTHON=$(PYTHON) TESTS="$(TESTS)" WORKERS=$(WORKERS) ARGS="$(ARGS)"'

demo: ## Three teams spend a month's budgets in seconds; no key, no server (ARGS="--ledger redis://…")
	@scripts/venv.sh $(VENV)
	@$(VENV)/bin/governor demo $(ARGS)

test: redis ## Run the tests (TESTS=tests/unit ARGS="-k name" for some of them)
	@scripts/venv.sh $(VENV) test
	$(PY) -m pytest $(PYTEST_ARGS) $(TESTS)

deep: redis ## Run the tests with 2,000 examples for each property instead of 20, and 20,000 simulated seeds
	@scripts/venv.sh $(VENV) test
	GOVERNOR_TEST_PROFILE=deep $(PY) -m pytest $(PYTEST_ARGS) $(TESTS)

lint: ## Check style, types, import arrows and docstrings
	@scripts/venv.sh $(VENV) test lint
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	@$(PY) -m mypy & mypy=$$!; failed=0; \
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(PY) -m pyright --pythonpath $(PY) || failed=$$?; \
	wait $$mypy || failed=$$?; exit $$failed  # side by side: each keeps one core busy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/interrogate governor

format: ## Format the code and apply the safe fixes
	@scripts/venv.sh $(VENV) test lint
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: ## Write docs/commands.md from what the commands say of themselves
	@scripts/venv.sh $(VENV)
	$(PY) scripts/commands_page.py

bench: redis ## Measure reserve + settle and a governed call (ARGS go to the benchmarks)
	@scripts/venv.sh $(VENV) test
	PYTHONPATH=tests $(PY) -m benchmarks $(ARGS)

wheel: ## Build the wheel into dist/
	@scripts/venv.sh $(VENV)
	@rm -f dist/*.whl
	$(PY) -m pip wheel -qq --no-deps --wheel-dir dist .
	@ls dist/*.whl

wheel-test: wheel redis ## Run the tests on the built wheel, where the checkout's governor/ cannot be imported
	scripts/wheel-test.sh $(PYTEST_ARGS) $(TESTS)

redis:
	@scripts/redis-server.sh

clean: ## Remove the environments, dist/ and every cache
	rm -rf $(VENV) .venv-wheel dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
