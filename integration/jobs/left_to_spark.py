"""One query over a row function: writes its sum and its plan.

usage: spark-submit left_to_spark.py RESULTS.json
"""

import json
import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from rudf import rudf


@rudf("bigint")
def double(value):
    return value * 2


spark = SparkSession.builder.getOrCreate()
frame = spark.range(0, 1000, 1, 4).select(double("id").alias("v"))
plan = frame._jdf.queryExecution().executedPlan().toString()
total = frame.agg(F.sum("v")).first()[0]
with open(sys.argv[1], "w") as file:
    json.dump({"sum": total, "plan": plan}, file)
spark.stop()
