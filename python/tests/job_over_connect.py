"""A client of Spark Connect whose functions are pickled by rudf, for ``test_connect.py``.

Takes the server's address, and the file to write what came of each function to, as JSON.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import rudf
import rudf.pickle

if TYPE_CHECKING:
    from collections.abc import Iterator


@functools.lru_cache
def cached(x: int) -> int:
    """What PySpark's own pickler writes as a name that no worker has."""
    return x + 1


class Point:
    """Travels by value."""

    __slots__ = ("x",)

    def __init__(self, x: int) -> None:
        self.x = x


ORIGIN = Point(10)


def plus(x: int) -> int:
    """Use both."""
    return cached(int(x)) + ORIGIN.x


class Twice:
    """A table function."""

    def eval(self, x: int) -> Iterator[tuple[int]]:
        """Give two rows."""
        yield (plus(x),)
        yield (2 * plus(x),)


def mapped(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Compute on the first column."""
    for frame in frames:
        yield frame.assign(id=frame["id"].map(plus))


@rudf.rudf
def by_row(x: int) -> int:
    """A function of single values."""
    return plus(x)


@rudf.rudf("bigint", timeout=100)
def by_series(x: pd.Series) -> pd.Series:
    """A function of columns."""
    return x.map(plus)


@rudf.rudf("bigint")
def by_arrays(x: np.ndarray) -> np.ndarray:
    """A function of NumPy's arrays, which rudf converts for it."""
    return x + 11


rudf.pickle.install()
spark = rudf.configure(SparkSession.builder.remote(sys.argv[1])).getOrCreate()
ids = spark.range(3)
spark.udf.register("by_row", by_row)
frames = {
    "udf": ids.select(F.udf(plus, "bigint")("id")),
    "pandas_udf": ids.select(F.pandas_udf(lambda s: s.map(plus), "bigint")("id")),
    "mapInPandas": ids.mapInPandas(mapped, "id bigint"),
    "applyInPandas": ids.groupBy("id").applyInPandas(lambda f: f.assign(id=f["id"].map(plus)), "id bigint"),
    "@rudf of rows": ids.select(by_row("id")),
    "@rudf of Series": ids.select(by_series(ids.id)),
    "@rudf of arrays": ids.select(by_arrays("id")),
    "@rudf by name": ids.select(by_row(x="id")),
    "udtf": F.udtf(Twice, returnType="y bigint")(F.lit(1)),
}
report = {}
for name, frame in frames.items():
    plan = frame._plan.to_proto(spark._client).SerializeToString()
    rows = sorted(row[0] for row in frame.collect())
    report[name] = [b"pickled by Python 3." in plan, rows, frame._explain_string()]
report["SQL"] = [True, sorted(row[0] for row in spark.sql("SELECT by_row(id) FROM range(3)").collect()), ""]
spark.stop()
Path(sys.argv[2]).write_text(json.dumps(report))
