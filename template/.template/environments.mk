# The environments the targets run in: each holds what one of the hashed locks in requirements/ pins.
PYTHON ?= python3
here := $(dir $(lastword $(MAKEFILE_LIST)))
locks := $(here:.template/=requirements/)

# uv installs them. One that is there already saves fetching it: make setup UV=/usr/local/bin/uv
ifndef UV
UV := $(CURDIR)/build/uv/bin/uv
fetched := build/uv/.stamp
endif
export PYTHON UV

# Environments hold what the locks pin, and nothing from elsewhere.
unexport PYTHONHOME PYTHONPATH PYTHONOPTIMIZE

# The machine's certificates, as pip has them: a company's proxy signs with its own.
UV_SYSTEM_CERTS ?= 1
export UV_SYSTEM_CERTS
UV_PYTHON_DOWNLOADS ?= never
export UV_PYTHON_DOWNLOADS

# A command without the settings of whoever runs it.
isolated = $(PYTHON) -I $(here)isolated.py

# An environment is made anew if its Python is gone, or if it has been moved.
made := $(shell for stamp in .venv/.stamp build/*/.stamp; do folder=$${stamp%/.stamp}; \
	if [ -f "$$stamp" ] && [ -e "$$folder/pyvenv.cfg" ] && \
		! { [ -x "$$folder/bin/python" ] && [ "$$(cat "$$stamp")" = "$$(cd "$$folder" && pwd -P)" ]; }; then rm "$$stamp"; fi; done)
stamp = (cd $(@D) && pwd -P) > $@

check_python = $(PYTHON) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "$(PYTHON) is not Python 3.11 or newer with its venv module (Debian: python3-venv):" \
	"install it, or name another: make setup PYTHON=python3.13" >&2; exit 1; }; \
	case "$$PWD" in *:*) echo "error: Python makes no environment in a folder with a colon in its path:" \
	"move $$PWD" >&2; exit 1;; esac

# Hashes don't cover what a package is built with, and building it runs its code. So nothing is built here, unless
# pyproject.toml names it, for an SDK that has no wheels: under [tool.uv], no-binary-package = ["its-name"].
sdists := $(shell sed -n 's/^no-binary-package = \[\(.*\)\]$$/\1/p' pyproject.toml | tr -d '",')
wheels := --only-binary :all: $(addprefix --no-binary ,$(sdists))

# $(call environment,DIR,LOCK): DIR becomes a virtual environment of what LOCK pins and nothing else.
# From uv's cache if that holds it all: no network is asked, or needed.
sync = $(isolated) "$$UV" pip sync --require-hashes $(wheels) --python
environment = $(check_python); $(isolated) $(PYTHON) -m venv --clear --without-pip $(1) \
	&& { $(sync) $(1)/bin/python --quiet --offline $(2) 2>/dev/null || $(sync) $(1)/bin/python --quiet $(2); }

# $(call lock,WHAT,FILE): pin WHAT in FILE within the bounds in pyproject.toml. What FILE pins already stays,
# unless `upgrade` is $(newest): the newest that is a week old, by when a malicious one has most likely been found.
# A mirror that does not tell when a package was uploaded needs COOLDOWN=.
COOLDOWN ?= 7 days
newest = --upgrade $(if $(COOLDOWN),--exclude-newer '$(COOLDOWN)')
lock = $(isolated) "$$UV" pip compile --quiet $(upgrade) --universal --python-version 3.11 --generate-hashes \
	$(wheels) --no-annotate --custom-compile-command 'make lock' $(1) --output-file $(2)

build/uv/.stamp: $(locks)uv.txt
	@$(check_python)
	@echo 'Fetching uv, which installs the rest'
	@$(isolated) $(PYTHON) -m venv --clear build/uv
	@$(isolated) build/uv/bin/python -m pip install --quiet --require-hashes $(wheels) --requirement $<
	@$(stamp)

build/%/.stamp: $(locks)%.txt $(fetched)
	@echo 'Installing $* into build/$*'
	@$(call environment,build/$*,$<)
	@$(stamp)
