"""Runs stock PySpark functions of every kind on Spark's own path and on rudf's: the two must be equal.

usage: spark-submit kinds_differential.py RESULTS.json SCRATCH_DIRECTORY [PART ...]
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Row, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.functions import arrow_udf, arrow_udtf, pandas_udf, udf, udtf
from pyspark.sql.udtf import AnalyzeResult, SkipRestOfInputTableException

from differential import TYPES, Matrix, sources
from rudf import rudf
from rudf.plans import python_nodes

try:
    import polars as pl
except ImportError:
    pl = None

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def stops(v: Any) -> Any:
    """Let a StopIteration out."""
    return next(iter(()))


def scalars(matrix: Matrix, frames: dict[str, DataFrame]) -> None:
    """Functions of the stock decorators, in all ways to call them."""
    spark = matrix.spark
    for shape in ("parquet", "local", "no nulls"):
        frame = frames[shape]
        for kind, make in {"udf": udf, "pandas_udf": pandas_udf, "arrow_udf": arrow_udf}.items():
            evaluated = {"pandas_udf": 200, "arrow_udf": 250}.get(kind)
            same: Any = lambda v: v  # noqa: E731
            columns = [
                (make(same, t) if evaluated is None else make(same, t, functionType=evaluated))(f"c_{t}") for t in TYPES
            ]
            matrix.add(f"{kind} identity on {shape}", lambda f=frame, c=columns: f.select("*", *c).orderBy("i"))
    ids = spark.range(0, 25, 1, 3)
    add = udf(lambda a, b=10: a + b, "bigint")
    arrow = arrow_udf(lambda v: pc.multiply(v, 2), "bigint", functionType=250)
    series = pandas_udf(lambda v: v + 1, "bigint", functionType=200)
    matrix.add("keywords", lambda: ids.select(add("id", b=F.col("id") * 2), add(b="id", a="id")))
    matrix.add("three kinds", lambda: ids.select(add("id"), arrow("id"), series("id"), add(arrow(series("id")))))
    matrix.add("chains", lambda: ids.select(add(add("id")), arrow(arrow("id")), series(series("id"))))
    matrix.add("in a filter", lambda: ids.where(add("id") > 20))
    matrix.add("a constant", lambda: ids.select(udf(lambda: 5, "int")()))
    matrix.add("partial", lambda: ids.select(udf(functools.partial(pow, 2), "bigint")("id")))
    matrix.add("not deterministic", lambda: ids.select(udf(lambda v: v, "bigint").asNondeterministic()("id")))
    matrix.add("stop iteration", lambda: ids.select(udf(stops, "int")("id")))
    matrix.add("wrong type", lambda: ids.select(udf(lambda v: "x", "bigint")("id")))
    matrix.add("coerced", lambda: ids.select(udf(lambda v: str(v), "bigint")("id"), udf(lambda v: v, "string")("id")))
    large = list(range(300_000))
    matrix.add("a function of megabytes", lambda: ids.select(udf(lambda v: large[v], "bigint")("id")))
    spark.udf.register("plus", lambda a, b=1: a + b, "bigint")
    spark.udf.register("twice", arrow)
    ids.createOrReplaceTempView("ids")
    matrix.add(
        "registered", lambda: spark.sql("select plus(id), plus(id, 5), plus(b => 3, a => id), twice(id) from ids")
    )
    matrix.add("registered, by a wrong name", lambda: spark.sql("select plus(a => id, c => 3) from ids"))
    counted = itertools.count()
    counts = udf(lambda v: next(counted), "bigint")
    matrix.add("state in a closure", lambda: spark.range(0, 20, 1, 4).select(counts("id")))
    matrix.add("pickled", lambda: ids.select(udf(lambda v: v * 2, "bigint", useArrow=False)("id")))
    variants = udf(lambda v: v.toJson(), "string")
    matrix.add(
        "one of two refused",
        lambda: ids.select(variants(F.expr("parse_json('1')")).alias("v"), add("id").alias("a"), "id"),
    )


def iterators(matrix: Matrix, frames: dict[str, DataFrame]) -> None:
    """Iterator functions: results of any sizes, and all that can be wrong with them."""

    def pandas(function: Any, kind: str = "bigint") -> Any:
        return pandas_udf(function, kind, functionType=204)

    def arrow(function: Any, kind: str = "bigint") -> Any:
        return arrow_udf(function, kind, functionType=251)

    for shape in ("parquet", "local", "shuffled", "cached", "one row a partition", "no rows"):
        frame = frames[shape]
        for t in ("bigint", "double", "string", "timestamp", "binary"):
            columns = [pandas(lambda batches: (v for v in batches), t), arrow(lambda batches: iter(batches), t)]
            shown = [make(f"c_{t}") for make in columns]
            matrix.add(f"iterators over {t} on {shape}", lambda f=frame, c=shown: f.select("i", *c).orderBy("i"))
    ids = matrix.spark.range(0, 50, 1, 2)

    def pairs(batches: Iterator[tuple[pd.Series, pd.Series]]) -> Iterator[pd.Series]:
        for a, b in batches:
            yield a + b

    def arrow_pairs(batches: Iterator[tuple[pa.Array, pa.Array]]) -> Iterator[pa.Array]:
        for a, b in batches:
            yield pc.add(a, b)

    def one_by_one(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        for v in batches:
            for index in range(len(v)):
                yield v.iloc[index : index + 1]

    def all_at_once(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        yield pa.concat_arrays(list(batches))

    def first_only(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        yield next(batches)

    def too_many(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        for v in batches:
            yield v
            yield v

    def too_few(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for v in batches:
            yield v.slice(1)

    def fails(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        for number, v in enumerate(batches):
            if number == 2:
                raise ValueError("the third batch")
            yield v

    def lengths(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for number, v in enumerate(batches):
            yield pa.array([number * 1000 + len(v)] * len(v))

    def written(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        for v in batches:
            v.iloc[0] = -1
            yield v

    for records in ("7", "10000"):
        matrix.spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", records)
        for name, column in {
            "pairs": lambda: pandas(pairs)("id", F.col("id") * 2), "arrow pairs": lambda: arrow(arrow_pairs)("id", F.lit(3)),
            "one by one": lambda: pandas(one_by_one)("id"), "all at once": lambda: arrow(all_at_once)("id"),
            "first only": lambda: pandas(first_only)("id"), "too many": lambda: pandas(too_many)("id"),
            "too few": lambda: arrow(too_few)("id"), "fails in the third": lambda: pandas(fails)("id"),
            "lengths": lambda: arrow(lengths)("id"), "no iterator": lambda: pandas(lambda batches: 5)("id"),
            "a list": lambda: arrow(lambda batches: list(batches))("id"), "numbers": lambda: pandas(lambda batches: iter([1]))("id"),
            "strings for numbers": lambda: pandas(lambda batches: (v.astype(str) + "x" for v in batches))("id"),
            "cast": lambda: arrow(lambda batches: (pc.cast(v, pa.int32()) for v in batches))("id"),
            "stop": lambda: pandas(lambda batches: iter([stops(v) for v in batches]))("id"),
            "written to": lambda: pandas(written)("id"),
        }.items():  # fmt: skip
            matrix.add(f"iterators, {name}, {records}", lambda c=column: ids.select("id", c()))
    matrix.spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    doubled = pandas(lambda batches: (v * 2 for v in batches))
    matrix.add(
        "iterators, two and a filter", lambda: ids.select(doubled("id"), doubled(F.col("id") + 1)).where("id > 3")
    )
    matrix.add("iterators, limit", lambda: matrix.spark.range(0, 100_000, 1, 1).select(doubled("id")).limit(3))
    structs = pandas_udf(lambda batches: (v[["a"]] for v in batches), "struct<a:bigint>", functionType=204)
    matrix.add(
        "iterators, structs", lambda: ids.select(structs(F.struct(F.col("id").alias("a"), F.lit("x").alias("b"))))
    )


SHAPES = ("parquet", "local", "shuffled", "cached", "one row a partition", "no rows", "filtered")


def maps(matrix: Matrix, frames: dict[str, DataFrame]) -> None:
    """Maps over partitions, with outputs of any length."""
    schema = ", ".join(f"c_{t} {t}" for t in TYPES) + ", i int"
    for shape in SHAPES:
        frame = frames[shape]
        matrix.add(f"mapInPandas on {shape}", lambda f=frame: f.mapInPandas(lambda dfs: dfs, schema).orderBy("i"))
        matrix.add(f"mapInArrow on {shape}", lambda f=frame: f.mapInArrow(lambda dfs: dfs, schema).orderBy("i"))
    ids = matrix.spark.range(0, 50, 1, 2).withColumn("s", F.concat(F.lit("s"), "id"))
    kept = "id bigint, s string"

    def grows(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            for _ in range(5):
                yield frame

    def counts(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = [batch.num_rows for batch in batches]
        yield pa.RecordBatch.from_pydict({"n": rows})

    def schemas(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_pydict({"s": [str(batch.schema)]})

    def written(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            frame.loc[0, "id"] = -1
            frame["id"].to_numpy()[1:2] = -2
            yield frame

    def without_end(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for number in itertools.count():
            yield pd.DataFrame({"id": [number], "s": ["x"]})

    def changes(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pydict({"id": [1], "s": ["x"]})
        yield pa.RecordBatch.from_pydict({"id": [1.5], "s": ["x"]})

    def prefetches(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            while (frame := pool.submit(next, frames, None).result()) is not None:
                yield frame

    for records in ("7", "10000"):
        matrix.spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", records)
        for name, query in {
            "grows": lambda: ids.mapInPandas(grows, kept), "counts": lambda: ids.mapInArrow(counts, "n bigint"),
            "schemas": lambda: ids.mapInArrow(schemas, "s string"), "written to": lambda: ids.mapInPandas(written, kept),
            "nothing": lambda: ids.mapInPandas(lambda frames: iter(()), kept), "no input": lambda: ids.mapInPandas(lambda frames: iter([pd.DataFrame({"id": [1], "s": ["x"]})]), kept),
            "wrong names": lambda: ids.mapInPandas(lambda frames: (f.rename(columns={"id": "other"}) for f in frames), kept),
            "wrong types": lambda: ids.mapInPandas(lambda frames: (f[["s", "id"]].set_axis(["id", "s"], axis=1) for f in frames), kept),
            "fewer columns": lambda: ids.mapInPandas(lambda frames: (f[["id"]] for f in frames), kept),
            "another order": lambda: ids.mapInPandas(lambda frames: (f[["s", "id"]] for f in frames), kept),
            "arrow of wrong names": lambda: ids.mapInArrow(lambda bs: (b.rename_columns(["a", "b"]) for b in bs), kept),
            "arrow of wrong types": lambda: ids.mapInArrow(lambda bs: bs, "id int, s string"),
            "arrow of large strings": lambda: ids.mapInArrow(lambda bs: (b.cast(pa.schema([("id", pa.int64()), ("s", pa.large_string())])) for b in bs), kept),
            "fewer arrow columns": lambda: ids.mapInArrow(lambda bs: (b.select(["id"]) for b in bs), kept),
            "changes": lambda: ids.mapInArrow(changes, kept), "no iterator": lambda: ids.mapInPandas(lambda frames: 5, kept),
            "a list": lambda: ids.mapInArrow(lambda bs: list(bs), kept), "numbers": lambda: ids.mapInPandas(lambda frames: iter([1]), kept),
            "tables": lambda: ids.mapInArrow(lambda bs: iter([pa.Table.from_batches(bs)]), kept),
            "fails": lambda: ids.mapInPandas(lambda frames: (1 / 0 for f in frames), kept), "stop": lambda: ids.mapInPandas(lambda frames: iter([stops(f) for f in frames]), kept),
            "in threads": lambda: ids.mapInPandas(prefetches, kept), "limit without end": lambda: ids.mapInPandas(without_end, kept).limit(20),
            "anything for void": lambda: ids.mapInArrow(lambda bs: bs, "id void, s string"),
            "numbers for intervals": lambda: ids.mapInArrow(lambda bs: bs, "id interval day to second, s string"),
            "not null": lambda: ids.mapInArrow(lambda bs: bs, matrix.spark.range(1).withColumn("s", F.lit("x")).schema),
            "then a function": lambda: ids.mapInPandas(grows, kept).select(udf(lambda v: v + 1, "bigint")("id")), "twice": lambda: ids.mapInPandas(grows, kept).mapInArrow(lambda bs: bs, kept),
        }.items():  # fmt: skip
            matrix.add(f"maps, {name}, {records}", query)
    matrix.spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    matrix.add("left: barrier", lambda: ids.mapInPandas(lambda frames: frames, kept, barrier=True))
    matrix.add(
        "left: no columns", lambda: ids.select().mapInPandas(lambda frames: iter([pd.DataFrame({"n": [1]})]), "n int")
    )
    matrix.add(
        "left: variants", lambda: ids.select(F.expr("parse_json('1')").alias("v")).mapInArrow(counts, "n bigint")
    )


def keys(spark: Any) -> DataFrame:
    """Rows with keys of all sorts, most of them equal to others."""
    return spark.range(0, 240, 1, 3).selectExpr(
        "id", "if(id % 7 = 0, null, id % 3) k_long", "concat('k', id % 4) k_string", "id % 2 = 0 k_boolean",
        "case id % 4 when 0 then double('NaN') when 1 then -0.0d when 2 then 0.0d else 1.5d end k_double",
        "date_add(date'2020-01-01', int(id % 3)) k_date", "timestamp_micros(id % 3) k_timestamp",
        "cast(id % 3 as decimal(20, 2)) k_decimal", "named_struct('a', id % 2, 'b', if(id % 3 = 0, null, 'x')) k_struct",
        "array(id % 2, null) k_array", "cast(concat('b', id % 3) as binary) k_binary", "cast(null as int) k_null",
        "if(id % 5 = 0, null, id) n", "id % 10 / 3 x", "concat('s', id) s",
    )  # fmt: skip


KEYS = ("long", "string", "boolean", "double", "date", "timestamp", "decimal", "struct", "array", "binary", "null")


def groups(matrix: Matrix, frames: dict[str, DataFrame]) -> None:
    """Maps over groups."""
    data = keys(matrix.spark).cache()
    schema = ", ".join(f"c_{t} {t}" for t in TYPES) + ", i int"

    def shown(key: Any, frame: pd.DataFrame) -> pd.DataFrame:
        told = f"{list(frame.index)} {dict(frame.dtypes)} {sorted(frame['id'])} {frame['n'].isnull().sum()}"
        return pd.DataFrame({"key": [repr(key)], "rows": [len(frame)], "told": [told]})

    def shown_table(key: Any, table: pa.Table) -> pa.Table:
        told = f"{table.schema} {sorted(table['id'].to_pylist())}"
        return pa.table({"key": [repr(key)], "rows": [table.num_rows], "told": [told]})

    told = "key string, rows bigint, told string"
    for shape in ("parquet", "shuffled", "cached", "one row a partition", "no rows"):
        for t in ("int", "string"):
            by = frames[shape].groupBy(f"c_{t}")
            matrix.add(
                f"applyInPandas by {t} on {shape}", lambda g=by: g.applyInPandas(lambda f: f, schema).orderBy("i")
            )
            # In the time zone of a session, which is not UTC's, PySpark refuses them.
            by, rest = (
                frames[shape].drop("c_timestamp").groupBy(f"c_{t}"),
                schema.replace("c_timestamp timestamp, ", ""),
            )
            matrix.add(
                f"applyInArrow by {t} on {shape}", lambda g=by, s=rest: g.applyInArrow(lambda f: f, s).orderBy("i")
            )
    for t in KEYS:
        by = data.groupBy(f"k_{t}")
        matrix.add(f"applyInPandas by {t}", lambda g=by: g.applyInPandas(shown, told).orderBy("told"))
        matrix.add(f"applyInArrow by {t}", lambda g=by: g.applyInArrow(shown_table, told).orderBy("told"))
    by_two, by_none = data.groupBy("k_long", F.col("id") % 2), data.groupBy()
    matrix.add("applyInPandas by two", lambda: by_two.applyInPandas(shown, told).orderBy("told"))
    matrix.add("applyInArrow by two", lambda: by_two.applyInArrow(shown_table, told).orderBy("told"))
    matrix.add("applyInPandas by none", lambda: by_none.applyInPandas(lambda f: shown((), f), told))
    matrix.add("applyInArrow by none", lambda: by_none.applyInArrow(lambda f: shown_table((), f), told))
    few = data.select("id", "s", "k_long", "n").where("id < 60")
    by, kept = few.groupBy("k_long"), "id bigint, s string, k_long bigint, n bigint"

    def written(frame: pd.DataFrame) -> pd.DataFrame:
        frame["id"] = frame["id"] - 1
        frame.loc[0, "s"] = "changed"
        frame.iloc[0, 0] = -5
        return frame

    def lengths(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        yield pd.DataFrame({"id": [len(frame) for frame in frames]}).assign(s="x", k_long=0, n=1)

    def arrow_lengths(key: Any, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = [batch.num_rows for batch in batches]
        yield pa.RecordBatch.from_pydict({"id": rows, "s": [str(key)] * len(rows), "k_long": rows, "n": rows})

    def first_of(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        yield next(frames).head(1)

    def odd_only(frame: pd.DataFrame) -> pd.DataFrame:
        return frame if frame["id"].iloc[0] % 2 else frame.head(0)

    def strings_at_times(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(n=frame["n"].astype(str) if frame["id"].min() == 0 else frame["n"])

    def iterated(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches

    def iterated_frames(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        yield from frames

    def ends_early(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield next(batches)

    for records in ("7", "10000"):
        matrix.spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", records)
        for name, query in {
            "written to": lambda: by.applyInPandas(written, kept), "lengths": lambda: by.applyInPandas(lengths, kept),
            "arrow lengths": lambda: by.applyInArrow(arrow_lengths, kept), "first": lambda: by.applyInPandas(first_of, kept),
            "odd": lambda: by.applyInPandas(odd_only, kept), "nothing": lambda: by.applyInPandas(lambda f: f.head(0), kept),
            "ends early": lambda: by.applyInArrow(ends_early, kept), "iterated": lambda: by.applyInArrow(iterated, kept),
            "iterated frames": lambda: by.applyInPandas(iterated_frames, kept),
            "no frame": lambda: by.applyInPandas(lambda f: 5, kept), "no table": lambda: by.applyInArrow(lambda f: 5, kept),
            "wrong names": lambda: by.applyInPandas(lambda f: f.rename(columns={"id": "other"}), kept),
            "fewer": lambda: by.applyInPandas(lambda f: f[["id"]], kept), "more": lambda: by.applyInPandas(lambda f: f.assign(z=1), kept),
            "another order": lambda: by.applyInPandas(lambda f: f[["n", "k_long", "s", "id"]], kept),
            "by position": lambda: by.applyInPandas(lambda f: f.set_axis([0, 1, 2, 3], axis=1), kept),
            "no columns": lambda: by.applyInPandas(lambda f: pd.DataFrame(), kept),
            "wrong types": lambda: by.applyInPandas(lambda f: f.assign(id="x"), kept), "at times": lambda: by.applyInPandas(strings_at_times, kept),
            "floats": lambda: by.applyInPandas(lambda f: f.assign(id=f["id"] / 2), kept),
            "arrow of wrong names": lambda: by.applyInArrow(lambda f: f.rename_columns(["a", "b", "c", "d"]), kept),
            "arrow of another order": lambda: by.applyInArrow(lambda f: f.select(["n", "k_long", "s", "id"]), kept),
            "arrow of wrong types": lambda: by.applyInArrow(lambda f: f, "id int, s string, k_long bigint, n bigint"),
            "fewer arrow": lambda: by.applyInArrow(lambda f: f.select(["id"]), kept),
            "fails": lambda: by.applyInPandas(lambda f: 1 / 0, kept), "stop": lambda: by.applyInPandas(stops, kept),
            "arrow fails": lambda: by.applyInArrow(lambda f: 1 / 0, kept), "limit": lambda: by.applyInPandas(lambda f: f, kept).limit(2),
            "empty": lambda: few.where("id < 0").groupBy("k_long").applyInPandas(lambda f: f, kept),
            "empty, by none": lambda: few.where("id < 0").groupBy().applyInPandas(lambda f: f, kept),
            "then by another": lambda: by.applyInPandas(lambda f: f, kept).groupBy("n").applyInPandas(lambda f: f.head(1), kept).orderBy("id"),
            "then a function": lambda: by.applyInPandas(lambda f: f, kept).select(udf(lambda v: v + 1, "bigint")("id")),
        }.items():  # fmt: skip
            matrix.add(f"groups, {name}, {records}", query)
    matrix.spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    matrix.spark.conf.set("spark.sql.legacy.execution.pandas.groupedMap.assignColumnsByName", "false")
    matrix.add("groups by position", lambda: by.applyInPandas(lambda f: f.set_axis(list("abcd"), axis=1), kept))
    matrix.spark.conf.unset("spark.sql.legacy.execution.pandas.groupedMap.assignColumnsByName")


def aggregates(matrix: Matrix, frames: dict[str, DataFrame]) -> None:
    """Aggregates of groups."""
    data = keys(matrix.spark).cache()

    def pandas(function: Any, kind: str = "double") -> Any:
        return pandas_udf(function, kind, functionType=202)

    def arrow(function: Any, kind: str = "bigint") -> Any:
        return arrow_udf(function, kind, functionType=252)

    def told_of(*columns: Any) -> str:
        return str([(c.name, str(c.dtype), list(c.index), list(c)) for c in columns])

    mean, total = pandas(lambda v: v.mean()), arrow(lambda v: pc.sum(v))
    told, arrow_told = (
        pandas(told_of, "string"),
        arrow(lambda *columns: str([(str(c.type), c.to_pylist()) for c in columns]), "string"),
    )
    for t in KEYS:
        by = data.groupBy(f"k_{t}")
        matrix.add(
            f"aggregates by {t}", lambda g=by: g.agg(mean("id").alias("m"), mean("n"), told("n", "id")).orderBy("m")
        )
        matrix.add(
            f"Arrow aggregates by {t}", lambda g=by: g.agg(total("id").alias("m"), arrow_told("n", "id")).orderBy("m")
        )
    for t in TYPES:
        first, arrow_first = pandas(lambda v: v.iloc[0], t), arrow(lambda v: v[0], t)
        for shape in ("parquet", "shuffled"):
            by = frames[shape].where("i < 12").groupBy("i")
            matrix.add(f"first {t} of {shape}", lambda g=by, f=first, c=f"c_{t}": g.agg(f(c)).orderBy("i"))
            matrix.add(f"Arrow first {t} of {shape}", lambda g=by, f=arrow_first, c=f"c_{t}": g.agg(f(c)).orderBy("i"))
    by = data.groupBy("k_string")

    def batches_of(batches: Iterator[pd.Series]) -> str:
        return str([len(v) for v in batches])

    def pairs_of(batches: Iterator[tuple[pa.Array, pa.Array]]) -> str:
        return str([(len(a), str(b.type)) for a, b in batches])

    def kinds_of(v: Any) -> Any:
        return {0: 1, 1: 1.5, 2: None, 3: 2**60 + 1}[v.iloc[0] % 4]

    def iterated(function: Any, kind: str = "string") -> Any:
        return pandas_udf(function, kind, functionType=217)

    def arrow_iterated(function: Any, kind: str = "string") -> Any:
        return arrow_udf(function, kind, functionType=254)

    for records in ("7", "10000"):
        matrix.spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", records)
        for name, columns in {
            "iterated": lambda: [iterated(batches_of)("id")], "Arrow iterated": lambda: [arrow_iterated(pairs_of)("id", "s")],
            "left unread": lambda: [iterated(lambda batches: "x")("id")],
            "mixed": lambda: [pandas(kinds_of, "bigint")("id")], "mixed doubles": lambda: [pandas(kinds_of)("id")],
            "mixed strings": lambda: [pandas(kinds_of, "string")("id")], "none": lambda: [pandas(lambda v: None)("id"), arrow(lambda v: None)("id")][:1],
            "the key": lambda: [mean("id"), pandas(lambda k, v: f"{k.iloc[0]} {len(v)}", "string")("k_string", "id")],
            "the same twice": lambda: [mean("id"), mean("id"), mean(F.col("id") + 1)], "lists": lambda: [pandas(lambda v: list(v)[:2], "array<bigint>")("id")],
            "arrays": lambda: [pandas(lambda v: v.to_numpy()[:2], "array<bigint>")("id")], "Arrow lists": lambda: [arrow(lambda v: v.to_pylist()[:2], "array<bigint>")("id")],
            "dates": lambda: [pandas(lambda v: v.max(), "date")("k_date")], "timestamps": lambda: [pandas(lambda v: v.max(), "timestamp")("k_timestamp")],
            "booleans": lambda: [pandas(lambda v: bool(v.any()), "boolean")("k_boolean")], "numpy booleans": lambda: [pandas(lambda v: v.any(), "boolean")("k_boolean")],
            "an int for a double": lambda: [pandas(lambda v: len(v))("id")], "a double for an int": lambda: [pandas(lambda v: v.mean(), "int")("id")],
            "too large": lambda: [pandas(lambda v: 2**40, "int")("id")], "a string for an int": lambda: [pandas(lambda v: "x", "int")("id")],
            "a Series": lambda: [pandas(lambda v: v)("id")], "NaN": lambda: [pandas(lambda v: float("nan"))("id")],
            "fails": lambda: [mean("id"), pandas(lambda v: 1 / 0)("id")], "stop": lambda: [pandas(stops)("id")],
            "Arrow fails": lambda: [arrow(lambda v: 1 / 0)("id")], "an Arrow string": lambda: [arrow(lambda v: "x")("id")],
            "keywords": lambda: [pandas(lambda a, b: float(a.sum() - b.sum()))(b="id", a="n")],
            "decimals": lambda: [pandas(lambda v: v.max(), "decimal(20, 2)")("k_decimal")],
            "structs": lambda: [pandas(lambda v: len(v), "int")("k_struct"), pandas(lambda v: str(type(v)), "string")("k_struct")],
            "written to": lambda: [pandas(lambda v: v.__setitem__(0, 5) or float(v.sum()))("id"), mean("id")],
        }.items():  # fmt: skip
            matrix.add(f"aggregates, {name}, {records}", lambda c=columns: by.agg(*c()).orderBy("k_string"))
    matrix.spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    data.createOrReplaceTempView("data")
    matrix.spark.udf.register("average", mean)
    for name, query in {
        "of all": lambda: data.agg(mean("id"), mean("n")), "of no rows": lambda: data.where("id < 0").agg(mean("id")),
        "of no groups": lambda: data.where("id < 0").groupBy("k_long").agg(mean("id")),
        "by two": lambda: data.groupBy("k_long", F.col("id") % 2).agg(mean("id")).orderBy("k_long", "(id % 2)"),
        "in SQL": lambda: matrix.spark.sql("select k_long + 1, average(id) * 2, k_string from data group by k_long, k_string having average(id) > 110 order by 1, 3"),
        "by an expression": lambda: matrix.spark.sql("select id % 3 + 1, average(id + n) from data group by id % 3 + 1 order by 1"),
        "rollup": lambda: data.rollup("k_long", "k_boolean").agg(mean("id")).orderBy("k_long", "k_boolean"),
        "by a function": lambda: data.groupBy(udf(lambda v: v % 2, "bigint")("id").alias("k")).agg(mean("id")).orderBy("k"),
        "of a function": lambda: data.groupBy("k_string").agg(mean(udf(lambda v: v % 2, "bigint")("id"))).orderBy("k_string"),
        "then a function": lambda: data.groupBy("k_string").agg(udf(lambda v: v + 1, "double")(mean("id"))).orderBy("k_string"),
        "with Spark's": lambda: data.groupBy("k_string").agg(mean("id"), F.max("id")),
        "of two kinds": lambda: data.groupBy("k_string").agg(mean("id"), total("id")),
        "joined": lambda: data.groupBy("k_string").agg(mean("id")).join(data, "k_string").orderBy("id"),
        "by windows of time": lambda: data.groupBy(F.window("k_timestamp", "1 second")).agg(mean("id")),
    }.items():  # fmt: skip
        matrix.add(f"aggregates {name}", query)
    matrix.add(
        "left: session windows", lambda: data.groupBy(F.session_window("k_timestamp", "1 second")).agg(mean("id"))
    )


def windows(matrix: Matrix) -> None:
    """Aggregates over windows."""
    data = keys(matrix.spark).where("id < 60").cache()

    def told_of(*columns: Any) -> str:
        return str([(c.name, str(c.dtype), list(c.index), list(c)) for c in columns])

    mean = pandas_udf(lambda v: v.mean(), "double", functionType=202)
    told = pandas_udf(told_of, "string", functionType=202)
    total = arrow_udf(lambda v: pc.sum(v), "bigint", functionType=252)
    length = arrow_udf(lambda *columns: str([c.to_pylist() for c in columns]), "string", functionType=252)
    unbounded, far = Window.unboundedPreceding, Window.unboundedFollowing
    by = Window.partitionBy("k_string")
    frames = {
        "all": by, "ordered": by.orderBy("id"), "peers": by.orderBy("k_long"), "peers down": by.orderBy(F.desc("k_long")),
        "rows behind": by.orderBy("id").rowsBetween(-2, 0), "rows ahead": by.orderBy("id").rowsBetween(1, 3),
        "rows far behind": by.orderBy("id").rowsBetween(-9, -7), "rows from the start": by.orderBy("id").rowsBetween(unbounded, -1),
        "rows to the end": by.orderBy("id").rowsBetween(0, far), "rows without bound": by.orderBy("id").rowsBetween(unbounded, far),
        "values to the end": by.orderBy("k_long").rangeBetween(0, far), "values of the row": by.orderBy("k_long").rangeBetween(0, 0),
        "of everything": Window.orderBy("id").rowsBetween(-1, 1), "by two": Window.partitionBy("k_long", "k_boolean").orderBy("id"),
        "by an expression": Window.partitionBy(F.col("id") % 3).orderBy(-F.col("id")), "by structs": Window.partitionBy("k_struct").orderBy("k_double"),
        "values at a distance": by.orderBy("id").rangeBetween(-5, 5), "values behind": by.orderBy("k_long").rangeBetween(unbounded, -1),
        "values ahead": by.orderBy(F.desc("n")).rangeBetween(3, 9), "values far ahead": by.orderBy("id").rangeBetween(100, far),
    }  # fmt: skip
    for name, frame in frames.items():
        matrix.add(
            f"{name}: windows",
            lambda w=frame: data.select("id", "s", mean("id").over(w), told("n", "id").over(w)).orderBy("id"),
        )
        matrix.add(
            f"{name}: Arrow windows",
            lambda w=frame: data.select("k_struct", total("id").over(w), length("n", "s").over(w)).orderBy("id"),
        )
    behind, ahead, every = frames["rows behind"], frames["rows ahead"], frames["all"]

    def failing(v: pd.Series) -> float:
        return 1 / (len(v) - 3)

    for records in ("7", "10000"):
        matrix.spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", records)
        for name, columns in {
            "several frames": lambda: [mean("id").over(behind), mean("id").over(ahead), mean("n").over(every), mean("x").over(behind)],
            "in an expression": lambda: [(mean("id").over(behind) + 1).alias("m")], "of an expression": lambda: [mean(F.col("id") * 2 + F.col("n")).over(ahead)],
            "keywords": lambda: [pandas_udf(lambda a, b: float(a.sum() - b.sum()), "double", functionType=202)(b="id", a="n").over(behind)],
            "with Spark's": lambda: [mean("id").over(behind), F.sum("id").over(behind)], "strings": lambda: [pandas_udf(lambda v: "".join(v), "string", functionType=202)("s").over(behind)],
            "none": lambda: [pandas_udf(lambda v: None, "double", functionType=202)("id").over(behind)],
            "wrong": lambda: [pandas_udf(lambda v: "x", "double", functionType=202)("id").over(behind)],
            "fails": lambda: [pandas_udf(failing, "double", functionType=202)("id").over(behind)], "stop": lambda: [pandas_udf(stops, "double", functionType=202)("id").over(every)],
            "Arrow fails": lambda: [arrow_udf(lambda v: 1 / 0, "bigint", functionType=252)("id").over(behind)],
            "two kinds": lambda: [mean("id").over(behind), total("id").over(behind)],
        }.items():  # fmt: skip
            matrix.add(f"windows, {name}, {records}", lambda c=columns: data.select("id", *c()).orderBy("id"))
    matrix.spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    data.createOrReplaceTempView("data")
    matrix.spark.udf.register("average", mean)
    matrix.add(
        "windows in SQL",
        lambda: matrix.spark.sql(
            "select id, average(id) over (partition by k_long order by id rows 2 preceding) m from data where id > 5 order by m, id"
        ),
    )
    distant_windows(matrix, data)
    matrix.add("windows of no rows", lambda: data.where("id < 0").select(mean("id").over(behind)))
    matrix.add(
        "windows, filtered", lambda: data.select("id", mean("id").over(behind).alias("m")).where("m > 20").orderBy("id")
    )


def distant_windows(matrix: Matrix, data: DataFrame) -> None:
    """Frames of values at a distance, of all types that have distances, sorted in all ways."""
    spark = matrix.spark
    spark.udf.register("all_of", arrow_udf(lambda v: str(v.to_pylist()), "string", functionType=252))
    spark.udf.register("seen_of", pandas_udf(lambda v: str(list(v)), "string", functionType=202))
    data.selectExpr(
        "*", "timestamp'2020-03-28 20:00:00' + make_dt_interval(0, id, id % 7) t", "timestamp_ntz'2020-02-27 00:00:00' + make_dt_interval(id) tn",
        "if(id % 9 = 0, null, date_add(date'2020-01-30', int(id))) d", "make_dt_interval(0, id) i", "cast(n as decimal(38, 3)) wide",
        "case id % 6 when 0 then double('NaN') when 1 then -0.0d when 2 then double('-Infinity') when 3 then double('Infinity') when 4 then null else id / 10 end f",
        "9223372036854775807 - id % 7 most", "-9223372036854775808 + id % 5 least",
    ).createOrReplaceTempView("distant")  # fmt: skip
    short, month = "interval '1 02:00:00' day to second", "interval 1 month"
    for number, (order, frame) in enumerate((
        ("n", "5 preceding and 3 following"), ("n desc", "5 preceding and 3 following"), ("n nulls last", "5 preceding and 2 preceding"), ("n desc nulls first", "1 following and 7 following"),
        ("n", "unbounded preceding and 4 preceding"), ("n desc", "2 following and unbounded following"), ("n", "current row and 6 following"), ("n desc nulls first", "6 preceding and current row"),
        ("cast(n as tinyint)", "5 preceding and 3 following"), ("cast(n as smallint) desc", "5 preceding and 3 following"), ("cast(n as int)", "0 preceding and 3 following"),
        ("x", "0.5 preceding and 1 following"), ("x desc", "0.5 preceding and 1 following"), ("cast(x as float)", "0.5 preceding and 0.5 following"), ("f", "1 preceding and 2 following"), ("f desc", "1 preceding and 2 following"),
        ("f nulls last", "current row and 100 following"), ("k_decimal", "1.5 preceding and 0.5 following"), ("k_decimal desc", "0 preceding and 1 following"), ("cast(n as decimal(36, 3)) desc", "5 preceding and 3 following"),
        ("cast(n as decimal(17, 3))", "5 preceding and 3 following"), ("d", "5 preceding and 3 following"), ("d desc nulls first", "interval 5 days preceding and interval 1 day following"),
        ("d", f"{month} preceding and current row"), ("t", f"{short} preceding and {short} following"), ("t desc", f"{short} preceding and current row"), ("t", f"{month} preceding and {month} following"),
        ("tn", "interval 2 days preceding and interval 1 day following"), ("tn desc", f"{month} preceding and current row"), ("i", "interval '5' hour preceding and interval '1' hour following"),
        ("most", "current row and 3 following"), ("most", "current row and 9 following"), ("most desc", "9 preceding and 1 following"), ("least", "2 preceding and current row"), ("least desc", "current row and 9 following"),
    )):  # fmt: skip
        window = f"over (partition by k_string order by {order} range between {frame})"
        shown = (
            f"all_of(s) {window}, all_of(id) {window}" if number % 2 else f"seen_of(s) {window}, seen_of(id) {window}"
        )
        query = f"select id, {shown} from distant order by 2, 3, 1"
        matrix.add(f"windows of {order}, {frame}", lambda q=query: spark.sql(q))
    wide = "select all_of(id) over (order by wide range between 5 preceding and 3 following) from distant order by 1"
    matrix.add("left: windows of the widest decimals", lambda: spark.sql(wide))
    several = ("5 preceding and 3 following", "1 preceding and current row", "unbounded preceding and 2 following")
    columns = ", ".join(f"all_of({c}) over (order by n range between {r})" for c, r in zip(("s", "id", "n"), several))
    matrix.add("windows of several distances", lambda: spark.sql(f"select id, {columns} from distant order by id"))
    for ansi in ("false", "true"):
        spark.conf.set("spark.sql.ansi.enabled", ansi)
        for order, frame in (("most", "5 preceding and 9 following"), ("least desc", "9 preceding and 9 following")):
            query = f"select id, all_of(id) over (order by {order} range between {frame}) a from distant order by a, id"
            matrix.add(f"windows of {order}, {frame}, ANSI {ansi}", lambda q=query: spark.sql(q))
    spark.conf.unset("spark.sql.ansi.enabled")
    spark.conf.set("spark.sql.legacy.interval.enabled", "true")
    query = "select id, all_of(id) over (order by t range between interval 1 month 1 day preceding and current row) from distant order by id"
    matrix.add("windows of calendar intervals", lambda: spark.sql(query))
    spark.conf.unset("spark.sql.legacy.interval.enabled")


def cogroups(matrix: Matrix, frames: dict[str, DataFrame]) -> None:
    """Maps over pairs of groups."""
    data = keys(matrix.spark).cache()
    left, right = data.where("id < 100"), data.where("id > 60 and id % 4 != 1").withColumnRenamed("x", "y")

    def shown(key: Any, one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
        told = [f"{list(f.index)} {dict(f.dtypes)} {sorted(f['id'])} {f['n'].isnull().sum()}" for f in (one, other)]
        return pd.DataFrame({"key": [repr(key)], "rows": [len(one) - len(other)], "told": [str(told)]})

    def shown_tables(key: Any, one: pa.Table, other: pa.Table) -> pa.Table:
        told = str([f"{t.schema} {sorted(t['id'].to_pylist())}" for t in (one, other)])
        return pa.table({"key": [repr(key)], "rows": [one.num_rows - other.num_rows], "told": [told]})

    told = "key string, rows bigint, told string"
    for t in KEYS:
        pairs = left.groupBy(f"k_{t}").cogroup(right.groupBy(f"k_{t}"))
        matrix.add(f"cogroups by {t}", lambda p=pairs: p.applyInPandas(shown, told).orderBy("told"))
        matrix.add(f"Arrow cogroups by {t}", lambda p=pairs: p.applyInArrow(shown_tables, told).orderBy("told"))
    simple = "id bigint, s string"
    one, two = (
        left.select("id", "s", "k_long").groupBy("k_long"),
        right.select("s", "id", "k_string", "k_long").groupBy("k_long"),
    )
    no_rows = left.where("id < 0").groupBy("k_long")
    for records in ("7", "10000"):
        matrix.spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", records)
        for name, query in {
            "merged": lambda: one.cogroup(two).applyInPandas(lambda a, b: pd.merge(a, b, on="k_long")[["id_x", "s_y"]].set_axis(["id", "s"], axis=1), simple).orderBy("id", "s"),
            "left only": lambda: one.cogroup(two).applyInPandas(lambda a, b: a[["id", "s"]], simple).orderBy("id"),
            "nothing": lambda: one.cogroup(two).applyInPandas(lambda a, b: a[["id", "s"]].head(0), simple),
            "written to": lambda: one.cogroup(two).applyInPandas(lambda a, b: a.assign(id=1)[["id", "s"]], simple),
            "wrong names": lambda: one.cogroup(two).applyInPandas(lambda a, b: a, simple), "no frame": lambda: one.cogroup(two).applyInPandas(lambda a, b: 5, simple),
            "fails": lambda: one.cogroup(two).applyInPandas(lambda a, b: 1 / 0, simple), "stop": lambda: one.cogroup(two).applyInPandas(lambda a, b: stops(a), simple),
            "Arrow wrong": lambda: one.cogroup(two).applyInArrow(lambda a, b: a, simple), "no table": lambda: one.cogroup(two).applyInArrow(lambda a, b: 5, simple),
            "Arrow fails": lambda: one.cogroup(two).applyInArrow(lambda a, b: 1 / 0, simple), "Arrow left": lambda: one.cogroup(two).applyInArrow(lambda a, b: a.select(["id", "s"]), simple).orderBy("id"),
            "one side empty": lambda: one.cogroup(no_rows).applyInPandas(shown_short, "a int, b int").orderBy("a"), "both empty": lambda: no_rows.cogroup(no_rows).applyInPandas(shown_short, "a int, b int"),
            "other side empty": lambda: no_rows.cogroup(one).applyInPandas(shown_short, "a int, b int").orderBy("b"),
            "with itself": lambda: one.cogroup(one).applyInPandas(shown_short, "a int, b int").orderBy("a"),
            "by none": lambda: left.groupBy().cogroup(right.groupBy()).applyInPandas(shown_short, "a int, b int"),
            "by other names": lambda: one.cogroup(right.groupBy("k_string")).applyInPandas(shown_short, "a int, b int").orderBy("a"),
        }.items():  # fmt: skip
            matrix.add(f"cogroups, {name}, {records}", query)
    matrix.spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    schema = ", ".join(f"c_{t} {t}" for t in TYPES) + ", i int"
    for shape in ("parquet", "no rows"):
        by = frames[shape].groupBy("i")
        matrix.add(f"cogroups of {shape}", lambda g=by: g.cogroup(g).applyInPandas(lambda a, b: b, schema).orderBy("i"))


def shown_short(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Tell the lengths of a pair."""
    return pd.DataFrame({"a": [len(one)], "b": [len(other)]})


@rudf
def mean_of(x: pd.Series, *more: pd.Series) -> float:
    """Aggregate Series."""
    return float(x.mean()) + sum(float(v.min()) for v in more)


@rudf
def length_of(batches: Iterator[tuple[pa.Array, pa.Array]]) -> int:
    """Aggregate batches of arrays."""
    return sum(len(a) + b.null_count for a, b in batches)


@rudf("bigint")
def added(batches: Iterator[tuple[pd.Series, pd.Series]]) -> Iterator[pd.Series]:
    """Add two columns, a batch at a time."""
    for a, b in batches:
        yield a + b


@rudf("struct<a: bigint, b: string>")
def renamed(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a struct of another."""
    return frame.set_axis(["a", "b"], axis=1)


@rudf("id bigint, s string")
def head_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep the first rows of a group."""
    return frame[["id", "s"]].sort_values("id").head(2)


@rudf("double")
def scaled(x: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Multiply numbers, of which some are null."""
    return x * by


@rudf("bigint")
def counted_up(x: np.ma.MaskedArray) -> np.ma.MaskedArray:
    """Add to whole numbers, of which some are null."""
    return x + 1


@rudf("string")
def lower(batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Change strings, a batch at a time."""
    for batch in batches:
        yield np.array([s and s.lower() for s in batch], object)


@rudf
def spread(x: np.ndarray, y: np.ndarray) -> float:
    """Aggregate arrays."""
    return np.ptp(x) + y.sum()


@rudf("int")
def small(x: np.ndarray) -> np.ndarray:
    """Give what is no int in some row."""
    return np.where(x < 7, x, 2**40)


def of_polars() -> dict[str, Any]:
    """Return functions of polars Series, where there is polars."""
    if pl is None:
        return {}

    def tens(x: pl.Series) -> pl.Series:
        return x * 10

    def batches(x: Iterator[tuple[pl.Series, pl.Series]]) -> Iterator[pl.Series]:
        return (one + other for one, other in x)

    def most(x: pl.Series) -> int:
        return x.max()

    return {"tens": rudf("bigint")(tens), "batches": rudf("string")(batches), "most": rudf(most)}


def arrays(matrix: Matrix, data: DataFrame) -> None:
    """Functions of arrays of other packages than Arrow's."""
    by = data.groupBy("k_long")
    over = Window.partitionBy("k_string").orderBy("id").rowsBetween(-2, 1)
    polars = of_polars()
    queries = {
        "numpy": lambda: data.select("id", scaled("x", F.col("n").cast("double")), scaled(by="id", x="x")), "numpy, masked": lambda: data.select("id", counted_up("n"), counted_up("id")),
        "numpy over numpy": lambda: data.select(scaled(scaled("x", "id"), "id")), "numpy, batches": lambda: data.select("id", lower(F.concat(F.lit("S"), "s"))),
        "numpy, nulls": lambda: data.select(small("n")), "numpy, a row that does not fit": lambda: data.coalesce(1).sortWithinPartitions("id").select(small("id")),
        "numpy, aggregates": lambda: by.agg(spread("id", "x")).orderBy("k_long"), "numpy, windows": lambda: data.select("id", spread("id", "x").over(over)).orderBy("id"),
        "numpy, times": lambda: data.select(rudf("timestamp")(shifted)("k_timestamp"), rudf("date")(shifted)("k_date")),
    }  # fmt: skip
    if polars:
        queries |= {
            "polars": lambda: data.select("id", polars["tens"]("n")), "polars, batches": lambda: data.select("id", polars["batches"]("s", "k_string")),
            "polars, aggregates": lambda: by.agg(polars["most"]("n")).orderBy("k_long"), "polars, windows": lambda: data.select("id", polars["most"]("n").over(over)).orderBy("id"),
        }  # fmt: skip
    for records in ("7", "10000"):
        matrix.spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", records)
        for name, query in queries.items():
            matrix.add(f"{name}, {records}", query)
    matrix.spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")


def shifted(x: np.ndarray) -> np.ndarray:
    """Move times by a day."""
    return x + np.timedelta64(1, "D")


def decorated(matrix: Matrix) -> None:
    """Functions of @rudf, of the kinds that annotations tell."""
    data = keys(matrix.spark).where("id < 100").cache()
    by = data.groupBy("k_long")
    over = Window.partitionBy("k_string").orderBy("id").rowsBetween(-2, 1)
    matrix.spark.udf.register("mean_of", mean_of)
    data.createOrReplaceTempView("data")
    for name, query in {
        "an aggregate": lambda: by.agg(mean_of("id"), mean_of("id", "n", F.col("id") + 1)).orderBy("k_long"),
        "an aggregate of batches": lambda: by.agg(length_of("id", "n")).orderBy("k_long"),
        "a window": lambda: data.select("id", mean_of("id").over(over)).orderBy("id"),
        "in SQL": lambda: matrix.spark.sql("select k_string, mean_of(id, n) from data group by k_string order by 1"),
        "an iterator": lambda: data.select("id", added("id", F.col("id") * 2)), "structs": lambda: data.select(renamed(F.struct("id", "s"))),
        "a map of groups": lambda: by.applyInPandas(head_of, "id bigint, s string").orderBy("id"),
        "a map": lambda: data.mapInPandas(rudf("bigint")(iterated_frames), "id bigint").orderBy("id"),
    }.items():  # fmt: skip
        matrix.add(f"decorated, {name}", query)
    arrays(matrix, data)


def iterated_frames(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Keep one column."""
    for frame in frames:
        yield frame[["id"]]


def tables(matrix: Matrix) -> None:
    """Table functions."""
    spark = matrix.spark

    class Pairs:
        def eval(self, n: int, m: int = 7) -> Iterator[tuple[int, int]]:
            for number in range(n):
                yield number, m

    class Sums:
        def __init__(self) -> None:
            self.total, self.rows = 0, 0

        def eval(self, n: int) -> None:
            self.total, self.rows = self.total + (n or 0), self.rows + 1

        def terminate(self) -> Iterator[tuple[int, int]]:
            yield self.total, self.rows

    class Both(Sums):
        def eval(self, n: int) -> Iterator[tuple[int, int]]:
            super().eval(n)
            if n % 3:
                yield n, self.rows

    class OfTable:
        def __init__(self) -> None:
            self.seen: list[int] = []

        def eval(self, row: Row) -> None:
            self.seen.append(row["id"])

        def terminate(self) -> Iterator[tuple[int, int]]:
            yield sum(self.seen), len(self.seen)

    class Skips(OfTable):
        def eval(self, row: Row) -> Iterator[tuple[int, int]]:
            self.seen.append(row["id"])
            yield row["id"], -1
            if len(self.seen) == 2:
                raise SkipRestOfInputTableException("enough")

    class Analyzed:
        def __init__(self, analyzed: AnalyzeResult) -> None:
            self.names = [field.name for field in analyzed.schema.fields]

        @staticmethod
        def analyze(n: Any, name: Any) -> AnalyzeResult:
            return AnalyzeResult(schema=T.StructType().add(name.value, T.LongType()).add("names", T.StringType()))

        def eval(self, n: int, name: str) -> Iterator[tuple[int, str]]:
            yield n, ",".join(self.names)

    class Typed:
        def eval(self, *values: Any) -> Iterator[tuple[str, str]]:
            yield str([type(v).__name__ for v in values]), repr(values)

    class Cleans(Pairs):
        def cleanup(self) -> None:
            raise ValueError("cleaning")

    def answers(result: Any) -> Any:
        return type("Answers", (), {"eval": lambda self, n: result})

    two = "a int, b int"
    spark.range(0, 40, 1, 3).withColumn("k", F.col("id") % 4).withColumn(
        "s", F.concat(F.lit("s"), "id")
    ).createOrReplaceTempView("forty")
    types = ", ".join(
        f"cast(null as {t}) n_{t}, cast('1' as {t}) c_{t}" for t in TYPES if t not in ("date", "timestamp")
    )
    spark.sql(
        f"select id, {types}, array(id) a, map('k', id) m, struct(id, 'x' as y) st, date'2020-02-29' d, timestamp'2020-02-29 12:00:00' t from range(3)"
    ).createOrReplaceTempView("typed")
    names: list[str] = []
    for name, handler, returned in (
        ("pairs", Pairs, two), ("sums", Sums, "a bigint, b int"), ("both_", Both, "a bigint, b int"), ("of_table", OfTable, "a bigint, b int"),
        ("skips", Skips, "a bigint, b int"), ("analyzed", Analyzed, None), ("typed_", Typed, "types string, told string"), ("cleans", Cleans, two),
        ("number", answers(5), two), ("numbers", answers([1, 2]), "a int"), ("wrong_length", answers([(1, 2, 3)]), two), ("wrong_type", answers([("x", 1)]), two),
        ("none", answers(None), two), ("null_rows", answers([(1, 2), None, (3, 4)]), two), ("null_numbers", answers([(1,), None]), T.StructType().add("a", T.IntegerType(), False)), ("coerced", answers([("x", 2**40), (1.5, True), [7, 8]]), two), ("empty", answers([]), two), ("rows", answers([Row(a=1, b=2)]), two), ("dicts", answers([{"a": 1, "b": 2}]), two),
        ("structs", answers([((1, "x"), [1, 2])]), "s struct<a:int,b:string>, l array<int>"), ("lengths", answers([("ab", ["abcd"])]), "c char(3), v array<varchar(2)>"), ("not_null", answers([(None, 1)]), T.StructType().add("a", T.IntegerType(), False).add("b", T.IntegerType())),
    ):  # fmt: skip
        spark.udtf.register(name, udtf(handler, returnType=returned))
        spark.udtf.register(f"pickled_{name}", udtf(handler, returnType=returned, useArrow=False))
        names.append(name)
    spark.udtf.register("decorated", rudf(two)(Pairs))
    fails = type("Fails", (), {"eval": lambda self, n: 1 / 0})
    spark.udtf.register("fails", udtf(fails, returnType=two))
    spark.udtf.register("pickled_fails", udtf(fails, returnType=two, useArrow=False))
    for query in (
        "select * from pairs(3)", "select * from pairs(m => 2, n => 3)", "select * from pairs(0)", "select * from forty, lateral pairs(int(id % 4)) order by id, a",
        "select s, b from forty, lateral pairs(int(id % 4), int(k)) where id > 7 order by s, b", "select a from forty, lateral pairs(int(id % 3)) order by a",
        "select count(*) from forty, lateral pairs(int(id % 3))", "select * from sums(4)", "select k, a, b from forty, lateral sums(int(id)) order by k, a, b",
        "select id, a, b from forty, lateral both_(int(id)) order by id, a, b", "select * from of_table(table(forty)) order by a", "select * from of_table(table(forty) partition by k order by id) order by a",
        "select * from of_table(table(select * from forty where id < 0) partition by k)", "select * from skips(table(forty) partition by k order by id) order by a, b",
        "select * from skips(table(forty) with single partition) order by a", "select * from analyzed(3, 'column')", "select id, x, names from forty, lateral analyzed(id, 'x') order by id",
        "select * from typed, lateral typed_(n_int, c_int, c_double, c_string, c_binary, a, m, st, d, t) order by id", "select types from typed_()", "select * from cleans(2)",
        "select * from number(1)", "select * from numbers(1)", "select * from wrong_length(1)", "select * from wrong_type(1)", "select * from none(1)", "select id, a, b from forty, lateral null_rows(id) order by 1, 2, 3", "select * from null_rows(1)", "select * from null_numbers(1)", "select * from coerced(1)", "select id, a from forty, lateral empty(id)",
        "select * from rows(1)", "select * from dicts(1)", "select * from structs(1)", "select * from lengths(1)", "select * from not_null(1)", "select * from fails(1)", "select * from forty, lateral fails(id)",
        "select * from decorated(2)", "select * from pairs(1, 2, 3)", "select x.a, y.b from pairs(2) x, lateral pairs(x.a + 1) y order by 1, 2", "select * from forty, lateral pairs(int(id)) limit 3",
    ):  # fmt: skip
        for records in ("3", "10000"):
            spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", records)
            matrix.add(f"{query} ({records})", lambda q=query: spark.sql(q))
        pickled = re.sub(rf"\b({'|'.join([*names, 'fails'])})\(", r"pickled_\1(", query)
        if pickled != query:
            matrix.add(f"{pickled} ({records})", lambda q=pickled: spark.sql(q))
    spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")


def tables_of_arrays(matrix: Matrix) -> None:
    """Table functions that take and give Arrow's arrays and batches."""
    spark = matrix.spark

    class Twice:
        def eval(self, n: pa.Array, m: Any = None) -> Iterator[pa.Table]:
            yield pa.table({"a": n, "b": pc.cast(n, pa.int32()) if m is None else pc.cast(m, pa.int32())})

    class Batches:
        def __init__(self) -> None:
            self.rows = 0

        def eval(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
            self.rows += batch.num_rows
            yield pa.record_batch({"a": batch.column("id"), "b": pc.cast(batch.column("k"), pa.int32())})

        def terminate(self) -> Iterator[pa.Table]:
            yield pa.table({"a": pa.array([self.rows]), "b": pa.array([-1], pa.int32())})

    class Sizes:
        def eval(self, batch: pa.RecordBatch) -> Iterator[pa.Table]:
            yield pa.table({"a": pa.array([batch.num_rows]), "b": pa.array([batch.num_columns], pa.int32())})

    def answers(result: Any) -> Any:
        return type("Answers", (), {"eval": lambda self, n: result})

    two = "a bigint, b int"
    spark.range(0, 40, 1, 3).withColumn("k", F.col("id") % 4).createOrReplaceTempView("forty_numbers")
    right = pa.table({"a": pa.array([1, 2]), "b": pa.array([3, None], pa.int32())})
    for name, handler in {
        "a_twice": Twice, "a_batches": Batches, "a_sizes": Sizes, "a_none": answers(None), "a_number": answers(5), "a_rows": answers([(1, 2)]), "a_table": answers([right]),
        "a_one_column": answers([right.select(["a"])]), "a_other_names": answers([right.rename_columns(["x", "y"])]), "a_text": answers([pa.table({"a": ["x"], "b": [1]})]),
        "a_wide": answers([pa.table({"a": pa.array([1]), "b": pa.array([2])})]), "a_too_wide": answers([pa.table({"a": pa.array([1]), "b": pa.array([2**40])})]), "a_nothing": answers([]),
        "a_fails": type("Fails", (), {"eval": lambda self, n: 1 / 0}),
    }.items():  # fmt: skip
        spark.udtf.register(name, arrow_udtf(returnType=two)(handler))
    for query in (
        "select * from a_twice(3)", "select * from a_twice(m => 2, n => 3)", "select * from forty_numbers, lateral a_twice(id) limit 1", "select count(*) from forty_numbers, lateral a_twice(id)",
        "select * from a_batches(table(forty_numbers)) order by a, b", "select * from a_batches(table(forty_numbers) partition by k order by id) order by a, b",
        "select * from a_sizes(table(forty_numbers) with single partition)", "select * from a_batches(table(select * from forty_numbers where id < 0) partition by k)",
        *(f"select * from {name}(1)" for name in ("a_none", "a_number", "a_rows", "a_table", "a_one_column", "a_other_names", "a_text", "a_wide", "a_too_wide", "a_nothing", "a_fails")),
    ):  # fmt: skip
        for records in ("3", "10000"):
            spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", records)
            matrix.add(f"{query} ({records})", lambda q=query: spark.sql(q))
    spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")


def others(matrix: Matrix) -> None:
    """What plans and metrics say."""
    matrix.add("a query", lambda: matrix.spark.range(3).select(udf(lambda v: v, "bigint")("id")))
    told_of_plans(matrix)


def told_of_plans(matrix: Matrix) -> None:
    """Check that every node with Python functions is told, with who runs it and why."""
    data = matrix.spark.range(9).withColumn("k", F.col("id") % 3)
    over = Window.partitionBy("k")
    query = (
        data.withColumn("w", mean_of("id").over(over))
        .withColumn("p", udf(lambda v: v, "bigint", useArrow=False)("id"))
        .groupBy("k")
        .agg(mean_of("w", "p").alias("a"))
        .mapInPandas(lambda frames: frames, "k bigint, a double")
        .groupBy("k")
        .applyInPandas(lambda frame: frame, "k bigint, a double")
    )
    for _ in range(2):
        told = [(node.is_rudf, node.node.split()[0], node.reason) for node in python_nodes(query)]
        where = "in a worker process"
        assert told == [
            (True, "RudfGroups", where), (True, "RudfMap", where), (True, "RudfAggregate", where),
            (True, "RudfEval", where),
            (True, "RudfWindow", where),
        ], told  # fmt: skip
        query.collect()
    counted = metrics_of(query)
    assert {name: (node["numRowsSent"], node["pythonNumRowsReceived"]) for name, node in counted.items()} == {
        "RudfGroups": (3, 3), "RudfMap": (3, 3), "RudfAggregate": (9, 3), "RudfEval": (9, 9), "RudfWindow": (9, 9),
    }, counted  # fmt: skip
    by = data.groupBy("k")
    pairs = by.cogroup(by).applyInPandas(shown_short, "a int, b int")
    pairs.collect()
    numbers = udtf(type("Numbers", (), {"eval": lambda self, n: [(n,), (n,)]}), returnType="n bigint")
    matrix.spark.udtf.register("numbers_of", numbers)
    rows = matrix.spark.sql("select * from range(0, 9, 1, 3), lateral numbers_of(id)")
    rows.collect()
    counted |= metrics_of(pairs) | metrics_of(rows)
    for name, sent, received in (("RudfCogroups", 18, 3), ("RudfTable", 9, 18)):
        assert (counted[name]["numRowsSent"], counted[name]["pythonNumRowsReceived"]) == (sent, received), counted[name]
    for name, node in counted.items():
        assert node["numBatches"] in (1, 2, 3), (name, node)
        # Values of 8 bytes, up to seven columns of them, with what is put around them.
        assert node["numRowsSent"] * 8 <= node["pythonDataSent"] <= node["numRowsSent"] * 64, (name, node)
        assert 24 <= node["pythonDataReceived"] <= node["numBatches"] * 4096, (name, node)
        parts = ("pythonBootTime", "pythonInitTime", "layoutTime", "waitTime", "pythonProcessingTime")
        assert all(0 < node[part] <= node["pythonTotalTime"] for part in parts), (name, node)
        assert node["peakSegmentBytes"] >= node["pythonDataSent"] / node["numBatches"], (name, node)
        assert node["partitionsLeftToSpark"] == 0, (name, node)
    assert python_nodes(data) == []
    matrix.spark.conf.set("spark.rudf.enabled", "false")
    told = [
        (node.is_rudf, node.node.split()[0], node.reason) for node in python_nodes(data.groupBy("k").agg(mean_of("id")))
    ]
    assert told == [(False, "ArrowAggregatePython", "spark.rudf.enabled is false")], told
    matrix.spark.conf.set("spark.rudf.enabled", "true")
    assert [
        node.is_rudf
        for node in python_nodes(
            data.withColumn("t", F.lit(1)).select(arrow_udf(lambda v: v, "bigint", functionType=250)("id"))
        )
    ] == [True]


def metrics_of(frame: DataFrame) -> dict[str, dict[str, int]]:
    """Return the metrics of a query's nodes that are rudf's, by the node's name."""
    found = {}
    waiting = [frame._jdf.queryExecution().executedPlan()]
    while waiting:
        node = waiting.pop()
        name = node.nodeName()
        if name == "AdaptiveSparkPlan":
            waiting.append(node.executedPlan())
        elif name.endswith("QueryStage"):
            waiting.append(node.plan())
        children, metrics = node.children(), node.metrics().iterator()
        waiting += [children.apply(index) for index in range(children.size())]
        if name.startswith("Rudf") and name != "RudfLayout":
            found[name] = {entry._1(): entry._2().value() for entry in iter_of(metrics)}
    return found


def iter_of(entries: Any) -> Iterator[Any]:
    """Iterate over what Scala does."""
    while entries.hasNext():
        yield entries.next()


def main() -> None:
    """Run the matrix and write it."""
    target, scratch = sys.argv[1:3]
    spark = SparkSession.builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    matrix = Matrix(spark, scratch)
    frames = sources(matrix)
    of_frames = {part.__name__: part for part in (scalars, iterators, maps, groups, aggregates, cogroups)}
    alone = {part.__name__: part for part in (windows, decorated, tables, tables_of_arrays, others)}
    for name in sys.argv[3:] or [*of_frames, *alone]:
        if name in of_frames:
            of_frames[name](matrix, frames)
        else:
            alone[name](matrix)
    with open(target, "w") as file:
        json.dump(matrix.results, file, indent=1)
    spark.stop()


if __name__ == "__main__":
    main()
