# Pileus: one command makes a cloud. `make help` lists what there is.
STATE ?= /var/lib/pileus
UP ?=
PYTEST ?=
PROVE ?=
.PHONY: help up down test check prove bench conformance lock image clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

up: ## install what is missing, start the cloud, boot a first server and reach it by SSH
	@tools/install run
	@tools/up --state $(STATE) $(UP)

down: ## stop the cloud that `make up` started; guests and data stay (make down DOWN=--guests stops the guests too)
	@.venv/bin/pileus down --state $(STATE) $(DOWN)

test: ## install what the tests need and run all of them
	@tools/install run
	@tools/install test
	@tools/test $(PYTEST)

check: ## format, lint, types, layers
	@tools/install test
	@.venv/bin/ruff format --check src tests tools
	@.venv/bin/ruff check src tests tools
	@.venv/bin/mypy
	@.venv/bin/lint-imports

prove: ## kill Pileus at every step of every workflow, on both databases (make prove PROVE="--workflow server.deploy")
	@tools/install test
	@.venv/bin/python tools/prove.py $(PROVE)

bench: ## measure what docs/bench.md lists, and print it
	@tools/install test
	@.venv/bin/python tools/bench.py

conformance: ## run suites of the conformance kit against a cloud of their own (make conformance SUITE=identity)
	@tools/install run
	@tools/conformance $(SUITE)

lock: ## lock the newest allowed versions of all dependencies
	@tools/lock
