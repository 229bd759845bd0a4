"""The main job: New York's 2013 flights, repeated to five million rows, with rudf and with plain PySpark.

The same functions run through both in one session: their answers are compared value by value in every row, and the
times are printed side by side. Exits with 1 where an answer differs, or where rudf did not run a function.
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from flights_data import flights_parquet
from rudf import RudfFunction, rudf
from side_by_side import CACHE, compare, interleaved, progress, runs_in_rudf, start_session, stock_udf

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@rudf
def great_circle(lat1: float | None, lon1: float, lat2: float | None, lon2: float) -> float | None:
    """Compute the kilometres between two airports; nothing where one is not known."""
    if lat1 is None or lat2 is None:
        return None
    a, b = math.radians(lat1), math.radians(lat2)
    half = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(math.radians(lon2 - lon1) / 2) ** 2
    return 12742.0 * math.asin(math.sqrt(half))


@rudf
def flight_label(carrier: str, tailnum: str | None) -> str:
    """Make a label of carrier and plane, such as ``UA/N14228``."""
    return carrier.strip() + "/" + (tailnum.upper() if tailnum else "unknown")


@rudf
def delay_class(departure: float | None, arrival: float | None) -> str:
    """Tell what became of a flight; one that was cancelled has no delays."""
    if departure is None:
        return "cancelled"
    if arrival is None:
        return "diverted"
    return "late" if arrival > 15 else "made up" if departure > 15 else "on time"


@rudf("double")
def speed(distance: pa.Array, minutes: pa.Array) -> pa.Array:
    """Compute miles per hour."""
    return pc.divide(pc.multiply(distance, 60.0), minutes)


@rudf("double")
def seat_miles(distance: pd.Series, seats: pd.Series) -> pd.Series:
    """Compute the miles flown by all seats; planes of unknown size count as small."""
    return distance * seats.fillna(20)


class Case(NamedTuple):
    """A function, the columns it is called with, and what it is an example of."""

    function: RudfFunction
    columns: list[str]
    kind: str


CASES = [
    Case(
        great_circle,
        ["origin_lat", "origin_lon", "dest_lat", "dest_lon"],
        "row, four numbers",
    ),
    Case(flight_label, ["carrier", "tailnum"], "row, strings"),
    Case(delay_class, ["dep_delay", "arr_delay"], "row, with nulls"),
    Case(speed, ["distance", "air_time"], "pyarrow arrays"),
    Case(seat_miles, ["distance", "seats"], "pandas Series"),
]


def main() -> int:
    """Run the job; the exit status says whether rudf ran everything and all answers were equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    path = flights_parquet(CACHE)
    spark = start_session("flights", options.master)
    flights = spark.read.parquet(str(path))
    print(
        f"\n{flights.count():,} flights; Spark {spark.version}, {options.master}\n",
        flush=True,
    )
    progress("the job: five functions, and a line for each carrier")
    per_carrier(flights).show(20, truncate=False)
    print(
        f"{'function':<14}{'kind':<19}{'PySpark':>9}{'rudf':>9}{'ratio':>8}   answers",
        flush=True,
    )
    good = [show(case, flights, options.repeats) for case in CASES]
    spark.stop()
    print("\nrudf ran all functions, and all answers are PySpark's" if all(good) else "\nSOMETHING IS WRONG: see above")
    return 0 if all(good) else 1


def per_carrier(flights: DataFrame) -> DataFrame:
    """Apply all functions and sum them up: a line for each carrier."""
    from pyspark.sql import functions as F

    columns = [case.function(*case.columns).alias(case.function.__name__) for case in CASES]
    late, cancelled = (
        (F.col("delay_class") == "late").cast("int"),
        (F.col("delay_class") == "cancelled").cast("int"),
    )
    return (
        flights.select("carrier", *columns)
        .groupBy("carrier")
        .agg(
            F.count("*").alias("flights"),
            F.round(F.avg("great_circle"), 1).alias("km"),
            F.round(F.avg("speed"), 1).alias("mph"),
            F.round(F.sum("seat_miles") / 1e9, 2).alias("seat miles, bn"),
            F.round(F.avg(late) * 100, 1).alias("late, %"),
            F.sum(cancelled).alias("cancelled"),
            F.countDistinct("flight_label").alias("planes"),
        )
        .orderBy(F.desc("flights"))
    )


def show(case: Case, flights: DataFrame, repeats: int) -> bool:
    """Time one function on both sides and compare its answers; tell whether all was well."""
    ours, theirs = case.function, stock_udf(case.function)
    progress(f"{ours.__name__}: {repeats + 1} runs each")
    times = interleaved(
        {
            "rudf": lambda: flights.select(ours(*case.columns)),
            "stock": lambda: flights.select(theirs(*case.columns)),
        },
        repeats,
    )
    progress(f"{ours.__name__}: comparing the answers")
    result = compare(flights, ours(*case.columns), theirs(*case.columns))
    ran = runs_in_rudf(flights.select(ours(*case.columns))) and result.both_sides_ran
    verdict = str(result) if ran else "NOT RUN BY RUDF: see the reason in the plan and the log"
    times_text = f"{times['stock']:>8.2f}s{times['rudf']:>8.2f}s{times['stock'] / times['rudf']:>7.1f}x"
    print(f"{ours.__name__:<14}{case.kind:<19}{times_text}   {verdict}", flush=True)
    if not ran:
        flights.select(ours(*case.columns)).explain()
    return ran and not result.differing


if __name__ == "__main__":
    sys.exit(main())
