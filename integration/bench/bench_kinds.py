"""Maps, groups, aggregates, windows, cogroups and table functions: rudf, PySpark and the floor.

The same stock functions run with takeover off and on, in turns, in one session. The floor is a query of Spark's own that
moves and sorts the rows in the same way. The tax is what Python adds to it; the tax ratio is PySpark's over rudf's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql.functions import arrow_udf, pandas_udf, udtf

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "jobs"))

from bench_udf import table

from side_by_side import HEADS, compared, conclude, interleaved, plan_of, progress, show, start_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyspark.sql import DataFrame


class Case(NamedTuple):
    """A query with a Python function, and Spark's own query that moves rows alike."""

    name: str
    query: Callable[[], DataFrame]
    floor: Callable[[], DataFrame]


def doubled(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Compute on one column of each data frame."""
    for frame in frames:
        yield frame.assign(x=frame["x"] * 2.5)


def arrow_doubled(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Compute on one column of each batch."""
    for batch in batches:
        yield batch.set_column(1, "x", pc.multiply(batch["x"], 2.5))


def centred(frame: pd.DataFrame) -> pd.DataFrame:
    """Subtract the group's mean."""
    return frame.assign(x=frame["x"] - frame["x"].mean())


def arrow_centred(group: pa.Table) -> pa.Table:
    """Subtract the group's mean."""
    return group.set_column(1, "x", pc.subtract(group["x"], pc.mean(group["x"])))


def pandas_mean(x: pd.Series) -> float:
    """Aggregate a Series."""
    return float(x.mean())


def arrow_mean_of(x: pa.Array) -> float:
    """Aggregate an array."""
    return pc.mean(x)  # type: ignore[return-value]


class Halves:
    """Give two rows a row."""

    def eval(self, x: float) -> Iterator[tuple[float]]:
        """Halve a number twice."""
        yield (x / 2,)
        yield (x / 4,)


def paired(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Subtract the mean of the other side."""
    return left.assign(x=left["x"] - right["x"].mean())


def cases(rows: DataFrame, groups: int) -> list[Case]:
    """Return all cases over a table of the columns i, x and s."""
    keyed = rows.withColumn("k", F.col("i") % groups)
    few = keyed.where(F.col("i") % 20 == 0)
    few.createOrReplaceTempView("few")
    rows.sparkSession.udtf.register("halves", udtf(Halves, returnType="y double", useArrow=True))
    schema = "i bigint, x double, s string"
    with_key = schema + ", k bigint"
    mean, arrow_mean = pandas_udf(pandas_mean, "double"), arrow_udf(arrow_mean_of, "double")
    every, behind = Window.partitionBy("k"), Window.partitionBy("k").orderBy("i").rowsBetween(-4, 0)

    def sorted_rows(frame: DataFrame, *order: str) -> Callable[[], DataFrame]:
        return lambda: frame.repartition("k").sortWithinPartitions("k", *order)

    def paired_rows() -> DataFrame:
        return sorted_rows(keyed)().unionByName(sorted_rows(keyed)())

    return [
        Case("mapInPandas", lambda: rows.mapInPandas(doubled, schema), lambda: rows.selectExpr("i", "x * 2.5D", "s")),
        Case("mapInArrow", lambda: rows.mapInArrow(arrow_doubled, schema), lambda: rows.selectExpr("i", "x * 2.5D", "s")),
        Case("applyInPandas", lambda: keyed.groupBy("k").applyInPandas(centred, with_key), sorted_rows(keyed)),
        Case("applyInArrow", lambda: keyed.groupBy("k").applyInArrow(arrow_centred, with_key), sorted_rows(keyed)),
        Case("pandas aggregate", lambda: keyed.groupBy("k").agg(mean("x")), sorted_rows(keyed.select("k", "x"))),
        Case("Arrow aggregate", lambda: keyed.groupBy("k").agg(arrow_mean("x")), sorted_rows(keyed.select("k", "x"))),
        Case("window", lambda: keyed.select("i", mean("x").over(every)), sorted_rows(keyed.select("k", "x", "i"))),
        Case("moving window", lambda: few.select("i", mean("x").over(behind)), sorted_rows(few.select("k", "x", "i"), "i")),
        Case("Arrow window", lambda: few.select("i", arrow_mean("x").over(behind)), sorted_rows(few.select("k", "x", "i"), "i")),
        Case("cogroup", lambda: keyed.groupBy("k").cogroup(keyed.groupBy("k")).applyInPandas(paired, with_key), paired_rows),
        Case("table function", lambda: rows.sparkSession.sql("SELECT i, y FROM few, LATERAL halves(x)"), lambda: few.selectExpr("i", "explode(array(x / 2, x / 4))")),
    ]  # fmt: skip


def main() -> None:
    """Measure all cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=2_000)
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", help="only cases whose name contains this")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    spark = start_session("bench", options.master)
    print(
        f"{options.rows:,} rows, {options.groups:,} groups, {options.master}, Spark {spark.version}; median of {options.repeats}, seconds"
    )
    print(f"{'case':<18}{HEADS}")
    results = []
    for case in cases(table(spark, options.rows), options.groups):
        if options.case and options.case not in case.name:
            continue

        def with_takeover(which: str, case: Case = case) -> DataFrame:
            spark.conf.set("spark.rudf.takeover", which)
            return case.query()

        if "Rudf" not in plan_of(with_takeover("all")):
            sys.exit(f"{case.name}: rudf left it to Spark\n{plan_of(with_takeover('all'))}")
        progress(f"{case.name}: {options.repeats + 1} runs each")
        times = interleaved(
            {"rudf": lambda: with_takeover("all"), "pyspark": lambda: with_takeover("none"), "floor": case.floor},
            options.repeats,
        )
        results.append({"case": case.name, **compared(times)})
        show(f"{case.name:<18}", results[-1])
    asked = {name: getattr(options, name) for name in ("rows", "groups", "master", "repeats")}
    conclude(spark, results, asked, options.json)


if __name__ == "__main__":
    main()
