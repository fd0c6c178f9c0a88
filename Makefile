# make demo       the main job on a small real instance: snapshot, restore, verify, prune, with restic and with borg
# make test       set-up, then everything that `make check` checks: for whoever changed something
# make test-all   that, and all that needs other engines, servers, containers, file systems: what CI does
#
# All do their set-up themselves on Debian and Ubuntu; see tools/set-up and tools/set-up-all for what that is.

.DEFAULT_GOAL := help
.PHONY: help demo demo-in-time test test-all check thorough format-check lint types imports spelling tests tests-thorough \
    tests-alone coverage format schemas docs man engines soak soak-kills soak-counts soak-faults bench e2e \
    set-up-demo set-up-test set-up-beside set-up-all clean beside-each-other

bin := .venv/bin
folders := owui_vault tests examples tools

# Thousands of processes import the package: it is compiled once, whatever the caller's environment says.
unexport PYTHONDONTWRITEBYTECODE

# Processes that run the tests, one more than cores, since tests wait a good deal; 0 runs them in this one.
JOBS ?= 3
# The same for make thorough, which waits more: for containers, for servers, for hosts that do not answer.
JOBS_THOROUGH ?= 6
# Arguments for pytest, for example: make tests ARGS="-k retention -x"
ARGS ?=
# How often make soak kills.
ROUNDS ?= 100
# Size of the instance that make bench generates.
SIZE ?= 1GB
# How the real Open WebUI runs in make e2e; a container needs root and a Docker engine.
VARIANTS ?= process container

help:  ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

demo: set-up-demo  ## inspect, snapshot, restore, verify and prune a small real instance, with restic and with borg
	@$(bin)/python examples/demo.py

test: set-up-test  ## set-up and make check: 6 minutes on two cores
	@$(MAKE) --no-print-directory --keep-going check

test-all: set-up-test  ## make test and make thorough, the set-up of the second beside the first: all that CI checks
	@$(MAKE) --no-print-directory set-up-beside
	@$(MAKE) --no-print-directory --keep-going check thorough

check:  ## everything that must hold before a commit
	@status=0; \
	$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target beside-each-other || status=1; \
	$(MAKE) --no-print-directory --keep-going tests || status=1; \
	exit $$status

# The demo on one core while mypy has the other, and then the short ones.
beside-each-other: types demo-in-time format-check lint imports spelling

thorough: set-up-all  ## what make test leaves out: other engines, servers, containers, file systems, a tenth of all kills and races
	@$(MAKE) --no-print-directory --keep-going tests-thorough tests-alone

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

# Three runs, told apart by tests/runs.py. A test that failed once has failed; the second look is for information.
pytest = $(bin)/pytest -n $(JOBS) --dist worksteal --cache-clear --durations=15

tests:  ## the tests of make test: those that count do it once each
	@OWUI_VAULT_SOAK=$${OWUI_VAULT_SOAK:-0} $(pytest) -m "not thorough and not rare" $(ARGS) || tools/second-look $$?

tests-thorough: JOBS = $(JOBS_THOROUGH)
tests-thorough:  ## those that make test leaves out, and those that count, a tenth of the full count
	@$(pytest) -m "(thorough or soak) and not rare and not alone" $(ARGS) || tools/second-look $$?

tests-alone:  ## the tests that measure time: one after the other, with nothing beside them
	@$(bin)/pytest --cache-clear -m alone $(ARGS) || { status=$$?; [ $$status = 5 ] || tools/second-look $$status; }

demo-in-time:  # the acceptance test of a machine that is set up: three minutes for the job, and at most 120 lines
	@mkdir -p .cache; timeout 180 $(bin)/python examples/demo.py >.cache/demo.txt; status=$$?; cat .cache/demo.txt; \
	[ $$status = 0 ] && [ "$$(wc -l <.cache/demo.txt)" -le 120 ]

coverage: set-up-all  ## all tests once, with coverage in the processes that they start, and the coverage floors
	@rm -f .coverage .coverage.*
	@$(bin)/python tools/coverage_in_children.py on
	@trap '$(bin)/python tools/coverage_in_children.py off' EXIT; $(pytest) -m "not alone" --cov --cov-report= $(ARGS)
	$(bin)/python tools/coverage_floors.py

format:  ## format and fix what can be fixed
	$(bin)/ruff check --fix $(folders)
	$(bin)/ruff format $(folders)

schemas:  ## write the JSON Schemas and the fields of the reports in docs/ anew
	$(bin)/python tools/write_schemas.py
	$(bin)/python tools/write_reports.py

docs: .cache/docs/bin/mkdocs  ## the documentation as a site, in build/site: open build/site/index.html
	@NO_MKDOCS_2_WARNING=1 .cache/docs/bin/mkdocs build --quiet

.cache/docs/bin/mkdocs:
	@$(MAKE) --no-print-directory set-up-demo
	@$(bin)/python -m venv .cache/docs
	@.cache/docs/bin/pip install --quiet --disable-pip-version-check "mkdocs-material>=9.6,<10"

man:  ## the man page, in build/
	$(bin)/python tools/write_man.py build/owui-vault.1

engines:  ## other versions of restic and borg for the tests, in .cache/engines
	tools/engine-matrix

soak: set-up-test set-up-all  ## every count in full, middle versions, doubled suites, coverage; writes docs/reliability.md
	@$(MAKE) --no-print-directory --keep-going soak-kills soak-counts soak-faults coverage

soak-kills:
	$(bin)/python -m tests.kill --rounds $(ROUNDS) --write docs/reliability.md

soak-counts:
	$(bin)/python -m tests.soak --write docs/reliability.md

soak-faults:
	$(bin)/python -m tests.faults --write docs/reliability.md

bench: set-up-test  ## our path beside the bare engines and the tutorial's ways (SIZE=1GB)
	$(bin)/python -m tests.benchmarks --size $(SIZE)

e2e: set-up-test  ## the real Open WebUI through everything, under load (3 GB of downloads, an hour)
	set -e; for variant in $(VARIANTS); do \
	    $(bin)/python -m tests.e2e --variant $$variant --write docs/reliability.md; done

set-up-demo:
	@tools/set-up demo

set-up-test:
	@tools/set-up test

set-up-beside:
	@tools/set-up-all --beside

set-up-all:
	@tools/set-up-all

clean:  ## remove what the targets made, .venv and engines included
	rm -rf .venv .cache .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
