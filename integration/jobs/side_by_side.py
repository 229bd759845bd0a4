"""What the demo and the benchmark share: a session, a timed run, and a comparison value by value."""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import rudf

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import Column, DataFrame, SparkSession

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "data"


def start_session(name: str, master: str) -> SparkSession:
    """Start Spark with rudf; Python is the one that runs this."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = (
        SparkSession.builder.appName(name)
        .master(master)
        .config("spark.driver.memory", "4g")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "4")
    )
    spark = rudf.configure(builder).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def run(frame: DataFrame) -> float:
    """Compute every row and throw it away; return the seconds."""
    start = time.perf_counter()
    frame.write.format("noop").mode("overwrite").save()
    return time.perf_counter() - start


def interleaved(frames: dict[str, Callable[[], DataFrame]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each of several queries, which take turns; the first round only warms up."""
    times: dict[str, list[float]] = {name: [] for name in frames}
    for repeat in range(repeats + 1):
        for name, frame in frames.items():
            seconds = run(frame())
            if repeat > 0:
                times[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def differences(frame: DataFrame, ours: Column, theirs: Column) -> tuple[int, int, list[str]]:
    """Compare two columns in every row; return the rows, the rows that differ, and examples of those."""
    from pyspark.sql import functions as F

    both = frame.select(ours.alias("ours"), theirs.alias("theirs"))
    differ = ~F.col("ours").eqNullSafe(F.col("theirs"))
    rows, wrong = both.agg(F.count("*"), F.sum(F.when(differ, 1).otherwise(0))).first()
    examples = [f"rudf {row.ours!r}, PySpark {row.theirs!r}" for row in both.where(differ).limit(3).collect()] if wrong else []
    return rows, int(wrong or 0), examples


def plan_of(frame: DataFrame) -> str:
    """Return the physical plan as text."""
    return frame._jdf.queryExecution().executedPlan().toString()
