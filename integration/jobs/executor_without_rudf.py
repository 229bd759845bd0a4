"""Asks the executors where their rudf comes from, on Spark's own path and on rudf's.

usage: spark-submit executor_without_rudf.py RESULTS.json
"""

import json
import sys

import numpy as np
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from rudf import rudf


@rudf("string")
def where(_):
    import importlib.util

    spec = importlib.util.find_spec("rudf")
    return spec.origin if spec is not None else None


@rudf("bigint")
def double(value):
    return value * 2


@rudf("bigint")
def tripled(values: np.ndarray) -> np.ndarray:
    return values * 3


spark = SparkSession.builder.getOrCreate()
results = {}
for side in ("off", "on"):
    spark.conf.set("spark.rudf.enabled", str(side == "on").lower())
    results[side] = spark.range(0, 4, 1, 4).select(where("id")).first()[0]
    results[f"arrays {side}"] = [row[0] for row in spark.range(5).select(tripled("id")).collect()]
results["sum"] = spark.range(0, 1000, 1, 4).select(double("id").alias("v")).agg(F.sum("v")).first()[0]
with open(sys.argv[1], "w") as file:
    json.dump(results, file)
spark.stop()
