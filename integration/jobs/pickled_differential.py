"""Runs PySpark's functions of pickled rows (``udf(useArrow=False)``) on Spark's own path and on rudf's: both must be equal.

usage: spark-submit pickled_differential.py RESULTS.json SCRATCH_DIRECTORY
"""

from __future__ import annotations

import array
import datetime
import decimal
import functools
import json
import sys
import uuid
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.functions import udf

from differential import TYPES, Matrix, sources

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

pickled = functools.partial(udf, useArrow=False)

#: Types beside those that all jobs have.
MORE_TYPES = [
    "void", "decimal(10,2)", "decimal(38,18)", "decimal(38,0)", "timestamp_ntz", "interval day to second", "char(4)", "varchar(4)",
    "array<int>", "array<string>", "array<timestamp>", "array<array<double>>", "map<string,int>", "map<int,date>", "struct<a:int,b:string>",
    "struct<a:date,b:array<int>>", "array<struct<a:int,b:decimal(5,1)>>", "map<string,struct<a:float>>",
]  # fmt: skip


class Opaque:
    """An object that no reader of pickles in Java knows."""


class Text(str):
    """A string that is more than that."""


class Number(int):
    """The same of integers."""


UTC = datetime.timezone.utc
#: What a function may return, whatever it has declared.
VALUES: dict[str, Any] = {
    "True": True, "1": 1, "0": 0, "-1": -1, "200": 200, "70000": 70000, "2**31": 2**31, "2**40": 2**40, "-2**63": -(2**63), "2**63": 2**63, "2**100": 2**100,
    "1.0": 1.0, "1.5": 1.5, "-0.0": -0.0, "1e10": 1e10, "1e300": 1e300, "1e-10": 1e-10, "nan": float("nan"), "inf": float("inf"), "0.1": 0.1,
    "'a'": "a", "''": "", "'1'": "1", "'12345'": "12345", "'ä€𝄞'": "ä€𝄞", "surrogate": "\ud800", "'2020-01-01'": "2020-01-01", "b'AB'": b"AB", "b''": b"", "bytearray": bytearray(b"xy"),
    "date": datetime.date(2020, 2, 29), "date 1": datetime.date(1, 1, 1), "date 9999": datetime.date(9999, 12, 31), "datetime": datetime.datetime(2020, 2, 29, 12, 30, 15, 123456),
    "datetime 1900": datetime.datetime(1900, 1, 1), "in a gap": datetime.datetime(2024, 3, 10, 2, 30), "in a fold": datetime.datetime(2024, 11, 3, 1, 30),
    "the second of a fold": datetime.datetime(2024, 11, 3, 1, 30, fold=1), "aware": datetime.datetime(2020, 1, 1, tzinfo=UTC), "aware, +5": datetime.datetime(2020, 1, 1, 3, tzinfo=datetime.timezone(datetime.timedelta(hours=5))),
    "time": datetime.time(12, 30), "timedelta": datetime.timedelta(days=1, microseconds=7), "-timedelta": datetime.timedelta(microseconds=-1), "long timedelta": datetime.timedelta(days=99999999, microseconds=999999),
    "decimal": decimal.Decimal("1.25"), "decimal 1.245": decimal.Decimal("1.245"), "-decimal": decimal.Decimal("-1.255"), "decimal 1E+2": decimal.Decimal("1E+2"), "large decimal": decimal.Decimal("123456789012345678901234567890"), "decimal nan": decimal.Decimal("NaN"),
    "[1, 2]": [1, 2], "[]": [], "['a', None]": ["a", None], "[[1.5]]": [[1.5]], "[1, 'a']": [1, "a"], "(1, 'a')": (1, "a"), "(1,)": (1,), "()": (), "(1, 'a', 2)": (1, "a", 2), "('a', 1)": ("a", 1),
    "{'a': 1}": {"a": 1}, "{1: date}": {1: datetime.date(2020, 1, 1)}, "{}": {}, "{'b': 'x', 'a': 2}": {"b": "x", "a": 2}, "{None: 1}": {None: 1}, "{'k': (1.5,)}": {"k": (1.5,)}, "Row": Row(a=5, b="r"), "Row of others": Row(x=5, y="r"), "Row(b, a)": Row(b="r", a=5), "struct of date": Row(a=datetime.date(2020, 1, 1), b=[1, 2]), "[Row]": [Row(a=1, b=decimal.Decimal("1.25"))], "[datetime]": [datetime.datetime(2020, 1, 1)],
    "array.array": array.array("i", [1, 2]), "set": {1}, "complex": 1j, "range": range(3), "uuid": uuid.UUID(int=5), "class": Opaque, "object": Opaque(), "Text": Text("t"), "Number": Number(7),
    "numpy int": np.int32(5), "numpy float": np.float64(1.5), "numpy float32": np.float32(1.5), "numpy bool": np.bool_(True), "numpy str": np.str_("s"), "numpy array": np.array([1, 2]), "lambda": lambda: 1,
}  # fmt: skip

#: Java says where these are, or in which order.
UNSTABLE = {"(1, 'a')", "(1,)", "()", "(1, 'a', 2)", "('a', 1)", "b'AB'", "b''", "bytearray", "Row", "Row of others", "Row(b, a)", "struct of date", "[Row]", "array.array", "{'k': (1.5,)}", "aware", "aware, +5", "datetime", "datetime 1900", "in a gap", "in a fold", "the second of a fold", "[datetime]", "{1: date}"}  # fmt: skip


#: Types that no batch holds.
LEFT_TO_SPARK = {"interval year to month", "variant", "interval"}
#: The same of results alone.
LEFT_AS_RESULTS = {*LEFT_TO_SPARK, "array<void>"}

#: Java refuses them, whatever the type.
REFUSED = {"Row", "Row of others", "Row(b, a)", "struct of date", "[Row]", "class", "object", "Text", "Number", "lambda", "aware", "aware, +5", *(name for name in VALUES if name.startswith("numpy"))}  # fmt: skip
#: How many values one query returns: one that Spark refuses hides those after it.
TOGETHER = 8


def is_refused(value: Any, declared: str) -> bool:
    """Whether PySpark's worker refuses a value for a type."""
    from pyspark.sql.types import _parse_datatype_string

    try:
        _parse_datatype_string(declared).toInternal(value)
    except Exception:
        return True
    return False


def identities(matrix: Matrix, frames: dict[str, DataFrame]) -> None:
    """Every type goes in and comes back, on every child, and is seen alike."""
    same = [pickled(lambda v: v, t)(f"c_{t}") for t in TYPES]
    for shape, frame in frames.items():
        matrix.add(f"identity on {shape}", lambda f=frame: f.select("*", *same).orderBy("i"))
    shown = pickled(lambda v: f"{type(v)} {v!r}", "string")
    single = frames["one row a partition"]
    matrix.add("what functions see", lambda: single.select("i", *[shown(f"c_{t}") for t in TYPES]).orderBy("i"))
    matrix.spark.conf.set("spark.sql.execution.pyspark.binaryAsBytes", "false")
    matrix.add("binaries as byte arrays", lambda: single.select("i", shown("c_binary")).orderBy("i"))
    matrix.spark.conf.unset("spark.sql.execution.pyspark.binaryAsBytes")
    made = {
        "decimal(10,2)": "1.20BD", "decimal(38,18)": "-0.5BD", "decimal(38,32)": "1E-32BD", "decimal(38,0)": "12345678901234567890123456789012345678BD", "timestamp_ntz": "timestamp_ntz'2024-11-03 01:30:00'",
        "interval day to second": "interval '-1 02:03:04.5' day to second", "array<int>": "array(1, null, 3)", "array<timestamp>": "array(timestamp'2020-01-01 00:00:00', null)", "map<string,int>": "map('a', 1, 'b', null)",
        "map<int,date>": "map(1, date'2020-01-01')", "struct<a:int,b:string>": "named_struct('a', 1, 'b', 'x')", "struct<a:date,b:array<int>>": "named_struct('a', date'2020-01-01', 'b', array(1))",
        "array<struct<a:int,b:decimal(5,1)>>": "array(named_struct('a', 1, 'b', 1.5BD), null)", "map<string,struct<a:float>>": "map('k', named_struct('a', 1.5f))", "array<array<double>>": "array(array(1.5d), array())",
        "char(4)": "cast('ab' as char(4))", "void": "null", "array<binary>": "array(cast('ab' as binary))", "struct<a:struct<b:timestamp>>": "named_struct('a', named_struct('b', timestamp'2020-01-01 00:00:00'))",
        "map<struct<a:int>,int>": "map(named_struct('a', 1), 2)", "array<void>": "array(null)", "struct<>": "struct()", "time": "time'12:30:45.123456'", "array<time>": "array(time'12:30:45')", "string collate UNICODE_CI": "'aB' collate UNICODE_CI",
        "struct<a:string collate UNICODE_CI,b:array<string collate UTF8_LCASE>>": "named_struct('a', 'aB' collate UNICODE_CI, 'b', array('x' collate UTF8_LCASE))", "map<int,string collate UNICODE>": "map(1, 'x' collate UNICODE)",
        "interval year to month": "interval '1-2' year to month", "variant": "parse_json('{\"a\": 1}')", "a bad string": "cast(unhex('61ff62c3') as string)", "interval": "make_interval(1, 2, 3)",
    }  # fmt: skip
    one = matrix.spark.range(0, 3, 1, 1)
    for t, expression in made.items():
        returned = "string" if t == "a bad string" else t
        for null in (f"if(id = 1, null, {expression})", expression):
            column = F.expr(null)
            seen = "left: " if t in LEFT_TO_SPARK else ""
            given = "left: " if t in LEFT_AS_RESULTS else ""
            matrix.add(f"{seen}sees {null}", lambda c=column: one.select("id", shown(c)))
            matrix.add(
                f"{given}gives back {null}", lambda c=column, r=returned: one.select("id", pickled(lambda v: v, r)(c))
            )


def coercions(matrix: Matrix) -> None:
    """Every value for every type: those that are refused alone, the others some at a time."""
    spark = matrix.spark
    for t in TYPES + MORE_TYPES:
        names = [name for name in VALUES if not (name in UNSTABLE and ("string" in t or "char" in t))]
        refused = [name for name in names if name in REFUSED or is_refused(VALUES[name], t)]
        taken = [name for name in names if name not in refused]
        if t in MORE_TYPES:
            refused = refused[zlib.crc32(t.encode()) % 5 :: 5]
        for some in [[name] for name in refused] + [
            taken[start : start + TOGETHER] for start in range(0, len(taken), TOGETHER)
        ]:
            values = [VALUES[name] for name in some]
            returned = pickled(lambda i, v=values: v[i] if i < len(v) else None, t)
            rows = spark.range(0, len(some) + 1, 1, 1)
            matrix.add(f"{', '.join(some)} as {t}", lambda f=returned, r=rows: r.select("id", f("id")))
    many = spark.range(0, 3000, 1, 2)
    for t, wanted in {
        "bigint": 7,
        "double": 2.5,
        "string": "s",
        "date": datetime.date(2020, 1, 1),
        "decimal(10,2)": decimal.Decimal(2),
    }.items():
        for other in (None, "1", 1, 1.5, True):
            for every in (2, 3, 997):
                mixed = pickled(lambda i, v=wanted, o=other, e=every: o if i % e == 0 else v, t)
                matrix.add(f"{other!r} in every {every} of {t}", lambda f=mixed: many.select("id", f("id")))


def shapes(matrix: Matrix) -> None:
    """Ways to call functions, and functions that fail."""
    spark = matrix.spark
    ids = spark.range(0, 25, 1, 3)
    add = pickled(lambda a, b=10: a + b, "bigint")
    twice = pickled(lambda v: v * 2, "bigint")
    text = pickled(lambda v: v * 2, "string")
    summed = pickled(lambda *args, **kwargs: sum(args) + sum(kwargs.values()), "bigint")
    matrix.add("keywords", lambda: ids.select(add("id", b=F.col("id") * 2), add(b="id", a="id")))
    matrix.add("variable arguments", lambda: ids.select(summed("id", "id", x="id")))
    matrix.add("no arguments", lambda: ids.select(pickled(lambda: 5, "int")()))
    matrix.add("chain", lambda: ids.select(twice(twice(twice("id"))), text(twice("id")), twice(text("id"))))
    matrix.add("three functions", lambda: ids.select(twice("id"), text("id"), add("id")))
    matrix.add(
        "with functions over Arrow",
        lambda: ids.select(
            twice("id"), udf(lambda v: v + 1, "bigint")("id"), twice(udf(lambda v: v + 1, "bigint")("id"))
        ),
    )
    matrix.add("partial", lambda: ids.select(pickled(functools.partial(pow, 2), "bigint")("id")))
    matrix.add("in a filter", lambda: ids.where(twice("id") > 20))
    matrix.add("in an aggregate", lambda: ids.agg(F.sum(twice("id"))))
    matrix.add("as a key", lambda: ids.groupBy((twice("id") % 4).alias("k")).count().orderBy("k"))
    matrix.add("in a join", lambda: ids.join(ids.withColumnRenamed("id", "o"), twice("id") == F.col("o")).orderBy("id"))
    matrix.add("limit", lambda: ids.select(text("id")).limit(3))
    matrix.add("sorted", lambda: ids.orderBy(F.desc(text("id"))))
    matrix.add(
        "a column that passes by without a form",
        lambda: ids.select(F.expr("make_interval(1)").alias("v"), twice("id"), text("id")),
    )
    matrix.add("stop iteration", lambda: ids.select(pickled(lambda v: next(iter(())), "int")("id")))
    matrix.add("system exit", lambda: ids.select(pickled(lambda v: sys.exit(3), "int")("id")))
    matrix.add("division by zero", lambda: ids.select(pickled(lambda v: 1 // (v - 20), "int")("id")))
    matrix.add("too few arguments", lambda: ids.select(pickled(lambda a, b: a, "bigint")("id")))
    matrix.add("no such argument", lambda: ids.select(pickled(lambda a: a, "bigint")(b="id")))
    collated = pickled(lambda v: int(v) if v % 2 else "x", "string collate UNICODE_CI")
    matrix.add("a number as collated string", lambda: ids.select(collated("id")))
    matrix.add(
        "a decimal that overflows",
        lambda: ids.select(pickled(lambda v: decimal.Decimal(10) ** 12, "decimal(10,2)")("id")),
    )
    single = spark.range(0, 12, 1, 1)
    spark.conf.set("spark.sql.ansi.enabled", "false")
    overflows = pickled(lambda v: decimal.Decimal(10) ** int(v), "decimal(10,2)")
    matrix.add("a decimal that overflows, not ANSI", lambda: single.select("id", overflows("id")))
    spark.conf.unset("spark.sql.ansi.enabled")
    spark.udf.register("pickled_plus", pickled(lambda a, b=1: a + b, "bigint"))
    ids.createOrReplaceTempView("pickled_ids")
    matrix.add(
        "registered",
        lambda: spark.sql(
            "select pickled_plus(id), pickled_plus(id, 5), pickled_plus(b => 3, a => id) from pickled_ids"
        ),
    )


def main() -> None:
    """Run the matrix and write it."""
    target, scratch = sys.argv[1:3]
    spark = SparkSession.builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    matrix = Matrix(spark, scratch)
    identities(matrix, sources(matrix))
    coercions(matrix)
    shapes(matrix)
    with open(target, "w") as file:
        json.dump(matrix.results, file)


if __name__ == "__main__":
    main()
