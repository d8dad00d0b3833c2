# The environments the targets run in: each holds what one of the hashed locks beside this file pins.
PYTHON ?= python3
locks := $(dir $(lastword $(MAKEFILE_LIST)))

# uv installs them. One that is there already saves fetching it: make setup UV=/usr/local/bin/uv
ifndef UV
UV := $(CURDIR)/build/uv/bin/uv
uv := build/uv/bin/uv
endif

# The machine's certificates, as pip has them: a company's proxy signs with its own.
UV_SYSTEM_CERTS ?= 1
export UV_SYSTEM_CERTS
UV_PYTHON_DOWNLOADS ?= never
export UV_PYTHON_DOWNLOADS

check_python = $(PYTHON) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "$(PYTHON) is not Python 3.11 or newer with its venv module (Debian: python3-venv):" \
	"install it, or name another: make setup PYTHON=python3.13" >&2; exit 1; }

# Hashes don't cover what a package is built with, and building it runs its code. So nothing is built here.
wheels := --only-binary :all:

# $(call environment,DIR,LOCK): DIR becomes a virtual environment of what LOCK pins and nothing else.
# From uv's cache if that holds it all: no network is asked, or needed.
sync = "$(UV)" pip sync --require-hashes $(wheels) --python
environment = $(check_python); $(PYTHON) -m venv --clear --without-pip $(1) \
	&& { $(sync) $(1)/bin/python --quiet --offline $(2) 2>/dev/null || $(sync) $(1)/bin/python $(2); }

# $(call lock,WHAT,FILE): pin WHAT in FILE within the bounds in pyproject.toml. What FILE pins already stays,
# unless `upgrade` is $(newest): the newest that is a week old, by when a malicious one has most likely been found.
# A mirror that does not tell when a package was uploaded needs COOLDOWN=.
COOLDOWN ?= 7 days
newest = --upgrade $(if $(COOLDOWN),--exclude-newer '$(COOLDOWN)')
lock = "$(UV)" pip compile --quiet $(upgrade) --universal --python-version 3.11 --generate-hashes \
	$(wheels) --no-annotate --custom-compile-command 'make lock' $(1) --output-file $(2)

build/uv/bin/uv: $(locks)uv.txt
	@$(check_python)
	@echo 'Fetching uv, which installs the rest'
	@$(PYTHON) -m venv --clear build/uv
	@build/uv/bin/python -m pip --disable-pip-version-check install --require-hashes $(wheels) --requirement $<
	@touch $@

build/%/.stamp: $(locks)%.txt $(uv)
	@echo 'Installing $* into build/$*'
	@$(call environment,build/$*,$<)
	@touch $@
