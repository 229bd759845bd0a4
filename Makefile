# One command for each thing a person does here; `make help` lists them. tools/ has the steps.

# A Python 3.11 or newer; without it, python3 from the PATH.
PYTHON ?=
ROWS ?=
JSON ?=
MASTER ?=
WORKER ?=
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help demo test test-sparks build wheel bench lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## set everything up and run the main job: New York's flights, with rudf and with plain PySpark
	@tools/run-job integration/jobs/flights_demo.py

test: build ## set everything up and run every test
	@tools/test

test-sparks: build ## run the jar on Spark 4.0, 4.1 and 4.2 too (SPARKS="4.0.5 4.1.4 4.2.1")
	@tools/test-sparks

build: ## set everything up and build: .venv with rudf in it, and the jar
	@tools/setup
	@tools/build

wheel: build ## build a wheel, with the jar inside, into dist/
	@tools/wheel

bench: build ## measure rudf, PySpark and the native floor (ROWS=4000000 MASTER=local[1] WORKER=auto JSON=file)
	@tools/run-job integration/bench/bench_udf.py $(if $(ROWS),--rows $(ROWS)) $(if $(MASTER),--master '$(MASTER)') $(if $(WORKER),--worker $(WORKER)) $(if $(JSON),--json $(JSON))

lint: build ## check formatting, lints and types
	@tools/lint

clean: ## remove everything that was built or installed here
	rm -rf target .venv .cache dist jvm/build jvm/.gradle python/rudf/jars python/rudf/_native.abi3.so
