"""The main job: New York's 2013 flights, repeated to five million rows, with rudf and with plain PySpark.

The same functions run through both, their answers are compared value by value, and times are printed side by side.
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from flights_data import flights_parquet
from side_by_side import CACHE, differences, interleaved, plan_of, start_session

from rudf import rudf

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import SparkSession


def great_circle(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Kilometres between two points; none where one is not known."""
    if lat1 is None or lat2 is None:
        return None
    a, b = math.radians(lat1), math.radians(lat2)
    half = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(math.radians(lon2 - lon1) / 2) ** 2
    return 12742.0 * math.asin(math.sqrt(half))


def flight_label(carrier: str, tailnum: str) -> str:
    """A label such as ``UA/N14228``."""
    return carrier.strip() + "/" + (tailnum.upper() if tailnum else "unknown")


def delay_class(departure: float, arrival: float) -> str:
    """What became of a flight; one that was cancelled has no delays."""
    if departure is None:
        return "cancelled"
    if arrival is None:
        return "diverted"
    return "late" if arrival > 15 else "made up" if departure > 15 else "on time"


def speed(distance: pa.Array, minutes: pa.Array) -> pa.Array:
    """Miles per hour."""
    return pc.divide(pc.multiply(distance, 60.0), minutes)


def seat_miles(distance: pd.Series, seats: pd.Series) -> pd.Series:
    """Miles flown by all seats; planes of unknown size count as small."""
    return distance * seats.fillna(20)


class Case(NamedTuple):
    """One function: how it is called, and who makes a UDF of it."""

    function: Callable[..., Any]
    columns: list[str]
    return_type: str
    kind: str


CASES = [
    Case(great_circle, ["origin_lat", "origin_lon", "dest_lat", "dest_lon"], "double", "row, four numbers"),
    Case(flight_label, ["carrier", "tailnum"], "string", "row, strings"),
    Case(delay_class, ["dep_delay", "arr_delay"], "string", "row, with nulls"),
    Case(speed, ["distance", "air_time"], "double", "pyarrow arrays"),
    Case(seat_miles, ["distance", "seats"], "double", "pandas Series"),
]


def stock(case: Case) -> Any:
    """Make a UDF with PySpark's own decorator of the same kind."""
    from pyspark.sql.functions import arrow_udf, pandas_udf, udf

    if case.function is speed:
        return arrow_udf(case.function, case.return_type)
    if case.function is seat_miles:
        return pandas_udf(case.function, case.return_type)
    return udf(case.function, case.return_type, useArrow=True)


def main() -> int:
    """Run the job; the exit status says whether all answers were equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    path = flights_parquet(CACHE)
    spark = start_session("flights", options.master)
    flights = spark.read.parquet(str(path))
    print(f"{flights.count():,} flights; Spark {spark.version}, {options.master}\n")
    show_result(spark, path)
    equal = True
    print(f"{'function':<14}{'kind':<20}{'PySpark':>10}{'rudf':>10}{'ratio':>8}   answers")
    for case in CASES:
        ours, theirs = rudf(case.function, case.return_type), stock(case)
        times = interleaved(
            {
                "rudf": lambda f=ours, c=case: flights.select(f(*c.columns)),
                "stock": lambda f=theirs, c=case: flights.select(f(*c.columns)),
            },
            options.repeats,
        )
        if "RudfEval" not in plan_of(flights.select(ours(*case.columns))):
            equal = False
            print(f"{case.function.__name__}: rudf did not run it:\n{plan_of(flights.select(ours(*case.columns)))}")
        rows, wrong, examples = differences(flights, ours(*case.columns), theirs(*case.columns))
        verdict = f"equal in all {rows:,} rows" if not wrong else f"DIFFER in {wrong:,} rows: {'; '.join(examples)}"
        equal = equal and not wrong
        ratio = times["stock"] / times["rudf"]
        print(
            f"{case.function.__name__:<14}{case.kind:<20}{times['stock']:>9.2f}s{times['rudf']:>9.2f}s{ratio:>7.1f}x   {verdict}",
            flush=True,
        )
    spark.stop()
    print("\nall answers are PySpark's" if equal else "\nTHE ANSWERS DIFFER")
    return 0 if equal else 1


def show_result(spark: SparkSession, path: Any) -> None:
    """Print the job's result: a line for each carrier."""
    from pyspark.sql import functions as F

    functions = {case.function.__name__: rudf(case.function, case.return_type) for case in CASES}
    columns = {case.function.__name__: functions[case.function.__name__](*case.columns) for case in CASES}
    per_carrier = (
        spark.read.parquet(str(path))
        .select("carrier", *[column.alias(name) for name, column in columns.items()])
        .groupBy("carrier")
        .agg(
            F.count("*").alias("flights"),
            F.round(F.avg("great_circle"), 1).alias("km"),
            F.round(F.avg("speed"), 1).alias("mph"),
            F.round(F.sum("seat_miles") / 1e9, 2).alias("seat miles, bn"),
            F.round(F.avg((F.col("delay_class") == "late").cast("int")) * 100, 1).alias("late, %"),
            F.sum((F.col("delay_class") == "cancelled").cast("int")).alias("cancelled"),
            F.approx_count_distinct("flight_label").alias("planes"),
        )
        .orderBy(F.desc("flights"))
    )
    per_carrier.show(20, truncate=False)


if __name__ == "__main__":
    sys.exit(main())
