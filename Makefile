# Everything a developer or a newcomer runs. It assumes Python 3.11+ and make, and sets up the rest
# in .venv (the project) and .venv/tools (uv, which installs exactly what uv.lock names).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
READY := .venv/.ready

.PHONY: help setup demo test check simulate integration bench images clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 22

setup: $(READY) ## install what everything below needs (done by itself)

$(READY): pyproject.toml uv.lock .ci/setup
	@.ci/setup

demo: $(READY) ## see it work: the product document's example, narrated, on a stack of its own
	@$(BIN)/eni-ledger demo

test: $(READY) ## run every test that needs nothing but PyPI
	@.ci/side-by-side tests --ignore=tests/bench -m "not genuine"

check: $(READY) ## lint, format, types, layers, unit tests
	@.ci/check

SEEDS ?= 100
simulate: $(READY) ## the whole system on virtual time: SEEDS=1000, FIRST=0, or SEED=42 for one story
	@$(BIN)/python -m tests.simulation.run \
		$(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --first $(or $(FIRST),0))

integration: $(READY) ## what needs real servers, and genuine parts where they can be had
	@.ci/suite integration tests/integration

bench: $(READY) ## measure; prints figures, no verdict (PART=admission: only that)
	@.ci/suite bench tests/bench$(if $(PART),/test_$(PART).py)

images: $(READY) ## build the container image (BASE=image); STAND_INS=yes where no registry can be reached
	@$(BIN)/python -m deploy.images $(if $(BASE),--base $(BASE)) $(if $(STAND_INS),--stand-ins)

clean: ## remove the environment and caches (not the local stack: eni-ledger local down)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
