# The virtual environments of the targets. Each contains the packages in one of the locks in requirements/.
PYTHON ?= python3
here := $(dir $(lastword $(MAKEFILE_LIST)))
locks := $(here:.template/=requirements/)

# uv installs them. To use an installed uv instead of downloading it: make setup UV=/usr/local/bin/uv
ifndef UV
UV := $(CURDIR)/build/uv/bin/uv
fetched := build/uv/.stamp
endif
export PYTHON UV

# Don't let packages from elsewhere into the environments.
unexport PYTHONHOME PYTHONPATH PYTHONOPTIMIZE

# Use the machine's certificates, like pip does: a company's proxy signs with its own CA.
UV_SYSTEM_CERTS ?= 1
export UV_SYSTEM_CERTS
UV_PYTHON_DOWNLOADS ?= never
export UV_PYTHON_DOWNLOADS

# Runs a command without the user's settings.
isolated = $(PYTHON) -I $(here)isolated.py

# Recreate an environment if its Python is gone, or if it was moved.
made := $(shell for stamp in .venv/.stamp build/*/.stamp; do folder=$${stamp%/.stamp}; \
	if [ -f "$$stamp" ] && [ -e "$$folder/pyvenv.cfg" ] && \
		! { [ -x "$$folder/bin/python" ] && [ "$$(cat "$$stamp")" = "$$(cd "$$folder" && pwd -P)" ]; }; then rm "$$stamp"; fi; done)
stamp = (cd $(@D) && pwd -P) > $@

check_python = $(PYTHON) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "$(PYTHON) is not Python 3.11 or newer with its venv module (Debian: python3-venv):" \
	"install it, or choose another: make setup PYTHON=python3.13" >&2; exit 1; }; \
	case "$$PWD" in *:*) echo "error: Python can't create an environment in a path with a colon:" \
	"move $$PWD" >&2; exit 1;; esac

# Hashes don't cover the tools that build a package, and building it runs its code. So only the packages are built that
# pyproject.toml names, for an SDK without wheels: under [tool.uv], no-binary-package = ["its-name"].
sdists = $(if $(wildcard pyproject.toml),$(shell sed -n 's/^no-binary-package = \[\(.*\)\]$$/\1/p' pyproject.toml | tr -d '",'))
wheels = --only-binary :all: $(addprefix --no-binary ,$(sdists))

# $(call environment,DIR,LOCK): create a virtual environment in DIR with exactly the packages in LOCK.
# If uv's cache contains all of them, this needs no network.
sync = $(isolated) "$$UV" pip sync --require-hashes $(wheels) --python
environment = $(check_python); $(isolated) $(PYTHON) -m venv --clear --without-pip $(1) \
	&& { $(sync) $(1)/bin/python --quiet --offline $(2) 2>/dev/null || $(sync) $(1)/bin/python --quiet $(2); }

# $(call lock,WHAT,FILE): pin WHAT in FILE within the bounds in pyproject.toml. Existing pins in FILE stay, unless
# `upgrade` is $(newest): the newest versions that are a week old, because malicious ones are usually found by then.
# If your mirror does not report upload times, set COOLDOWN= to an empty value.
COOLDOWN ?= 7 days
newest = --upgrade $(if $(COOLDOWN),--exclude-newer '$(COOLDOWN)')
lock = $(isolated) "$$UV" pip compile --quiet $(upgrade) --universal --python-version 3.11 --generate-hashes \
	$(wheels) --no-annotate --custom-compile-command 'make lock' $(1) --output-file $(2)

build/uv/.stamp: $(locks)uv.txt
	@$(check_python)
	@echo 'Downloading uv, which installs the rest'
	@$(isolated) $(PYTHON) -m venv --clear build/uv
	@$(isolated) build/uv/bin/python -m pip install --quiet --require-hashes $(wheels) --requirement $<
	@$(stamp)

build/%/.stamp: $(locks)%.txt $(fetched)
	@echo 'Installing $* into build/$*'
	@$(call environment,build/$*,$<)
	@$(stamp)
