# What people and CI run. Needs Python >= 3.11, make and git; Go >= 1.26 if it is there, else it is fetched into .lab/bin.
PYTHON ?= python3
BIN := .venv/bin
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help venv lint type test test-crash golden demo lab lab-down crds docs verify lock bench-failover

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  %-16s %s\n", $$1, $$2}'

# The stamp is older than the lock when the lock changes: then, and only then, packages are installed again.
venv: .venv/.installed ## Make .venv from the hashed lock and install the package into it, editable

.venv/.installed: requirements-dev.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit("Python >= 3.11 is needed, this is " + sys.version.split()[0] + "; set PYTHON=") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

lint: venv ## Style, format and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: venv ## Static types, strict: the package and the lab
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases tests/conftest.py tests/lab/*.py

test: venv ## All tests, on real parts (the first run builds them, about 8 minutes; PYTEST_ARGS adds arguments)
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

test-crash: venv ## Kills at many more moments than `make test` tries
	$(BIN)/python -m pytest tests/crash $(PYTEST_ARGS)

demo: venv ## The whole story on one machine: a lab, a plan, a planned migration with live progress
	@$(BIN)/python -m tests.lab demo

lab: venv ## Start a lab and leave it running; `. .lab/env` then sets KUBECONFIG and the endpoints
	@$(BIN)/python -m tests.lab up

lab-down: venv ## Stop the lab that `make lab` started
	@$(BIN)/python -m tests.lab down

crds: venv ## Write crds/ from the models
	$(BIN)/python -m resurgo.api.crd --out crds/
	cp crds/*.yaml charts/resurgo/files/crds/

docs: venv ## Write docs/reference/ from the code
	$(BIN)/python -m tests.docs.generate

golden: venv ## Write the chart's rights anew for the lab (needs a Helm)
	$(BIN)/python -m tests.chart.golden

verify: lint type crds docs ## Lint, type, regenerate; fails if what is generated differs from what is committed
	git diff --exit-code -- crds charts docs

lock: venv ## Write both lock files anew from pyproject.toml
	$(BIN)/uv pip compile -q --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml --group dev -o requirements-dev.lock

bench-failover: venv ## Time a failover of many VMs on the lab
	$(BIN)/python -m bench.failover
