"""Runs one matrix of queries and writes what came of each; run with rudf off and on, the two files must be equal.

usage: spark-submit differential.py RESULTS.json SCRATCH_DIRECTORY
"""

from __future__ import annotations

import datetime
import decimal
import json
import sys
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

RETURNED: list[Any] = [
    None, True, 0, 1, 200, -129, 70000, 2**31, 2**40, 2**63, -(2**63), 2**53 + 1, 1.0, 1.5, -0.0, float("nan"), float("inf"),
    1e300, "1", "a", "", "äö", b"AB", bytearray(b"AB"), decimal.Decimal("1.2345"), datetime.date(2020, 2, 29),
    datetime.datetime(2020, 2, 29, 12, 30, 15, 123456), datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc),
    datetime.timedelta(days=1), datetime.time(1, 2, 3), [1], (1,), {"a": 1}, np.int32(5), np.float64(1.5), np.str_("s"), np.bool_(True),
]


class Matrix:
    """Runs queries and keeps what came of them."""

    def __init__(self, spark: SparkSession, scratch: str) -> None:
        self.spark = spark
        self.scratch = scratch
        self.results: dict[str, Any] = {}

    def add(self, name: str, frame: Callable[[], DataFrame]) -> None:
        """Run a query and keep its rows, or its error."""
        try:
            query = frame()
            schema = query.schema.simpleString()
            rows = [repr(tuple(row)) for row in query.collect()]
            outcome: dict[str, Any] = {"schema": schema, "rows": rows}
        except Exception as error:
            outcome = {"error": type(error).__name__, "text": significant(str(error))}
        else:
            outcome["rudf"] = "RudfEval" in query._jdf.queryExecution().executedPlan().toString()
        self.results[name] = outcome


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
    for shape, frame in frames.items():
        for t in TYPES:
            same = rudf(lambda v: v, t)
            matrix.add(f"identity {t} on {shape}", lambda: frame.select("i", f"c_{t}", same(f"c_{t}")).orderBy("i"))
    for t in TYPES:
        frame = frames["parquet"]
        shown = rudf(lambda v: repr(v), "string")
        matrix.add(f"repr of {t}", lambda: frame.select("i", shown(f"c_{t}")).orderBy("i"))

        def arrow(v: pa.Array) -> pa.Array:
            return v

        def series(v: pd.Series) -> pd.Series:
            return v

        def arrow_repr(v: pa.Array) -> pa.Array:
            return pa.array([f"{v.type} {v.null_count}"] * len(v))

        def series_repr(v: pd.Series) -> pd.Series:
            return pd.Series([f"{v.dtype} {x!r}" for x in v])

        for shape in ("parquet", "filtered", "no rows"):
            child = frames[shape]
            matrix.add(f"arrow {t} on {shape}", lambda: child.select("i", rudf(arrow, t)(f"c_{t}")).orderBy("i"))
            matrix.add(f"pandas {t} on {shape}", lambda: child.select("i", rudf(series, t)(f"c_{t}")).orderBy("i"))
        single = frames["one row a partition"]
        matrix.add(f"arrow sees {t}", lambda: single.select("i", rudf(arrow_repr, "string")(f"c_{t}")).orderBy("i"))
        matrix.add(f"pandas sees {t}", lambda: single.select("i", rudf(series_repr, "string")(f"c_{t}")).orderBy("i"))


def coercions(matrix: Matrix) -> None:
    """Every returned value for every declared type, alone and behind values of the right type."""
    one = matrix.spark.range(1)
    for t in TYPES:
        for value in RETURNED:
            constant = rudf(lambda _, v=value: v, t)
            matrix.add(f"{value!r} ({type(value).__name__}) as {t}", lambda: one.select(constant("id")))
    right = {"boolean": True, "string": "s", "binary": b"b", "double": 2.5, "bigint": 7, "date": datetime.date(2021, 1, 1),
             "timestamp": datetime.datetime(2021, 1, 1, 5)}
    four = matrix.spark.range(0, 4, 1, 1)
    for t, value in right.items():
        mixed = rudf(lambda i, v=value: [v, None, "1", v][i], t)
        matrix.add(f"a string among values of {t}", lambda: four.select(mixed("id")))
    for t in ("bigint", "double", "string", "boolean", "date", "timestamp"):
        for name, make in {
            "strings": lambda n: pa.array(["1"] * n), "ints": lambda n: pa.array(range(n)), "halves": lambda n: pa.array([0.5] * n),
            "too few": lambda n: pa.array([1] * (n - 1)), "slice": lambda n: pa.array(range(n + 2)).slice(2),
            "dictionary": lambda n: pa.array(["1"] * n).dictionary_encode(), "nulls": lambda n: pa.nulls(n),
        }.items():

            def arrow(v: pa.Array, make: Any = make) -> pa.Array:
                return make(len(v))

            def series(v: pd.Series, make: Any = make) -> pd.Series:
                return make(len(v)).to_pandas()

            arrow.__annotations__.pop("make")
            series.__annotations__.pop("make")
            matrix.add(f"arrow {name} as {t}", lambda: four.select(rudf_vector(arrow, t, 250)("id")))
            matrix.add(f"pandas {name} as {t}", lambda: four.select(rudf_vector(series, t, 200)("id")))


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
    matrix.add("unsupported argument", lambda: ids.select(rudf(lambda a: len(a), "int")(F.array("id", "id"))))
    matrix.add("unsupported result", lambda: ids.select(rudf(lambda v: [v], "array<bigint>")("id")))
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
    matrix.results["accumulator's value"] = {"rows": [counted.value]}


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
