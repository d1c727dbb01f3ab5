# Every target sets up what it needs: a Python ≥ 3.11 and make are enough. Try `make demo`.
.DEFAULT_GOAL := help
.PHONY: help demo serve test test-long check bench lock clean

BIN := .venv/bin
JOBS ?= 2
PIP_QUIET := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
UV := $(BIN)/uv
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate --no-emit-index-url --no-emit-find-links

# The first that runs, is new enough and can make virtual environments.
FIND_PYTHON = for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done

help:
	@echo "make demo       the whole story in a minute: author, test, publish, run, kill -9, approve (ONCE=1 to exit at the end)"
	@echo "make serve      the server on http://127.0.0.1:7337"
	@echo "make test       the tests (up to 20 minutes on two slow cores)"
	@echo "make test-long  fault, soak and MCP conformance suites"
	@echo "make check      ruff, types, import rules"
	@echo "make bench      speed, side by side with stock LangGraph"
	@echo "make lock       resolve the requirements*.lock files anew"
	@echo "make clean      remove .venv and caches"

demo: .venv/.ready
	@$(BIN)/weft demo $(if $(ONCE),--once)

serve: .venv/.ready
	@$(BIN)/weft serve

test: .venv/.ready-dev
	@$(BIN)/python -m pytest -n $(JOBS) -m "not long" $(ARGS)

test-long: .venv/.ready-dev
	@$(BIN)/python -m pytest -m long $(ARGS)

check: .venv/.ready-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/basedpyright

bench: .venv/.ready-dev
	@$(BIN)/python -m benchmarks $(ARGS)

lock: .venv/.build
	@$(COMPILE) --upgrade requirements-build.in -o requirements-build.lock
	@$(COMPILE) --upgrade pyproject.toml -o requirements.lock
	@$(COMPILE) --upgrade pyproject.toml --extra dev -o requirements-dev.lock
	@! grep -nE '[a-z]+://|index-url|find-links' requirements*.lock || { echo "A lock file names a registry; see above." >&2; exit 1; }

clean:
	rm -rf .venv .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- setting up: each stamp is made once and again only when what it depends on changes -------------------------------------------

.venv/.build: requirements-build.lock
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		echo "Weft needs Python 3.11 or newer with its venv module; none was found as python3.13, python3.12, python3.11 or python3." >&2; \
		echo "Install one (Debian and Ubuntu: apt-get install python3 python3-venv) and run make again." >&2; exit 1; fi; \
	echo "Setting up .venv with $$($$python -V) ..."; \
	[ -x $(BIN)/python ] && $(BIN)/python -c 'import pip' 2>/dev/null || $$python -m venv --clear .venv
	@$(PIP_QUIET) $(BIN)/python -m pip install -qq --require-hashes -r requirements-build.lock
	@touch $@

.venv/.ready: requirements.lock pyproject.toml .venv/.build
	@echo "Installing $$(grep -c == requirements.lock) packages from requirements.lock, each checked against its hash ..."
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.ready-dev: requirements-dev.lock .venv/.ready
	@echo "Installing the tools of requirements-dev.lock ..."
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@touch $@
