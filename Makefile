# GNU make 3.81 or newer. Other Python: make demo PYTHON=python3.12
SHELL := /bin/bash
PYTHON ?= python3
# Through the environment, so that no character of the path needs quoting; physical, unlike $$PWD.
export HERE := $(CURDIR)
BIN := .venv/bin
STAMP := .venv/.installed
NEEDS_PYTHON := make: '$(PYTHON)' is missing or older than Python 3.11; try PYTHON=python3.12
NEEDS_VENV := make: '$(PYTHON)' has no venv; on Debian and Ubuntu: apt-get install python3-venv

.DEFAULT_GOAL := help
.PHONY: help demo test lab dashboard bench lint format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

demo: $(STAMP) ## Run the quickstart notebook on an embedded Temporal server; print what came out
	@$(BIN)/projectai-lab demo

test: lint ## Lint, types and the whole test suite; ARGS="-k retries" goes to pytest
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lab: $(STAMP) ## Open JupyterLab on the notebooks; ARGS="--no-browser" goes to it
	@$(BIN)/python -m jupyterlab notebooks $(ARGS)

dashboard: $(STAMP) ## Serve the console notebook as a web page; ARGS="--no-browser" goes to Voilà
	@$(BIN)/python -m voila notebooks/90_console.ipynb --strip_sources=True $(ARGS)

bench: $(STAMP) ## Print the benchmark table; every ratio is measured in this run
	@$(BIN)/python -m tests.bench

lint: $(STAMP) ## Check style, format and types
	@$(BIN)/python -m ruff check --quiet .
	@$(BIN)/python -m ruff format --check --quiet .
	@$(BIN)/python -m mypy

format: $(STAMP) ## Format the code and mend what ruff can mend
	@$(BIN)/python -m ruff check --fix --quiet .
	@$(BIN)/python -m ruff format .

clean: ## Remove .venv, caches and builds; what your runs wrote stays
	rm -rf .venv .venv-pm4py* build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Scripts in .venv name the folder they were made in, so a moved folder needs a new one.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(HERE))
.PHONY: $(STAMP)
endif

$(STAMP): pyproject.toml constraints.txt
	@if [ -e $(STAMP) ] && [ "$$(cat $(STAMP))" != "$$HERE" ]; then rm -rf .venv; fi
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "$(NEEDS_PYTHON)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(NEEDS_VENV)" >&2; exit 1; }
	@[ -x $(BIN)/python ] || { echo "Making .venv with $$("$(PYTHON)" -V)"; "$(PYTHON)" -m venv .venv; }
	@printf 'Installing what pyproject.toml names (about a minute, log in .venv/install.log) '
	@set -o pipefail; \
	$(BIN)/python -m pip install --disable-pip-version-check --no-input \
		-c constraints.txt -e '.[dev]' 2>&1 | tee .venv/install.log | while read -r line; do \
		case "$$line" in \
			Collecting*|Processing*|Requirement*) printf . ;; \
			Installing\ collected*) printf ' unpacking' ;; \
		esac; \
	done || { printf '\n'; tail -n 20 .venv/install.log >&2; exit 1; }
	@echo ' done'; printf '%s' "$$HERE" > $(STAMP)
