# The notebook, its HTML export and the zip to hand in: see 'make help'.

VENV ?= .venv
PYTHON ?= python3

IN_VENV = "$(VENV)/bin/python"
HANDIN = $(IN_VENV) export/handin.py
ENVIRONMENT = $(PYTHON) export/environment.py "$(VENV)" requirements.txt

# Freed memory stays in the process, in large pages: training asks for it again.
export MALLOC_MMAP_THRESHOLD_ ?= 33554432
export MALLOC_TRIM_THRESHOLD_ ?= 1073741824
export MALLOC_TOP_PAD_ ?= 67108864
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

.PHONY: all env python run verify html zip lab test bench mutations env-test lint colab clean help
.NOTPARALLEL:

all: env  ## environment, run, HTML and zip (what plain 'make' does)
	@$(HANDIN) run
	@$(HANDIN) zip

env: python  ## create or update the Python environment
	@$(ENVIRONMENT)

run: env  ## execute the notebook in place (QUICK=1: small, into build/)
	@$(HANDIN) run

verify: env  ## execute again, save nothing, and compare with what is saved
	@$(HANDIN) verify

html: env  ## export the saved notebook, without running it
	@$(HANDIN) html

zip: env  ## export, check and pack the saved notebook, without running it
	@$(HANDIN) zip

lab: python  ## open the notebook in JupyterLab
	@$(ENVIRONMENT) tests/requirements-lab.txt
	@$(IN_VENV) -m jupyterlab autoencoders.ipynb

test: lint  ## lint and all tests
	@$(IN_VENV) -m pytest

bench: env-test  ## measure the speed of training (some minutes)
	@$(ENVIRONMENT) tests/requirements-bench.txt
	@$(IN_VENV) tests/bench.py

mutations: env-test  ## break the functions on purpose: do the tests notice?
	@$(IN_VENV) tests/mutations.py

lint: env-test  ## check the style of the notebook and of the other code
	@$(IN_VENV) -m ruff check

colab: env-test  ## run the notebook with Colab's packages (some minutes)
	@CI=true $(IN_VENV) -m pytest tests/test_colab.py

clean:  ## remove the zip, build output and caches
	@rm -rf build ex02.zip .*.tmp .pytest_cache .ruff_cache .hypothesis
	@find export tests -name __pycache__ -prune -exec rm -rf {} +

help:  ## list what make can do
	@sed -n 's/^\([a-z]*\):.*  ## /\1  /p' Makefile | expand -t 2

env-test: python
	@$(ENVIRONMENT) tests/requirements.txt tests/requirements-lab.txt

python:
	@$(PYTHON) -c '' 2>/dev/null || { echo "Python ('$(PYTHON)') was not \
	found: install Python 3.10 or newer, or name it with \
	'make PYTHON=...'." >&2; exit 1; }
