"""Functions of ``mapInPandas`` see the data frames that PySpark makes, and their results become what PySpark makes of them."""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import StructField, StructType

from rudf.worker import streams

Frames = Iterator[pd.DataFrame]
ROWS = 300

VALUES: dict[str, list[Any]] = {
    "long": [1, -2, 2**53 + 1],
    "double": [0.5, float("nan"), -0.0],
    "string": ["a", "", "öñ 名", "a", "twice" * 20],
    "flag": [True, False],
    "day": [datetime.date(1, 1, 1), datetime.date(2020, 2, 29)],
    "time": [datetime.datetime(2020, 1, 1, 12, tzinfo=datetime.timezone.utc)],
    "bytes": [b"", b"\xff"],
    "decimal": [decimal.Decimal("1.50"), decimal.Decimal("-2.25")],
    "list": [[1, 2], []],
}
TYPES = {
    "long": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
    "flag": pa.bool_(),
    "day": pa.date32(),
    "time": pa.timestamp("us", "UTC"),
    "bytes": pa.binary(),
    "decimal": pa.decimal128(10, 2),
    "list": pa.list_(pa.int64()),
}


def column(name: str, nulls: bool, batch: int) -> pa.Array:
    """Make a column whose values differ from batch to batch."""
    values = [VALUES[name][(i + batch) % len(VALUES[name])] for i in range(ROWS)]
    return pa.array([None if nulls and i % 7 == batch else value for i, value in enumerate(values)], TYPES[name])


class Stream:
    """Gives batches, and takes results."""

    def __init__(self, batches: list[list[pa.Array]]) -> None:
        self.batches, self.results = batches, []

    def has_batch(self) -> bool:
        return True

    def next_batch(self) -> tuple[list[pa.Array], int] | None:
        return (self.batches.pop(0), ROWS) if self.batches else None

    def send(self, columns: list[pa.Array], rows: int) -> None:
        self.results += [row for column in columns for row in column.to_pylist()]


def outcome(function: Callable[[Frames], Any], types: list[str], nulls: bool, declared: list[str]) -> Any:
    """Run a function over three batches; return rows or the error."""
    stream = Stream([[column(name, nulls, batch) for name in types] for batch in range(3)])
    names = [f"{name}{number}" for number, name in enumerate(types)]
    fields = [StructField(f"{name}{number}", from_arrow_type(TYPES[name])) for number, name in enumerate(declared)]
    told = {"names": names, "nullable": [True] * len(names), "struct": True, "output": "struct"}
    spec = json.dumps({**told, "conf": {"spark.sql.session.timeZone": "Europe/Berlin"}})
    functions = [([function], StructType(fields), list(range(len(types))), [])]
    try:
        streams.run(stream, 205, functions, spec, time_zone="Europe/Berlin")
    except Exception as error:
        return type(error).__name__, str(error)
    return repr(stream.results)


def same(
    function: Callable[[list[Any]], Callable[[Frames], Any]], types: list[str], nulls: bool, declared: list[str]
) -> None:
    """Run it by PySpark's code, and by ours; what it notes has to be the same, too."""
    notes: list[list[Any]] = [[], []]
    ours = outcome(function(notes[0]), types, nulls, declared)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_MAP_IN_PANDAS", None)
        theirs = outcome(function(notes[1]), types, nulls, declared)
    assert ours == theirs
    assert notes[0] == notes[1]


def described(frame: pd.DataFrame) -> Any:
    """Tell everything that a function can see of a frame."""
    kinds = [sorted({type(value).__name__ for value in frame.iloc[:, i]}) for i in range(frame.shape[1])]
    return [str(kind) for kind in frame.dtypes], repr(frame.columns), repr(frame.index), kinds, frame.to_csv()


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize(
    "types",
    [[name] for name in TYPES] + [[name, "string"] for name in TYPES] + [list(TYPES), ["string"] * 3],
    ids=lambda types: "-".join(types) if len(types) < 4 else "all",
)
def test_functions_see_what_pyspark_shows_them(types: list[str], nulls: bool) -> None:
    def noting(notes: list[Any]) -> Callable[[Frames], Frames]:
        def function(frames: Frames) -> Frames:
            for frame in frames:
                notes.append(described(frame))
                yield frame

        return function

    same(noting, types, nulls, types)


def upper(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(string0=frame["string0"].str.upper())


def one_changed(frame: pd.DataFrame) -> pd.DataFrame:
    frame.iloc[-1, 0] = "changed"
    return frame


def written_to(frame: pd.DataFrame) -> pd.DataFrame:
    values = frame["string0"].to_numpy()
    try:
        values[:2] = values[1], "new"
    except ValueError:
        return frame
    return frame


CHANGES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "as it is": lambda frame: frame,
    "a copy": lambda frame: frame.copy(),
    "without rows": lambda frame: frame.iloc[:0],
    "fewer rows": lambda frame: frame[frame.index % 2 == 0],
    "the other way round": lambda frame: frame.iloc[::-1],
    "with another index": lambda frame: frame.set_index(pd.Index(range(ROWS, 2 * ROWS))),
    "swapped": lambda frame: frame.rename(columns={"string0": "string1", "string1": "string0"}),
    "one for both": lambda frame: frame.assign(string1=frame["string0"]),
    "upper": upper,
    "one changed": one_changed,
    "written to": written_to,
    "nulls": lambda frame: frame.assign(string0=frame["string0"].where(frame.index % 3 > 0)),
    "categories": lambda frame: frame.assign(string0=frame["string0"].astype("category")),
    "numbers": lambda frame: frame.assign(string0=range(len(frame))),
    "mixed": lambda frame: frame.assign(string0=[1, "x", None] * (len(frame) // 3)),
    "strings of pandas": lambda frame: frame.assign(string0=frame["string0"].astype("string")),
    "twice as long": lambda frame: pd.concat([frame, frame]),
    "more columns": lambda frame: frame.assign(more=1),
    "other names": lambda frame: frame.rename(columns={"string0": "x"}),
    "numbered columns": lambda frame: frame.set_axis(range(frame.shape[1]), axis=1),
    "no frame": lambda frame: frame["string0"],
    "no columns": lambda frame: frame[[]],
    "one name twice": lambda frame: frame.set_axis(["string0", "string0", "long2"], axis=1),
}


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_results_become_what_pyspark_makes_of_them(change: str, nulls: bool) -> None:
    def changing(_: list[Any]) -> Callable[[Frames], Frames]:
        return lambda frames: (CHANGES[change](frame) for frame in frames)

    same(changing, ["string", "string", "long"], nulls, ["string", "string", "long"])


def test_frames_may_be_kept_and_given_later() -> None:
    def keeping(_: list[Any]) -> Callable[[Frames], Frames]:
        return lambda frames: reversed_of(list(frames))

    def reversed_of(frames: list[pd.DataFrame]) -> Frames:
        yield from reversed(frames)

    same(keeping, ["string", "double"], True, ["string", "double"])


@pytest.mark.parametrize("value", [None, 5, [pd.DataFrame({"string0": ["x"]})], "text"], ids=str)
def test_what_is_no_iterator_is_told_as_pyspark_tells_it(value: Any) -> None:
    same(lambda _: lambda frames: value, ["string"], False, ["string"])


def test_strings_that_come_back_are_not_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    from rudf.worker import pandas_maps

    converted = []
    monkeypatch.setattr(pandas_maps, "strings_of", lambda series: converted.append(series.name))
    outcome(
        lambda frames: (f.assign(double1=np.ones(ROWS)) for f in frames),
        ["string", "double"],
        True,
        ["string", "double"],
    )
    assert converted == []
    outcome(lambda frames: (upper(frame) for frame in frames), ["string"], False, ["string"])
    assert converted == ["string0"] * 3
