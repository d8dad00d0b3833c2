.DEFAULT_GOAL := help
include template/requirements/venv.mk

# Rendered projects set themselves up with the same uv and Python, whatever make was told on its command line.
python := MAKEFLAGS= UV="$(UV)" PYTHON="$(PYTHON)" .venv/bin/python

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: .venv/.stamp build/stubs/.stamp build/copier/.stamp build/locks/.stamp ## install the tools into .venv (the other targets do it too)

.venv/.stamp: requirements/dev.txt $(uv)
	@echo 'Installing the tools into .venv'
	@$(call environment,.venv,requirements/dev.txt)
	@touch $@

# Tests lock dependencies too, without a network: from what this leaves in uv's cache.
build/locks/.stamp: $(wildcard template/requirements/*.txt) $(uv)
	@echo 'Looking up what the locks pin'
	@mkdir -p $(@D)
	@set -e; for file in template/requirements/*.txt; do $(call lock,$$file,$(@D)/$$(basename $$file)); done
	@touch $@

.PHONY: demo
demo: .venv/.stamp ## render a project, run its driver, create and delete machines
	@$(python) scripts/demo.py

.PHONY: test
test: setup ## run the tests, which render projects and run theirs
	$(python) -m pytest -n auto

.PHONY: conformance
conformance: .venv/.stamp ## check a running driver in any language: ENDPOINT=tcp://… CLASS=FILE SECRET=FILE
	@PYTHONPATH=template .venv/bin/python -m cmi conformance --endpoint="$(ENDPOINT)" \
		--class="$(CLASS)" --secret="$(SECRET)" $(if $(VOLUMES),--volumes="$(VOLUMES)")

.PHONY: bench
bench: .venv/.stamp build/stubs/.stamp ## measure, against the smallest servers; QUICK=1: in under two minutes
	@PYTHONPATH=template $(python) -m bench $(if $(QUICK),--quick)

.PHONY: lint
lint: .venv/.stamp ## check style and format
	.venv/bin/python -m ruff check
	.venv/bin/python -m ruff format --check

.PHONY: format
format: .venv/.stamp ## mend style and format
	.venv/bin/python -m ruff check --fix
	.venv/bin/python -m ruff format

.PHONY: types
types: .venv/.stamp ## check the types, strictly (a rendered project checks the provider's)
	.venv/bin/python -m mypy --config-file template/mypy.ini template/cmi tests scripts bench/*.py

.PHONY: lock revendor
lock: ## pin what the pyproject.toml of the rendered project and ours ask for, and change no other pin
revendor: upgrade = --upgrade
revendor: ## pin the newest dependencies that both allow, and regenerate the stubs
lock revendor: .venv/.stamp
	set -e; project=$$(mktemp -d); trap 'rm -rf "$$project"' EXIT; \
	.venv/bin/python -m copier copy --quiet --defaults --vcs-ref HEAD --data provider_name=example . "$$project"; \
	$(MAKE) -C "$$project" $@ UV="$(UV)"; \
	cp "$$project"/requirements/*.txt template/requirements/; \
	cp "$$project"/cmi/v1/cmi_pb2* template/cmi/v1/
	$(call lock,template/requirements/dev.txt --group dev,requirements/dev.txt)

.PHONY: release
release: .venv/.stamp ## check the tree, date the changelog, commit and tag: VERSION=1.2.3
	@$(python) scripts/release.py $(VERSION)

.PHONY: clean
clean: ## remove what the targets made
	rm -rf .venv build .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
