"""Row, Arrow and pandas functions on numbers and strings, over Parquet and over rows: rudf, PySpark and the floor.

All run in one session and take turns. The floor is the same query with Spark's own expressions: what the time is
without any Python. The tax is what a Python function adds to it; the tax ratio is PySpark's tax over rudf's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "jobs"))

from rudf import rudf
from side_by_side import (
    CACHE,
    HEADS,
    compared,
    conclude,
    interleaved,
    progress,
    runs_in_rudf,
    show,
    start_session,
    stock_udf,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame, SparkSession


def row_numbers(x: float) -> float:
    """Compute on one double."""
    return x * 2.5 + 1.0


def row_strings(s: str) -> str:
    """Make one string of another."""
    return s.upper()


def row_mixed(i: int, x: float, s: str) -> str:
    """Take three columns of three types."""
    return s + "x" if x > i else s


def arrow_numbers(x: pa.Array) -> pa.Array:
    """Compute on a column of doubles."""
    return pc.add(pc.multiply(x, 2.5), 1.0)


def arrow_strings(s: pa.Array) -> pa.Array:
    """Make a column of strings of another."""
    return pc.utf8_upper(s)


def pandas_numbers(x: pd.Series) -> pd.Series:
    """Compute on a Series of doubles."""
    return x * 2.5 + 1.0


def pandas_strings(s: pd.Series) -> pd.Series:
    """Make a Series of strings of another."""
    return s.str.upper()


class Case(NamedTuple):
    """A function, its columns and type, and Spark's own expression for the same."""

    function: Callable[..., Any]
    columns: list[str]
    return_type: str
    native: str


CASES = [
    Case(row_numbers, ["x"], "double", "x * 2.5D + 1.0D"),
    Case(row_strings, ["s"], "string", "upper(s)"),
    Case(row_mixed, ["i", "x", "s"], "string", "if(x > i, concat(s, 'x'), s)"),
    Case(arrow_numbers, ["x"], "double", "x * 2.5D + 1.0D"),
    Case(arrow_strings, ["s"], "string", "upper(s)"),
    Case(pandas_numbers, ["x"], "double", "x * 2.5D + 1.0D"),
    Case(pandas_strings, ["s"], "string", "upper(s)"),
]


def table(spark: SparkSession, rows: int) -> DataFrame:
    """Return the Parquet table, which is made where it is not there yet."""
    path = CACHE / f"bench-{rows}"
    if not (path / "_SUCCESS").is_file():
        made = spark.range(0, rows, 1, 4).selectExpr(
            "id as i", "cast(id as double) / 7 as x", "concat('name-', cast(id % 100003 as string)) as s"
        )
        made.write.mode("overwrite").parquet(str(path))
    return spark.read.parquet(str(path))


def main() -> None:
    """Measure all cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--master", default="local[1]")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--worker", default="auto", help="where rudf's Python runs: process, embedded or auto")
    parser.add_argument("--case", help="only cases whose name contains this")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    spark = start_session("bench", options.master)
    spark.conf.set("spark.rudf.worker", options.worker)
    columnar = table(spark, options.rows)
    # A filter that lets every row through: below it Spark reads columns, above it there are rows.
    children = {"columnar": columnar, "row": columnar.where("i >= 0 and x is not null and s is not null")}
    print(
        f"{options.rows:,} rows, {options.master}, worker {options.worker}, Spark {spark.version}; median of {options.repeats}, seconds"
    )
    print(f"{'case':<16}{'child':<10}{HEADS}")
    results = []
    for case in CASES:
        if options.case and options.case not in case.function.__name__:
            continue
        for child_name, child in children.items():
            result = measure(case, child, options.repeats) | {"case": case.function.__name__, "child": child_name}
            results.append(result)
            show(f"{result['case']:<16}{child_name:<10}", result)
    asked = {name: getattr(options, name) for name in ("rows", "master", "worker", "repeats")}
    conclude(spark, results, asked, options.json)


def measure(case: Case, child: DataFrame, repeats: int) -> dict[str, Any]:
    """Time one case on one child; ends the program where rudf does not run it, because the figures would mean nothing."""
    ours = rudf(case.function, case.return_type)
    theirs = stock_udf(ours)
    if not runs_in_rudf(child.select(ours(*case.columns))):
        child.select(ours(*case.columns)).explain()
        sys.exit(f"{case.function.__name__}: rudf left it to Spark; the plan above says why")
    progress(f"{case.function.__name__}: {repeats + 1} runs each")
    times = interleaved(
        {
            "rudf": lambda: child.select(ours(*case.columns)),
            "pyspark": lambda: child.select(theirs(*case.columns)),
            "floor": lambda: child.selectExpr(case.native),
        },
        repeats,
    )
    return compared(times)


if __name__ == "__main__":
    main()
