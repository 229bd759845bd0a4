"""Functions that fail in many ways: each has to be told well, and the next query has to work.

Writes for each failure `true`, or what was wrong. usage: spark-submit failures.py RESULTS.json
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from pyspark.errors import PythonException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from differential import significant
from rudf import rudf
from rudf.udf import RudfFunction

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame

spark = SparkSession.builder.getOrCreate()
spark.sparkContext.setLogLevel("OFF")
results: dict[str, Any] = {}
#: Functions of pyarrow arrays came with PySpark 4.1.
HAS_ARROW = spark.version >= "4.1"


@rudf("bigint")
def fine(value):
    return value + 1


def works() -> bool:
    frame = spark.range(0, 100, 1, 4).select(fine("id").alias("v"))
    assert "RudfEval" in frame._jdf.queryExecution().executedPlan().toString()
    return frame.agg(F.sum("v")).first()[0] == 5050


def fails(name: str, frame: Callable[[], DataFrame], *expected: str) -> None:
    if name in ("exception in arrow", "too few rows") and not HAS_ARROW:
        return
    try:
        frame().collect()
        outcome: Any = "it did not fail"
    except PythonException as error:
        missing = [text for text in expected if text not in str(error)]
        outcome = True if not missing else f"{missing} is not in: {error}"
    except Exception as error:
        outcome = f"{type(error)}: {error}"
    results[name] = outcome if outcome is not True else works() or "the next query is wrong"


@rudf("double")
def inverse(value):
    return 1 / (value - 7)


def helper(value: int) -> int:
    raise KeyError(f"no {value}")


@rudf("bigint")
def deep(value):
    return helper(value)


def arrow_fails(value: pa.Array) -> pa.Array:
    raise ValueError("not today")


@rudf("bigint")
def pandas_fails(value: pd.Series) -> pd.Series:
    raise ValueError("not today")


def too_few(value: pa.Array) -> pa.Array:
    return value.slice(1)


@rudf("bigint")
def leaves(value):
    sys.exit(3)


@rudf("bigint")
def recursion(value):
    def down(n):
        return down(n + 1)

    return down(0)


@rudf("bigint")
def c_recursion(value):
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return len(repr(deep))


class Unloadable:
    def __reduce__(self) -> Any:
        return (_refuse, ())


def _refuse() -> None:
    raise RuntimeError("cannot be loaded")


unloadable = Unloadable()

ids = spark.range(0, 20, 1, 2)
fails(
    "exception",
    lambda: ids.select(inverse("id")),
    "ZeroDivisionError: division by zero",
    "failures.py",
    "in inverse",
    "`inverse`",
    "row 7",
)
fails("exception in a helper", lambda: ids.select(deep("id")), "KeyError: 'no ", "in helper", "in deep", "`deep`")
fails(
    "exception in arrow",
    lambda: ids.select(rudf(arrow_fails, "bigint")("id")),
    "ValueError: not today",
    "in arrow_fails",
    "`arrow_fails`",
)
fails(
    "exception in pandas",
    lambda: ids.select(pandas_fails("id")),
    "ValueError: not today",
    "in pandas_fails",
    "`pandas_fails`",
)
fails("too few rows", lambda: ids.select(rudf(too_few, "bigint")("id")), "RESULT_ROWS_MISMATCH", "`too_few`")
fails("wrong type", lambda: ids.select(rudf(lambda v: "x", "bigint")("id")), "ArrowInvalid")
fails("sys.exit", lambda: ids.select(leaves("id")), "SystemExit: 3")
fails("recursion", lambda: ids.select(recursion("id")), "RecursionError")
fails("recursion in C", lambda: ids.select(c_recursion("id")), "RecursionError")
fails("unpickling", lambda: ids.select(rudf(lambda v: unloadable, "string")("id")), "cannot be loaded")
fails("on columns of a file", lambda: ids.select(inverse("id")), "ZeroDivisionError")


# Results that are not what they should be: told as on Spark's own path, with the function's name.


def fails_alike(name: str, frame: Callable[[], DataFrame]) -> None:
    told = {}
    for side in ("off", "on"):
        spark.conf.set("spark.rudf.enabled", str(side == "on").lower())
        try:
            told[side] = "it did not fail", str(frame().collect())
        except Exception as error:
            told[side] = type(error).__name__, str(error)
    spark.conf.unset("spark.rudf.enabled")
    (stock, stock_text), (ours, our_text) = told["off"], told["on"]
    # Older releases tell the same mistakes in other words; rudf has those of 4.3.
    same_words = spark.version < "4.3" or significant(stock_text) == significant(our_text)
    alike = stock == ours != "it did not fail" and same_words
    right = alike and "[rudf: in the function `returns`" in our_text
    results[name] = (works() or "the next query is wrong") if right else f"{stock_text}\n--- rudf:\n{our_text}"


def returning(make: Callable[[Any], Any], in_iterator: bool) -> Any:
    def returns(values: Any) -> Any:
        return (make(batch) for batch in values) if in_iterator else make(values)

    return returns


#: By eval type; the others are iterators of these.
RESULTS: dict[int, dict[str, Callable[[Any], Any]]] = {
    250: {
        "too few rows": lambda v: v.slice(1),
        "too many rows": lambda v: pa.concat_arrays([v, v]),
        "strings for numbers": lambda v: pa.array(["x"] * len(v)),
    },
    200: {
        "too few rows": lambda v: v.iloc[1:],
        "too many rows": lambda v: pd.concat([v, v]),
        "strings for numbers": lambda v: pd.Series(["x"] * len(v)),
    },
}
for kind, makers in RESULTS.items() if HAS_ARROW else ():
    for result, make in {**makers, "None": lambda v: None, "a number": lambda v: 5}.items():
        scalar = RudfFunction(returning(make, False), "bigint", kind)
        fails_alike(f"{result} of kind {kind}", lambda f=scalar: ids.select(f("id")))
        if spark.version >= "4.3":
            iterator = RudfFunction(returning(make, True), "bigint", {250: 251, 200: 204}[kind])
            fails_alike(f"{result} of iterators of kind {kind}", lambda f=iterator: ids.select(f("id")))
if spark.version >= "4.3":
    for result, make in {"None": lambda v: None, "a number": lambda v: 5}.items():
        mapped = returning(make, True)
        fails_alike(f"{result} of mapInPandas", lambda f=mapped: ids.mapInPandas(f, "id bigint"))
        fails_alike(f"{result} of mapInArrow", lambda f=mapped: ids.mapInArrow(f, "id bigint"))
        group = returning(make, False)
        fails_alike(f"{result} of applyInPandas", lambda f=group: ids.groupBy("id").applyInPandas(f, "id bigint"))
        fails_alike(f"{result} of applyInArrow", lambda f=group: ids.groupBy("id").applyInArrow(f, "id bigint"))


def is_cancelled() -> Any:
    """A function that never ends, in a job that is cancelled."""

    @rudf("bigint")
    def endless(value):
        while True:
            value += 1

    spark.sparkContext.setJobGroup("endless", "never ends", interruptOnCancel=True)
    outcome: list[Any] = []

    def run() -> None:
        spark.sparkContext.setJobGroup("endless", "never ends", interruptOnCancel=True)
        try:
            spark.range(2).select(endless("id")).collect()
            outcome.append("it ended")
        except Exception:
            outcome.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(5)
    spark.sparkContext.cancelAllJobs()
    thread.join(30)
    spark.sparkContext._jsc.sc().clearJobGroup()
    if not outcome:
        return "the job did not end"
    if outcome[0] is not True:
        return outcome[0]
    start = time.time()
    if not works():
        return "the next query is wrong"
    return True if time.time() - start < 20 else "the next query had to wait"


results["cancelled"] = is_cancelled()


def keeps_arrays() -> Any:
    """Arrays that a function keeps must keep their values when later batches come."""

    @rudf("boolean")
    def keep(value: pa.Array) -> pa.Array:
        import builtins

        store = builtins.__dict__.setdefault("_kept_by_test", [])
        store.append((value, value.to_pylist()))
        return pa.array([all(array.to_pylist() == copy for array, copy in store)] * len(value))

    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "10")
    try:
        rows = spark.range(0, 2000, 1, 4).select(keep("id").alias("same")).where("not same").count()
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    return True if rows == 0 else f"{rows} rows saw an array that had changed"


def works_without_a_bound() -> Any:
    """Batches of any number of rows reserve no memory for as many. Spark's own path may run out of it."""
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(2**31 - 1))
    try:
        return works() or "wrong"
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")


results["batches without a bound"] = works_without_a_bound()
if HAS_ARROW:
    results["arrays kept in a global"] = keeps_arrays()
results["works at the end"] = works()
with open(sys.argv[1], "w") as file:
    json.dump(results, file, indent=1)
spark.stop()
