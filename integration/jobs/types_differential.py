"""Runs functions over columns of nested and rarer types on Spark's own path and on rudf's: the two must be equal.

usage: spark-submit types_differential.py RESULTS.json SCRATCH_DIRECTORY
"""

from __future__ import annotations

import datetime
import decimal
import json
import sys
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from differential import Matrix, rudf_vector
from rudf import rudf

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame

#: Name of a column: its type and values of it.
COLUMNS = {
    "c_void": ("void", ["null"]),
    "c_ntz": ("timestamp_ntz", ["timestamp_ntz'1700-01-01 00:00:00'", "timestamp_ntz'2024-03-10 02:30:00.123456'"]),
    "c_dt": ("interval day to second", ["interval '-3 04:05:06.000007' day to second", "interval '0' day"]),
    "c_t": ("time(6)", ["time'00:00:00'", "time'23:59:59.999999'"]),
    "c_d5": ("decimal(5,2)", ["1.5", "-999.99", "0"]),
    "c_d18": ("decimal(18,0)", ["999999999999999999", "-1"]),
    "c_d38": ("decimal(38,18)", ["12345678901234567890.123456789012345678", "-0.000000000000000001"]),
    "c_co": ("string collate unicode_ci", ["'Ä'", "''"]),
    "c_ai": ("array<int>", ["array(1, null, 3)", "array()"]),
    "c_as": ("array<string>", ["array('a', null, 'äöü')", "array('')"]),
    "c_ats": ("array<timestamp>", ["array(timestamp'2024-11-03 01:30:00', null)"]),
    "c_aa": ("array<array<decimal(5,1)>>", ["array(array(1.5, null), null, array())"]),
    "c_mi": ("map<string,int>", ["map('a', 1, 'b', null)", "map_from_arrays(cast(array() as array<string>), array())"]),
    "c_ma": ("map<int,array<binary>>", ["map(1, array(binary('x'), null), 2, null)"]),
    "c_st": ("struct<a:int,b:string,`c d`:date>", ["named_struct('a', 1, 'b', 'x', 'c d', date'0001-01-01')", "named_struct('a', null, 'b', null, 'c d', null)"]),
    "c_ss": ("struct<s:struct<x:double,y:array<boolean>>,m:map<date,struct<v:float>>>",
           ["named_struct('s', named_struct('x', 1.5, 'y', array(true, null)), 'm', map(date'2020-01-01', named_struct('v', 2.5)))"]),
    "c_asr": ("array<struct<x:bigint,y:string>>", ["array(named_struct('x', 1, 'y', 'p'), null, named_struct('x', null, 'y', null))"]),
}  # fmt: skip

#: What no function takes, but columns that pass by may have.
PASS_BY = {
    "ym": "interval '1-2' year to month",
    "ci": "make_interval(1, 2, 3, 4, 5, 6, 7.5)",
    "v": "parse_json('{\"a\": [1, null]}')",
    "av": "array(parse_json('1'), null)",
    "two": "named_struct('x', 1, 'x', 2)",
    "n": "array(null)",
}


def sources(matrix: Matrix) -> dict[str, DataFrame]:
    """Return all types with nulls, as children of different shapes."""
    spark = matrix.spark
    length = max(len(values) for _, values in COLUMNS.values()) + 1
    rows = []
    for i in range(length * 3):
        values = [
            f"cast({values[i % length] if i % length < len(values) else 'null'} as {kind})"
            for kind, values in COLUMNS.values()
        ]
        rows.append("(" + ", ".join(values) + f", {i})")
    local = spark.sql(f"select * from values {', '.join(rows)} as t({', '.join(COLUMNS)}, i)")
    path = f"{matrix.scratch}/nested"
    # Parquet has no void and no TIME; and Spark's own operator fails on collated strings of a columnar child.
    local.drop("c_void", "c_t", "c_co").repartition(2, "i").write.mode("overwrite").parquet(path)
    parquet = spark.read.parquet(path)
    return {
        "parquet": parquet,
        "local": local,
        "filtered": parquet.where("i % 2 = 0 or i > 3"),
        "shuffled": local.repartition(3, "i"),
        "cached": local.cache(),
        "no rows": local.where("i < 0"),
        "batches of two": local,
    }


def identities(matrix: Matrix, frames: dict[str, DataFrame]) -> None:
    """Every type goes in and comes back, on every child, for every kind of function."""
    same: Callable[[Any], Any] = lambda v: v  # noqa: E731
    for shape, frame in frames.items():
        if shape == "batches of two":
            matrix.spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "2")
        for kind, number in {"row": 101, "arrow": 250, "pandas": 200}.items():
            columns = [rudf_vector(same, COLUMNS[c][0], number)(c).alias(f"r{c}") for c in frame.columns if c != "i"]
            matrix.add(f"{kind} identity on {shape}", lambda f=frame, c=columns: f.select("*", *c).orderBy("i"))
        matrix.spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")


def seen(matrix: Matrix, frame: DataFrame) -> None:
    """Functions see what PySpark shows them, of every type by itself."""

    def described(v: Any) -> str:
        if isinstance(v, Row):
            return f"Row{v.__fields__}({[described(x) for x in v]})"
        return f"{type(v)} {[described(x) for x in v] if isinstance(v, list) else repr(v)}"

    def series(v: Any) -> pd.Series:
        if isinstance(v, pd.DataFrame):
            return pd.Series(
                [
                    f"{list(v.columns)} {list(v.dtypes)} {[(type(x), repr(x)) for x in row]}"
                    for row in v.itertuples(index=False)
                ]
            )
        return pd.Series([f"{v.name} {v.dtype} {type(x)} {x!r}" for x in v])

    row = rudf(described, "string")
    arrow = rudf_vector(lambda v: pa.array([f"{v.type} {x!r}" for x in v]), "string", 250)
    pandas = rudf_vector(series, "string", 200)
    for name in COLUMNS:
        matrix.add(f"{name} as seen", lambda n=name: frame.select("i", row(n), arrow(n), pandas(n)).orderBy("i"))


def results(matrix: Matrix) -> None:
    """What functions return becomes what PySpark makes of it."""
    four = matrix.spark.range(0, 4, 1, 1)
    moment = datetime.datetime(2020, 2, 29, 1, 2, 3)
    returned: dict[str, tuple[str, Any]] = {
        "a rounded decimal": ("decimal(4,1)", decimal.Decimal("1.25")), "a decimal of too many digits": ("decimal(4,1)", decimal.Decimal("12345")),
        "an int as decimal": ("decimal(4,1)", 1), "NaN as decimal": ("decimal(4,1)", decimal.Decimal("NaN")),
        "aware as ntz": ("timestamp_ntz", moment.replace(tzinfo=datetime.timezone.utc)), "ntz": ("timestamp_ntz", moment),
        "timedelta": ("interval day to second", datetime.timedelta(1, 2, 3)), "timedelta in hours": ("interval hour", datetime.timedelta(hours=5)),
        "int as interval": ("interval day to second", 5), "time": ("time", datetime.time(1, 2, 3, 4)), "a value as void": ("void", 1),
        "list": ("array<int>", [1, None]), "tuple as array": ("array<int>", (1, 2)), "strings as array of ints": ("array<int>", ["1", "2"]),
        "int as array": ("array<int>", 1), "dict": ("map<string,int>", {"a": 1}), "list as map": ("map<string,int>", [("a", 1)]),
        "None as key": ("map<string,int>", {None: 1}), "tuple": ("struct<a:int,b:string>", (1, "x")), "short tuple": ("struct<a:int,b:string>", (1,)),
        "dict as struct": ("struct<a:int,b:string>", {"b": "y"}), "row": ("struct<a:int,b:string>", Row(a=1, b="z")), "list as struct": ("struct<a:int>", [1]),
        "nested": ("array<struct<m:map<string,array<double>>>>", [{"m": {"k": [1.5, None]}}, None]), "collated": ("string collate unicode_ci", "É"),
    }  # fmt: skip
    for name, (kind, value) in returned.items():
        constant = rudf(lambda i, v=value: v if i else None, kind)
        matrix.add(f"{name} as {kind}", lambda f=constant: four.select(f("id")))
    frames: dict[str, Any] = {
        "data frame": lambda v: pd.DataFrame({"b": ["x"] * len(v), "a": v}), "data frame without names": lambda v: pd.DataFrame([[1, "x"]] * len(v)),
        "missing column": lambda v: pd.DataFrame({"a": v}), "series of dicts": lambda v: pd.Series([{"a": 1, "b": "x"}] * len(v)),
    }  # fmt: skip
    for name, make in frames.items():
        table = rudf_vector(make, "struct<a:bigint,b:string>", 200)
        matrix.add(f"pandas {name} as struct", lambda f=table: four.select(f("id")))
    arrays: dict[str, Any] = {
        "slice of structs": lambda v: pa.StructArray.from_arrays([pa.array(range(len(v) + 2)), pa.array(["x"] * (len(v) + 2))], ["a", "b"]).slice(2),
        "another order": lambda v: pa.StructArray.from_arrays([pa.array(["x"] * len(v)), pa.array(range(len(v)))], ["b", "a"]),
        "other types": lambda v: pa.StructArray.from_arrays([pa.array([1] * len(v), pa.int8()), pa.array(["x"] * len(v), pa.large_string())], ["a", "b"]),
    }  # fmt: skip
    for name, make in arrays.items():
        table = rudf_vector(make, "struct<a:bigint,b:string>", 250)
        matrix.add(f"arrow {name} as struct", lambda f=table: four.select(f("id")))
    lists = rudf_vector(lambda v: pa.array([[1, 2], None, [], [3]], pa.large_list(pa.int32())), "array<bigint>", 250)
    matrix.add("arrow large lists", lambda: four.select(lists("id")))


def passing_by(matrix: Matrix) -> None:
    """Columns that no function takes stay as they are, and are laid out in columns."""
    twice = rudf(lambda v: v * 2, "bigint")
    rows = matrix.spark.range(0, 9, 1, 2)
    frame = rows.select("id", *[F.expr(f"if(id % 3 = 0, null, {e})").alias(n) for n, e in PASS_BY.items()])
    texts = [
        F.col(n).cast("string") if n not in ("ci", "v") else F.expr(f"string({n})") for n in PASS_BY if n not in ("av",)
    ]
    matrix.add("rarer types pass by rows", lambda: frame.select(twice("id"), *texts))
    stored = frame.drop("ci", "n", "two", "ym")
    stored.write.mode("overwrite").parquet(f"{matrix.scratch}/pass_by")
    columns = matrix.spark.read.parquet(f"{matrix.scratch}/pass_by")
    matrix.add(
        "rarer types pass by columns",
        lambda: columns.select(twice("id"), F.expr("string(v)"), F.expr("string(av[0])"), "id").orderBy("id"),
    )


def left(matrix: Matrix) -> None:
    """Types that PySpark's own path answers for."""
    rows = matrix.spark.range(0, 2, 1, 1)
    shown = rudf(repr, "string")
    matrix.add("left: year-month interval", lambda: rows.select(shown(F.expr("interval '1' year"))))
    matrix.add("left: calendar interval", lambda: rows.select(shown(F.expr("make_interval(1)"))))
    matrix.add("left: variant", lambda: rows.select(rudf(lambda v: v.toJson(), "string")(F.expr("parse_json('[1]')"))))
    matrix.add("left: two fields of the same name", lambda: rows.select(shown(F.expr("named_struct('a', 1, 'a', 2)"))))
    times = rows.select(F.expr("time'12:30:45'").alias("t"))
    for kind, number in {"row": 101, "arrow": 250, "pandas": 200}.items():
        short = rudf_vector(lambda v: v, "array<time(3)>" if number == 101 else "time(3)", number)
        matrix.add(f"left: TIME of three digits to return, {kind}", lambda f=short: times.select(f("t")))
    pickled = F.udf(lambda v: v, "time(3)", useArrow=False)
    matrix.add("TIME of three digits to return, pickled", lambda: times.select(pickled("t")))
    matrix.add("TIME of three digits, mapped", lambda: times.mapInPandas(lambda frames: frames, "t time(3)"))
    matrix.add("left: year-month interval to return", lambda: rows.select(rudf(lambda v: 1, "interval year")("id")))


def main() -> None:
    """Run the matrix and write it."""
    target, scratch = sys.argv[1:3]
    spark = SparkSession.builder.config("spark.sql.timeType.enabled", "true").getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    matrix = Matrix(spark, scratch)
    frames = sources(matrix)
    identities(matrix, frames)
    seen(matrix, frames["local"])
    results(matrix)
    passing_by(matrix)
    left(matrix)
    with open(target, "w") as file:
        json.dump(matrix.results, file, indent=1)
    spark.stop()


if __name__ == "__main__":
    main()
