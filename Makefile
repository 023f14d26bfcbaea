.DEFAULT_GOAL := help
SHELL := /bin/bash
.PHONY: help setup demo test check parity golden bench proto lock clean

PYTHON := .venv/bin/python
UV := $(or $(shell command -v uv),.tools/bin/uv)
FAST := -m "not stack and not spark and not e2e"
# tests/conftest.py says which tests stay in one process, and in which order.
PARALLEL := -n 2 --no-loadscope-reorder

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## install what is missing: uv, Java 17, Maven, .venv, jars
	@scripts/setup

demo: setup ## run the whole path on generated input (ARGS="--json …")
	.venv/bin/playhead demo $(ARGS)

test: setup ## run every test, in two processes; with ARGS="-k …" some, in one
	@scripts/setup browser
	$(PYTHON) -m pytest $(or $(ARGS),$(PARALLEL))

check: setup ## lint, types and the fast tests
	@scripts/setup browser
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	$(PYTHON) -m pytest $(FAST) $(ARGS)

parity: setup ## every engine against the oracle on hundreds of random streams (PARITY_SEED=0 is the first)
	PARITY=full $(PYTHON) -m pytest -v tests/parity $(ARGS)

golden: setup ## write the compiled SQL in tests/golden and docs/support.md anew, for review
	GOLDEN=write $(PYTHON) -m pytest -q tests/test_golden.py tests/test_docs.py

bench: setup ## measure (SUITE=stream, or all); ends with one line of JSON
	@$(PYTHON) -m benchmarks $(SUITE)

proto: setup ## generate schemas/*_pb2 from the .proto files
	$(PYTHON) -m grpc_tools.protoc -I . --python_out=. --pyi_out=. schemas/*.proto

lock: setup ## resolve requirements.in into requirements.lock
	$(UV) pip compile --quiet --python-version 3.11 --override overrides.txt --no-emit-index-url --no-header \
	  -o requirements.lock requirements.in

clean: ## remove caches and build outputs; .venv, jars and homes stay
	rm -rf build dist out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
