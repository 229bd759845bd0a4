"""A job as a user writes it, for ``test_with_jar.py``: writes the plan of each query, and what came out, as JSON."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

from pyspark.sql import SparkSession

import rudf

warnings.simplefilter("error", RuntimeWarning)
builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
spark = rudf.configure(builder).getOrCreate()


@rudf.rudf
def double(x: int) -> int:
    """Twice a number."""
    return 2 * x


spark.udf.register("double_in_sql", double)
frames = {"columns": spark.range(3).select(double("id")), "sql": spark.sql("select double_in_sql(id) from range(3)")}
report = {
    name: [frame._jdf.queryExecution().executedPlan().toString(), [row[0] for row in frame.collect()]]
    for name, frame in frames.items()
}
spark.stop()
again = rudf.configure(SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")).getOrCreate()
frame = again.range(3).select(double("id"))
report["second session"] = [frame._jdf.queryExecution().executedPlan().toString(), [row[0] for row in frame.collect()]]
Path(sys.argv[1]).write_text(json.dumps(report))
