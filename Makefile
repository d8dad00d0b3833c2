.DEFAULT_GOAL := help
include template/requirements/venv.mk

# Rendered projects set themselves up with the same uv and Python, whatever make was told on its command line.
python := MAKEFLAGS= UV="$(UV)" PYTHON="$(PYTHON)" .venv/bin/python

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: .venv/.stamp build/stubs/.stamp build/copier/.stamp build/docs/.stamp build/example/.stamp build/locks/.stamp ## install the tools into .venv (the other targets do it too)

.venv/.stamp: requirements/dev.txt $(uv)
	@echo 'Installing the tools into .venv'
	@$(call environment,.venv,requirements/dev.txt)
	@touch $@

build/docs/.stamp: requirements/docs.txt $(uv)
	@echo 'Installing docs into build/docs'
	@$(call environment,build/docs,$<)
	@touch $@

# Never run: it brings what the tests of the example install into uv's cache.
build/example/.stamp: examples/aws/requirements/dev.txt $(uv)
	@echo 'Installing what the example needs into build/example'
	@$(call environment,build/example,$<)
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

.PHONY: example
example: .venv/.stamp ## render a project into DIR, and fill it in for AWS EC2
	@test -n "$(DIR)" || { echo 'Say where: make example DIR=../mcm-provider-aws' >&2; exit 1; }
	@$(python) -m scripts.example "$(DIR)"

.PHONY: test
test: setup ## run the tests, which render projects and run theirs
	$(python) -m pytest -n auto

.PHONY: e2e
e2e: setup ## run rendered drivers under the real machine-controller-manager; needs Go
	@.venv/bin/python -m e2e.binaries
	$(python) -m pytest -n 6 -rP e2e

.PHONY: bridge
bridge: ## build the bridge and machine-controller-manager into bridge/bin; needs Go
	@$(MAKE) --no-print-directory -C bridge build

.PHONY: check-bridge
check-bridge: build/stubs/.stamp ## check the bridge: format, vet, lint, stubs, tests; needs Go
	@$(MAKE) --no-print-directory -C bridge check

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
	.venv/bin/python -m mypy --config-file template/mypy.ini template/cmi tests scripts e2e bench/*.py

SITE ?= build/site
.PHONY: docs
docs: build/docs/.stamp ## build the documentation into build/site; a warning or a broken link is an error
	@build/docs/bin/python -m sphinx --fail-on-warning --keep-going --quiet --fresh-env docs "$(SITE)"
	@echo 'Built $(SITE)/index.html'

.PHONY: reference
reference: .venv/.stamp ## write the parts of docs/reference/ that are made from the code
	@PYTHONPATH=template .venv/bin/python -m cogapp -r -P -I scripts docs/reference/*.md

.PHONY: lock revendor
lock: ## pin what the pyproject.toml of the rendered project and ours ask for, and change no other pin
revendor: upgrade = $(newest)
revendor: ## pin the newest dependencies that both allow, and regenerate the stubs
lock revendor: .venv/.stamp
	set -e; project=$$(mktemp -d); trap 'rm -rf "$$project"' EXIT; \
	.venv/bin/python -m copier copy --quiet --defaults --vcs-ref HEAD --data provider_name=example . "$$project"; \
	$(MAKE) -C "$$project" $@ UV="$(UV)"; \
	cp "$$project"/requirements/*.txt template/requirements/; \
	cp "$$project"/cmi/v1/cmi_pb2* template/cmi/v1/; \
	$(MAKE) relock
	$(call lock,template/requirements/dev.txt --group dev,requirements/dev.txt)
	$(call lock,template/requirements/run.txt --group docs,requirements/docs.txt)

# The example pins what the template pins, and its own dependencies on top.
.PHONY: relock
relock: .venv/.stamp
	set -e; project=$$(mktemp -d); trap 'rm -rf "$$project"' EXIT; \
	cp template/requirements/run.txt template/requirements/dev.txt examples/aws/requirements/; \
	$(python) -m scripts.example "$$project"; \
	$(MAKE) -C "$$project" lock UV="$(UV)"; \
	cp "$$project"/requirements/run.txt "$$project"/requirements/dev.txt examples/aws/requirements/

.PHONY: release
release: .venv/.stamp ## check the tree, date the changelog, commit and tag: VERSION=1.2.3
	@$(python) scripts/release.py $(VERSION)

.PHONY: clean
clean: ## remove what the targets made
	rm -rf .venv build bridge/bin .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
