# make demo | test | fuzz | torture | lint | docs | wheel-check | gpu-check | clean. PYTHON chooses the interpreter of the virtual environment.
PYTHON ?= python3
SECONDS ?= 300
TORTURE_KILLS ?= 100
TORTURE_SEED ?= 0
RUN := runs/demo-$(shell date +%Y%m%d-%H%M%S)
STF := .venv/bin/stf
INSTALL := .venv/bin/python -m pip install --quiet -c constraints.txt

.PHONY: help setup demo test fuzz torture lint docs wheel-check gpu-check clean

help:
	@echo "make demo         train a small unsupervised model, evaluate it and draw its fields"
	@echo "make test         run the tests"
	@echo "make fuzz         read mutated files of every format for SECONDS, and print counts by format"
	@echo "make torture      kill training TORTURE_KILLS times, and compare what it comes to with runs that were not killed"
	@echo "make lint         check the code with ruff and its types with mypy"
	@echo "make docs         build the documentation into site/, with its notebook run"
	@echo "make wheel-check  build a wheel and use it outside this folder"
	@echo "make gpu-check    on a machine with a GPU: compare with the CPU, time and train there, and write docs/gpu.md"
	@echo "make clean        remove everything that was built (runs/ stays)"

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@echo "Installing into .venv (a few minutes the first time)"
	$(PYTHON) -m venv .venv
	$(INSTALL) setuptools
	$(INSTALL) --no-build-isolation -e '.[dev]'
	@touch $@

.venv/installed-docs: .venv/installed
	@echo "Installing what builds the documentation"
	$(INSTALL) --no-build-isolation -e '.[docs]'
	@touch $@

demo: setup
	@echo "1/3 Training without supervision into $(RUN)"
	$(STF) train --mode unsupervised --out $(RUN)
	@echo "2/3 Measuring the trained model"
	$(STF) evaluate $(RUN) --json $(RUN)/evaluation.json
	@echo "3/3 Drawing its fields"
	@echo "The model is in $(RUN), its numbers in $(RUN)/evaluation.json; the report, to open in a browser:"
	$(STF) visualize-fields $(RUN)

test: setup
	@echo "Running the tests"
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 -q

fuzz: setup
	@echo "Reading mutated files for $(SECONDS) seconds (make fuzz SECONDS=3600 for an hour)"
	OMP_NUM_THREADS=1 PYTHONPATH=.:tests/support:tests/support/data .venv/bin/python -W ignore tests/fuzz/fuzz.py $(SECONDS)

torture: setup
	@echo "Killing training $(TORTURE_KILLS) times (make torture TORTURE_KILLS=500 TORTURE_SEED=1 for others)"
	OMP_NUM_THREADS=1 PYTHONPATH=.:tests/support:tests/support/data .venv/bin/python tests/torture/torture.py \
		--kills $(TORTURE_KILLS) --seed $(TORTURE_SEED)

lint: setup
	@echo "Checking the code"
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/python -m mypy

docs: .venv/installed-docs
	@echo "Building the documentation into site/"
	OMP_NUM_THREADS=1 NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet

wheel-check: setup
	@echo "Building a wheel and using it elsewhere"
	.venv/bin/python .ci/wheel.py

gpu-check: setup
	@.venv/bin/python benchmarks/gpu.py

clean:
	rm -rf .venv build dist site *.egg-info .cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
