# make demo     the main job on a small real instance: snapshot, restore, verify, prune, with restic and with borg
# make test     set-up, then everything that `make check` checks
#
# Both do all the set-up on Debian and Ubuntu; see tools/set-up for what that is.

.DEFAULT_GOAL := help
.PHONY: help demo test check format-check lint types imports spelling tests-alone tests coverage format schemas engines soak bench e2e set-up-demo set-up-test clean

bin := .venv/bin
folders := owui_vault tests examples tools

# Processes that run the tests; 0 runs them in this one.
JOBS ?= 2
# Arguments for pytest, for example: make tests ARGS="-k retention -x"
ARGS ?=
# How often make soak kills.
ROUNDS ?= 100
# Size of the instance that make bench generates.
SIZE ?= 1GB
# How the real Open WebUI runs in make e2e; a container needs root and a Docker engine.
VARIANTS ?= process container

help:  ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

demo: set-up-demo  ## inspect, snapshot, restore, verify and prune a small real instance, with restic and with borg
	@$(bin)/python examples/demo.py

test: set-up-test  ## set-up and make check
	@$(MAKE) --no-print-directory --keep-going check

check: format-check lint types imports spelling tests-alone tests coverage  ## everything that must hold before a commit

format-check:  ## formatting
	$(bin)/ruff format --check $(folders)

lint:  ## ruff
	$(bin)/ruff check $(folders)

types:  ## mypy --strict
	$(bin)/mypy

imports:  ## the layers of the package
	$(bin)/lint-imports

spelling:  ## codespell
	$(bin)/codespell *.md docs $(folders)

tests:  ## pytest with coverage
	@rm -f .coverage .coverage.*
	@$(bin)/python tools/coverage_in_children.py on
	@trap '$(bin)/python tools/coverage_in_children.py off' EXIT; \
	    $(bin)/pytest --cache-clear -n $(JOBS) --dist worksteal -m "not alone" --cov --cov-report= --durations=25 $(ARGS) || \
	    tools/second-look $$?

tests-alone:  ## the tests that measure time: one after the other, with nothing beside them
	@$(bin)/pytest -m alone $(ARGS) || [ $$? = 5 ]

coverage:  ## the coverage floors (after make tests)
	$(bin)/python tools/coverage_floors.py

format:  ## format and fix what can be fixed
	$(bin)/ruff check --fix $(folders)
	$(bin)/ruff format $(folders)

schemas:  ## write the JSON Schemas in docs/ anew
	$(bin)/python tools/write_schemas.py

engines:  ## other versions of restic and borg for the tests, in .cache/engines
	tools/engine-matrix

soak: set-up-test  ## every test that kills, races or counts, with its full count; writes docs/reliability.md
	$(bin)/python -m tests.kill --rounds $(ROUNDS) --write docs/reliability.md
	$(bin)/python -m tests.soak --write docs/reliability.md

bench: set-up-test  ## our path beside the bare engines and the tutorial's ways (SIZE=1GB)
	$(bin)/python -m tests.benchmarks --size $(SIZE)

e2e: set-up-test  ## the real Open WebUI through everything, under load (3 GB of downloads, an hour)
	set -e; for variant in $(VARIANTS); do \
	    $(bin)/python -m tests.e2e --variant $$variant --write docs/reliability.md; done

set-up-demo:
	@tools/set-up demo

set-up-test:
	@tools/set-up test

clean:  ## remove what the targets made, .venv and engines included
	rm -rf .venv .cache .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
