"""A Python that cannot run what is asked of it: told as PySpark tells it, while another Python of the application goes on.

Writes for each kind of function `true`, or what was wrong. usage: spark-submit worker_environments.py RESULTS.json PYTHON
LACK, where `LACK` is what `PYTHON` lacks: `version` (it is another than the driver's) or `packages`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from pyspark.sql import SparkSession
from pyspark.sql.functions import udf

from differential import significant
from faults import Faults, descendants, is_running, until
from rudf import rudf
from rudf.udf import RudfFunction

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame

target, python, lack = sys.argv[1:4]
spark = SparkSession.builder.getOrCreate()
context = spark.sparkContext
context.setLogLevel("WARN")
faults = Faults(spark)
ids = spark.range(0, 20, 1, 2)


def same(values: Any) -> Any:
    return values


def rows() -> DataFrame:
    return ids.select(rudf(same, "bigint")("id"))


KINDS: dict[str, Callable[[], DataFrame]] = {}
if spark.version >= "4.1":
    KINDS["Series"] = lambda: ids.select(RudfFunction(same, "bigint", 200)("id"))
    KINDS["arrays"] = lambda: ids.select(RudfFunction(same, "bigint", 250)("id"))
if spark.version >= "4.3":
    KINDS["iterators of Series"] = lambda: ids.select(RudfFunction(same, "bigint", 204)("id"))
    KINDS["iterators of arrays"] = lambda: ids.select(RudfFunction(same, "bigint", 251)("id"))
    KINDS["mapInPandas"] = lambda: ids.mapInPandas(same, "id bigint")
    KINDS["mapInArrow"] = lambda: ids.mapInArrow(same, "id bigint")
    KINDS["applyInPandas"] = lambda: ids.groupBy("id").applyInPandas(lambda frame: frame, "id bigint")
    KINDS["applyInArrow"] = lambda: ids.groupBy("id").applyInArrow(lambda table: table, "id bigint")
    KINDS["aggregates"] = lambda: ids.groupBy("id").agg(RudfFunction(lambda _: 1, "bigint", 252)("id"))


def error_of(frame: Callable[[], DataFrame], side: str = "on") -> tuple[str, str]:
    """Run a query whose functions are made for the other Python, and return the class of its error and the text."""
    spark.conf.set("spark.rudf.enabled", str(side == "on").lower())
    before, context.pythonExec = context.pythonExec, python
    try:
        return "no error", str(sorted(row[0] for row in frame().collect()))
    except Exception as error:
        return type(error).__name__, str(error)
    finally:
        context.pythonExec = before
        spark.conf.unset("spark.rudf.enabled")


def told_alike(frame: Callable[[], DataFrame], *words: str) -> Any:
    """Whether a query fails as on Spark's own path, with some words."""
    stock, ours = error_of(frame, "off"), error_of(frame)
    alike = stock[0] == ours[0] != "no error" and significant(stock[1]) == significant(ours[1])
    return (alike and all(word in ours[1] for word in words)) or f"Spark: {stock}; rudf: {ours}"


def runs(frame: Callable[[], DataFrame]) -> Any:
    outcome = error_of(frame)
    return outcome == ("no error", str(list(range(20)))) or outcome


def conversion_is_refused() -> Any:
    """Results of another type than declared are converted by pyarrow."""
    kind, text = error_of(lambda: ids.select(rudf(str, "bigint")("id")))
    return (kind == "PythonException" and f"needs pyarrow, and {python} has none" in text) or text


if lack == "version":
    for name, frame in {"rows": rows, **KINDS}.items():
        faults.cause(name, lambda frame=frame: told_alike(frame, "PYTHON_VERSION_MISMATCH", context.pythonVer))
else:
    faults.cause("rows", lambda: runs(rows))
    faults.cause("rows whose results are converted", conversion_is_refused)
    listed, divided = (udf(f, "array<bigint>", useArrow=False) for f in (lambda v: [v], lambda v: [1 // (v - 3)]))
    faults.cause("pickled rows", lambda: runs(lambda: ids.select(listed("id")[0])))
    faults.cause(
        "pickled rows that fail", lambda: told_alike(lambda: ids.select(divided("id")), "[rudf: in the function")
    )
    for name, frame in KINDS.items():
        faults.cause(name, lambda frame=frame: told_alike(frame, "No module named"))

everything = descendants(os.getppid()) - {os.getpid()}
spark.stop()
faults.results["nothing is left"] = until(lambda: not any(map(is_running, everything))) or "processes outlive it"
with open(target, "w") as file:
    json.dump(faults.results, file, indent=1)
