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


def test_text_is_repaired_as_java_does() -> None:
    # What Java makes of them: `new String(bytes, UTF_8)`.
    repaired = {
        b"\xed\xa0\x80": "\ufffd", b"a\xed\xbf\xbfb": "a\ufffdb", b"\xed\xa0": "\ufffd", b"\xed\xa0x": "\ufffdx", b"\xed": "\ufffd", b"\xedx": "\ufffdx",
        b"\xed\xa0\x80\xed\xb0\x80": "\ufffd\ufffd", b"\xc0\x80": "\ufffd\ufffd", b"\xe0\x80\x80": "\ufffd\ufffd\ufffd", b"\xf4\x90\x80\x80": "\ufffd" * 4, b"\xf0\x9f\x98": "\ufffd",
        b"\xe2\xed\xa0\x80": "\ufffd\ufffd", "\ud7ff\ue000".encode(): "\ud7ff\ue000",
    }  # fmt: skip
    column = pa.array(list(repaired), pa.binary()).view(pa.string())
    assert [text for (text,) in rows([T.StringType()], [column])] == list(repaired.values())


def test_small_decimals_have_the_zeros_of_javas_engineering_notation() -> None:
    # What `BigDecimal.toEngineeringString` says.
    written = {
        "1E-32": "10E-33", "1E-31": "100E-33", "-12E-32": "-120E-33", "123E-32": "1.23E-30", "1E-30": "1E-30", "12E-31": "1.2E-30", "0E-32": "0E-32", "1E-6": "0.000001", "1E-7": "100E-9",
    }  # fmt: skip
    for value, text in written.items():
        number = decimal.Decimal(value)
        kind = T.DecimalType(38, -number.as_tuple().exponent)
        column = pa.array([number], pa.decimal128(38, kind.scale))
        ((found,),) = rows([kind], [column])
        assert found.as_tuple() == decimal.Decimal(text).as_tuple(), value


def test_rows_without_columns_are_as_many() -> None:
    assert _native.RowMaker("[]", "UTC", True).rows([], 3) == [(), (), ()]


def test_columns_that_are_not_what_was_said_are_refused() -> None:
    maker = _native.RowMaker(json.dumps(["long"]), "UTC", True)
    for columns in ([], [pa.array([1])], [pa.array(["a", "b"])], [pa.array([1, 2])] * 2):
        with pytest.raises(ValueError, match=r"columns of 2 rows are wanted, of the types \[Int64\]"):
            maker.rows(columns, 2)
    with pytest.raises(ValueError, match="nothing"):
        _native.RowMaker(json.dumps(["nothing"]), "UTC", True)
