# Thin names over the real commands. Everything happens in .venv, which the first command creates.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Processes that the tests are spread over, in the order of their files: those of faults take longest, and come first.
# 0: none but pytest's own.
WORKERS ?= 2
# Compiled anew by every process that the tests start, modules would take longer than many a test.
unexport PYTHONDONTWRITEBYTECODE
NATIVE := $(wildcard src/_native/*.pyx src/_native/*.pxi src/_native/*.pxd src/_native/CMakeLists.txt \
	src/_native/kernels/*.c src/_native/kernels/*.h src/_native/kernels/simd/*.h)

.PHONY: help build demo test lint bench bench-import bench-leads bench-cache bench-queue faults fuzz sanitize scale clean
help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(VENV)/.tools: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

$(VENV)/.built: $(VENV)/.tools $(NATIVE)
	$(BIN)/python -m pip install --quiet --no-build-isolation --config-settings=editable.mode=redirect -e .
	@touch $@

$(VENV)/.peers: $(VENV)/.built
	$(BIN)/python -m pip install --quiet --group peers
	@touch $@

build: $(VENV)/.built  ## compile the core and install everything into .venv

demo: build  ## start an embedded PostgreSQL, import 100,000 leads, show what happened to every row
	$(BIN)/python -m benchmarks.demo

test: build  ## all tests but the long ones
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: build  ## ruff, twins, mypy, stubtest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tools.twin --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest mailgenius._native --allowlist tests/typing/stubtest.txt

bench: build  ## pytest-benchmark: asserts the documented targets
	$(BIN)/python -m pytest benchmarks --benchmark-only --no-header -p no:cacheprovider

bench-import: $(VENV)/.peers  ## every import figure against its rivals; rewrites docs/benchmarks.md
	$(BIN)/python -m benchmarks.bench_import

bench-leads: $(VENV)/.peers  ## the pool beside its rivals, questions about 2M leads; rewrites docs/benchmarks.md
	$(BIN)/python -m benchmarks.bench_leads

bench-cache: $(VENV)/.peers  ## the cache beside clients and caches of Redis; rewrites docs/benchmarks.md
	$(BIN)/python -m benchmarks.bench_cache

bench-queue: $(VENV)/.peers  ## the queue beside other job queues on Redis; rewrites docs/benchmarks.md
	$(BIN)/python -m benchmarks.bench_queue

faults: build  ## 100 rounds of kills, cuts and full disks
	MG_FAULT_ROUNDS=100 $(BIN)/python -m pytest -m 'faults or failover' --timeout 3600 -s

fuzz: build  ## the kernels under libFuzzer (clang) or the built-in mutator (gcc), with ASan and UBSan
	$(BIN)/python -m tools.fuzz --seconds $${FUZZ_SECONDS:-600}

sanitize: build  ## the compiled core with its bindings under ASan and UBSan, in tests of the cache, the link, the kernels
	$(BIN)/python -m tools.sanitize

scale: build  ## ten million rows: memory and exactness
	$(BIN)/python -m pytest -m scale --timeout 3600

clean:  ## remove what the build made
	rm -rf build dist $(VENV)
