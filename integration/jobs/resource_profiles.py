"""Functions in stages with a resource profile: their workers have the memory that it says, on Spark's path and on rudf's.

Writes `true` for each, or what was wrong. usage: spark-submit resource_profiles.py RESULTS.json
The application's `spark.executor.pyspark.memory` is 2g for one core, and executors are allocated as they are wanted.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from pyspark.resource import ExecutorResourceRequests, ResourceProfileBuilder, TaskResourceRequests
from pyspark.sql import SparkSession

from rudf import rudf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    from pyspark import RDD
    from pyspark.sql import DataFrame

spark = SparkSession.builder.getOrCreate()
spark.sparkContext.setLogLevel("WARN")
results: dict[str, Any] = {}
executors = ExecutorResourceRequests().cores(1).memory("512m").pysparkMemory("3g")
profile = ResourceProfileBuilder().require(executors).require(TaskResourceRequests().cpus(1)).build


@rudf("bigint")
def limit(_):
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0] >> 30


def through(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    import resource

    for frame in frames:
        yield frame.assign(own=resource.getrlimit(resource.RLIMIT_AS)[0] >> 30)


def limits() -> DataFrame:
    return spark.range(0, 4, 1, 2).select(limit("id").alias("limit"))


def maps() -> DataFrame:
    return limits().mapInPandas(through, "limit bigint, own bigint", profile=profile)


def see(name: str, expected: tuple[int, ...], frame: Callable[[], DataFrame], rdd: Callable[[DataFrame], RDD]) -> None:
    """Compare the limits in GiB that functions see of their workers."""
    for side in ("off", "on"):
        spark.conf.set("spark.rudf.enabled", str(side == "on").lower())
        query = frame()
        seen = {tuple(row) for row in rdd(query).map(tuple).collect()}
        plan = query._jdf.queryExecution().executedPlan().toString()
        taken = ("ArrowEvalPython" not in plan and "MapInPandas " not in plan) == (side == "on")
        results[f"{name}, {side}"] = (seen == {expected} and taken) or f"{seen}: {plan}"


see("no profile", (2,), limits, lambda query: query.rdd)
see("an RDD with a profile", (3,), limits, lambda query: query.rdd.withResources(profile))
if spark.version >= "4.3":
    see("a map with a profile", (3, 3), maps, lambda query: query.rdd)
see("no profile again", (2,), limits, lambda query: query.rdd)
with open(sys.argv[1], "w") as file:
    json.dump(results, file, indent=1)
spark.stop()
