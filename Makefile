# `make run` opens the app, `make test` runs the tests; both make what they need in .venv first.
#   make run PORT=8000          another port
#   make run PYTHON=python3.12  another Python (3.10 to 3.12)
#   make test ARGS="-k filters" more arguments for pytest
#   make test WORKERS=0         the tests one after the other; by default one process a core, four at most

candidates := python3 python3.12 python3.11 python3.10
fits := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for python in $(candidates); do \
	if $$python -c '$(fits)' >/dev/null 2>&1; then echo $$python; break; fi; done)
PORT ?= 7860
ARGS ?=
WORKERS ?= auto --maxprocesses 4
bin := .venv/bin

export GRADIO_ANALYTICS_ENABLED ?= False

.DEFAULT_GOAL := help
.PHONY: help run test browser slurm lint types contracts format clean environment environment-dev python

help:
	@echo "make run        open the app on http://127.0.0.1:$(PORT)"
	@echo "make test       the tests, without those that drive a browser"
	@echo "make browser    the tests that drive the app in Chromium"
	@echo "make slurm      the tests of runs on Slurm: installs one on Debian and starts it for them (root)"
	@echo "make lint       ruff: rules and format"
	@echo "make types      mypy"
	@echo "make contracts  import-linter: which package may import which"
	@echo "make format     put the format right, and what ruff can mend"
	@echo "make clean      remove .venv and the tools' caches"

run: environment
	PORT=$(PORT) $(bin)/python app.py

test: environment-dev
	$(bin)/python -m pytest -m "not browser and not slurm" -n $(WORKERS) --dist loadfile $(ARGS)

browser: environment-dev
	$(bin)/python -m pytest -m browser tests/browser $(ARGS)

slurm: environment-dev
	tests/slurm/setup.sh run $(bin)/python -m pytest -m slurm tests/slurm $(ARGS)

lint: environment-dev
	$(bin)/ruff check
	$(bin)/ruff format --check

types: environment-dev
	$(bin)/mypy

contracts: environment-dev
	$(bin)/lint-imports

format: environment-dev
	$(bin)/ruff check --fix
	$(bin)/ruff format

environment: python
	@$(PYTHON) tools/environment.py

environment-dev: python
	@$(PYTHON) tools/environment.py requirements-dev.txt

python:
	@test -n "$(PYTHON)" || { echo "No Python from 3.10 to 3.12 found (looked for $(candidates))." \
		"Install one (Debian: apt install python3 python3-venv), or name it: make run PYTHON=/path/to/python" >&2; exit 1; }

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
