"""Aggregates of groups and over windows give what they give where each group's results are converted alone, as in PySpark."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql.types import DataType, DoubleType, IntegerType, LongType, StringType, TimestampType

from rudf.worker import aggregates, streams

LENGTHS = [3, 1, 5, 4, 2]
FRAMES: list[dict[str, Any]] = [
    {"rows": True},
    {"rows": True, "lower": -1, "upper": 0},
    {"rows": True, "lower": 1, "upper": 2},
    {"rows": False, "lower": 0, "upper": 0},
]


class Stream:
    """Gives two batches, the second of which begins in the middle of a group, and takes results."""

    def __init__(self) -> None:
        rows = sum(LENGTHS)
        starts = [row == 0 for length in LENGTHS for row in range(length)]
        # Every second row of a group has the order of the one before.
        orders = [row % 2 == 0 for length in LENGTHS for row in range(length)]
        columns = [pa.array(np.arange(rows) * 0.5), pa.array(orders), pa.array(starts)]
        self.batches = [[column.slice(0, 6) for column in columns], [column.slice(6) for column in columns]]
        self.results: list[Any] = []

    def has_batch(self) -> bool:
        return True

    def next_batch(self) -> tuple[list[pa.Array], int] | None:
        return (self.batches[0], len(self.batches.pop(0)[0])) if self.batches else None

    def send(self, columns: list[pa.Array], rows: int) -> None:
        assert {len(column) for column in columns} == {rows}
        self.results += zip(*(column.to_pylist() for column in columns), strict=True)


def outcome(kind: int, functions: list[tuple[Callable[..., Any], DataType, dict[str, Any]]]) -> Any:
    """Run functions over their frames; return rows, or the error."""
    stream = Stream()
    frames = [frame for _, _, frame in functions]
    told = {"names": ["_0"], "nullable": [True], "struct": False, "output": "aligned"}
    groups = {"keys": [], "values": [], "frames": frames}
    spec = json.dumps({**told, "groups": groups, "conf": {"spark.sql.session.timeZone": "Europe/Berlin"}})
    try:
        chains = [([function], declared, [0], []) for function, declared, _ in functions]
        streams.run(stream, kind, chains, spec, time_zone="Europe/Berlin")
    except Exception as error:
        return type(error).__name__, str(error)
    return stream.results


def aggregated(kind: int, function: Callable[..., Any], declared: DataType) -> Any:
    """Aggregate each group; return the groups' numbers with the results, or the error."""
    stream = Stream()
    keys = pa.array(np.repeat(np.arange(len(LENGTHS)), LENGTHS))
    begun = 0
    for columns in stream.batches:
        columns[1] = keys.slice(begun, len(columns[0]))
        begun += len(columns[0])
    told = {"names": ["_0", "_1"], "nullable": [True, True], "struct": False, "output": "keyed"}
    groups = {"keys": [1], "values": [], "frames": []}
    spec = json.dumps({**told, "groups": groups, "conf": {"spark.sql.session.timeZone": "Europe/Berlin"}})
    try:
        streams.run(stream, kind, [([function], declared, [0], [])], spec, time_zone="Europe/Berlin")
    except Exception as error:
        return type(error).__name__, str(error)
    return stream.results


def rows_of_frames(frame: dict[str, Any]) -> list[list[float]]:
    """Return the values of each row's frame, one row after another, the plain way."""
    found, first = [], 0
    for length in LENGTHS:
        for row in range(length):
            begin, end = 0, length
            if frame["rows"]:
                begin = max(0, row + frame["lower"]) if "lower" in frame else 0
                end = min(length, row + frame["upper"] + 1) if "upper" in frame else length
            else:
                begin, end = row - row % 2, min(length, row - row % 2 + 2)
            found.append([(first + i) * 0.5 for i in range(begin, max(begin, end))])
        first += length
    return found


@pytest.mark.parametrize("frame", FRAMES, ids=str)
@pytest.mark.parametrize("kind", [203, 253])
def test_functions_get_the_rows_of_their_frames(kind: int, frame: dict[str, Any]) -> None:
    def listed(x: Any) -> str:
        return repr(x.to_pylist() if kind == 253 else x.tolist())

    expected = [repr(values) for values in rows_of_frames(frame)]
    other = [repr(values) for values in rows_of_frames(FRAMES[0])]
    found = outcome(kind, [(listed, StringType(), frame), (listed, StringType(), FRAMES[0])])
    assert found == list(zip(expected, other, strict=True))


@pytest.mark.parametrize("kind", [202, 252])
def test_each_group_gives_a_row_with_its_key(kind: int) -> None:
    def listed(x: Any) -> str:
        return repr(x.to_pylist() if kind == 252 else x.tolist())

    ends = np.cumsum(LENGTHS)
    values = [repr([row * 0.5 for row in range(end - length, end)]) for end, length in zip(ends, LENGTHS)]
    assert aggregated(kind, listed, StringType()) == list(enumerate(values))


#: The same ones each time: errors tell their addresses.
ARRAY, ODD = pa.array([1]), object()

RETURNS: list[tuple[str, Callable[[pa.Array], Any], DataType]] = [
    ("scalars", pc.sum, DoubleType()),
    ("null scalars", lambda x: pa.scalar(None, pa.float64()) if len(x) % 2 else pc.sum(x), DoubleType()),
    ("scalars of several types", lambda x: pa.scalar(len(x), pa.int32() if len(x) % 2 else pa.int64()), LongType()),
    ("floats", lambda x: float(len(x)), DoubleType()),
    ("integers for floats", len, DoubleType()),
    ("floats for integers", lambda x: float(len(x)), IntegerType()),
    ("integers and floats", lambda x: len(x) if len(x) % 2 else 0.5, DoubleType()),
    ("nulls", lambda x: None if len(x) % 2 else "even", StringType()),
    ("only nulls", lambda x: None, StringType()),
    ("times", lambda x: datetime.datetime(2020, 1, 1, len(x)), TimestampType()),
    ("scalars of zones", lambda x: pa.scalar(len(x), pa.timestamp("us", "UTC" if len(x) % 2 else None)), TimestampType()),
    ("no number", lambda x: "odd" if len(x) == 5 else "7", IntegerType()),
    ("too large", lambda x: 2**40, IntegerType()),
    ("too large a part", lambda x: 2**40 if len(x) == 5 else 1, IntegerType()),
    ("no integer", lambda x: 0.5, IntegerType()),
    ("larger than all", lambda x: 2**63 if len(x) == 2 else 1, LongType()),
    ("an array", lambda x: ARRAY, DoubleType()),
    ("an object", lambda x: ODD, DoubleType()),
]  # fmt: skip


@pytest.mark.parametrize("frame", FRAMES[:2], ids=str)
@pytest.mark.parametrize(("function", "declared"), [row[1:] for row in RETURNS], ids=[row[0] for row in RETURNS])
def test_results_of_arrays_are_what_they_are_alone(
    function: Callable[[pa.Array], Any], declared: DataType, frame: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def both() -> str:
        calls = [(function, declared, frame), (pc.sum, DoubleType(), FRAMES[0])]
        return repr([outcome(253, calls), aggregated(252, function, declared)])

    ours = both()
    monkeypatch.setattr(aggregates._ArrayAggregates, "_are_alike", lambda self, values: False)
    assert ours == both()


def test_results_of_many_groups_are_converted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    enforced = aggregates._ArrayAggregates._enforced

    def counting(self: Any, arrays: list[pa.Array]) -> pa.RecordBatch:
        made.append(len(arrays[0]))
        return enforced(self, arrays)

    monkeypatch.setattr(aggregates._ArrayAggregates, "_enforced", counting)
    outcome(253, [(pc.sum, DoubleType(), FRAMES[1])])
    # The group that lies in two batches, and what is before and behind it.
    assert made == [4, 5, 4, 2]


SERIES = [
    pd.Series([1.5, 2.5, 3.5, 4.5], name="_2"),
    pd.Series([1, 2, 3, 4], name="_0"),
    pd.Series(["a", None, "c", "d"], name="_1"),
    pd.Series([True, False, True, True]),
    pd.Series([1, None, 3, 4], dtype="Int64", name="_3"),
    pd.Series(pd.to_datetime(["2020-01-01"] * 4), name="_4"),
    pd.Series(pd.to_datetime(["2020-01-01"] * 4).tz_localize("Europe/Berlin"), name="_5"),
]


@pytest.mark.parametrize("series", SERIES, ids=lambda series: str(series.dtype))
def test_slices_are_those_of_iloc(series: pd.Series) -> None:
    assert aggregates._slices_as_iloc(series)
    slicer = aggregates._part_slicer(series)
    for begin in range(5):
        for end in range(5):
            one, other = slicer(slice(begin, end)), series.iloc[begin:end]
            pd.testing.assert_series_equal(one, other, check_index_type="exact")
            assert repr((one.index, one.name, one.attrs, one.flags)) == repr(
                (other.index, other.name, other.attrs, other.flags)
            )
    if len(series) == 4 and series.dtype == float:
        assert np.shares_memory(slicer(slice(1, 3)).to_numpy(), series.to_numpy())


def test_slices_are_made_by_iloc_where_pandas_has_other_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(column: pd.Series) -> None:
        raise AttributeError("get_slice")

    monkeypatch.setattr(aggregates, "_part_slicer", missing)
    assert not any(map(aggregates._slices_as_iloc, SERIES))
    test_functions_get_the_rows_of_their_frames(203, FRAMES[1])
