# Targets for people; `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench docs audit sbom wheel dist-check versions clean

help: ## Show these targets.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## Install maskwatch into .venv and look at the example picture.
	$(BIN)/maskwatch image examples/people.jpg --output maskwatch-demo --json maskwatch-demo/people.json
	@$(BIN)/python -c "import json; \
	faces = json.load(open('maskwatch-demo/people.json'))['images'][0]['faces']; \
	[print('  face %d: %s (score %.2f)' % (i, f['verdict'], f['score'])) for i, f in enumerate(faces, 1)]"
	@echo "The annotated picture: $(CURDIR)/maskwatch-demo/people.jpg"

test: $(VENV)/.test lint ## Install all that the tests need into .venv, then lint and test.
	$(BIN)/python -m pytest

lint: $(VENV)/.test ## Style, types and layers.
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if [ -x web/node_modules/.bin/tsc ]; then web/node_modules/.bin/tsc --project web; \
	  else echo "npm is missing: the pages' types were not checked"; fi

bench: $(VENV)/.bench ## Measure against the peers in ../shared/peers; prints ratios.
	$(BIN)/python -m benchmarks

docs: $(VENV)/.docs ## Build the documentation into site/; warnings are errors.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

wheel: $(VENV)/.test ## Build wheel and source package into dist/; the same bytes every time.
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 1577836800) $(BIN)/hatchling build -d dist

dist-check: wheel $(VENV)/.supply ## Would a package index take what is in dist/?
	$(BIN)/twine check --strict dist/*.whl dist/*.tar.gz

sbom: $(VENV)/.supply ## List all that is installed, as CycloneDX, in dist/sbom.json.
	@mkdir -p dist
	$(BIN)/cyclonedx-py environment --output-reproducible --output-file dist/sbom.json $(BIN)/python

audit: $(VENV)/.test ## Ask for known vulnerabilities of the exact versions; says so where nobody answers.
	.ci/audit $(BIN)

versions: ## Lowest and highest dependencies on every Python found here; see docs/platforms.md.
	.ci/versions

clean: ## Remove .venv, caches and the demo's output.
	rm -rf $(VENV) site web/node_modules src/maskwatch/web/static/app/vendor maskwatch-demo .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "maskwatch needs Python 3.10 or newer; name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "no virtual environment could be made; on Debian: apt install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml $(CONSTRAINTS)
	$(PIP) install --quiet --constraint $(CONSTRAINTS) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.python pyproject.toml $(CONSTRAINTS) tests/services/install.sh web/package.json
	$(PIP) install --quiet --upgrade --constraint $(CONSTRAINTS) pip
	sh tests/services/install.sh
	$(BIN)/python web/vendor.py --with-tools || echo "the tests of the pages will be skipped"
	$(PIP) install --quiet --constraint $(CONSTRAINTS) --group test --group tensorflow --editable '.[train,sinks,notify,batch,watch,web]'
	@touch $@

$(VENV)/.supply: $(VENV)/.test
	$(PIP) install --quiet --constraint $(CONSTRAINTS) --group supply
	@touch $@

$(VENV)/.docs: $(VENV)/.test
	$(PIP) install --quiet --constraint $(CONSTRAINTS) --group docs
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	$(PIP) install --quiet --constraint $(CONSTRAINTS) --group bench
	@touch $@
