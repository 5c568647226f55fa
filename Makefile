# Thin: each target calls a tool. `make setup` is idempotent, and quick when nothing is to do.

BIN := .venv/bin
RUNBOOK := $(BIN)/runbook

.PHONY: help setup objects demo test test-kernels check bench acceptance wheel lock clean

help:
	@echo "make demo    see it work: an agent that loses events, found, mended, proven"
	@echo "make test    all tests          make check   format, lint, types, import contracts"
	@echo "make test-kernels   the eyes on kernels 5.10, 6.1, 6.12 and the newest, in QEMU"
	@echo "make bench   figures against other tools, in one run"
	@echo "make wheel   dist/*.whl, with its BPF objects    make setup   only the set-up of the above"

setup:
	@tools/setup.sh
	@$(MAKE) -s --no-print-directory objects

objects:
	@$(MAKE) -s --no-print-directory -C bpf
	@$(MAKE) -s --no-print-directory -C bpf/lab

demo: setup
	@$(BIN)/python tools/demo.py

test: setup
	@tools/setup.sh tests
	$(BIN)/pytest -rs $(TESTS)

test-kernels: setup
	@$(BIN)/python tools/kernels/run.py $(KERNELS)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python tools/bench/run.py $(FIGURES)

# Every fault of the lab and the tracing tools of the distribution, ten runs each: is the cause named, the loss
# gone, the undo exact?
acceptance: setup
	$(BIN)/python tools/acceptance.py
	$(BIN)/python tools/acceptance_agents.py

wheel: setup
	rm -f dist/*.whl
	$(BIN)/python -m build --no-isolation --wheel

lock:
	tools/lock.sh

clean:
	-$(MAKE) -C bpf clean
	-$(MAKE) -C bpf/lab clean
	rm -rf build dist .venv .mypy_cache .ruff_cache .pytest_cache
