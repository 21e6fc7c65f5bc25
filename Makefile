# Every target sets up what it needs in .venv; all that must be there is Python 3.11, 3.12 or 3.13.
#
#   make demo           the retrofitted example, four times, with the rows of every step
#   make test           lint, types, layering and the whole test suite
#
#   make lint           ruff: rules and formatting
#   make types          mypy, strict
#   make layering       imports go down only (import-linter)
#   make unit           the test suite; make unit ARGS="-k keys" passes arguments to pytest
#   make web            the retrofitted example in Dagster's web server
#   make mailroom       ten days of the second example, then Dagster's web server on it
#   make docs           draw docs/lineage.svg; write the tables of types and of metadata keys, and the
#                       drawings of the code, again
#   make screenshots    take the pictures in docs/images again; needs Chromium
#   make soak           what the suite does a little of, in full, for at most SOAK_MINUTES (60):
#                       random histories, kills, backfills, writers at once
#   make coverage       the suite with branch coverage of the package; fails under 95%
#   make mutation       does the suite notice small faults? in a copy, for MUTATION_MINUTES (60)
#   make bench          beside the rival and hand-written SQL; ARGS="--sizes 10M --shapes simple"
#   make bench-quick    the same with 10k rows, in a few minutes
#   make bench-io       a run with our IO manager beside one with Dagster's in-memory one
#   make bench-kept     a run with a wrapped IO manager beside one with that IO manager alone
#   make bench-stream   peak memory of writing large lazy frames, beside tables
#   make bench-pass     the pass over 1,000 to 10,000 assets, beside Dagster's own load
#   make bench-growth   columns, fields, partitions, features: what must not grow with their number
#   make bench-features versions of very large feature graphs, in seconds
#   make test-lowest    the suite with the lowest version of every dependency
#   make test-highest   the suite with the highest version of every dependency
#   make test-duckdb15  the suite with the newest DuckDB 1.5
#   make clean          remove what the targets above made

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := test
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two workers suit a small machine; WORKERS=auto uses every core.
WORKERS ?= 2
SOAK_MINUTES ?= 60
MUTATION_MINUTES ?= 60
ARGS ?=
# What `make web` materializes stays here.
WEB_HOME := $(CURDIR)/examples/workspace/dagster_home
MAIL_HOME := $(CURDIR)/examples/workspace/mailroom_home

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DAGSTER_DISABLE_TELEMETRY := yes

.PHONY: test lint types layering unit demo web mailroom docs screenshots soak coverage mutation format \
        bench bench-quick bench-io bench-kept bench-stream bench-pass bench-features bench-growth \
        test-lowest test-highest test-duckdb15 clean

test: lint types layering unit

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/mypy

layering: $(STAMP)
	$(BIN)/lint-imports

unit: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

demo: $(STAMP)
	$(BIN)/python examples/demo.py

web: $(STAMP)
	mkdir -p $(WEB_HOME)
	cd examples && DAGSTER_HOME=$(WEB_HOME) ../$(BIN)/dagster dev -m digits.definitions

mailroom: $(STAMP)
	mkdir -p $(MAIL_HOME)
	touch $(MAIL_HOME)/dagster.yaml
	cd examples && DAGSTER_HOME=$(MAIL_HOME) ../$(BIN)/python -m mailroom.history
	cd examples && DAGSTER_HOME=$(MAIL_HOME) ../$(BIN)/dagster dev -m mailroom.definitions

docs: $(STAMP)
	$(BIN)/python docs/make_lineage.py
	$(BIN)/python docs/make_types.py
	$(BIN)/python docs/make_keys.py
	$(BIN)/python docs/make_architecture.py

screenshots: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group docs
	$(BIN)/python docs/make_screenshots.py $(ARGS)

soak: $(STAMP)
	METAXY_ORACLE_EXAMPLES=200 METAXY_TEST_WRITES=50 METAXY_TEST_KILLS=200 \
	METAXY_TEST_BACKFILL_KILLS=20 METAXY_TEST_ROUNDS=10 METAXY_LEGACY_EXAMPLES=100 \
	  timeout --signal=INT $(SOAK_MINUTES)m $(BIN)/python -m pytest -n $(WORKERS) \
	  --dist loadfile tests/stores/test_oracle.py \
	  tests/stores/duckdb/file/test_{processes,crashes,permissions}.py \
	  tests/runtime/test_{backfill,multiprocess}.py tests/repositories/test_legacy.py $(ARGS)

# COVERAGE_FILE keeps what workers and spawned processes measured out of the tree.
coverage: export COVERAGE_FILE := $(CURDIR)/.coverage_data/data
coverage: $(STAMP)
	rm -rf .coverage_data
	mkdir .coverage_data
	$(BIN)/coverage run -m pytest -n $(WORKERS) $(ARGS)
	$(BIN)/coverage combine --quiet .coverage_data
	$(BIN)/coverage report

mutation: .venvs/mutation/.installed
	.venvs/mutation/bin/python tests/mutation/run.py --minutes $(MUTATION_MINUTES) $(ARGS)

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py $(ARGS)

bench-quick: $(STAMP)
	$(BIN)/python benchmarks/run.py --quick --budget-minutes 10 $(ARGS)

bench-io: $(STAMP)
	$(BIN)/python benchmarks/io_manager.py $(ARGS)

bench-kept: $(STAMP)
	$(BIN)/python benchmarks/kept.py $(ARGS)

bench-stream: $(STAMP)
	$(BIN)/python benchmarks/streaming.py $(ARGS)

bench-pass: $(STAMP)
	$(BIN)/python benchmarks/definitions_scale.py

bench-features: $(STAMP)
	$(BIN)/python benchmarks/features_scale.py

bench-growth: $(STAMP)
	$(BIN)/python benchmarks/growth.py $(ARGS)

# ---------------------------------------------------------------------------- environments
# make-venv DIRECTORY: a fresh virtual environment with a pip that knows dependency groups.
define make-venv
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit( \
	  None if (3, 11) <= v < (3, 14) else \
	  f"Python 3.11, 3.12 or 3.13 is needed, $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12 …")'
	test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --constraint constraints.txt 'pip>=25.1'
endef

# Installed again only when the declared or the pinned versions changed.
$(STAMP): pyproject.toml constraints.txt
	$(call make-venv,$(VENV))
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
	  --editable '.[all]' --group dev
	touch $@

test-lowest: .venvs/lowest/.installed
	.venvs/lowest/bin/python -m pytest -n $(WORKERS) $(ARGS)

test-duckdb15: .venvs/duckdb15/.installed
	.venvs/duckdb15/bin/python -m pytest -n $(WORKERS) $(ARGS)

# Always asks for the newest: that is its point.
test-highest: pyproject.toml
	$(call make-venv,.venvs/highest)
	.venvs/highest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager \
	  --editable '.[all]' --group test
	.venvs/highest/bin/python -m pytest -n $(WORKERS) $(ARGS)

.venvs/lowest/.installed: pyproject.toml constraints-lowest.txt
	rm -rf .venvs/lowest
	$(call make-venv,.venvs/lowest)
	.venvs/lowest/bin/python -m pip install --quiet --constraint constraints-lowest.txt \
	  --editable '.[all]' --group test
	touch $@

.venvs/mutation/.installed: pyproject.toml constraints.txt
	rm -rf .venvs/mutation
	$(call make-venv,.venvs/mutation)
	.venvs/mutation/bin/python -m pip install --quiet --constraint constraints.txt \
	  --editable '.[all]' --group test --group mutation
	touch $@

.venvs/duckdb15/.installed: pyproject.toml constraints.txt
	rm -rf .venvs/duckdb15
	$(call make-venv,.venvs/duckdb15)
	grep -v '^duckdb==' constraints.txt > .venvs/duckdb15/constraints.txt
	.venvs/duckdb15/bin/python -m pip install --quiet \
	  --constraint .venvs/duckdb15/constraints.txt --editable '.[all]' --group test 'duckdb==1.5.*'
	touch $@

clean:
	rm -rf $(VENV) .venvs build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache \
	  .hypothesis examples/workspace .mutation .coverage_data
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
