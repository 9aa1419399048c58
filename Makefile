PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS_operator := --extra operator --extra agent
EXTRAS_server := --extra server
EXTRAS_trainer := --extra training
# Compiling hundreds of test modules anew for each run takes longer than running the unit tests.
export PYTHONDONTWRITEBYTECODE :=
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

.PHONY: help demo test test-fast verify generate cluster cluster-down images bench bench-serving lock clean
.DEFAULT_GOAL := help

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	@echo "Installing the pinned Python packages into $(VENV) (about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV)/.installed ## Cluster, images, chart, data, a trained model and a live endpoint
	@$(BIN)/python -m dev.demo

test: $(VENV)/.installed ## All tests: unit, contract, real API server, chart, whole cluster
	@$(BIN)/python -m pytest tests --numprocesses=3

test-fast: $(VENV)/.installed ## The tests that need no cluster (under 20 seconds)
	@$(BIN)/python -m pytest tests/unit -n 2

verify: $(VENV)/.installed ## Formatting, lint, types, import layers, generated files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m dev.generate --check

generate: $(VENV)/.installed ## Write CRDs, RBAC and reference docs from the code
	@$(BIN)/python -m dev.generate

cluster: $(VENV)/.installed ## Start the local Kubernetes (kind when Docker runs, else on this machine)
	@$(BIN)/python -m dev.cluster up

cluster-down: $(VENV)/.installed ## Stop the local Kubernetes and remove what it left
	@$(BIN)/python -m dev.cluster down

images: $(VENV)/.installed ## Build the images and load them into the local Kubernetes
	@$(BIN)/python -m dev.images build
	@$(BIN)/python -m dev.images load

bench: $(VENV)/.installed ## Measure what the README claims
	@$(BIN)/python -m bench

bench-serving: $(VENV)/.installed ## The model server against its peers (20 minutes; docs/benchmarks.md)
	@$(BIN)/python -m bench.serving

lock: $(VENV)/.installed ## Pin the newest allowed versions of all dependencies
	@$(COMPILE) --upgrade --all-extras --group dev pyproject.toml -o requirements/dev.txt
	@for image in operator server trainer; do case $$image in \
	  operator) extras="$(EXTRAS_operator)" ;; server) extras="$(EXTRAS_server)" ;; trainer) extras="$(EXTRAS_trainer)" ;; esac; \
	  $(COMPILE) $$extras -c requirements/dev.txt pyproject.toml -o requirements/$$image.txt; done
	@echo 'kserve>=0.21,<1' | $(COMPILE) --upgrade - -o requirements/kserve-client.txt

clean: ## Remove caches and the virtual environment
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
