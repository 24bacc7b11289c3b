# Everything a newcomer or CI runs. Needs Python 3.11 or later, and nothing else; with a C
# compiler and Python's headers, messages are read by the native codec.
#
#   make serve                    environment, install, twistd -n wsdemo --port 8080
#   make check                    lint, types and unit tests, quickly, in a light environment;
#                                 FILE=broker/ring for one module, wsservice/broker/ring.py
#   make test                     environment, lint, types, every test
#   make test PYTHON=python3.12   the same with another Python, in an environment of its own
#   make test JOBS=1              tests one after another: with others, so many beside each other
#   make environment              .venv, with all that any test needs
#   make lint                     style
#   make types                    types
#   make format                   mend style where a program can
#   make tests                    every test, with coverage; TESTS='tests/unit/net/test_tls.py' for some
#   make tests-again              the tests that failed last, one after another
#   make unit                     tests without sockets, processes and real time
#   make python-codec             the same, and some attacks, with the codec in Python
#   make oldest                   some unit tests, with the oldest versions that pyproject.toml admits
#   make integration              tests with processes and TCP, and attacks, shortened
#   make testsuite                tests with the Autobahn testsuite, shortened
#   make redis                    tests with a real Redis, and a short run of random faults
#   make pages                    tests of the pages, in Chromium
#   make wheel                    what is built, installed and tried
#   make clean                    remove what these targets made
#   make conformance              all 517 cases of the Autobahn testsuite, as server and client;
#                                 CASES='7.* 12.1.3' for some, URL=ws://... for another server
#   make conformance-quick        groups 1 to 10, and a sample of the others
#   make hostile                  every attack on the service, measured against its bound;
#                                 ROWS='ping' for some
#   make chaos                    nodes and a Redis under random faults, docs/chaos.md; SECONDS=600
#                                 SEED=1 FAULTS='kill-node cut' for how long, what, and which
#   make soak                     honest and hostile load for a time, memory and errors as a chart,
#                                 docs/soak.md; SECONDS=1800 SEED=1 WORKERS=2, WRITE=1 to keep it
#   make bench                    the same work on this service and its peers, docs/benchmarks.md;
#                                 WORKS='echo-1 idle' SERVERS='wsservice ws' ROUNDS=5 SCALE=0.2
#   make bench-workers            workers beside one process, killed, and replaced: docs/workers.md
#   make bench-publishing         from publishing to delivery, with slow readers: docs/publishing.md
#   make bench-redis              two nodes and a Redis, killed too: docs/scaling.md
#   make options                  docs/options.md, from the options and their defaults
#   make help                     this list

PYTHON ?= python3
VENV ?= .venv$(if $(filter-out python3,$(notdir $(PYTHON))),-$(notdir $(PYTHON)))
PORT ?= 8080
TESTS ?= tests
COVERAGE ?= --cov --cov-report=term
PYTEST_OPTIONS ?=
# Most of them wait for other programs, most of the time.
JOBS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))

# Those of one file one after another: they share what takes long to make. In the order of their
# names, so that those that take a moment each come last, and no process has long to wait.
BESIDE := $(if $(filter-out 1,$(JOBS)),--numprocesses=$(JOBS) --dist=loadfile --no-loadscope-reorder)
bin := $(VENV)/bin
pytest = $(bin)/python -m pytest $(PYTEST_OPTIONS)

# The rings of tests. Each file of tests is in one of these groups.
UNIT := tests/unit
integration_of = $(wildcard $(addprefix tests/integration/test_,$(1)))
WHEEL := $(call integration_of,package.py)
REDIS := tests/chaos $(call integration_of,benchmarks_redis.py broker*.py cluster.py \
  docs_cluster.py inbox.py scaling_manual.py)
PAGES := tests/pages
TESTSUITE := tests/conformance
INTEGRATION := $(filter-out $(WHEEL) $(REDIS),$(call integration_of,*.py)) \
  tests/interop tests/hostile tests/soak
OLDEST := $(addprefix $(UNIT)/,private net log protocol broker/redis server/test_attributes.py \
  client/test_security.py cli/test_command.py workers/child/test_ports.py)
PYTHON_CODEC := $(UNIT) tests/hostile/test_floods.py tests/hostile/test_protocol_errors.py

# Three environments in one folder, each with all of the one before: to run, to change a line, and
# to test everything.
environment := $(VENV)/.installed
dev_environment := $(VENV)/.installed-for-developers
test_environment := $(VENV)/.installed-for-tests
# With the oldest versions of what users install.
oldest := $(VENV)-oldest
installed_from := $(VENV)/bin/python pyproject.toml setup.py wsservice/protocol/frames/_native.c
# Only where npm is: without it, the tests that need ws skip.
interop := $(if $(shell command -v npm),tests/interop/node_modules/.installed)

.DEFAULT_GOAL := help
.PHONY: help serve environment check test lint types tests tests-again \
  unit oldest python-codec integration redis pages wheel testsuite \
  conformance conformance-quick hostile chaos soak bench \
  bench-workers bench-publishing bench-redis options format clean

help:
	@sed -n 's/^#   //p' Makefile

serve: $(environment)
	@echo 'In another terminal: $(bin)/python -m wsservice.client$(if $(filter-out 8080,$(PORT)), ws://localhost:$(PORT)/websockets/)'
	$(bin)/twistd -n wsdemo --port $(PORT)

environment: $(test_environment)

check: $(dev_environment)
	@$(bin)/python -m tools.check $(FILE)

test: lint types tests

lint: $(dev_environment)
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/python -m tools.prose --quiet

types: $(test_environment)
	$(bin)/mypy

tests: $(test_environment) $(interop)
	$(pytest) $(TESTS) $(COVERAGE) $(BESIDE)

# Those of the last run that failed, one after another, with nothing beside them.
tests-again: $(test_environment)
	$(pytest) $(TESTS) --last-failed --last-failed-no-failures none

unit: $(test_environment)
	$(pytest) $(UNIT) $(BESIDE)

oldest: $(oldest)/.installed
	$(oldest)/bin/python -m pytest $(PYTEST_OPTIONS) $(OLDEST) $(BESIDE)

python-codec: $(test_environment)
	WSSERVICE_NATIVE=0 $(pytest) $(PYTHON_CODEC) $(BESIDE)

integration: $(test_environment) $(interop)
	$(pytest) $(INTEGRATION) $(BESIDE)

redis: $(test_environment)
	$(pytest) $(REDIS) $(BESIDE)

pages: $(test_environment)
	$(pytest) $(PAGES) $(BESIDE)

testsuite: $(test_environment)
	$(pytest) $(TESTSUITE)

wheel: $(test_environment)
	$(pytest) $(WHEEL)

conformance: $(test_environment)
	$(bin)/python -m tests.conformance $(if $(URL),--url $(URL)) $(CASES)

conformance-quick: $(test_environment)
	$(bin)/python -m tests.conformance --quick

hostile: $(test_environment)
	$(bin)/python -m tests.hostile $(ROWS)

chaos: $(test_environment)
	$(bin)/python -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(FAULTS),--faults $(FAULTS))

soak: $(test_environment)
	$(bin)/python -m tests.soak $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(WORKERS),--workers $(WORKERS)) $(if $(WRITE),--write)

bench: $(environment)
	$(bin)/python -m benchmarks $(WORKS) $(if $(SERVERS),--servers $(SERVERS)) \
	  $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SCALE),--scale $(SCALE))

bench-workers: $(environment)
	$(bin)/python -m benchmarks.workers

bench-publishing: $(environment)
	$(bin)/python -m benchmarks.publishing --write

bench-redis: $(test_environment)
	$(bin)/python -m benchmarks.scaling

options: $(environment)
	$(bin)/python -m tools.options

format: $(dev_environment)
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

clean:
	rm -rf .venv .venv-* build *.egg-info wsservice/protocol/frames/*.so tests/interop/node_modules \
	  benchmarks/node_modules benchmarks/build

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is not Python 3.11 or later: name one, make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(environment): $(installed_from)
	$(bin)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(dev_environment): $(installed_from)
	$(bin)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(environment)

$(test_environment): $(installed_from)
	$(bin)/pip install --quiet --disable-pip-version-check --editable '.[test-all]'
	@touch $@ $(dev_environment) $(environment)

$(oldest)/.installed: pyproject.toml setup.py tools/oldest.py
	$(PYTHON) -m venv $(oldest)
	$(PYTHON) -m tools.oldest >$(oldest)/constraints.txt
	$(oldest)/bin/pip install --quiet --disable-pip-version-check \
	  --constraint $(oldest)/constraints.txt --editable '.[cli,redis,test]'
	@touch $@

tests/interop/node_modules/.installed: tests/interop/package.json
	@cd tests/interop && \
	  npm install --no-package-lock --no-audit --no-fund --silent && touch node_modules/.installed || \
	  echo 'npm could not install ws: the tests that need it skip' >&2
