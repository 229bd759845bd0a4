"""Runs random queries on Spark's own path and on rudf's: the two must be equal.

Each query is made of one number alone, its seed, which its name tells. ``RUDF_RANDOM_QUERIES`` says how many there are,
``RUDF_RANDOM_SEED`` the first one's seed.

usage: spark-submit random_differential.py RESULTS.json SCRATCH_DIRECTORY
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, given, settings
from pyspark import cloudpickle
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import Row, _create_row

import random_functions
import random_queries
from differential import OPERATORS, significant
from random_queries import QUERIES, Query
from rudf import pickle

#: Bytes that hypothesis makes a query of; what is not used is left.
BYTES = 1 << 16
NO_STRUCT = re.compile(r'cannot be cast to class org.apache.spark.sql.types.StructType|method "getStruct"')


def query_of(seed: int) -> Query:
    """Make the query of a seed, which is always the same."""
    made: list[Query] = []

    @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(QUERIES)
    def keep(query: Query) -> None:
        made.append(query)

    chosen = random.Random(seed)
    # Some bytes make no query.
    while not made:
        keep.hypothesis.fuzz_one_input(chosen.randbytes(BYTES))
    return made[0]


class Job:
    """Runs queries on either path."""

    def __init__(self, spark: SparkSession, scratch: str) -> None:
        self.spark = spark
        self.scratch = scratch

    def run(self, query: Query) -> dict[str, Any]:
        """Run a query off and on, with its confs."""
        for key, value in query.confs.items():
            self.spark.conf.set(key, value)
        try:
            child = query.source(self.spark, self.scratch)
            outcomes = self._both(query, child)
            if outcomes["off"].get("text") != outcomes["on"].get("text"):
                # Which of two tasks fails first is not told beforehand.
                with self._one_task():
                    outcomes = self._both(query, child.coalesce(1))
            child.unpersist()
        finally:
            for key in query.confs:
                self.spark.conf.unset(key)
        return outcomes | {"query": f"{query.text}\n  {query.confs}"}

    @contextmanager
    def _one_task(self) -> Iterator[None]:
        self.spark.conf.set("spark.sql.shuffle.partitions", "1")
        self.spark.conf.set("spark.sql.leafNodeDefaultParallelism", "1")
        yield
        self.spark.conf.set("spark.sql.shuffle.partitions", "3")
        self.spark.conf.unset("spark.sql.leafNodeDefaultParallelism")

    def _both(self, query: Query, child: Any) -> dict[str, Any]:
        outcomes = {}
        for side in ("off", "on"):
            self.spark.conf.set("spark.rudf.enabled", str(side == "on").lower())
            outcomes[side] = self._outcome(query, child)
        texts = [outcome["text"] for outcome in outcomes.values() if "text" in outcome]
        # Of what is wrong in several groups, frames that cannot be made are told first.
        if len(texts) == 2 and (query.is_stacked or any("out of bounds timestamp" in text for text in texts)):
            for outcome in outcomes.values():
                outcome["text"] = "one of two errors"
        return outcomes

    def _outcome(self, query: Query, child: Any) -> dict[str, Any]:
        try:
            frame = query.build(child)
            # Text that is no UTF-8 looks alike in Python, and is not.
            hashed = frame.select("*", F.xxhash64(*[F.col(f"`{name}`") for name in frame.columns]).alias("hash"))
            rows = [repr(in_order(tuple(row))) for row in hashed.collect()]
            plan = hashed._jdf.queryExecution().executedPlan().toString()
        except Exception as error:
            return told_of(error)
        schema = frame.schema.json()
        # Where Spark knows that there are no rows, no functions are left of a query.
        is_empty = not any(name in plan for name in (*OPERATORS, "Python", "InPandas", "InArrow"))
        taken = None if is_empty else any(name in plan for name in OPERATORS)
        return {"schema": schema, "rows": rows if query.is_ordered else sorted(rows), "rudf": taken}


def in_order(value: Any) -> Any:
    """Sort the entries of maps, whose order in Spark the hash tells: collected ones with keys of bytes have a random one."""
    if isinstance(value, dict):
        return {key: in_order(item) for key, item in sorted(value.items(), key=lambda entry: repr(entry[0]))}
    if isinstance(value, Row):
        return _create_row(value.__fields__, map(in_order, value))
    if type(value) in (list, tuple):
        return type(value)(map(in_order, value))
    return value


def told_of(error: Exception) -> dict[str, Any]:
    """Tell an error without numbers of columns, which are of one plan alone."""
    text = re.sub(r"#\d+L?", "", significant(str(error))).encode(errors="backslashreplace").decode()
    # Where mapInArrow gives something else for a struct, Spark's code and rudf's see it at another place.
    if NO_STRUCT.search(text):
        return {"error": "", "text": "no struct", "rudf": None}
    return {"error": type(error).__name__, "text": text, "rudf": None}


def main() -> None:
    """Run the queries and write what came of them."""
    target, scratch = sys.argv[1:3]
    first, count = (
        int(os.environ.get(f"RUDF_RANDOM_{name}") or default)
        for name, default in (("SEED", 0), ("QUERIES", 1000 if "RUDF_PARITY" in os.environ else 40))
    )
    # The workers have no such modules.
    for module in (random_functions, random_queries):
        pickle.register_pickle_by_value(module)
        cloudpickle.register_pickle_by_value(module)
    builder = SparkSession.builder.config("spark.sql.timeType.enabled", "true")
    # Spark's own workers end with each query that fails, and would take a second to import what the next one needs.
    builder.config("spark.python.daemon.module", "warm_daemon").config(
        "spark.executorEnv.PYTHONPATH", os.path.dirname(__file__)
    )
    spark = builder.config("spark.executorEnv.ARROW_DEFAULT_MEMORY_POOL", "system").getOrCreate()
    # Where workers are of another module, rudf runs what it is told to.
    spark.conf.set("spark.rudf.takeover", "all")
    spark.conf.set("spark.sql.mapKeyDedupPolicy", "LAST_WIN")
    spark.conf.set("spark.sql.legacy.allowHashOnMapType", "true")
    spark.sparkContext.setLogLevel("OFF")
    job = Job(spark, scratch)
    results: dict[str, Any] = {}
    start = time.time()
    for seed in range(first, first + count):
        query = query_of(seed)
        outcome = job.run(query)
        outcome["query"] += f"\n  again: make test-random SEED={seed} QUERIES=1"
        results[f"{'left: ' if query.is_left else ''}seed {seed}, {query.kind}"] = outcome
        if outcome["off"] | {"rudf": None} != outcome["on"] | {"rudf": None}:
            print(f"seed {seed} differs: {outcome!a}", flush=True)
        if len(results) % 50 == 0:
            print(f"{len(results)} random queries in {time.time() - start:.0f} s", flush=True)
    with open(target, "w") as file:
        json.dump(results, file, indent=1)
    spark.stop()


if __name__ == "__main__":
    main()
