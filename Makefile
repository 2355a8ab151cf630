# The notebook, its HTML export and the zip to hand in: see 'make help'.

VENV ?= .venv
PYTHON ?= python3

# With exec, a signal to make reaches the program, and not the shell around it.
IN_VENV = exec "$(VENV)/bin/python"
HANDIN = $(IN_VENV) export/handin.py
ENVIRONMENT = exec $(PYTHON) export/environment.py "$(VENV)" requirements.txt

.PHONY: all env python run verify html zip lab test bench mutations env-test lint colab lock clean help
.NOTPARALLEL:

all: env  ## environment, run, HTML and zip (what plain 'make' does)
	@$(HANDIN) run
	@$(HANDIN) zip

env: python  ## create or update the Python environment
	@$(ENVIRONMENT)

run: env  ## execute the notebook in place (QUICK=1: small, into build/)
	@$(HANDIN) run

verify: env  ## execute again, with nothing kept, and compare with what is saved
	@$(HANDIN) verify

html: env  ## export the saved notebook, without running it (no quick run)
	@$(HANDIN) html

zip: env  ## export, check and pack the saved notebook, without running it
	@$(HANDIN) zip

lab: python  ## open the notebook in JupyterLab
	@$(ENVIRONMENT) tests/requirements-lab.txt
	@$(IN_VENV) -m jupyterlab autoencoders.ipynb

test: lint  ## lint and all tests
	@$(IN_VENV) -m pytest -n auto --dist loadfile

bench: env-test  ## measure the speed of training (some minutes)
	@$(ENVIRONMENT) tests/requirements-bench.txt
	@$(IN_VENV) tests/bench.py

mutations: env-test  ## break the functions on purpose: do the tests notice?
	@$(IN_VENV) tests/mutations.py

lint: env-test  ## check the style of the notebook and of the other code
	@$(IN_VENV) -m ruff check

colab: env-test  ## run the notebook with Colab's packages (some minutes)
	@CI=true $(IN_VENV) -m pytest tests/test_colab.py

# Without what torch's builds for GPUs need: they pin it, and others have no use for it.
lock: python  ## pin again what the requirements need (constraints.txt)
	@exec $(PYTHON) export/environment.py build/uv tests/requirements-lock.txt
	@cp constraints.txt build/uv/constraints.txt
	@build/uv/bin/python -m uv pip compile --quiet --universal --python-version 3.11 \
	    --no-annotate --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command 'make lock' --output-file build/uv/constraints.txt \
	    requirements.txt tests/requirements.txt tests/requirements-lab.txt \
	    tests/requirements-bench.txt
	@grep -Ev '^(cuda|nvidia|triton)' build/uv/constraints.txt > constraints.txt

clean: python  ## remove the zip, build output, kept trainings and caches
	@$(PYTHON) export/clean.py

help:  ## list what make can do
	@sed -n 's/^\([a-z]*\):.*  ## /\1  /p' Makefile | expand -t 2

env-test: python
	@$(ENVIRONMENT) tests/requirements.txt tests/requirements-lab.txt

python:
	@$(PYTHON) -c '' 2>/dev/null || { echo "Python ('$(PYTHON)') was not \
	found: install Python 3.11 or newer, or name it with \
	'make PYTHON=...'." >&2; exit 1; }
