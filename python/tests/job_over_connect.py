"""A client of Spark Connect whose functions are pickled by rudf, for ``test_connect.py``: writes what came of each as JSON."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import rudf.pickle

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd


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


rudf.pickle.install()
spark = SparkSession.builder.remote("local[2]").config("spark.ui.enabled", "false").getOrCreate()
ids = spark.range(3)
frames = {
    "udf": ids.select(F.udf(plus, "bigint")("id")),
    "pandas_udf": ids.select(F.pandas_udf(lambda s: s.map(plus), "bigint")("id")),
    "mapInPandas": ids.mapInPandas(mapped, "id bigint"),
    "applyInPandas": ids.groupBy("id").applyInPandas(lambda f: f.assign(id=f["id"].map(plus)), "id bigint"),
    "udtf": F.udtf(Twice, returnType="y bigint")(F.lit(1)),
}
report = {}
for name, frame in frames.items():
    plan = frame._plan.to_proto(spark._client).SerializeToString()
    report[name] = [b"pickled by Python 3." in plan, sorted(row[0] for row in frame.collect())]
spark.stop()
Path(sys.argv[1]).write_text(json.dumps(report))
