"""Functions of pickled rows: what is of the declared type comes in a column, and all else in pickles for the JVM."""

from __future__ import annotations

import datetime
import decimal
import pickle
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import types as T
from sessions import UdfError, guarded, open_session


def results(function: Any, declared: T.DataType, values: list[Any], kind: str = "long") -> tuple[list[Any], list[Any]]:
    """Return the column of a function's results, and the pickles beside it, as they are after loading."""
    types = {"long": pa.int64(), "string": pa.string()}
    session = open_session(function, declared, [kind], kind=100)
    column, pickles = guarded(session.evaluate, [pa.array(values, types[kind])], len(values))
    column.validate(full=True)
    pickles.validate(full=True)
    return column.to_pylist(), [None if p is None else pickle.loads(p) for p in pickles.to_pylist()]


@pytest.mark.parametrize(
    ("declared", "value", "wanted"),
    [
        (T.LongType(), 2**63 - 1, 2**63 - 1),
        (T.ByteType(), -128, -128),
        (T.DoubleType(), 1.5, 1.5),
        (T.FloatType(), 1e300, float("inf")),
        (T.BooleanType(), True, True),
        (T.StringType(), "ä", "ä"),
        (T.BinaryType(), bytearray(b"x"), b"x"),
        (T.DateType(), datetime.date(1970, 1, 2), 1),
        (T.TimestampNTZType(), datetime.datetime(1970, 1, 1, 0, 0, 1), 1_000_000),
        (T.DayTimeIntervalType(), datetime.timedelta(microseconds=-1), -1),
        (T.LongType(), None, None),
    ],
)
def test_values_of_the_type_lie_in_the_column(declared: T.DataType, value: Any, wanted: Any) -> None:
    assert results(lambda v: value, declared, [0, 1]) == ([wanted] * 2, [None] * 2)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (T.LongType(), True), (T.LongType(), 2**63), (T.LongType(), "1"), (T.ByteType(), 200), (T.DoubleType(), 1),
        (T.DoubleType(), 0), (T.FloatType(), -1), (T.BooleanType(), 1), (T.StringType(), 5), (T.StringType(), "\ud800"),
        (T.BinaryType(), "x"), (T.DecimalType(10, 2), decimal.Decimal("1.245")), (T.ArrayType(T.LongType()), [1, None]),
        (T.MapType(T.StringType(), T.LongType()), {"a": 1}),
    ],
)  # fmt: skip
def test_all_else_is_pickled(declared: T.DataType, value: Any) -> None:
    assert results(lambda v: value, declared, [0, 1, 2]) == ([None] * 3, [[value] * 3, None, None])


def test_a_pickle_holds_rows_that_follow_one_another() -> None:
    column, pickles = results(lambda v: v if v % 3 == 0 else None if v == 7 else str(v), T.LongType(), list(range(9)))
    assert column == [0, None, None, 3, None, None, 6, None, None]
    assert pickles == [None, ["1", "2"], None, None, ["4", "5"], None, None, None, ["8"]]
    _, pickles = results(str, T.LongType(), list(range(250)))
    assert [(row, len(run)) for row, run in enumerate(pickles) if run] == [(0, 100), (100, 100), (200, 50)]


def test_structs_are_tuples_and_dates_days() -> None:
    declared = T.StructType().add("a", T.IntegerType()).add("b", T.DateType())
    day = datetime.date(1970, 1, 3)
    _, pickles = results(lambda v: {"b": day, "a": 1}, declared, [0])
    assert pickles == [[(1, 2)]]


def test_no_rows() -> None:
    assert results(str, T.ArrayType(T.LongType()), []) == ([], [])


def test_what_the_worker_refuses_names_row_and_function() -> None:
    def dated(v: int) -> Any:
        return datetime.date(2020, 1, 1) if v < 3 else "2020-01-01"

    with pytest.raises(UdfError, match=r"no attribute 'toordinal'(.|\n)*`dated`.*row 3") as raised:
        results(dated, T.DateType(), [0, 1, 2, 3])
    assert raised.value.kind == 1


def test_what_cannot_be_pickled_is_an_error_of_the_function() -> None:
    with pytest.raises(UdfError, match="cannot pickle"):
        results(lambda v: (n for n in range(3)), T.LongType(), [0])


def test_classes_of_the_job_are_pickled_as_pyspark_does() -> None:
    class Text(str):
        pass

    Text.__module__ = "__main__"
    _, pickles = results(lambda v: Text("t"), T.StringType(), [0])
    assert pickles == [["t"]]


def test_bytes_that_are_no_text_are_replaced() -> None:
    session = open_session(lambda v: v, T.StringType(), ["string"], kind=100)
    broken = pa.array([b"a\xffb\xc3"], pa.binary()).view(pa.string())
    column, _ = guarded(session.evaluate, [broken], 1)
    assert column.to_pylist() == ["a\ufffdb\ufffd"]
