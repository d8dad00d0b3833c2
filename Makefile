.DEFAULT_GOAL := help
include template/.template/environments.mk

# The options on make's command line are for this make only, not for those that run in rendered projects.
alone := env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS
python := $(alone) .venv/bin/python

define style
set -ex; $(1)/bin/python -m ruff check; $(1)/bin/python -m ruff format --check; \
$(1)/bin/codespell --dictionary=- --dictionary=.codespell-words.txt; \
PYTHONPATH=template $(1)/bin/lint-imports --no-logo --no-cache
endef

# The tests install and lock packages from this cache, without a network. Only `make clean` empties it.
export UV_CACHE_DIR := $(CURDIR)/build/cache
$(shell [ -e build/cache/.stamp ] || rm -f .venv/.stamp build/check/.stamp build/stubs/.stamp)

##@ Look around

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^##@ / { print "\n" substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

# The library of the example of libvirt is built here, which takes libvirt's headers.
libvirt := $(shell pkg-config --exists libvirt 2>/dev/null && echo build/libvirt/.stamp)

.PHONY: setup
setup: .venv/.stamp build/stubs/.stamp build/cache/.stamp $(libvirt) ## install the tools (the other targets do it too)

.venv/.stamp: requirements/dev.txt $(fetched)
	@echo 'Installing the tools into .venv'
	@$(call environment,.venv,$<)
	@$(stamp)

build/check/.stamp build/stubs/.stamp build/libvirt/.stamp: build/%/.stamp: requirements/%.txt $(fetched)
	@echo 'Installing the tools of make $* into build/$*'
	@$(call environment,build/$*,$<)
	@$(stamp)

# Tests lock dependencies too, without a network, from the packages that this leaves in the cache.
build/cache/.stamp: $(wildcard template/requirements/*.txt requirements/*.txt) $(fetched)
	@echo 'Looking up what the locks pin'
	@set -e; locks=$$(mktemp -d); trap 'rm -rf "$$locks"' EXIT; \
	for file in $(filter %.txt,$^); do $(call lock,$$file,"$$locks/$$(basename $$file)"); done
	@touch $@

.PHONY: demo
demo: build/copier/.stamp ## render a project, run its driver, make and delete machines
	@$(alone) build/copier/bin/python scripts/demo.py

##@ Use the template

.PHONY: check-answers
check-answers: .venv/.stamp ## check answers before a copy: FILE=answers.yml
	@test -n "$(FILE)" || { echo 'Say which: make check-answers FILE=answers.yml' >&2; exit 1; }
	@$(python) scripts/check_answers.py "$(FILE)"

.PHONY: example
example: .venv/.stamp ## render into DIR a project for AWS EC2; or OF=libvirt
	@test -n "$(DIR)" || { echo 'Say where: make example DIR=../mcm-provider-aws' >&2; exit 1; }
	@$(python) -m scripts.example "$(DIR)" $(OF)

##@ Check it

.PHONY: check
check: build/check/.stamp ## style, types, tests of framework and questions
	@$(call style,build/check)
	build/check/bin/python -m mypy --config-file template/mypy.ini template/cmi tests/framework tests/test_questions.py
	$(alone) build/check/bin/python -m pytest -n auto --dist worksteal tests/framework tests/test_questions.py

.PHONY: test
test: setup ## run the tests, which render projects and run theirs
	$(python) -m pytest -n auto --dist worksteal -m 'not nightly'

.PHONY: nightly
nightly: setup ## run the tests that are slow and rarely broken
	$(python) -m pytest -n auto --dist worksteal -m nightly

.PHONY: e2e
e2e: setup ## run drivers under the real MCM; needs Go
	@.venv/bin/python -m e2e.binaries
	$(python) -m pytest -n 6 -rP -m 'not real_cluster and not libvirt' e2e

.PHONY: e2e-cluster
e2e-cluster: setup ## run them as Pods of a cluster with real nodes; needs root
	@.venv/bin/python -m e2e.binaries
	@.venv/bin/python -m e2e.real
	$(python) -m pytest -n 2 --dist loadfile -rP -m real_cluster e2e

.PHONY: e2e-libvirt
e2e-libvirt: setup ## run the driver for libvirt with VMs in QEMU; needs root
	@.venv/bin/python -m e2e.binaries
	@.venv/bin/python -m e2e.qemu
	@$(MAKE) --no-print-directory setup # again, for the library of libvirt
	$(python) -m pytest -rP -m libvirt e2e

.PHONY: bridge
bridge: ## build the bridge and MCM into bridge/bin; needs Go
	@$(MAKE) --no-print-directory -C bridge build

.PHONY: check-bridge
check-bridge: build/stubs/.stamp ## check the bridge: format, lint, stubs, tests; needs Go
	@$(MAKE) --no-print-directory -C bridge check

.PHONY: conformance
conformance: .venv/.stamp ## check any driver: ENDPOINT=tcp://… CLASS=FILE SECRET=FILE
	@PYTHONPATH=template .venv/bin/python -m cmi conformance --endpoint="$(ENDPOINT)" \
		--class="$(CLASS)" --secret="$(SECRET)" $(if $(VOLUMES),--volumes="$(VOLUMES)")

.PHONY: bench
bench: .venv/.stamp build/stubs/.stamp ## measure it: hours; QUICK=1: minutes; ONLY="mcm calls"
	@PYTHONPATH=template $(python) -m bench $(ONLY) $(if $(QUICK),--quick)

##@ While you write

.PHONY: lint
lint: .venv/.stamp ## check style, format, spelling and the framework's layers
	@$(call style,.venv)

.PHONY: format
format: .venv/.stamp ## fix style and format
	.venv/bin/python -m ruff check --fix
	.venv/bin/python -m ruff format

.PHONY: types
types: .venv/.stamp ## check the types, strictly
	.venv/bin/python -m mypy --config-file template/mypy.ini template/cmi template/.template tests scripts e2e bench/*.py bench/mcm/*.py

SITE ?= build/site
.PHONY: docs
docs: .venv/.stamp ## build the documentation into build/site, and check links
	@.venv/bin/python -m sphinx --fail-on-warning --keep-going --quiet --fresh-env docs "$(SITE)"
	@echo 'Built $(SITE)/index.html'

.PHONY: site
site: .venv/.stamp ## build the docs of the last releases into build/versions
	@PYTHONPATH=. $(python) -m scripts.site

.PHONY: pictures
pictures: .venv/.stamp build/copier/.stamp ## draw the pictures of the pages again; needs Graphviz
	@.venv/bin/python scripts/pictures.py
	@$(alone) build/copier/bin/python scripts/demo.py | .venv/bin/python scripts/recording.py

.PHONY: reference
reference: .venv/.stamp ## write what the pages have from the code
	@PYTHONPATH=template .venv/bin/python -m cogapp -r -P -I scripts \
		docs/reference/*.md docs/tutorials/add-a-provider.md docs/how-to/grow-a-driver.md docs/how-to/libvirt.md

.PHONY: stubs
stubs: build/stubs/.stamp ## regenerate the template's gRPC stubs from cmi.proto
	cd template && PATH="$(CURDIR)/build/stubs/bin:$$PATH" ../build/stubs/bin/python -m grpc_tools.protoc -I . \
		--python_out=. --grpc_python_out=. --mypy_out=. --mypy_grpc_out=. cmi/v1/cmi.proto

##@ Maintain

.PHONY: lock revendor
lock: ## pin what pyproject.toml asks for; change no other pin
revendor: upgrade = $(newest)
revendor: ## pin the newest dependencies, and regenerate the stubs
lock revendor: .venv/.stamp
	set -e; project=$$(mktemp -d); trap 'rm -rf "$$project"' EXIT; \
	.venv/bin/python -m copier copy --quiet --defaults --vcs-ref HEAD \
		--data provider_name=example --data github_org=example . "$$project"; \
	$(MAKE) -C "$$project" $@; \
	cp "$$project"/requirements/*.txt template/requirements/
	$(call lock,template/requirements/dev.txt template/requirements/copier.txt --group dev,requirements/dev.txt)
	$(call lock,template/requirements/dev.txt template/requirements/copier.txt --group check,requirements/check.txt)
	$(call lock,--group stubs,requirements/stubs.txt)
	$(call lock,--group libvirt --constraints requirements/dev.txt,requirements/libvirt.txt)
	$(if $(upgrade),$(MAKE) stubs)

.PHONY: home
home: .venv/.stamp ## name the template's repository: REPOSITORY=owner/name
	@$(python) scripts/home.py $(REPOSITORY)

.PHONY: release
release: .venv/.stamp ## check, date the changelog, commit, tag: VERSION=1.2.3
	@$(python) scripts/release.py $(VERSION)

.PHONY: clean
clean: ## remove everything that the targets created
	rm -rf .venv build bridge/bin .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
