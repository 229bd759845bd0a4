"""One query over a row function, on rows and on columns: writes its sums and its plan.

usage: spark-submit left_to_spark.py RESULTS.json [ARCHIVE, which is added when executors have looked for their Python]
"""

import json
import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from rudf import rudf


@rudf("bigint")
def double(value):
    return value * 2


spark = SparkSession.builder.getOrCreate()
if len(sys.argv) > 2:
    time.sleep(5)
    spark.sparkContext.addArchive(sys.argv[2])
frame = spark.range(0, 1000, 1, 4).select(double("id").alias("v"))
plan = frame._jdf.queryExecution().executedPlan().toString()
total = frame.agg(F.sum("v")).first()[0]
stored = f"{sys.argv[1]}.parquet"
spark.range(0, 1000, 1, 4).selectExpr("id", "concat('s', id) as s").write.parquet(stored)
columns = spark.read.parquet(stored).select("s", double("id").alias("v"))
columnar_total = columns.where("s is not null").agg(F.sum("v")).first()[0]
with open(sys.argv[1], "w") as file:
    json.dump({"sum": total, "columnar sum": columnar_total, "plan": plan}, file)
spark.stop()
