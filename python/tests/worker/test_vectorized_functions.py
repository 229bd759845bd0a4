"""Functions of arrays and Series: no copy on the way in, PySpark's casts and checks on the way out."""

from __future__ import annotations

import gc
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql.types import DataType, DoubleType, IntegerType, LongType, StringType, TimestampType
from sessions import UdfError, evaluate, open_session

from rudf import _native

ARROW, PANDAS = 250, 200


def test_arrays_go_in_and_come_out() -> None:
    session = open_session(lambda v: pc.multiply(v, 2.0), DoubleType(), ["double"], ARROW)
    assert evaluate(session, [pa.array([1.0, None])]).to_pylist() == [2.0, None]
    session = open_session(lambda v: v, StringType(), ["string"], ARROW)
    column = pa.array(["a", None, "ä"])
    assert evaluate(session, [column]).equals(column)
    assert evaluate(session, [column.slice(1)]).equals(column.slice(1))


@pytest.mark.parametrize(
    ("declared", "make", "expected"),
    [
        (LongType(), lambda n: pa.array(range(n), pa.int32()), [0, 1, 2]),
        (LongType(), lambda n: pa.array(["7"] * n), [7, 7, 7]),
        (IntegerType(), lambda n: pa.array([2**40] * n), "RESULT_COLUMN_TYPES_MISMATCH"),
        (LongType(), lambda n: pa.array([0.5] * n), "RESULT_COLUMN_TYPES_MISMATCH"),
        (LongType(), lambda n: pa.array(range(n - 1)), "RESULT_ROWS_MISMATCH"),
        (LongType(), lambda n: pa.array(range(n + 5)).slice(2, n), [2, 3, 4]),
        (StringType(), lambda n: pa.array(["x"] * n).dictionary_encode(), ["x", "x", "x"]),
        (StringType(), lambda n: pa.array(["x"] * n, pa.large_string()), ["x", "x", "x"]),
        (StringType(), lambda n: pa.array(["x"] * n, pa.string_view()), ["x", "x", "x"]),
        (StringType(), lambda n: pa.nulls(n), [None, None, None]),
        (LongType(), lambda n: 5, "TypeError"),
        (LongType(), lambda n: None, "TypeError"),
        (LongType(), lambda n: list(range(n)), [0, 1, 2]),
    ],
)
def test_results_of_arrow_functions_are_cast_and_checked(declared: DataType, make: Any, expected: Any) -> None:
    session = open_session(lambda v: make(len(v)), declared, ["long"], ARROW)
    column = pa.array([1, 2, 3])
    if isinstance(expected, str):
        with pytest.raises(UdfError, match=expected):
            evaluate(session, [column])
    else:
        assert evaluate(session, [column]).to_pylist() == expected


@pytest.mark.parametrize(
    ("declared", "make", "expected"),
    [
        (LongType(), lambda n: pd.Series(range(n)), [0, 1, 2]),
        (DoubleType(), lambda n: pd.Series([1.0, float("nan"), None]), [1.0, None, None]),
        (LongType(), lambda n: pd.Series([1.0, 2.0, None]), [1, 2, None]),
        (LongType(), lambda n: pd.Series([1.5] * n), "Failed to convert|ValueError"),
        (StringType(), lambda n: pd.Series(["a", None, "b"]), ["a", None, "b"]),
        (StringType(), lambda n: pd.Series([1, 2, 3]), "Cannot convert the output value of the column '_0'"),
        (StringType(), lambda n: pd.Series(["a", "b", "a"], dtype="category"), ["a", "b", "a"]),
        (LongType(), lambda n: pd.Series([1, 2, None], dtype="Int64"), [1, 2, None]),
        (LongType(), lambda n: pd.Series(["x"] * n), "Exception|convert"),
        (LongType(), lambda n: pd.Series([1]), "RESULT_ROWS_MISMATCH"),
        (LongType(), lambda n: 7, "UDF_RETURN_TYPE"),
    ],
)
def test_results_of_pandas_functions_are_converted_and_checked(declared: DataType, make: Any, expected: Any) -> None:
    session = open_session(lambda v: make(len(v)), declared, ["long"], PANDAS)
    column = pa.array([1, 2, 3])
    if isinstance(expected, str):
        with pytest.raises(UdfError, match=expected):
            evaluate(session, [column])
    else:
        assert evaluate(session, [column]).to_pylist() == expected


def test_timestamps_are_naive_in_the_sessions_zone_for_pandas() -> None:
    column = pa.array([0], pa.timestamp("us", "America/New_York"))
    seen = open_session(
        lambda v: v.astype(str), StringType(), ["timestamp"], PANDAS, session_time_zone="America/New_York"
    )
    assert evaluate(seen, [column]).to_pylist() == ["1969-12-31 19:00:00"]
    same = open_session(lambda v: v, TimestampType(), ["timestamp"], PANDAS, session_time_zone="America/New_York")
    assert evaluate(same, [column]).cast(pa.int64()).to_pylist() == [0]


def test_arrays_that_a_function_keeps_keep_their_memory_and_their_values() -> None:
    import builtins

    def keep(v: pa.Array) -> pa.Array:
        import builtins

        builtins.__dict__.setdefault("_kept", []).append(v)
        return v

    session = open_session(keep, LongType(), ["long"], ARROW)
    for start in range(0, 500, 10):
        evaluate(session, [pa.array(range(start, start + 10))])
    kept = builtins.__dict__.pop("_kept")
    assert _native.held_batches() == 50
    del session
    assert [array.to_pylist() for array in kept] == [list(range(s, s + 10)) for s in range(0, 500, 10)]
    del kept
    gc.collect()
    assert _native.held_batches() == 0


def test_nothing_is_held_after_batches_and_after_errors() -> None:
    def fails(v: pa.Array) -> pa.Array:
        raise ValueError("no")

    for kind in (ARROW, PANDAS):
        good = open_session(lambda v: v, LongType(), ["long"], kind)
        for _ in range(100):
            evaluate(good, [pa.array(range(1000))])
        with pytest.raises(UdfError, match="ValueError: no") as caught:
            evaluate(open_session(fails, LongType(), ["long"], kind), [pa.array([1])])
        assert "`fails`" in caught.value.text
        del caught
        gc.collect()
        assert _native.held_batches() == 0


def test_a_series_may_be_written_to() -> None:
    def writes(v: pd.Series) -> pd.Series:
        v[0] = 9
        return v

    for kind, column in (("long", pa.array([1, 2])), ("double", pa.array([1.0, 2.0]))):
        declared = LongType() if kind == "long" else DoubleType()
        session = open_session(writes, declared, [kind], PANDAS)
        assert evaluate(session, [column]).to_pylist() == [9, 2]
        assert column.to_pylist() == [1, 2]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (["a", None, "ä€𝄞", float("nan"), ""], ["a", None, "ä€𝄞", None, ""]),
        ([], []),
        (["a", 1], None),
        (["a", pd.NA], None),
        (["a", "\ud800"], None),
        ([b"a"], None),
        (["a", type("Text", (str,), {})("b")], None),
    ],
)
def test_strings_of_pandas_become_an_array(values: list[Any], wanted: list[Any] | None) -> None:
    array = _native.string_array(values)
    assert (None if array is None else array.to_pylist()) == wanted
    if array is not None:
        array.validate(full=True)
