"""Values of every type: functions see what PySpark's worker would show them, and their results become what it makes."""

from __future__ import annotations

import datetime
import decimal
import time
from collections import namedtuple
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql.conversion import ArrowBatchTransformer, PandasToArrowConversion
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    MapType,
    NullType,
    Row,
    ShortType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
    TimeType,
)
from sessions import UdfError, evaluate, open_session
from test_row_functions import outcome, pyspark_gives, pyspark_shows

D = decimal.Decimal
ZONE = "America/Los_Angeles"

#: Types with values of them, as pyarrow takes them.
VALUES: dict[str, tuple[DataType, list[Any]]] = {
    "void": (NullType(), [None]),
    "timestamp_ntz": (
        TimestampNTZType(),
        [datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59, 999999), datetime.datetime(1969, 12, 31, 23, 59, 59, 1)],
    ),
    "day-time interval": (DayTimeIntervalType(), [0, 1, -1, 2**63 - 1, -(2**63), 86_400_000_000]),
    "time": (TimeType(), [0, 1_000, 86_399_999_999_000, 45_296_123_456_000]),
    "decimal(10,2)": (DecimalType(10, 2), [D("0.00"), D("-1.50"), D("99999999.99")]),
    "decimal(38,0)": (DecimalType(38, 0), [D("9" * 38), D("-" + "9" * 38), D(0)]),
    "decimal(38,38)": (DecimalType(38, 38), [D("0." + "9" * 38), D("1E-38"), D("0E-38")]),
    "array<int>": (ArrayType(IntegerType()), [[], [1, None, 3], [2**31 - 1]]),
    "array<string>": (ArrayType(StringType()), [["a", None, "äö"], [""]]),
    "array<timestamp>": (ArrayType(TimestampType()), [[datetime.datetime(2024, 3, 10, 10, 30), None]]),
    "array<array<double>>": (ArrayType(ArrayType(DoubleType())), [[[1.0, None], None, []], []]),
    "array<struct>": (ArrayType(StructType([StructField("x", ShortType()), StructField("d", DateType())])),
                      [[{"x": 1, "d": datetime.date(2020, 1, 1)}, None, {"x": None, "d": None}]]),
    "map<string,int>": (MapType(StringType(), IntegerType()), [[("a", 1), ("b", None)], []]),
    "map<int,array<binary>>": (MapType(IntegerType(), ArrayType(BinaryType())), [[(1, [b"x", None]), (2, None)]]),
    "map<date,struct>": (MapType(DateType(), StructType([StructField("v", FloatType())])), [[(datetime.date(1, 1, 1), {"v": 1.5})]]),
    "struct": (
        StructType([StructField("a", IntegerType()), StructField("b", StringType()), StructField("t", TimestampType())]),
        [{"a": 1, "b": "x", "t": datetime.datetime(2024, 11, 3, 9, 30)}, {"a": None, "b": None, "t": None}],
    ),
    "struct of all": (
        StructType([
            StructField("l", ArrayType(BooleanType())), StructField("m", MapType(StringType(), DecimalType(5, 1))),
            StructField("s", StructType([StructField("n", NullType()), StructField("i", DayTimeIntervalType())])),
        ]),
        [{"l": [True, None, False], "m": [("k", D("1.5"))], "s": {"n": None, "i": datetime.timedelta(days=-1, microseconds=3)}}],
    ),
    "struct of nothing": (StructType([]), [{}]),
}  # fmt: skip


def columns_of(name: str) -> list[pa.Array]:
    """Return the values with nulls, without, and as a slice."""
    declared, values = VALUES[name]
    target = to_arrow_type(declared, timezone=ZONE)
    with_nulls = pa.array([None, *values, None, *values, None], type=target)
    without = pa.array(values, type=target)
    return [with_nulls, without, with_nulls.slice(2, len(values) + 1), pa.array([], type=target)]


def describe(value: Any) -> str:
    """Spell a value with its type, and the types of what is in it."""
    if isinstance(value, Row):
        return f"Row{value.__fields__}({[describe(v) for v in value]})"
    if isinstance(value, list):
        return f"list({[describe(v) for v in value]})"
    if isinstance(value, dict):
        return f"dict({[(describe(k), describe(v)) for k, v in value.items()]})"
    return f"{type(value).__name__} {value!r}"


@pytest.mark.parametrize("zone", ["UTC", "Australia/Lord_Howe"])
@pytest.mark.parametrize("name", VALUES)
def test_a_row_function_sees_what_pyspark_shows(name: str, zone: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        declared = VALUES[name][0]
        for binary_as_bytes in (True, False):
            session = open_session(
                describe, StringType(), [declared.jsonValue()], binary_as_bytes=binary_as_bytes, session_time_zone=ZONE
            )
            for column in columns_of(name):
                shown = [describe(value) for value in pyspark_shows(column, declared, binary_as_bytes)]
                assert evaluate(session, [column]).to_pylist() == shown
    finally:
        monkeypatch.undo()
        time.tzset()


Point = namedtuple("Point", ["a", "b", "t"])


class Plain:
    def __init__(self) -> None:
        self.a, self.b, self.t = 1, "x", None

    def __repr__(self) -> str:
        return "Plain()"


MOMENT = datetime.datetime(2020, 2, 29, 12, 30)
RETURNED: list[Any] = [
    None, True, 1, 2**31, 1.5, float("nan"), "1", "a", b"AB", D("1.25"), D("1.255"), D("NaN"), D("Infinity"), D("1E30"), D("-0.001"),
    MOMENT, MOMENT.replace(tzinfo=datetime.timezone.utc), datetime.date(2020, 1, 1), datetime.timedelta(days=-3, microseconds=1),
    datetime.timedelta.max, datetime.time(1, 2, 3, 4), [], [1], [1, None], ["a"], [[1.0], None], (1,), (1, "x", None), (1, "x"), {1},
    {}, {"a": 1}, {1: [b"x"]}, {"a": 1, "b": "x", "t": MOMENT, "more": 2}, Point(1, "x", MOMENT), Row(a=1, b="y", t=None), Row(1, 2, 3),
    [{"x": 1, "d": None}], [Row(x=1, d=datetime.date(2020, 1, 1))], [(1, None)], {datetime.date(1, 1, 1): (1.5,)}, np.array([1, 2]),
    np.timedelta64(5, "s"), np.int32(5), object, Plain(), {"l": [True], "m": {"k": D("1.55")}, "s": (None, datetime.timedelta(1))},
    ([None], None, {"n": None, "i": None}), {"a": "1"}, [D("1")], {None: 1}, {"a": None},
]  # fmt: skip


@pytest.mark.parametrize("int_to_decimal", [False, True])
@pytest.mark.parametrize("name", VALUES)
def test_what_a_row_function_returns_becomes_what_pyspark_makes_of_it(name: str, int_to_decimal: bool) -> None:
    declared = VALUES[name][0]
    if int_to_decimal and "decimal" not in name:
        return
    wrong = []
    for value in RETURNED:
        for batch in ([value], [None, value]):
            session = open_session(lambda i, b=batch: b[i], declared, ["long"], int_to_decimal=int_to_decimal)
            ours = outcome(lambda s=session, b=batch: evaluate(s, [pa.array(range(len(b)))]))
            theirs = outcome(lambda b=batch: pyspark_gives(b, declared, int_to_decimal=int_to_decimal))
            if isinstance(theirs, tuple):
                same = isinstance(ours, tuple) and ours[0] == theirs[0] and theirs[1] in ours[1]
            else:
                same = ours == theirs
            if not same:
                wrong.append(f"{batch!r}: PySpark {theirs}, rudf {ours}")
    assert not wrong, "\n".join(wrong)


def test_no_rows_are_a_column_of_the_declared_type() -> None:
    for declared, _ in VALUES.values():
        result = evaluate(open_session(lambda v: v, declared, ["long"]), [pa.array([], pa.int64())])
        assert result.type == to_arrow_type(declared, timezone="UTC")


def pandas_shows(column: pa.Array) -> Any:
    """Return what PySpark's worker hands to a function of Series."""
    batch = pa.RecordBatch.from_arrays([column], ["_0"])
    (series,) = ArrowBatchTransformer.to_pandas(batch, timezone=ZONE, df_for_struct=True)
    return series


def spell(value: Any) -> str:
    """Spell a Series or DataFrame with everything in it."""
    if isinstance(value, pd.DataFrame):
        return f"DataFrame {[(name, spell(value[name])) for name in value.columns]}"
    return f"{value.name} {value.dtype} {[(type(v).__name__, repr(v)) for v in value]}"


@pytest.mark.parametrize("name", VALUES)
def test_a_function_of_series_sees_what_pyspark_shows(name: str) -> None:
    declared = VALUES[name][0]
    session = open_session(
        lambda v: pd.Series([spell(v)] * len(v), dtype=object),
        StringType(),
        [declared.jsonValue()],
        200,
        session_time_zone=ZONE,
    )
    for column in columns_of(name):
        try:
            shown = spell(pandas_shows(column))
        except Exception as error:
            with pytest.raises(UdfError, match=type(error).__name__):
                evaluate(session, [column])
        else:
            assert evaluate(session, [column]).to_pylist() == [shown] * len(column)


@pytest.mark.parametrize("name", VALUES)
def test_what_a_function_of_series_returns_becomes_what_pyspark_makes_of_it(name: str) -> None:
    declared = VALUES[name][0]
    target = to_arrow_type(declared, timezone=ZONE)
    made: list[Any] = [pd.Series([value] * 2, dtype=object) for value in RETURNED if value is not object]
    made += [
        pd.Series(columns_of(name)[1].slice(0, 1).to_pylist() * 2, dtype=object), pd.Series([1, 2]), pd.Series([1.5, None]),
        pd.DataFrame({"b": ["x", None], "a": [1, 2], "t": [MOMENT, None]}), pd.DataFrame({"a": [1, 2]}), pd.DataFrame(index=range(2)),
        pd.Series(pd.to_timedelta([1, 2], "s")), pd.Series(pd.to_datetime(["2020-01-01", None])), [1, 2],
    ]  # fmt: skip
    wrong = []
    for result in made:
        session = open_session(lambda v, r=result: r, declared, ["long"], 200, session_time_zone=ZONE)
        ours = outcome(lambda s=session: evaluate(s, [pa.array([1, 2])]))

        def pyspark_converts(result: Any = result) -> pa.Array:
            if isinstance(declared, StructType) and not isinstance(result, pd.DataFrame):
                raise ValueError("Invalid return type.")
            schema = StructType([StructField("_0", declared)])
            return PandasToArrowConversion.convert(
                [result], schema, timezone=ZONE, arrow_cast=True, assign_cols_by_name=True
            ).column(0)

        theirs = outcome(pyspark_converts)
        if isinstance(theirs, tuple):
            same = isinstance(ours, tuple) and theirs[1] in ours[1]
        else:
            same = ours == theirs
        if not same:
            wrong.append(f"{result!r}: PySpark {theirs}, rudf {ours}")
    assert not wrong, "\n".join(wrong)
    assert target is not None


@pytest.mark.parametrize("name", VALUES)
def test_arrays_of_every_type_go_in_and_come_out_of_arrow_functions(name: str) -> None:
    declared = VALUES[name][0]
    session = open_session(lambda v: v, declared, [declared.jsonValue()], 250, session_time_zone="UTC")
    shown = open_session(lambda v: pa.array([str(v.type)] * len(v), pa.string()), StringType(), [declared.jsonValue()], 250,
                         session_time_zone=ZONE)  # fmt: skip
    for column in columns_of(name):
        target = to_arrow_type(declared, timezone="UTC")
        # A cast of a slice of structs is not well-formed (pyarrow 26).
        plain = column if column.type == target else column.cast(target)
        assert evaluate(session, [plain]).equals(plain)
        assert evaluate(shown, [column]).to_pylist() == [str(column.type)] * len(column)


types: st.SearchStrategy[DataType] = st.deferred(
    lambda: st.sampled_from([IntegerType(), BooleanType(), StringType(), DoubleType(), DecimalType(7, 3), DateType(),
                             TimestampNTZType(), BinaryType()])
    | types.map(ArrayType)
    | types.map(lambda value: MapType(StringType(), value))
    | st.lists(types, max_size=3).map(lambda ts: StructType([StructField(f"f{i}", t) for i, t in enumerate(ts)]))
)  # fmt: skip


def value_of(declared: DataType) -> st.SearchStrategy[Any]:
    """Return values that pyarrow takes for a type."""
    simple: dict[str, st.SearchStrategy[Any]] = {
        "int": st.integers(-(2**31), 2**31 - 1), "boolean": st.booleans(), "double": st.floats(allow_nan=False),
        "string": st.text(st.characters(codec="utf-8"), max_size=5), "date": st.dates(), "timestamp_ntz": st.datetimes(),
        "binary": st.binary(max_size=5), "decimal(7,3)": st.decimals(-999, 999, places=3),
    }  # fmt: skip
    if isinstance(declared, ArrayType):
        found = st.lists(value_of(declared.elementType), max_size=3)
    elif isinstance(declared, MapType):
        found = st.dictionaries(simple["string"], value_of(declared.valueType), max_size=3).map(
            lambda d: list(d.items())
        )
    elif isinstance(declared, StructType):
        found = st.fixed_dictionaries({field.name: value_of(field.dataType) for field in declared})
    else:
        found = simple[declared.simpleString()]
    return st.none() | found


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_nested_columns_come_back_from_every_kind_of_function(data: Any) -> None:
    declared = data.draw(types)
    target = to_arrow_type(declared, timezone="UTC")
    column = pa.array(data.draw(st.lists(value_of(declared), min_size=1, max_size=9)), type=target)
    column = column.slice(data.draw(st.integers(0, len(column))))
    for kind in (101, 250):
        session = open_session(lambda v: v, declared, [declared.jsonValue()], kind)
        assert evaluate(session, [column]).to_pylist() == column.to_pylist()
