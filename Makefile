# make run    set up everything a bare checkout needs, then trade on paper against the embedded exchange
# make test   the same with the tests' own libraries, then all tests; ARGS='-k feed' narrows them
# make check  style, types, import order        make bench  figures for docs        make wheel  dist/*.whl
# make mutate every rule of trading turned round, one after the other: some test must fail for it
# ARGS='...' is handed on: make run ARGS='--for 120s --speed 60'

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
KITE := .venv-kiteconnect
PEERS := .venv-peers
BIN := $(VENV)/bin
# A stamp lies in the environment that it speaks of: without the environment there is no stamp.
RUN_STAMP := $(VENV)/.atmand-run
TEST_STAMP := $(VENV)/.atmand-test
KITE_STAMP := $(KITE)/.atmand-kiteconnect
PEERS_STAMP := $(PEERS)/.atmand-peers
PINS := pyproject.toml constraints.txt

export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The first Python of 3.11 or newer; PYTHON=... chooses another.
PYTHON ?= $(shell for each in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$each; break; }; done)

# pip, one short line a package: silent minutes look like a hang.
define INSTALL
	{ $(1) -m pip install --progress-bar off $(2) \
		| { grep --line-buffered -oE '^(Collecting [^ ;]+|  (Downloading|Using cached) [^ ]+( \([^)]*\))?|Installing collected packages|Building wheel.*)' \
		| grep --line-buffered -v metadata || true; }; }
endef

.PHONY: help run test check mutate bench wheel clean distclean

help:
	@sed -n 's/^# \(make\)/\1/p' Makefile

run: $(RUN_STAMP)
	@exec $(BIN)/atmand run $(ARGS)

test: $(TEST_STAMP) $(KITE_STAMP) $(PEERS_STAMP)
	@echo '== tests'
	@export ATMAND_KITECONNECT_PYTHON="$${ATMAND_KITECONNECT_PYTHON:-$(CURDIR)/$(KITE)/bin/python}" \
		ATMAND_PEERS_PYTHON="$${ATMAND_PEERS_PYTHON:-$(CURDIR)/$(PEERS)/bin/python}"; \
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

mutate: $(TEST_STAMP)
	@$(BIN)/python tests/core/mutations.py $(ARGS)

check: $(TEST_STAMP)
	@echo '== ruff'; $(BIN)/ruff check .; $(BIN)/ruff format --check .
	@echo '== mypy'; $(BIN)/mypy
	@echo '== import order'; $(BIN)/lint-imports

bench: $(TEST_STAMP) $(KITE_STAMP)
	@export ATMAND_KITECONNECT_PYTHON="$${ATMAND_KITECONNECT_PYTHON:-$(CURDIR)/$(KITE)/bin/python}"; \
	for script in benchmarks/[!_]*.py benchmarks/core/[!_]*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

wheel: $(RUN_STAMP)
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	@ls dist/*.whl

$(RUN_STAMP): $(PINS)
	@$(MAKE) $(BIN)/python
	@echo '== installing atmand and what it needs (about half a minute, 600 MB)'
	@$(call INSTALL,$(BIN)/python,-c constraints.txt -e .)
	@touch $@
	@echo '== installed'

$(TEST_STAMP): $(PINS)
	@$(MAKE) $(BIN)/python
	@echo '== installing atmand and what its tests need'
	@$(call INSTALL,$(BIN)/python,-c constraints.txt -e '.[test]')
	@touch $@ $(RUN_STAMP)
	@echo '== installed'

# The official SDK pins old libraries and owns a reactor: it gets an environment and a process of its own.
$(KITE_STAMP): tests/kiteconnect.txt
	@$(MAKE) $(KITE)/bin/python
	@echo "== installing the broker's own SDK, which the tests compare with"
	@$(call INSTALL,$(KITE)/bin/python,-r tests/kiteconnect.txt)
	@touch $@
	@echo '== installed'

# What other back-testers need is theirs too.
$(PEERS_STAMP): tests/peers.txt
	@$(MAKE) $(PEERS)/bin/python
	@echo '== installing backtesting.py, which the tests compare with'
	@$(call INSTALL,$(PEERS)/bin/python,-r tests/peers.txt)
	@touch $@
	@echo '== installed'

%/bin/python:
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed: apt install python3 python3-venv' >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo '$(PYTHON) has no venv module: apt install python3-venv' >&2; exit 2; }
	@echo "== making $* with $$($(PYTHON) --version)"
	@rm -rf $*
	@$(PYTHON) -m venv $* || { rm -rf $*; exit 2; }

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find atmand tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(KITE) $(PEERS)
