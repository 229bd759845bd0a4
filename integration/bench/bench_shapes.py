"""Every kind of function over children, batches and groups of every shape, to see where rudf is slower than PySpark.

The same stock functions run with takeover off and on, in turns, in one session. Printed is PySpark's time over rudf's, from
end to end: below 1 rudf is the slower one, and the line is marked.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql.functions import arrow_udf, pandas_udf, udf, udtf

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "jobs"))

from bench_kinds import (
    Halves,
    arrow_centred,
    arrow_doubled,
    arrow_mean_of,
    centred,
    doubled,
    paired,
    pandas_mean,
)
from bench_udf import arrow_numbers, pandas_numbers, row_mixed, row_numbers, table

from side_by_side import interleaved, plan_of, progress, start_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame, SparkSession

BATCH = "spark.sql.execution.arrow.maxRecordsPerBatch"


def arrow_parts(parts: Iterator[pa.Array]) -> Iterator[pa.Array]:
    """Compute on the arrays of a partition."""
    for x in parts:
        yield pc.multiply(x, 2.5)


def pandas_parts(parts: Iterator[pd.Series]) -> Iterator[pd.Series]:
    """Compute on the Series of a partition."""
    for x in parts:
        yield x * 2.5


class Shape(NamedTuple):
    """Rows, and in which form they come."""

    name: str
    rows: DataFrame
    groups: int
    batch: int = 10_000


def shapes(spark: SparkSession, rows: int) -> list[Shape]:
    """Return children of every shape, of the columns i, x and s."""
    columnar = table(spark, rows)
    of_rows = columnar.where("i >= 0 and x is not null and s is not null")
    wide = columnar.select("*", *[(F.col("x") + number).alias(f"w{number}") for number in range(30)])
    cached = columnar.cache()
    cached.count()
    return [
        Shape("Parquet", columnar, rows // 500),
        Shape("rows", of_rows, rows // 500),
        Shape("cached", cached, rows // 500),
        Shape("shuffled", columnar.repartition(4, "s"), rows // 500),
        Shape("wide", wide, rows // 500),
        Shape("one row", columnar.where("i = 7"), 1),
        Shape("no rows", columnar.where("i * i < 0"), 1),
        Shape("many partitions", columnar.repartition(64), rows // 500),
        Shape("batches of 100", of_rows, rows // 500, 100),
        Shape("batches of 1", of_rows.where("i % 50 = 0"), 50, 1),
        Shape("groups of 2 rows", of_rows.where("i % 20 = 0"), rows // 2),
        Shape("one group", of_rows, 1),
    ]


def kinds(shape: Shape) -> dict[str, Callable[[], DataFrame]]:
    """Return a query of each kind over a shape."""
    rows = shape.rows
    keyed = rows.withColumn("k", F.col("i") % shape.groups)
    few = keyed.where("i % 20 = 0")
    schema = rows.select("i", "x", "s").schema
    with_key = keyed.select("i", "x", "s", "k").schema
    three, four = rows.select("i", "x", "s"), keyed.select("i", "x", "s", "k")
    few.createOrReplaceTempView("few")
    for name, pickled in (("halves", False), ("pickled_halves", True)):
        rows.sparkSession.udtf.register(name, udtf(Halves, returnType="y double", useArrow=not pickled))
    mean, arrow_mean = pandas_udf(pandas_mean, "double"), arrow_udf(arrow_mean_of, "double")
    every, behind = Window.partitionBy("k"), Window.partitionBy("k").orderBy("i").rowsBetween(-4, 0)
    number, mixed = udf(row_numbers, "double", useArrow=True), udf(row_mixed, "string", useArrow=True)
    return {
        "row function": lambda: rows.select("*", number("x")),
        "row function, three columns": lambda: rows.select(mixed("i", "x", "s")),
        "pickled function": lambda: rows.select("i", udf(row_numbers, "double", useArrow=False)("x")),
        "pickled function, strings": lambda: rows.select(udf(row_mixed, "string", useArrow=False)("i", "x", "s")),
        "pandas function": lambda: rows.select("*", pandas_udf(pandas_numbers, "double")("x")),
        "Arrow function": lambda: rows.select("*", arrow_udf(arrow_numbers, "double")("x")),
        "pandas iterator": lambda: rows.select("i", pandas_udf(pandas_parts, "double")("x")),
        "Arrow iterator": lambda: rows.select("i", arrow_udf(arrow_parts, "double")("x")),
        "mapInPandas": lambda: three.mapInPandas(doubled, schema),
        "mapInArrow": lambda: three.mapInArrow(arrow_doubled, schema),
        "applyInPandas": lambda: four.groupBy("k").applyInPandas(centred, with_key),
        "applyInArrow": lambda: four.groupBy("k").applyInArrow(arrow_centred, with_key),
        "cogroup": lambda: four.groupBy("k").cogroup(four.groupBy("k")).applyInPandas(paired, with_key),
        "pandas aggregate": lambda: keyed.groupBy("k").agg(mean("x")),
        "Arrow aggregate": lambda: keyed.groupBy("k").agg(arrow_mean("x")),
        "pandas window": lambda: keyed.select("i", mean("x").over(every)),
        "Arrow window": lambda: keyed.select("i", arrow_mean("x").over(every)),
        "moving pandas window": lambda: few.select("i", mean("x").over(behind)),
        "moving Arrow window": lambda: few.select("i", arrow_mean("x").over(behind)),
        "table function": lambda: rows.sparkSession.sql("SELECT i, y FROM few, LATERAL halves(x)"),
        "pickled table function": lambda: rows.sparkSession.sql("SELECT i, y FROM few, LATERAL pickled_halves(x)"),
    }


def main() -> None:
    """Measure every kind over every shape and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kind", help="only kinds whose name contains this")
    parser.add_argument("--shape", help="only shapes whose name contains this")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    spark = start_session("bench", options.master)
    # The functions are of these modules, which workers import.
    for module in ("bench_udf", "bench_kinds", "side_by_side"):
        spark.sparkContext.addPyFile(str(sys.modules[module].__file__))
    print(f"{options.rows:,} rows, {options.master}, Spark {spark.version}; medians of {options.repeats}, seconds")
    print(f"{'shape':<18}{'kind':<30}{'PySpark':>9}{'rudf':>9}{'end to end':>12}")
    results = []
    for shape in shapes(spark, options.rows):
        if options.shape and options.shape not in shape.name:
            continue
        spark.conf.set(BATCH, shape.batch)
        for kind, query in kinds(shape).items():
            if options.kind and options.kind not in kind:
                continue

            def with_takeover(which: str, query: Callable[[], DataFrame] = query) -> DataFrame:
                spark.conf.set("spark.rudf.takeover", which)
                return query()

            plan = plan_of(with_takeover("all"))
            if "Rudf" not in plan:
                sys.exit(f"{kind}, {shape.name}: rudf left it to Spark\n{plan}")
            progress(f"{shape.name}, {kind}: {options.repeats + 1} runs each")
            times = interleaved(
                {"rudf": lambda: with_takeover("all"), "pyspark": lambda: with_takeover("none")}, options.repeats
            )
            ratio = times["pyspark"] / times["rudf"]
            results.append({"shape": shape.name, "kind": kind, **times, "ratio": ratio})
            slower = "   <- slower" if ratio < 1 else ""
            print(
                f"{shape.name:<18}{kind:<30}{times['pyspark']:>9.3f}{times['rudf']:>9.3f}{ratio:>11.1f}x{slower}",
                flush=True,
            )
    slower = sum(result["ratio"] < 1 for result in results)
    print(f"{len(results)} measured, {slower} of them slower than PySpark")
    if options.json:
        options.json.write_text(
            json.dumps({"spark": spark.version, "rows": options.rows, "results": results}, indent=1)
        )
    spark.stop()


if __name__ == "__main__":
    main()
