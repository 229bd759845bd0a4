# One command for each thing a person does here; `make help` lists them. tools/ has the steps.

# A Python 3.11 or newer; without it, python3 from the PATH.
PYTHON ?=
ROWS ?=
JSON ?=
MASTER ?=
WORKER ?=
FOR ?= 60
SEED ?=
CASES ?= 20000
export PYTHON FOR

.DEFAULT_GOAL := help
.PHONY: help demo test test-parity test-random test-sparks test-pickle-all test-pickle-dev fuzz-pickle valgrind-pickle asan-segment valgrind-segment fuzz-segment check-jni build wheel bench bench-kinds bench-latency bench-layout bench-pickle bench-shapes lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## set everything up and run the main job: New York's flights, with rudf and with plain PySpark
	@tools/run-job integration/jobs/flights_demo.py

test: build ## set everything up and run every test
	@tools/test

test-parity: build ## run all queries of the differential tests on every host (`make test` runs a part on each)
	@RUDF_PARITY=1 tools/test the_same

test-random: build ## random queries with functions of all kinds, on Spark's path and on rudf's (QUERIES=300; SEED=n is the first one's)
	@RUDF_RANDOM_QUERIES=$(or $(QUERIES),300) RUDF_RANDOM_SEED=$(or $(SEED),0) tools/test random_queries

test-sparks: build ## run the jar on Spark 4.0, 4.1 and 4.2 too (SPARKS="4.0.5 4.1.4 4.2.1")
	@tools/test-sparks

test-pickle-all: build ## the pickler's tests on every Python here, with the wheel installed (PYTHONS="/path/to/python3.12 ...")
	@tools/test-pickle-all

test-pickle-dev: build ## the pickler's tests in Python's development mode
	@PYTHONDEVMODE=1 .venv/bin/python -m pytest -q -p no:cacheprovider python/tests/pickle

fuzz-pickle: build ## random objects against the standard pickler (FOR=60 seconds; SEED=n for the one that failed)
	@.venv/bin/python python/tests/pickle/fuzz.py $(FOR) $(SEED)

valgrind-pickle: build ## hostile and random objects under valgrind (FOR=60 seconds of random ones)
	@tools/valgrind-pickle

asan-segment: build ## segments, protocol and worker processes with the address sanitizer (needs a nightly Rust)
	@tools/sanitize asan

valgrind-segment: build ## segments and protocol under valgrind
	@tools/sanitize valgrind

fuzz-segment: build ## malformed messages and lying offsets, and the reuse of segments under stress (CASES=20000 of each)
	@PROPTEST_CASES=$(CASES) cargo test --locked --release -p rudf-segment --test hostile_peer --test reuse_under_stress

check-jni: build ## the Gradle suite with -Xcheck:jni; fails where the JVM complains of rudf
	@tools/check-jni

build: ## set everything up and build: .venv with rudf in it, and the jar
	@tools/setup
	@tools/build

wheel: build ## build a wheel, with the jar inside, into dist/
	@tools/wheel

bench: build ## measure rudf, PySpark and the native floor (ROWS=4000000 MASTER=local[1] WORKER=auto JSON=file)
	@tools/run-job integration/bench/bench_udf.py $(if $(ROWS),--rows $(ROWS)) $(if $(MASTER),--master '$(MASTER)') $(if $(WORKER),--worker $(WORKER)) $(if $(JSON),--json $(JSON))

bench-kinds: build ## measure maps, groups, aggregates, windows, cogroups and table functions (ROWS=1000000 MASTER=local[2] JSON=file)
	@tools/run-job integration/bench/bench_kinds.py $(if $(ROWS),--rows $(ROWS)) $(if $(MASTER),--master '$(MASTER)') $(if $(JSON),--json $(JSON))

bench-shapes: build ## every kind over children, batches and groups of every shape, beside PySpark (JSON=file)
	@tools/run-job integration/bench/bench_shapes.py $(if $(ROWS),--rows $(ROWS)) $(if $(MASTER),--master '$(MASTER)') $(if $(JSON),--json $(JSON))

bench-latency: build ## how long queries wait for Python, first and warm; two tasks at once; memory of workers
	@tools/run-job integration/bench/bench_latency.py $(if $(JSON),--json $(JSON))

bench-layout: build ## how rows become columns: by generated code, by a writer in Java, by a reader in Rust
	@tools/bench-layout

bench-pickle: build ## rudf.pickle beside cloudpickle: time to write and to read, size (JSON=file)
	@.venv/bin/python python/benchmarks/bench_pickle.py $(if $(JSON),--json '$(JSON)')

lint: build ## check formatting, lints and types
	@tools/lint

clean: ## remove everything that was built or installed here
	rm -rf target .venv .cache dist jvm/build jvm/.gradle python/rudf/jars python/rudf/_native.abi3.so
