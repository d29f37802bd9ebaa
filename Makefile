# Each target sets up what it needs. Ctrl-C stops all that one has started.
VENV := .venv
OLDEST := .venv-django52
PYTHON := $(VENV)/bin/python
PIP := -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test lint format smoke contract differential fidelity paging faults walk refreshes bench coverage docs services clean

help:
	@echo "make demo       a site to click through, on http://localhost:8000/ (PORT=… for another port)"
	@echo "make test       every test, on the newest Django and on 5.2"
	@echo "make lint       style, types, import rings, migrations"
	@echo "make smoke      the main job, from Connect to Disconnect, without a browser"
	@echo "make contract   replay recorded exchanges: DIR=…"
	@echo "make faults     thousands of writes while everything breaks: N=2000 STRATEGY=marker|key VERSION=15|16 BROKER=redis|rabbitmq SEED=…"
	@echo "make walk       random lives of writes with workers killed at any statement: N=300 STEPS=50"
	@echo "make refreshes  hundreds of processes and kill -9 around one expired token, on each database"
	@echo "make differential  random querysets, here and in Django's database: N=… SEED=…, ERPNEXT_URL=… for a real site"
	@echo "make fidelity   random questions, to a real site and to a sandbox of the same: N=… SEED=…, with ERPNEXT_URL=…"
	@echo "make paging     long lists while others write: SECONDS=…, ERPNEXT_URL=… for a real site"
	@echo "make bench      how fast it is, next to plain requests: ONLY=… for some, ERPNEXT_URL=… for a real site"
	@echo "make coverage   which lines and branches no test runs"
	@echo "make docs       the documentation as pages, in site/"
	@echo "make services   install redis-server, rabbitmq-server, postgresql, mariadb-server, chromium and iproute2 for the tests (Debian, as root)"

$(VENV)/.ready: requirements.txt requirements-dev.txt
	@$(PYTHON) -c "" 2>/dev/null || "$$(.ci/python 3.13)" -m venv --clear $(VENV)
	@$(PYTHON) $(PIP) -r requirements.txt -r requirements-dev.txt
	@touch $@

$(OLDEST)/.ready: requirements.txt requirements-dev.txt
	@$(OLDEST)/bin/python -c "" 2>/dev/null || "$$(.ci/python 3.11)" -m venv --clear $(OLDEST)
	@$(OLDEST)/bin/python $(PIP) -r requirements.txt -r requirements-dev.txt
	@$(OLDEST)/bin/python $(PIP) "django>=5.2,<5.3"
	@touch $@

demo: $(VENV)/.ready
	@exec $(PYTHON) -m project.demo

smoke: $(VENV)/.ready
	@$(PYTHON) -m project.smoke

PYTEST := -m pytest -n auto --dist loadgroup -rs
VERSIONS := -c "import django, platform; print(f'Django {django.__version__} on Python {platform.python_version()}')"

test: $(VENV)/.ready $(OLDEST)/.ready
	@failed=; for python in $(PYTHON) $(OLDEST)/bin/python; do \
	  echo "== $$($$python $(VERSIONS))"; \
	  $$python $(PYTEST) || failed="$$failed, $$($$python $(VERSIONS))"; \
	done; \
	if [ -n "$$failed" ]; then echo "test: not passed: $${failed#, }"; exit 1; fi; \
	echo "test: all passed on 2 of 2: $$($(PYTHON) $(VERSIONS)), $$($(OLDEST)/bin/python $(VERSIONS))"

coverage: $(VENV)/.ready
	@rm -f .coverage .coverage.*
	@$(PYTHON) -m coverage run -m pytest -n auto --dist loadgroup
	@$(PYTHON) -m coverage combine --quiet
	@$(PYTHON) -m coverage report

lint: $(VENV)/.ready
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --quiet --check .
	@$(VENV)/bin/mypy --no-error-summary
	@$(VENV)/bin/lint-imports --no-logo
	@$(PYTHON) manage.py makemigrations --check --dry-run --verbosity 0
	@$(PYTHON) manage.py check --fail-level WARNING > /dev/null
	@echo "lint: 0 problems in $$(git ls-files '*.py' | wc -l) files"

format: $(VENV)/.ready
	@$(VENV)/bin/ruff check --fix --quiet .
	@$(VENV)/bin/ruff format .

contract: $(VENV)/.ready
	@$(PYTHON) -m tests.contract_replay $(DIR)

faults: $(VENV)/.ready
	@$(PYTHON) -m tests.faults $(if $(N),--count $(N)) $(if $(STRATEGY),--strategy $(STRATEGY)) $(if $(VERSION),--version $(VERSION)) \
	  $(if $(BROKER),--broker $(BROKER)) $(if $(SEED),--seed $(SEED))

walk: $(VENV)/.ready
	@WALKS=$(or $(N),300) WALK_STEPS=$(or $(STEPS),50) $(PYTHON) -m pytest -q tests/test_write_machine.py

refreshes: $(VENV)/.ready
	@$(PYTHON) -m tests.refreshes

differential: $(VENV)/.ready
	@$(PYTHON) -m tests.differential $(or $(N),1000) $(SEED)

fidelity: $(VENV)/.ready
	@$(PYTHON) -m tests.fidelity $(or $(N),1000) $(SEED)

paging: $(VENV)/.ready
	@$(PYTHON) -m tests.paging $(SECONDS)

bench: $(VENV)/.ready
	@$(PYTHON) -m benchmarks $(ONLY)

docs: $(VENV)/.ready
	@$(VENV)/bin/mkdocs build --strict --quiet
	@echo "docs: $$(find site -name '*.html' | wc -l) pages in site/"

services:
	@.ci/services

clean:
	rm -rf $(VENV) $(OLDEST) .demo build dist site *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
