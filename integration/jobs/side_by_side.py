"""What the demo and the benchmark share: a session, a timed run, and a comparison value by value."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rudf

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import Column, DataFrame, SparkSession

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "data"


def progress(text: str) -> None:
    """Say what is going on, on a line of its own that the next one replaces where a person watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text} ...\r")
        sys.stderr.flush()


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
        # Stock functions are what rudf is compared with.
        .config("spark.rudf.takeover", "rudf-only")
    )
    spark = rudf.configure(builder).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def stock_udf(function: rudf.RudfFunction) -> Any:
    """Make a UDF of the same Python function with PySpark's own decorator for its kind."""
    from pyspark.sql.functions import arrow_udf, pandas_udf, udf
    from pyspark.util import PythonEvalType

    if function.evalType == PythonEvalType.SQL_SCALAR_ARROW_UDF:
        return arrow_udf(function.func, function.returnType)
    if function.evalType == PythonEvalType.SQL_SCALAR_PANDAS_UDF:
        return pandas_udf(function.func, function.returnType)
    return udf(function.func, function.returnType, useArrow=True)


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


def compared(times: dict[str, float]) -> dict[str, float]:
    """Add the ratios to the times of ``rudf``, ``pyspark`` and ``floor``: end to end, and of the taxes."""
    # Where rudf is as fast as the floor, noise decides: less than a hundredth of PySpark's tax is not told apart.
    taxes = {side: times[side] - times["floor"] for side in ("pyspark", "rudf")}
    tax_ratio = taxes["pyspark"] / max(taxes["rudf"], taxes["pyspark"] / 100, 1e-6)
    return times | {"ratio": times["pyspark"] / times["rudf"], "tax_ratio": tax_ratio}


def show(name: str, result: dict[str, Any]) -> None:
    """Print a line of a table: the times that `compared` has given, and their ratios."""
    times = "".join(f"{result[side]:>9.3f}" for side in ("pyspark", "rudf", "floor"))
    print(f"{name}{times}{result['ratio']:>11.1f}x{result['tax_ratio']:>10.1f}x", flush=True)


#: The heads of its columns.
HEADS = f"{'PySpark':>9}{'rudf':>9}{'floor':>9}{'end to end':>12}{'tax ratio':>11}"


def conclude(spark: SparkSession, results: list[dict[str, Any]], options: dict[str, Any], target: Path | None) -> None:
    """Print the mean of the ratios, write everything to a file where one is named, and stop the session."""
    mean = statistics.geometric_mean(max(result["tax_ratio"], 0.01) for result in results)
    print(f"geometric mean of the tax ratios: {mean:.1f}x")
    if target:
        of_this = {"spark": spark.version, "python": sys.version.split()[0]}
        document = options | of_this | {"tax_ratio_mean": mean, "results": results}
        target.write_text(json.dumps(document, indent=1) + "\n")
    spark.stop()


@dataclass(frozen=True)
class Comparison:
    """What came of comparing two columns in every row."""

    rows: int
    differing: int
    examples: list[str]
    #: Whether rudf computed the one column and Spark's own operator the other.
    both_sides_ran: bool

    def __str__(self) -> str:
        if not self.differing:
            return f"equal in all {self.rows:,} rows"
        return f"DIFFER in {self.differing:,} of {self.rows:,} rows: {'; '.join(self.examples)}"


def compare(frame: DataFrame, ours: Column, theirs: Column) -> Comparison:
    """Compare two columns row by row; null equals null, and NaN equals NaN."""
    from pyspark.sql import functions as F

    both = frame.select(ours.alias("ours"), theirs.alias("theirs"))
    differ = ~F.col("ours").eqNullSafe(F.col("theirs"))
    rows, wrong = both.agg(F.count("*"), F.sum(differ.cast("bigint"))).first()
    found = both.where(differ).limit(3).collect() if wrong else []
    examples = [f"rudf {row.ours!r}, PySpark {row.theirs!r}" for row in found]
    plan = plan_of(both)
    return Comparison(
        rows,
        int(wrong or 0),
        examples,
        "RudfEval" in plan and "ArrowEvalPython" in plan,
    )


def runs_in_rudf(frame: DataFrame) -> bool:
    """Tell whether rudf, and nobody else, runs the Python functions of a query."""
    plan = plan_of(frame)
    return "RudfEval" in plan and "EvalPython" not in plan


def plan_of(frame: DataFrame) -> str:
    """Return the physical plan as text."""
    return str(frame._jdf.queryExecution().executedPlan().toString())
