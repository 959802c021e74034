# Every target says what it installs before it does so. `make demo` and `make test` are the two commands of the README.
SHELL := /bin/bash
VENV  := .venv
BIN   := $(VENV)/bin
INVENTORY ?= inventories/lab.py

.PHONY: help venv demo test check bench lab-up lab-down

help:
	@echo "make demo      lab hosts, a PgBouncer deploy, a peak, a cutover, and the peak again"
	@echo "make test      every test, on real hosts; prints the slowest"
	@echo "make check     lint, types and the fast tests, in seconds"
	@echo "make bench     a redeploy beside Ansible's, as a ratio (BENCH=\"--hosts 20\")"
	@echo "make lab-up    only the lab hosts        make lab-down    remove them again"

venv: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "==> Python packages into $(VENV)/ (versions in constraints.txt)"
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Poolward needs Python 3.11 or newer; python3 here is $$(python3 -V)."; exit 1; }
	@python3 -c 'import ensurepip' 2>/dev/null || if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "==> python3-venv from Debian's packages"; \
		apt-get update -q >/dev/null && apt-get install -y -q --no-install-recommends python3-venv >/dev/null; \
	else echo "Python here cannot make a virtual environment: install python3-venv."; exit 1; fi
	@test -x $(BIN)/python || python3 -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

lab-up: venv
	@$(BIN)/python -m lab up

lab-down: venv
	@$(BIN)/python -m lab down

demo: lab-up
	@echo "==> Deploying PgBouncer: poolward run pgbouncer $(INVENTORY)"
	@$(BIN)/poolward run pgbouncer $(INVENTORY)
	@echo "==> What is true now: poolward verify $(INVENTORY)"
	@$(BIN)/poolward verify $(INVENTORY)
	@echo "==> The incident, the cutover of eight services, the same peak again: python -m lab rehearse"
	@$(BIN)/python -m lab rehearse
	@echo "==> Where every service stands: poolward services $(INVENTORY)"
	@$(BIN)/poolward services $(INVENTORY)

check: venv
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/pytest -q tests/unit

test: lab-up check
	@$(BIN)/pytest --durations=20 tests/fake tests/cli tests/lab

bench: venv
	@$(BIN)/python -m benchmarks.redeploy $(BENCH)
