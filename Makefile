# make demo   set up, draw example photos, retrain on them, label and measure 60 new ones
# make test   set up and run the tests
# make faults kill, damage and overload retrainings, FAULTS times (needs ../shared)
# make fuzz   fuzz everything that reads foreign files, FUZZ_SECONDS per reader
# make bench  measure every stage and its peers, on ../shared (up to 15 minutes)
VENV ?= .venv
BIN := $(VENV)/bin
# The first Python of a supported version that starts (version managers install stubs).
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13 python3.10; do \
    $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null \
    && echo $$p && break; done)
DEMO ?= demo
EXTRAS ?= test
PYTEST_ARGS ?=
# Processes that share the tests; 0 runs them in one, for a debugger.
JOBS ?= 2
BENCH_ARGS ?=
FAULTS ?= 300
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?=
# The tests start a thousand commands, each of which would compile the source code again.
export PYTHONDONTWRITEBYTECODE :=
# About texts and this repository: no version of a dependency bears on these tests.
ANY_VERSION := $(addprefix tests/,benchmarks test_architecture.py test_documents.py \
    test_installation.py test_spreadsheet.py test_text.py test_words.py)

.PHONY: demo test test-all test-lowest lint bench faults fuzz audit clean

# Paths that run as printed from the folder where make was typed, which `make -C` leaves.
at = $(if $(filter-out $(CURDIR),$(PWD)),$(abspath $(1)),$(1))
DEMO_AT = $(call at,$(DEMO))
TLCLI = $(call at,$(BIN)/tlcli)

demo: $(BIN)/tlcli
	@echo "Drawing 460 photos of houses in $(DEMO_AT) ..."
	@$(BIN)/python examples/draw_houses.py --output $(DEMO_AT)/photos --count 400 --seed 1
	@$(BIN)/python examples/draw_houses.py --output $(DEMO_AT)/new --count 60 --seed 2
	$(TLCLI) retrain --image_dir $(DEMO_AT)/photos --output_graph $(DEMO_AT)/output_graph.pb
	@echo
	$(TLCLI) label --graph $(DEMO_AT)/output_graph.pb \
	    $(DEMO_AT)/new/house_with_pool/aerial_00000.jpg \
	    $(DEMO_AT)/new/house_without_pool/aerial_00001.jpg
	@echo
	@echo "The accuracy on 60 new photos:"
	$(TLCLI) evaluate --graph $(DEMO_AT)/output_graph.pb --image_dir $(DEMO_AT)/new

test: $(VENV)/.installed-$(EXTRAS)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(if $(PYTEST_ARGS),$(PYTEST_ARGS),-m "not slow")

test-all:
	$(MAKE) test JOBS=0 EXTRAS=test,interop,fuzz,hub PYTEST_ARGS="-m 'slow or not slow'"

# The fast tests with the lowest versions that pyproject.toml allows, in .venv-lowest. Some of
# them have no wheel for Python 3.13.
test-lowest: .venv-lowest/.installed
	.venv-lowest/bin/python -m pytest -m "not slow" $(addprefix --ignore=,$(ANY_VERSION)) \
	    $(PYTEST_ARGS)

# Inputs that fail are written to build/fuzz.
fuzz: $(VENV)/.installed-test,fuzz
	$(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)

# Asks a public service which installed versions have known vulnerabilities.
audit: $(BIN)/tlcli
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/pip-audit --skip-editable

# BENCH_ARGS=--quick takes two minutes; benchmarks/performance.py has the other options.
bench: $(VENV)/.installed-interop
	$(BIN)/python -m benchmarks.performance $(BENCH_ARGS)

# FAULTS kills of retrain, and other faults in proportion; 300 take an hour on two processors.
faults: $(VENV)/.installed-test
	TLCLI_FAULTS=$(FAULTS) $(BIN)/python -m pytest tests/reliability -s -m "slow or not slow"

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) .venv-lowest demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache \
	    tlcli/core/images/_bilinear.*.so

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "tlcli needs Python 3.10 to 3.13 on the PATH"; exit 1; }
	@echo "Creating the environment $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

# Files that an installation depends on; the compiled part is built with it.
PARTS := pyproject.toml setup.py tlcli/core/images/_bilinear.c

$(BIN)/tlcli: $(PARTS) | $(BIN)/python
	@echo "Installing tlcli into $(VENV). The first time, this downloads TensorFlow"
	@echo "(600 MB) and takes a minute or more ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv-lowest/.installed: $(PARTS) tests/lowest_versions.py
	@test -n "$(PYTHON)" || { echo "tlcli needs Python 3.10 to 3.13 on the PATH"; exit 1; }
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check "packaging>=24"
	.venv-lowest/bin/python tests/lowest_versions.py > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check \
	    -c .venv-lowest/constraints.txt --editable ".[test]"
	@touch $@

$(VENV)/.installed-%: $(PARTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@ $(BIN)/tlcli
