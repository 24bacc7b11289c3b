# Everything a newcomer or CI runs. Needs Python 3.11 or later, and nothing else; with a C
# compiler and Python's headers, messages are read by the native codec.
#
#   make serve                    environment, install, twistd -n wsdemo --port 8080
#   make test                     environment, lint, types, every test
#   make test PYTHON=python3.12   the same with another Python, in an environment of its own
#   make test JOBS=1              tests one after another: with others, so many beside each other
#   make conformance              all 517 cases of the Autobahn testsuite, as server and client;
#                                 CASES='7.* 12.1.3' for some, URL=ws://... for another server
#   make conformance-quick        groups 1 to 10, and a sample of the others
#   make hostile                  every attack on the service, measured against its bound;
#                                 ROWS='ping' for some
#   make bench                    the same work on this service and its peers, docs/benchmarks.md;
#                                 WORKS='echo-1 idle' SERVERS='wsservice ws' ROUNDS=5 SCALE=0.2
#   make bench-workers            workers beside one process, killed, and replaced: docs/workers.md
#   make bench-publishing         from publishing to delivery, with slow readers: docs/publishing.md
#   make bench-redis              two nodes and a Redis, killed too: docs/scaling.md

PYTHON ?= python3
VENV ?= .venv$(if $(filter-out python3,$(notdir $(PYTHON))),-$(notdir $(PYTHON)))
PORT ?= 8080
TESTS ?= tests
COVERAGE ?= --cov --cov-report=term
# Most of them wait for other programs, most of the time.
JOBS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))

# Those of one file one after another: they share what takes long to make. In the order of their
# names, so that those that take a moment each come last, and no process has long to wait.
BESIDE := $(if $(filter-out 1,$(JOBS)),--numprocesses=$(JOBS) --dist=loadfile --no-loadscope-reorder)
bin := $(VENV)/bin
environment := $(VENV)/.installed
test_environment := $(VENV)/.installed-for-tests
installed_from := $(VENV)/bin/python pyproject.toml setup.py wsservice/frames/_native.c
# Only where npm is: without it, the tests that need ws skip.
interop := $(if $(shell command -v npm),tests/interop/node_modules/.installed)

.DEFAULT_GOAL := help
.PHONY: help serve environment test lint types tests conformance conformance-quick hostile bench \
  bench-workers bench-publishing bench-redis format clean

help:
	@sed -n 's/^#   //p' Makefile

serve: $(environment)
	@echo 'In another terminal: $(bin)/python -m wsservice.client'
	$(bin)/twistd -n wsdemo --port $(PORT)

environment: $(test_environment)

test: lint types tests

lint: $(test_environment)
	$(bin)/ruff check .
	$(bin)/ruff format --check .

types: $(test_environment)
	$(bin)/mypy

tests: $(test_environment) $(interop)
	$(bin)/python -m pytest $(TESTS) $(COVERAGE) $(BESIDE)

conformance: $(test_environment)
	$(bin)/python -m tests.conformance $(if $(URL),--url $(URL)) $(CASES)

conformance-quick: $(test_environment)
	$(bin)/python -m tests.conformance --quick

hostile: $(test_environment)
	$(bin)/python -m tests.hostile $(ROWS)

bench: $(environment)
	$(bin)/python -m benchmarks $(WORKS) $(if $(SERVERS),--servers $(SERVERS)) \
	  $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SCALE),--scale $(SCALE))

bench-workers: $(environment)
	$(bin)/python -m benchmarks.workers

bench-publishing: $(environment)
	$(bin)/python -m benchmarks.publishing --write

bench-redis: $(test_environment)
	$(bin)/python -m benchmarks.scaling

format: $(test_environment)
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

clean:
	rm -rf .venv .venv-* build *.egg-info wsservice/frames/*.so tests/interop/node_modules \
	  benchmarks/node_modules benchmarks/build

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is not Python 3.11 or later: name one, make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(environment): $(installed_from)
	$(bin)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(test_environment): $(installed_from)
	$(bin)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(environment)

tests/interop/node_modules/.installed: tests/interop/package.json
	@cd tests/interop && \
	  npm install --no-package-lock --no-audit --no-fund --silent && touch node_modules/.installed || \
	  echo 'npm could not install ws: the tests that need it skip' >&2
