"""Runs the examples of PySpark's documentation that have Python functions, with rudf: they print what is written there.

Writes for each object of the documentation `true`, or what was wrong, and how many queries rudf ran.
usage: spark-submit documentation.py RESULTS.json
"""

from __future__ import annotations

import doctest
import importlib
import io
import json
import re
import sys
import time
from typing import Any

from pyspark.sql import SparkSession

from differential import OPERATORS

MODULES = (
    "pyspark.sql.functions.builtin", "pyspark.sql.udf", "pyspark.sql.udtf", "pyspark.sql.dataframe", "pyspark.sql.group", "pyspark.sql.pandas.functions",
    "pyspark.sql.pandas.group_ops", "pyspark.sql.session", "pyspark.sql.table_arg", "pyspark.sql.tvf",
)  # fmt: skip
USES = re.compile(r"udf|udtf|mapIn|applyIn")
#: As PySpark's own tests read its documentation.
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
#: Nodes of Spark's own that run Python functions.
STOCK = re.compile(r"(?:Batch|Arrow)EvalPython|(?:Map|FlatMap\w+)In(?:Pandas|Arrow)|Arrow(?:Aggregate|Window)Python")
#: Why some of them are left to it.
LEFT = re.compile("it runs in a barrier stage|worker logging is on")


class Executions:
    """The plans that queries had, as Spark's UI would show them."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        self._seen = 0

    def plans(self) -> list[str]:
        """Return the plans of what has run since it was asked last."""
        jvm: Any = self._spark._jvm
        jvm.org.apache.spark.SparkContext.getOrCreate().listenerBus().waitUntilEmpty(30_000)
        store = self._spark._jsparkSession.sharedState().statusStore()
        found = store.executionsList()
        plans = [found.apply(n).physicalPlanDescription() for n in range(self._seen, found.size())]
        self._seen = found.size()
        return plans


def run(test: doctest.DocTest, spark: SparkSession, module: Any) -> str:
    """Run the examples of an object, and return what they did not print as they should."""
    told = io.StringIO()
    test.globs = module.__dict__.copy() | {"spark": spark, "sc": spark.sparkContext}
    doctest.DocTestRunner(optionflags=OPTIONS, verbose=False).run(test, out=told.write, clear_globs=False)
    return told.getvalue()


def main() -> None:
    """Run them all, and write what came of it."""
    spark = SparkSession.builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    executions = Executions(spark)
    results: dict[str, Any] = {}
    queries = {"rudf": 0, "Spark": 0}
    for name in MODULES:
        module = importlib.import_module(name)
        for test in doctest.DocTestFinder().find(module):
            if not any(USES.search(example.source) for example in test.examples):
                continue
            start = time.time()
            wrong = run(test, spark, module)
            plans = executions.plans()
            if wrong:
                spark.conf.set("spark.rudf.enabled", "false")
                # What is written there is not always what Spark prints.
                wrong = wrong if run(test, spark, module) != wrong else ""
                spark.conf.set("spark.rudf.enabled", "true")
                executions.plans()
            ran = sum(any(operator in plan for operator in OPERATORS) for plan in plans)
            stock = [plan for plan in plans if STOCK.search(plan)]
            queries["rudf"] += ran
            queries["Spark"] += len(stock)
            results[test.name] = wrong or True
            print(f"{test.name}: {ran} queries in rudf, {len(stock)} in Spark, {time.time() - start:.1f} s", flush=True)
            unknown = [plan for plan in stock if not LEFT.search(plan)]
            if unknown:
                results[test.name] = f"left to Spark: {unknown}"
    with open(sys.argv[1], "w") as file:
        json.dump({"examples": results, "queries": queries}, file, indent=1)
    spark.stop()


if __name__ == "__main__":
    main()
