# edgeq: everything on a fresh machine with Python 3.11+ and make.
#   make demo    set up, build the digits example for RISC-V, run it on an emulator, show the comparison
#   make test    set up (Debian packages too, where they can be installed), lint, type-check, test
#   make docs    the documentation as a site in build/site; a link that leads nowhere is an error
#   make bench   regenerate the tables in benchmarks/

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PACKAGES := gcc clang cmake cppcheck qemu-system-arm qemu-system-misc gcc-arm-none-eabi libnewlib-arm-none-eabi gcc-riscv64-unknown-elf
PROGRAMS := gcc clang cmake cppcheck qemu-system-arm qemu-system-riscv32 arm-none-eabi-gcc riscv64-unknown-elf-gcc
JOBS ?= 2

.PHONY: demo test bench docs lint packages audit sbom clean

demo: $(VENV)/.demo
	$(BIN)/python examples/digits/demo.py

test: $(VENV)/.dev packages lint
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

bench: $(VENV)/.dev packages
	$(BIN)/python -m benchmarks

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy

# Emulators and cross compilers for the tests. The product needs none of them: Zig and unicorn come with pip.
packages:
	@missing=""; for p in $(PROGRAMS); do command -v $$p >/dev/null || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PACKAGES) >/dev/null; \
	  else echo "not installed:$$missing (tests that need them are skipped; install with: apt-get install $(PACKAGES))"; fi; fi

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install -q -e . -c constraints.txt "scikit-learn"
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -e ".[dev,torch,gpu]" -c constraints.txt
	@touch $@

$(VENV)/.docs: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -e ".[docs]" -c constraints.txt
	@touch $@

# Known vulnerabilities of what edgeq installs, and a CycloneDX bill of materials of it.
audit: $(VENV)/.dev
	$(BIN)/python -m pip_audit --skip-editable

sbom: $(VENV)/.dev
	mkdir -p build
	$(BIN)/python -m cyclonedx_py environment --output-reproducible --of JSON -o build/sbom.json $(BIN)/python

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
