# `make sweep` answers the first question; `make test` is what CI runs; `make verify` adds the slow checks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: sweep test verify docs bench clean

sweep: $(READY)
	$(BIN)/python -m explorer sweep squeeze_ratio
	@echo "Now: source $(BIN)/activate"

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist worksteal

verify: $(READY)
	$(BIN)/pytest -n auto --dist worksteal -m "slow or not slow"

# What the docs quote from reports, certificates and docstrings; see docs/passages.py.
docs: $(READY)
	$(BIN)/cog -r -P -I docs -p "from passages import *" README.md docs/*.md

bench: $(READY)
	$(BIN)/python benchmarks/start_up.py
	$(BIN)/python benchmarks/pricing.py
	$(BIN)/python benchmarks/depthwise.py
	$(BIN)/python benchmarks/products.py
	$(BIN)/python benchmarks/compression.py
	$(BIN)/python benchmarks/features.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/coordinator.py
	$(BIN)/python benchmarks/throughput.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
