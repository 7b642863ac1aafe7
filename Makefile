# Every target makes what it needs. Only git, make and python3 (3.11 or newer, with venv) are assumed.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test check pytest fuzz mutate lint format docs lock audit bench clean

help: ## show the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

# The stamps change with what they were made from, so an old environment is brought up to date.
.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'omneo-import needs Python 3.11 or newer, and $(PYTHON) is another, or is not there.'; \
	  echo 'Name one: make PYTHON=python3.12 $(MAKECMDGOALS)'; exit 1; } >&2
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

.venv/.installed: .venv/.made pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/.tested: .venv/.installed pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: .venv/.installed ## import the sample data into a local Omneo, confirm it, and show the report
	@$(BIN)/python -m pipeline.cli.demo

# Without compiled files, each of many processes compiles the package and pytest rewrites every test.
unexport PYTHONDONTWRITEBYTECODE
# In half as many processes again as there are cores; ARGS chooses among the tests.
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

# Lint and tests run side by side: the type check takes one core for half a minute.
test: ## lint, type check and all tests
	@$(MAKE) --no-print-directory --jobs=2 lint pytest

check: ## what takes about a minute: lint, type check and the quick tests
	@$(MAKE) --no-print-directory --jobs=2 lint pytest PYTEST='$(PYTEST) -m "not slow"'

pytest: .venv/.tested
	$(PYTEST) $(ARGS)

fuzz: .venv/.tested ## look for new counterexamples with ten times as many random examples (ARGS="tests/loading")
	POLARS_MAX_THREADS=4 $(PYTEST) -m hypothesis --hypothesis-profile fuzz --timeout 3600 -o faulthandler_timeout=0 $(ARGS)
	HISTORIES=$${HISTORIES:-2000} $(PYTEST) --timeout 3600 tests/loading/delivery/test_histories.py

mutate: .venv/.tested ## change the core at random and see whether tests fail (ARGS="--count 60 --only ledger")
	$(BIN)/python -m tests.mutate $(ARGS)

lint: .venv/.tested ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.tested ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.tested ## write the generated parts of the docs again, and build the site from them
	$(BIN)/python -m docs.tools.cli_reference > docs/cli.md
	$(BIN)/python -m docs.tools.codes_reference > docs/codes.md
	$(BIN)/python -m docs.tools.events_reference > docs/events.md
	$(BIN)/python -m docs.tools.mapping_reference
	$(BIN)/python -m docs.tools.api_reference
	$(BIN)/python -m zensical build --clean --strict

# Of what runs, with hashes, for every system and Python; the versions are those of the tests.
COMPILE := .lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--constraint constraints.txt --custom-compile-command 'make lock' pyproject.toml

lock: ## choose the newest versions that pyproject.toml allows: constraints.txt and requirements/
	$(PYTHON) -m venv --clear .lock
	.lock/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.lock/bin/python -m pip install --quiet '.[test,docs,cloud]'
	.lock/bin/python -m pip freeze --exclude omneo-import > constraints.txt
	$(MAKE) requirements/core.txt requirements/all.txt
	rm -rf .lock

.lock/bin/uv:
	$(PYTHON) -m venv .lock
	.lock/bin/python -m pip install --quiet uv

requirements/core.txt: constraints.txt pyproject.toml .lock/bin/uv
	$(COMPILE) --output-file $@

requirements/all.txt: constraints.txt pyproject.toml .lock/bin/uv
	$(COMPILE) --extra cloud --extra postgres --extra dask --extra otel --extra excel --output-file $@

audit: ## ask whether a version in requirements/ has a known vulnerability
	$(PYTHON) -m venv .lock
	.lock/bin/python -m pip install --quiet pip-audit
	.lock/bin/pip-audit --strict --require-hashes --disable-pip --requirement requirements/all.txt
	rm -rf .lock

# As users have it, on a cluster too: pandera, for one, loads a library of the tests where it finds it, which takes 0.1 s.
MEASURED := benchmarks/.work/own
$(MEASURED)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(MEASURED)
	$(MEASURED)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dask]'
	@touch $@

bench: $(MEASURED)/.installed ## measure speed and memory beside what people would use instead (ARGS="--part csv")
	$(MEASURED)/bin/python -m benchmarks $(ARGS)

clean: ## remove the environment and everything that was made
	rm -rf .venv .lock build dist site .cache .omneo-import .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
