# The targets of the house; `make setup` is part of each and does nothing when it is done.
export PYTHONSAFEPATH := 1
PYTHON := $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
KEEP ?=
ROUNDS ?=

.PHONY: setup check test test-registry prove simulate demo up bench lock clean

setup: ## install everything, once
	@$(PYTHON) infra/setup.py

check: setup ## format, lint, types, import order, contracts, recorded cases
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/aios schema check
	$(BIN)/aios workflow check
	$(BIN)/aios workflow test

test: setup ## three files at a time on two cores, since most of it waits, what loads engines first; then what needs the machine for itself
	$(BIN)/pytest -n 3 --no-loadscope-reorder --ignore tests/fault/test_prove_cut.py tests/engine tests/fault tests/broker tests/contract tests/browser tests/unit
	$(BIN)/pytest tests/fault/test_prove_cut.py tests/e2e tests/containers

prove: setup ## every fault to every stage of a system under load, judged; ROUNDS="taken network" for some of it, "--without clock" without cc
	@$(BIN)/aios prove matrix $(ROUNDS)

simulate: setup ## 1,000 simulated worlds of faults, and the mistakes in the product that they find
	$(BIN)/aios prove simulate --seeds 0..999
	$(BIN)/aios prove mutations

test-registry: setup ## the registry's tests against Apicurio 3.3.3, fetched by Maven; known deviations must fail
	PYTHONPATH=. $(BIN)/python -m tests.fakes.apicurio .cache/apicurio
	$(BIN)/pytest -rx tests/contract/test_registry_protocol.py tests/contract/test_registry_client.py tests/contract/test_registry_source.py --apicurio .cache/apicurio

demo: setup ## 200 real texts through the whole system; KEEP=1 leaves it running
	@$(BIN)/aios demo $(if $(KEEP),--keep)

up: setup ## the whole system, until Ctrl-C
	@$(BIN)/aios up

bench: setup ## the figures that need no peers and no hours
	$(BIN)/aios bench all

lock: setup ## pin again after a change of pyproject.toml; edit pins of inference.lock by hand first
	.tools/uv/bin/uv pip compile pyproject.toml infra/pipeline.in --extra dev --generate-hashes --no-header --python-version 3.11 -q -o infra/pipeline.lock
	.tools/uv/bin/uv pip compile infra/inference.lock --no-deps --generate-hashes --no-annotate --no-header --python-version 3.11 -q -o infra/inference.lock
	.tools/uv/bin/uv pip compile infra/inference-gpu.in --generate-hashes --no-annotate --no-header --python-version 3.11 -q -o infra/inference-gpu.lock

clean: ## what setup and runs have made; the data of systems (.aios) too
	rm -rf .venv .venv-inference .tools .cache .aios build *.egg-info .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
