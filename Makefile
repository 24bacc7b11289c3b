# Everything a newcomer or CI runs. Needs Python 3.11 or later, and nothing else.
#
#   make serve                    environment, install, twistd -n wsdemo --port 8080
#   make test                     environment, lint, types, every test
#   make test PYTHON=python3.12   the same with another Python, in an environment of its own

PYTHON ?= python3
VENV ?= .venv$(if $(filter-out python3,$(notdir $(PYTHON))),-$(notdir $(PYTHON)))
PORT ?= 8080
TESTS ?= tests

bin := $(VENV)/bin
environment := $(VENV)/.installed
test_environment := $(VENV)/.installed-for-tests

.DEFAULT_GOAL := help
.PHONY: help serve test lint types tests format clean

help:
	@sed -n 's/^#   //p' Makefile

serve: $(environment)
	@echo 'In another terminal: $(bin)/python -m wsservice.client'
	$(bin)/twistd -n wsdemo --port $(PORT)

test: lint types tests

lint: $(test_environment)
	$(bin)/ruff check .
	$(bin)/ruff format --check .

types: $(test_environment)
	$(bin)/mypy

tests: $(test_environment)
	$(bin)/python -m pytest $(TESTS) --cov --cov-report=term

format: $(test_environment)
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

clean:
	rm -rf .venv .venv-* tests/interop/node_modules

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is not Python 3.11 or later: name one, make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(environment): $(VENV)/bin/python pyproject.toml
	$(bin)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(test_environment): $(VENV)/bin/python pyproject.toml
	$(bin)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(environment)
