"""Runs a matrix of queries on Spark's own path and on rudf's, and writes what came of each: the two must be equal.

usage: spark-submit differential.py RESULTS.json SCRATCH_DIRECTORY
"""

from __future__ import annotations

import datetime
import decimal
import json
import os
import sys
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from rudf import rudf

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import Column, DataFrame

TYPES = ["boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "string", "binary", "date", "timestamp"]

#: rudf's operators.
OPERATORS = ("RudfEval", "RudfMap", "RudfGroups", "RudfCogroups", "RudfAggregate", "RudfWindow", "RudfTable")

EXTREMES = {
    "boolean": ["true", "false"],
    "tinyint": ["-128", "127", "0"],
    "smallint": ["-32768", "32767", "0"],
    "int": ["-2147483648", "2147483647", "0"],
    "bigint": ["-9223372036854775808", "9223372036854775807", "0"],
    "float": ["'NaN'", "'Infinity'", "'-Infinity'", "'-0.0'", "1.5", "3.4028235E38", "1.4E-45"],
    "double": ["'NaN'", "'Infinity'", "'-Infinity'", "'-0.0'", "1.5", "1.7976931348623157E308", "4.9E-324"],
    "string": ["''", "'a'", "'äöü€𝄞'", "repeat('x', 1000)", "'\\0'"],
    "binary": ["''", "'a'", "unhex('00ff80')"],
    "date": ["'0001-01-01'", "'1582-10-14'", "'1969-12-31'", "'1970-01-01'", "'2024-02-29'", "'9999-12-31'"],
    "timestamp": [
        "'1900-01-01 00:00:00'", "'1969-12-31 23:59:59.999999'", "'1970-01-01'", "'2024-03-10 02:30:00'",
        "'2024-11-03 01:30:00'", "'2024-07-01 12:34:56.789012'",
    ],
}

class Matrix:
    """Runs queries twice, on Spark's path and on rudf's, and keeps what came of them."""

    def __init__(self, spark: SparkSession, scratch: str) -> None:
        self.spark = spark
        self.scratch = scratch
        self.results: dict[str, dict[str, Any]] = {}
        #: Which part of the queries is run, of how many; names decide.
        self._part, self._parts = (int(number) for number in os.environ.get("RUDF_PART", "0/1").split("/"))

    def add(self, name: str, frame: Callable[[], DataFrame]) -> None:
        """Run a query off and on, and keep its rows or its error."""
        if zlib.crc32(name.encode()) % self._parts != self._part:
            return
        outcomes = {}
        for side in ("off", "on"):
            self.spark.conf.set("spark.rudf.enabled", str(side == "on").lower())
            outcomes[side] = self._outcome(frame)
        self.results[name] = outcomes

    def _outcome(self, frame: Callable[[], DataFrame]) -> dict[str, Any]:
        try:
            query = frame()
            rows = [repr(tuple(row)) for row in query.collect()]
            plan = query._jdf.queryExecution().executedPlan().toString()
        except Exception as error:
            return {"error": type(error).__name__, "text": significant(str(error)), "rudf": None}
        return {"schema": query.schema.simpleString(), "rows": rows, "rudf": any(name in plan for name in OPERATORS)}


def significant(text: str) -> str:
    """Return the line of an error that tells it: the last of the traceback."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("[rudf:")]
    python = [line for line in lines if not line.lstrip().startswith(("at ", "File ", "...", "Driver stacktrace"))]
    return (python or lines or [""])[-1].strip()


def sources(matrix: Matrix) -> dict[str, DataFrame]:
    """Return all types with extremes and nulls, as children of different shapes."""
    spark = matrix.spark
    length = max(map(len, EXTREMES.values()))
    rows = []
    for i in range(length + 1):
        values = [EXTREMES[t][i] if i < len(EXTREMES[t]) else "null" for t in TYPES]
        rows.append("(" + ", ".join(f"cast({value} as {t})" for value, t in zip(values, TYPES)) + f", {i})")
    names = ", ".join(f"c_{t}" for t in TYPES)
    local = spark.sql(f"select * from values {', '.join(rows)} as t({names}, i)")
    path = f"{matrix.scratch}/types"
    local.repartition(3, "i").write.mode("overwrite").parquet(path)
    parquet = spark.read.parquet(path)
    return {
        "parquet": parquet,
        "local": local,
        "filtered": parquet.where("i % 2 = 0 or i > 3"),
        "shuffled": parquet.repartition(4, "i"),
        "cached": parquet.cache(),
        "one row a partition": parquet.repartition(40, "i"),
        "no rows": parquet.where("i < 0"),
        "no nulls": parquet.where(" and ".join(f"c_{t} is not null" for t in TYPES)),
    }


def identities(matrix: Matrix) -> None:
    """Every type goes in and comes back, on every child, for every kind of function."""
    frames = sources(matrix)
    same: Callable[[Any], Any] = lambda v: v  # noqa: E731
    kinds = {"row": 101, "arrow": 250, "pandas": 200}
    for shape, frame in frames.items():
        for kind, number in kinds.items():
            columns = [rudf_vector(same, t, number)(f"c_{t}") for t in TYPES]
            matrix.add(f"{kind} identity on {shape}", lambda f=frame, c=columns: f.select("*", *c).orderBy("i"))
    single = frames["one row a partition"]
    shown = {
        "row": rudf(lambda v: f"{type(v)} {v!r}", "string"),
        "arrow": rudf_vector(lambda v: pa.array([f"{v.type} {v.null_count}"] * len(v)), "string", 250),
        "pandas": rudf_vector(lambda v: pd.Series([f"{v.name} {v.dtype} {x!r}" for x in v]), "string", 200),
    }
    for kind, show in shown.items():
        matrix.add(f"what {kind} functions see", lambda s=show: single.select("i", *[s(f"c_{t}") for t in TYPES]).orderBy("i"))


def coercions(matrix: Matrix) -> None:
    """A sample of values that are not of the declared type (all of them are compared without Spark in python/tests)."""
    four = matrix.spark.range(0, 4, 1, 1)
    taken = {
        "1 as boolean": ("boolean", 1), "'1' as int": ("int", "1"), "1.5 as int": ("int", 1.5), "200 as tinyint": ("tinyint", 200),
        "True as double": ("double", True), "'a' as double": ("double", "a"), "bytes as string": ("string", b"AB"),
        "True as string": ("string", True), "str as binary": ("binary", "AB"), "int as date": ("date", 1),
        "str as date": ("date", "2020-01-01"), "date as timestamp": ("timestamp", datetime.date(2020, 1, 1)),
        "aware datetime": ("timestamp", datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)),
        "numpy as int": ("int", np.int32(5)), "numpy as double": ("double", np.float64(1.5)), "decimal as bigint": ("bigint", decimal.Decimal("1.2")),
    }
    for name, (t, value) in taken.items():
        constant = rudf(lambda _, v=value: v, t)
        matrix.add(name, lambda f=constant: four.select(f("id")))
    right = {"boolean": True, "string": "s", "double": 2.5, "bigint": 7, "timestamp": datetime.datetime(2021, 1, 1, 5)}
    for t, value in right.items():
        mixed = rudf(lambda i, v=value: [v, None, "1", v][i], t)
        matrix.add(f"a string among values of {t}", lambda f=mixed: four.select(f("id")))
    for t in ("bigint", "double", "string"):
        for name, make in {
            "strings": lambda n: pa.array(["1"] * n), "halves": lambda n: pa.array([0.5] * n), "too few": lambda n: pa.array([1] * (n - 1)),
            "slice": lambda n: pa.array(range(n + 2)).slice(2), "dictionary": lambda n: pa.array(["1"] * n).dictionary_encode(),
            "nulls": lambda n: pa.nulls(n), "chunks": lambda n: pa.chunked_array([pa.array(range(n))]), "no array": lambda n: 5,
        }.items():
            arrow = rudf_vector(lambda v, m=make: m(len(v)), t, 250)
            series = rudf_vector(lambda v, m=make: m(len(v)).to_pandas() if name != "no array" else 5, t, 200)
            matrix.add(f"arrow {name} as {t}", lambda f=arrow: four.select(f("id")))
            matrix.add(f"pandas {name} as {t}", lambda f=series: four.select(f("id")))


    for name, make in {
        "a list": list, "a numpy array": lambda v: v.to_numpy(), "a pyarrow array": pa.array, "an index": pd.Index,
        "a data frame": lambda v: pd.DataFrame({"a": v}), "a string": lambda v: "x" * len(v),
    }.items():
        other = rudf_vector(make, "bigint", 200)
        matrix.add(f"pandas returns {name}", lambda f=other: four.select(f("id")))


def rudf_vector(function: Any, return_type: str, kind: int) -> Any:
    """Make a function of whole columns of one whose other parameters are not annotated."""
    from rudf.udf import RudfFunction

    return RudfFunction(function, return_type, kind)


def shapes(matrix: Matrix) -> None:
    """Ways to call functions, and inputs of unusual shapes."""
    spark = matrix.spark
    ids = spark.range(0, 25, 1, 3)
    add = rudf(lambda a, b=10: a + b, "bigint")
    twice: Callable[[Column], Column] = rudf(lambda v: v * 2, "bigint")

    class Callable_:
        def __call__(self, v: int) -> int:
            return v + 1

    import functools

    def summed(*args: int, **kwargs: int) -> int:
        return sum(args) + sum(kwargs.values())

    everything = rudf(summed, "bigint")
    matrix.add("keywords", lambda: ids.select(add("id", b=F.col("id") * 2), add(b="id", a="id")))
    matrix.add("defaults", lambda: ids.select(add("id")))
    matrix.add("variable arguments", lambda: ids.select(everything("id", "id", x="id")))
    matrix.add("no arguments", lambda: ids.select(rudf(lambda: 5, "int")()))
    matrix.add("chain", lambda: ids.select(twice(twice(twice("id")))))
    matrix.add("two functions of one column", lambda: ids.select(twice("id"), add("id")))
    matrix.add("the same twice", lambda: ids.select(twice("id"), twice("id")))
    matrix.add("expressions as arguments", lambda: ids.select(twice(F.col("id") + 1), add("id", F.lit(3))))
    matrix.add("arguments that are not deterministic", lambda: ids.select(add(F.monotonically_increasing_id(), F.rand(7).cast("bigint"))))
    matrix.add("callable object", lambda: ids.select(rudf(Callable_().__call__, "bigint")("id")))
    matrix.add("partial", lambda: ids.select(rudf(functools.partial(pow, 2), "bigint")(F.col("id"))))
    matrix.add("in a filter", lambda: ids.where(twice("id") > 20))
    matrix.add("in an aggregate", lambda: ids.agg(F.sum(twice("id"))))
    matrix.add("as a key", lambda: ids.groupBy((twice("id") % 4).alias("k")).count().orderBy("k"))
    matrix.add("in a sort", lambda: ids.orderBy(F.desc(twice("id"))))
    matrix.add("in a join", lambda: ids.join(ids.withColumnRenamed("id", "other"), twice("id") == F.col("other")).orderBy("id"))
    matrix.add("in a case", lambda: ids.select(F.when(F.col("id") > 3, twice("id")).otherwise(F.lit(-1))))
    matrix.add("not deterministic", lambda: ids.select(rudf(lambda v: v, "bigint").asNondeterministic()("id")))
    matrix.add("limit", lambda: ids.select(twice("id")).limit(3))
    matrix.add("unsupported neighbours", lambda: ids.select(F.array("id"), F.struct("id"), F.lit(1.5).cast("decimal(5,2)"), twice("id")))
    matrix.add("unsupported argument", lambda: ids.select(rudf(lambda a: 1, "int")(F.expr("parse_json('1')"))))
    matrix.add("unsupported result", lambda: ids.select(rudf(lambda v: None, "variant")("id")))
    wide = ids.select("id", *[(F.col("id") + n).alias(f"c{n}") for n in range(200)])
    wide.write.mode("overwrite").parquet(f"{matrix.scratch}/wide")
    stored = spark.read.parquet(f"{matrix.scratch}/wide")
    names = [f"c{n}" for n in range(200)]
    matrix.add("200 arguments", lambda: wide.select(everything(*names)))
    matrix.add("200 columns pass by", lambda: stored.select("*", twice("c7")).orderBy("id"))
    matrix.add("a large string", lambda: ids.select(F.length(rudf(lambda s: s + s, "string")(F.repeat(F.lit("x"), F.lit(1 << 20))))))
    bad = ids.select(F.expr("cast(unhex('61ff62') as string)").alias("s"))
    matrix.add("bytes that are no UTF-8", lambda: bad.select(rudf(lambda s: len(s), "int")("s")))
    matrix.add("bytes that are no UTF-8, in arrow", lambda: bad.select(F.hex(rudf_vector(lambda s: s, "string", 250)("s"))))
    matrix.add("stop iteration", lambda: ids.select(rudf(stops, "int")("id")))
    matrix.add("system exit", lambda: ids.select(rudf(lambda v: sys.exit(3), "int")("id")))
    matrix.add("too few arguments", lambda: ids.select(rudf(lambda a, b: a, "bigint")("id")))
    for zone in ("America/Los_Angeles", "Asia/Kolkata"):
        spark.conf.set("spark.sql.session.timeZone", zone)
        times = spark.read.parquet(f"{matrix.scratch}/types")
        shown = rudf(lambda v: repr(v), "string")

        def series(v: pd.Series) -> pd.Series:
            return v.astype(str)

        def shifted(v: pd.Series) -> pd.Series:
            return v + pd.Timedelta(hours=1)

        matrix.add(f"timestamps in {zone}", lambda: times.select("i", shown("c_timestamp")).orderBy("i"))
        matrix.add(f"pandas timestamps in {zone}", lambda: times.select("i", rudf(series, "string")("c_timestamp")).orderBy("i"))
        matrix.add(f"shifted in {zone}", lambda: times.select("i", rudf(shifted, "timestamp")("c_timestamp")).orderBy("i"))
    spark.conf.unset("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "7")
    lengths = rudf_vector(lambda v: pc.add(pc.multiply(v, 0), len(v)), "bigint", 250)
    matrix.add("rows of a batch", lambda: spark.range(0, 20, 1, 1).select(lengths("id")))
    spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    shared = spark.sparkContext.broadcast({"a": 5})
    matrix.add("broadcast variable", lambda: ids.select(rudf(lambda v: v + shared.value["a"], "bigint")("id")))
    large = list(range(300_000))
    matrix.add("a function of megabytes", lambda: ids.select(rudf(lambda v: large[v], "bigint")("id")))
    counted = spark.sparkContext.accumulator(0)

    def counts(v: int) -> int:
        counted.add(1)
        return v

    matrix.add("accumulator", lambda: ids.select(rudf(counts, "bigint")("id")))
    if "accumulator" in matrix.results:
        # Either side has added for each row.
        assert counted.value == 2 * ids.count(), counted.value


def stops(v: int) -> int:
    """Let a StopIteration out."""
    return next(iter(()))


def main() -> None:
    """Run the matrix and write it."""
    target, scratch = sys.argv[1:3]
    spark = SparkSession.builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    matrix = Matrix(spark, scratch)
    identities(matrix)
    shapes(matrix)
    coercions(matrix)
    with open(target, "w") as file:
        json.dump(matrix.results, file, indent=1)
    spark.stop()


if __name__ == "__main__":
    main()
