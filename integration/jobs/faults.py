"""What jobs share that cause faults on purpose: each fault has to be told or survived, and the next query has to work."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from pyspark.sql import Window
from pyspark.sql import functions as F

from rudf import rudf

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame, SparkSession


def is_running(process: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


def descendants(process: int) -> set[int]:
    """Return the processes below one."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rsplit(") ", 1)[1].split()[1])
        except OSError:
            pass
    found, new = set(), {process}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def until(so: Callable[[], bool], seconds: float = 20) -> bool:
    """Wait for something, and tell whether it came."""
    end = time.time() + seconds
    while not so() and time.time() < end:
        time.sleep(0.1)
    return so()


def descriptors(executors: set[int]) -> int:
    """Files that executors have open."""
    return sum(len(os.listdir(f"/proc/{executor}/fd")) for executor in executors)


def segments(executors: set[int]) -> int:
    """Segments of batches that executors have mapped."""
    return sum(Path(f"/proc/{executor}/maps").read_text().count("memfd:rudf-batch") for executor in executors)


def told(frame: Callable[[], DataFrame], *expected: str) -> Any:
    """Run a query that has to fail with certain words."""
    try:
        frame().collect()
    except Exception as error:
        missing = [text for text in expected if text not in str(error)]
        return True if not missing else f"{missing} is not in: {error}"
    return "it did not fail"


def families(spark: SparkSession, act: Callable[[], Any]) -> dict[str, Callable[[], DataFrame]]:
    """Return a query of one kind of each family, of 20 rows; its function does something in the midst of its rows."""
    rows = spark.range(0, 20, 1, 2).withColumn("k", F.col("id") % 4)

    def at(values: Any) -> bool:
        return 13 in [int(value) for value in values]

    def scalar() -> DataFrame:
        def doomed(ids: pd.Series) -> pd.Series:
            if at(ids):
                act()
            return ids

        return rows.select(rudf("bigint")(doomed)("id"))

    def mapped() -> DataFrame:
        def doomed(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
            for frame in frames:
                yield frame.head(1)
                if at(frame["id"]):
                    act()
                yield frame.iloc[1:]

        return rows.mapInPandas(doomed, "id bigint, k bigint")

    def grouped() -> DataFrame:
        def doomed(table: pa.Table) -> pa.Table:
            if at(table["id"].to_pylist()):
                act()
            return table

        return rows.groupBy("k").applyInArrow(doomed, "id bigint, k bigint")

    def cogrouped() -> DataFrame:
        def doomed(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
            if at(one["id"]):
                act()
            return other

        by = rows.groupBy("k")
        return by.cogroup(by).applyInPandas(doomed, "id bigint, k bigint")

    def aggregated() -> DataFrame:
        def doomed(ids: pd.Series) -> int:
            if at(ids):
                act()
            return int(ids.sum())

        return rows.groupBy("id").agg(F.pandas_udf(doomed, "bigint", F.PandasUDFType.GROUPED_AGG)("id"))

    def windowed() -> DataFrame:
        def doomed(ids: pd.Series) -> int:
            if at(ids):
                act()
            return int(ids.sum())

        over = Window.partitionBy("k").orderBy("id").rowsBetween(-1, 0)
        return rows.select(F.pandas_udf(doomed, "bigint", F.PandasUDFType.GROUPED_AGG)("id").over(over))

    def of_table() -> DataFrame:
        class doomed:
            def eval(self, number: int) -> Any:
                if number == 13:
                    act()
                yield (number,)

        spark.udtf.register("doomed", F.udtf(doomed, returnType="n bigint"))
        rows.createOrReplaceTempView("of_families")
        return spark.sql("select n from of_families, lateral doomed(id)")

    return {
        "scalar function": scalar, "map": mapped, "map of groups": grouped, "map of pairs of groups": cogrouped, "aggregate": aggregated,
        "window": windowed, "table function": of_table,
    }  # fmt: skip


class Faults:
    """Faults of one application, and what came of them: for each `true`, or what was wrong."""

    def __init__(self, spark: SparkSession) -> None:
        self.spark = spark
        self.results: dict[str, Any] = {}

    def cause(self, name: str, cause: Callable[[], Any]) -> None:
        """Note whether a fault was what it should be, and whether the next query works."""
        start = time.time()
        try:
            outcome = cause()
        except Exception as error:
            outcome = f"{type(error)}: {error}"
        try:
            self.results[name] = outcome if outcome is not True else self.works() or "the next query is wrong"
        except Exception as error:
            self.results[name] = f"the next query failed: {error}"
        # Tells how far it came where a fault hangs.
        print(f"{name}: {str(self.results[name])[:200]}, {time.time() - start:.1f} s", flush=True)

    def works(self) -> bool:
        """Run a query in worker processes."""

        @rudf("bigint")
        def fine(value):
            return value + 1

        frame = self.spark.range(0, 100, 1, 4).select(fine("id").alias("v"))
        assert "worker=process" in frame._jdf.queryExecution().executedPlan().toString()
        return bool(frame.agg(F.sum("v")).first()[0] == 5050)

    def seen(self, tasks: int = 8) -> set[tuple[int, ...]]:
        """Workers, servers and executors that ran tasks."""

        @rudf("string")
        def processes(value):
            server = os.getppid()
            with open(f"/proc/{server}/stat") as file:
                executor = file.read().rsplit(") ", 1)[1].split()[1]
            return f"{os.getpid()} {server} {executor}"

        rows = self.spark.range(0, tasks, 1, tasks).select(processes("id").alias("p")).distinct().collect()
        return {tuple(map(int, row.p.split())) for row in rows}

    def executors(self) -> set[int]:
        """Processes of executors."""
        return {executor for *_, executor in self.seen(16)}
