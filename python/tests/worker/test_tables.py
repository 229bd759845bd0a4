"""Table functions give what they give where each row's results are converted alone, as in PySpark."""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql.conversion import LocalDataToArrowConversion
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    MapType,
    NullType,
    Row,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)
from pyspark.sql.udtf import SkipRestOfInputTableException

from rudf.worker import streams

ROWS = 150


class Stream:
    """Gives two batches of a column of numbers, and takes results."""

    def __init__(self) -> None:
        self.batches = [pa.array(range(first, first + ROWS)) for first in (0, ROWS)]
        self.results: list[Any] = []
        self.sent = 0

    def has_batch(self) -> bool:
        return True

    def next_batch(self) -> tuple[list[pa.Array], int] | None:
        return ([self.batches.pop(0)], ROWS) if self.batches else None

    def send(self, columns: list[pa.Array], rows: int) -> None:
        assert [len(column) for column in columns] == [rows, rows]
        self.sent += 1
        self.results += zip(*(column.to_pylist() for column in columns), strict=True)


def row_of(**types: DataType) -> StructType:
    """Make the type of a row."""
    row = StructType()
    for name, kind in types.items():
        row.add(name, kind)
    return row


INT, LONG, STRING = IntegerType(), LongType(), StringType()


def outcome(handler: type, declared: StructType) -> tuple[Any, Stream]:
    """Run a function; return its rows and the column beside them, or its error."""
    stream = Stream()
    table = {"name": "f", "return_type": declared.json(), "keys": 1, "partition_columns": [], "types": ['"long"']}
    told = {"names": ["i"], "nullable": [True], "struct": False, "output": "table", "table": {**table, "tables": []}}
    spec = json.dumps({**told, "conf": {"spark.sql.session.timeZone": "Europe/Berlin"}})
    try:
        streams.run(stream, 301, [([handler], None, [0], [])], spec, time_zone="Europe/Berlin")
    except Exception as error:
        return (type(error).__name__, str(error)), stream
    return repr(stream.results), stream


def same(handler: type, schema: StructType, *, fails: bool = False) -> Stream:
    """Run a function both ways; return what took the results that were converted together."""
    ours, stream = outcome(handler, schema)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "convert_together", lambda evaluate: None)
        theirs, _ = outcome(handler, schema)
    assert ours == theirs
    assert isinstance(ours, tuple) == fails, ours
    return stream


def giving(*values: Any) -> type:
    """Make a function that gives rows of one column: no row, one, two, and so on, of these values in turns."""

    class Handler:
        def eval(self, i: int) -> Iterator[Any]:
            for number in range(i % 4):
                yield (values[(i + number) % len(values)],)

    return Handler


UTC = datetime.timezone.utc
DAY, TIME = datetime.date(1, 1, 1), datetime.datetime(1900, 3, 4, 5, 6, 7, 8)


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        (row_of(y=DoubleType()), [0.5, float("nan"), None, np.float64(2.5), np.float32(0.1), 3, -0.0]),
        (row_of(y=LONG), [1, -(2**63), None, np.int64(3), np.int32(-3), 2.0]),
        (row_of(y=ByteType()), [1, -128, 127]),
        (row_of(y=BooleanType()), [True, None, np.bool_(False)]),
        (row_of(y=STRING), ["a", "", None, "ö 名", 1, 2.5, True, decimal.Decimal("1.50"), [1], {"a": 1}, DAY]),
        (row_of(y=BinaryType()), [b"", b"\xff", None, bytearray(b"ab")]),
        (
            row_of(y=DecimalType(10, 2)),
            [decimal.Decimal("1.5"), decimal.Decimal("-2.25"), None, decimal.Decimal("NaN")],
        ),
        (row_of(y=DateType()), [DAY, None]),
        (row_of(y=TimestampType()), [TIME, TIME.replace(tzinfo=UTC), None]),
        (row_of(y=TimestampNTZType()), [TIME, None]),
        (row_of(y=DayTimeIntervalType()), [datetime.timedelta(days=-1, microseconds=3), None]),
        (row_of(y=ArrayType(INT)), [[1, 2], [], None, [None]]),
        (row_of(y=ArrayType(ArrayType(STRING))), [[["a"], None], [[]], None]),
        (row_of(y=MapType(STRING, INT)), [{"a": 1}, {}, None, {"b": None}]),
        (row_of(y=row_of(a=INT, b=STRING)), [(1, "x"), Row(a=2, b=None), None, {"a": 3}, {"b": "y"}]),
        (row_of(y=NullType()), [None]),
    ],
)
def test_values_become_what_they_become_alone(schema: StructType, values: list[Any]) -> None:
    same(giving(*values), schema)
    for value in values:
        same(giving(value), schema)


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        (row_of(y=LONG), [1, "x"]),
        (row_of(y=LONG), [1] * 100 + [2**63]),
        (row_of(y=ByteType()), [128]),
        (StructType().add("y", DoubleType(), False), [0.5, None]),
        (row_of(y=ArrayType(INT, False)), [[1], [None]]),
        (row_of(y=INT), [1, (2, 3)]),
        (row_of(y=STRING), [SimpleNamespace(a=1), object]),
    ],
)
def test_values_that_do_not_fit_fail_as_they_fail_alone(schema: StructType, values: list[Any]) -> None:
    ours, _ = outcome(giving(*values), schema)
    same(giving(*values), schema, fails=isinstance(ours, tuple))


@pytest.mark.parametrize("row", [None, 5, "x", [1], [1, 2], (1,), (1, 2, 3), {"a": 1}, {"b": 2, "a": 1}, Row(a=1, b=2)])
@pytest.mark.parametrize("schema", [row_of(a=INT), row_of(a=INT, b=INT)])
def test_rows_of_every_shape(row: Any, schema: StructType) -> None:
    class Handler:
        def eval(self, i: int) -> list[Any]:
            return [row] * (i % 3)

    ours, _ = outcome(Handler, schema)
    same(Handler, schema, fails=isinstance(ours, tuple))


@pytest.mark.parametrize("returned", [None, [], 5, "ab", ()])
def test_what_is_returned_in_place_of_rows(returned: Any) -> None:
    class Handler:
        def eval(self, i: int) -> Any:
            return [(float(i),)] if i % 5 else returned

    ours, _ = outcome(Handler, row_of(y=DoubleType()))
    same(Handler, row_of(y=DoubleType()), fails=isinstance(ours, tuple))


def test_rows_that_a_function_writes_to_afterwards() -> None:
    class Handler:
        def __init__(self) -> None:
            self.row: list[Any] = [0, []]
            self.known: dict[str, int] = {}

        def eval(self, i: int) -> Iterator[Any]:
            self.row[0] = i
            self.row[1].append(i)
            del self.row[1][:-3]
            self.known[str(i % 3)] = i
            yield (*self.row, self.known)
            yield (1, self.row[1], {"a": 2})

    stream = same(Handler, row_of(a=INT, b=ArrayType(INT), c=MapType(STRING, INT)))
    assert len(stream.results) == 4 * ROWS


def test_objects_that_only_the_function_knows_are_converted_at_once() -> None:
    class Word:
        text = ""

        def __str__(self) -> str:
            return self.text

    class Handler:
        def __init__(self) -> None:
            self.word = Word()

        def eval(self, i: int) -> Iterator[Any]:
            yield ("before",)
            self.word.text = f"word {i}"
            yield (self.word,)

    stream = same(Handler, row_of(y=STRING))
    assert stream.results[-1] == (2 * ROWS - 1, {"y": f"word {2 * ROWS - 1}"})


@pytest.mark.parametrize("where", ["call", "generator", "first", "last", "terminate"])
@pytest.mark.parametrize("kind", [ValueError, SkipRestOfInputTableException])
def test_errors_and_the_end_of_the_input(where: str, kind: type[Exception]) -> None:
    at = {"first": 0, "last": 2 * ROWS - 1}.get(where, 170)

    class Handler:
        def __init__(self) -> None:
            self.calls = 0

        def eval(self, i: int) -> Any:
            self.calls += 1
            if where == "call" and i == at:
                raise kind("odd")
            return self.rows(i)

        def rows(self, i: int) -> Iterator[Any]:
            yield (i, "eval")
            if i == at and where != "terminate":
                raise kind("odd")
            yield (i, "eval")

        def terminate(self) -> Iterator[Any]:
            yield (self.calls, "terminate")
            if where == "terminate":
                raise kind("odd")

    same(Handler, row_of(y=INT, z=STRING), fails=kind is ValueError or where == "terminate")


def test_few_results_are_converted_together_and_many_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    convert = LocalDataToArrowConversion.convert

    def counting(data: Any, *arguments: Any) -> pa.Table:
        lengths.append(len(data))
        return convert(data, *arguments)

    monkeypatch.setattr(LocalDataToArrowConversion, "convert", counting)
    _, stream = outcome(giving(0.5), row_of(y=DoubleType()))
    assert sum(lengths) == len(stream.results) == ROWS * 3
    assert len(lengths) < 10
    assert stream.sent == 1

    class Wide:
        def eval(self, i: int) -> Iterator[Any]:
            yield ("x" * 1_000_000,)

    assert same(Wide, row_of(y=STRING)).sent >= 2 * ROWS * 1_000_000 // (64 << 20)


def test_a_function_that_takes_long_is_not_waited_for() -> None:
    class Slow:
        def eval(self, i: int) -> Iterator[Any]:
            import time

            time.sleep(0.002)
            yield (i,)

    _, stream = outcome(Slow, row_of(y=INT))
    assert 2 < stream.sent < 100
