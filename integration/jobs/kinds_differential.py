"""Runs stock PySpark functions of every kind on Spark's own path and on rudf's: the two must be equal.

usage: spark-submit kinds_differential.py RESULTS.json SCRATCH_DIRECTORY
"""

from __future__ import annotations

import functools
import itertools
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.functions import arrow_udf, pandas_udf, udf, udtf

from differential import TYPES, Matrix, sources

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
    matrix.add("left: pickled", lambda: ids.select(udf(lambda v: v * 2, "bigint", useArrow=False)("id")))
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


def others(matrix: Matrix) -> None:
    """Kinds that stay with Spark, with rudf in the session."""
    ids = matrix.spark.range(0, 50, 1, 2).withColumn("k", F.col("id") % 3)
    groups = ids.groupBy("k")
    mean = pandas_udf(lambda v: float(v.mean()), "double", functionType=202)
    total = arrow_udf(lambda v: pc.sum(v).as_py(), "bigint", functionType=252)
    over = Window.partitionBy("k").orderBy("id").rowsBetween(-2, 0)

    def grouped(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(id=frame["id"] - frame["id"].mean().astype(int))

    def both(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"n": [len(left) + len(right)]})

    @udtf(returnType="a int, b int")
    class Pairs:
        def eval(self, n: int) -> Iterator[tuple[int, int]]:
            for number in range(n):
                yield number, n

    for name, query in {
        "applyInPandas": lambda: groups.applyInPandas(grouped, "id bigint, k bigint").orderBy("id", "k"),
        "applyInArrow": lambda: groups.applyInArrow(lambda table: table, "id bigint, k bigint").orderBy("id"),
        "aggregates": lambda: groups.agg(mean("id"), mean("k")).orderBy("k"),
        "Arrow aggregates": lambda: groups.agg(total("id")).orderBy("k"),
        "windows": lambda: ids.select("id", mean("id").over(over)).orderBy("id"),
        "cogroups": lambda: groups.cogroup(groups).applyInPandas(both, "n int").orderBy("n"),
        "table functions": lambda: Pairs(F.lit(3)),
    }.items():
        matrix.add(f"left: {name}", query)
    plan = groups.applyInPandas(grouped, "id bigint, k bigint")._jdf.queryExecution().executedPlan().toString()
    assert "rudf: left to Spark because functions of applyInPandas (eval type 201) are not supported" in plan, plan


def main() -> None:
    """Run the matrix and write it."""
    target, scratch = sys.argv[1:3]
    spark = SparkSession.builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    matrix = Matrix(spark, scratch)
    frames = sources(matrix)
    wanted = sys.argv[3:] or ["scalars", "iterators", "maps", "others"]
    for part in (scalars, iterators, maps):
        if part.__name__ in wanted:
            part(matrix, frames)
    if "others" in wanted:
        others(matrix)
    with open(target, "w") as file:
        json.dump(matrix.results, file, indent=1)
    spark.stop()


if __name__ == "__main__":
    main()
