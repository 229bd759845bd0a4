"""Rows of arrays are the values that PySpark's pickled functions get."""

from __future__ import annotations

import datetime
import decimal
import json
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import Row
from pyspark.sql import types as T

from rudf import _native


def rows(types: list[T.DataType], columns: list[pa.Array], as_bytes: bool = True) -> list[tuple[Any, ...]]:
    maker = _native.RowMaker(json.dumps([one.jsonValue() for one in types]), "UTC", as_bytes)
    return maker.rows(columns, len(columns[0]))


def test_rows_have_a_value_of_each_column() -> None:
    day, price = datetime.date(2020, 2, 29), decimal.Decimal("1.50")
    types = [T.LongType(), T.StringType(), T.DateType(), T.DecimalType(5, 2), T.ArrayType(T.LongType())]
    columns = [
        pa.array([1, None]), pa.array(["a", None]), pa.array([day, None]), pa.array([price, None], pa.decimal128(5, 2)),
        pa.array([[1, None], None]),
    ]  # fmt: skip
    assert rows(types, columns) == [(1, "a", day, price, [1, None]), (None,) * 5]
    assert rows(types, [column.slice(1) for column in columns]) == [(None,) * 5]


def test_structs_are_rows_and_binaries_what_the_conf_says() -> None:
    struct = T.StructType([T.StructField("x", T.LongType()), T.StructField("y", T.BinaryType())])
    column = pa.array([{"x": 1, "y": b"b"}])
    ((row,),) = rows([struct], [column])
    assert (row, type(row), type(row.y)) == (Row(x=1, y=b"b"), Row, bytes)
    ((row,),) = rows([struct], [column], as_bytes=False)
    assert type(row.y) is bytearray


def test_what_is_no_utf8_is_replaced() -> None:
    broken = pa.array([b"a\xff"], pa.binary()).view(pa.string())
    assert rows([T.StringType()], [broken]) == [("a\ufffd",)]


def test_rows_without_columns_are_as_many() -> None:
    assert _native.RowMaker("[]", "UTC", True).rows([], 3) == [(), (), ()]


def test_columns_that_are_not_what_was_said_are_refused() -> None:
    maker = _native.RowMaker(json.dumps(["long"]), "UTC", True)
    for columns in ([], [pa.array([1])], [pa.array(["a", "b"])], [pa.array([1, 2])] * 2):
        with pytest.raises(ValueError, match=r"columns of 2 rows are wanted, of the types \[Int64\]"):
            maker.rows(columns, 2)
    with pytest.raises(ValueError, match="nothing"):
        _native.RowMaker(json.dumps(["nothing"]), "UTC", True)
