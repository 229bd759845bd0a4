"""Row functions see what PySpark's worker would show them, and their results become what it would make of them."""

from __future__ import annotations

import datetime
import decimal
import math
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql.conversion import ArrowTableToRowsConversion, LocalDataToArrowConversion
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import (
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    TimestampType,
)
from sessions import UdfError, evaluate, open_session

from rudf import _native

TYPES: list[DataType] = [
    BooleanType(), ByteType(), ShortType(), IntegerType(), LongType(), FloatType(), DoubleType(), StringType(), BinaryType(),
    DateType(), TimestampType(),
]  # fmt: skip

RETURNED: list[Any] = [
    None, True, False, 0, 1, 127, 128, 200, -129, 70000, 2**24 + 1, 2**31, 2**40, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63),
    -(2**63) - 1, 1.0, 1.5, -0.0, float("inf"), 1e300, 3.5e38, 1e-50, "1", "1.5", "a", "", "äö", "true", "\ud800", b"AB", b"",
    bytearray(b"AB"), decimal.Decimal("1.2345"), decimal.Decimal("NaN"), datetime.date(2020, 2, 29), datetime.date(1, 1, 1),
    datetime.datetime(2020, 2, 29, 12, 30, 15, 123456), datetime.datetime(1960, 1, 1, 0, 0, 0, 1),
    datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc), datetime.datetime(9999, 12, 31, 23), datetime.timedelta(days=1),
    datetime.time(1, 2, 3), [1], (1,), {"a": 1}, {1}, np.int32(5), np.int64(2**40), np.float64(1.5), np.float32(1.5),
    np.str_("s"), np.bool_(True), np.datetime64("2020-01-01"), 1j, object,
]  # fmt: skip


def pyspark_gives(values: list[Any], declared: DataType, safe: bool = True, int_to_decimal: bool = False) -> Any:
    """Do what PySpark's worker does with the results of a row function (eval type 101)."""
    target = to_arrow_type(declared, timezone="UTC")
    convert = LocalDataToArrowConversion._create_converter(
        declared, none_on_identity=True, int_to_decimal_coercion_enabled=int_to_decimal
    )
    converted = [convert(value) for value in values] if convert is not None else values
    try:
        return pa.array(converted, type=target)
    except pa.lib.ArrowInvalid:
        return pa.array(converted).cast(target_type=target, safe=safe)


def outcome(run: Any) -> Any:
    """Return an array's values, or the error's type and text."""
    try:
        array = run()
    except UdfError as error:
        lines = [line for line in error.text.splitlines() if not line.startswith("[rudf:")]
        return lines[-1].split(":")[0].split(".")[-1], error.text
    except Exception as error:
        return type(error).__name__, str(error)
    if pa.types.is_timestamp(array.type):
        return array.cast(pa.int64()).to_pylist()
    if pa.types.is_date(array.type):
        return array.cast(pa.int32()).to_pylist()
    return [repr(value) for value in array.to_pylist()]


@pytest.mark.parametrize("declared", TYPES, ids=lambda t: t.simpleString())
def test_every_returned_value_becomes_what_pyspark_makes_of_it(declared: DataType) -> None:
    wrong = []
    for value in RETURNED:
        for batch in ([value], [None, value], [value, None, value]):
            session = open_session(lambda i, b=batch: b[i], declared, ["long"])
            column = pa.array(range(len(batch)))
            ours = outcome(lambda s=session, c=column: evaluate(s, [c]))
            theirs = outcome(lambda b=batch: pyspark_gives(b, declared))
            if isinstance(theirs, tuple):
                same = isinstance(ours, tuple) and ours[0] == theirs[0] and theirs[1] in ours[1]
            else:
                same = ours == theirs
            if not same:
                wrong.append(f"{batch!r}: PySpark {theirs}, rudf {ours}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("batch", [[1, 2**24 + 1], [1, "1"], [7, 2**70], [5, None, 2**60 + 1], [1, 2.5, "x"]])
@pytest.mark.parametrize("declared", [FloatType(), DoubleType()], ids=lambda t: t.simpleString())
def test_integers_among_floats_are_converted_as_integers(declared: DataType, batch: list[Any]) -> None:
    session = open_session(lambda i: batch[i], declared, ["long"])
    ours = outcome(lambda: evaluate(session, [pa.array(range(len(batch)))]))
    theirs = outcome(lambda: pyspark_gives(batch, declared))
    assert ours == theirs if not isinstance(theirs, tuple) else (ours[0] == theirs[0] and theirs[1] in ours[1])


@pytest.mark.parametrize("declared", TYPES, ids=lambda t: t.simpleString())
@pytest.mark.parametrize("late", ["1", 1.5, True, b"x", 7])
def test_values_before_a_foreign_one_are_kept(declared: DataType, late: Any) -> None:
    right: dict[str, Any] = {
        "boolean": True, "float": 2.5, "double": 0.1, "string": "ä", "binary": b"b", "date": datetime.date(2021, 1, 1),
        "timestamp": datetime.datetime(2021, 1, 1, 5),
    }  # fmt: skip
    value = right.get(declared.simpleString(), 7)
    batch = [value, None, value, late, value]
    session = open_session(lambda i: batch[i], declared, ["long"])
    ours = outcome(lambda: evaluate(session, [pa.array(range(5))]))
    theirs = outcome(lambda: pyspark_gives(batch, declared))
    assert ours == theirs if not isinstance(theirs, tuple) else ours[0] == theirs[0]


def test_a_function_is_called_once_for_each_row_also_when_results_are_foreign() -> None:
    calls: list[int] = []

    def counted(i: int) -> Any:
        import builtins

        builtins.__dict__.setdefault("_rudf_calls", []).append(i)
        return 5.0 if i == 3 else 5

    evaluate(open_session(counted, LongType(), ["long"]), [pa.array(range(6))])
    import builtins

    calls = builtins.__dict__.pop("_rudf_calls")
    assert calls == list(range(6))


def pyspark_shows(array: pa.Array, spark_type: DataType, binary_as_bytes: bool) -> list[Any]:
    """Return the values that PySpark's worker hands to a row function."""
    convert = ArrowTableToRowsConversion._create_converter(
        spark_type, none_on_identity=True, binary_as_bytes=binary_as_bytes
    )
    values = array.to_pylist()
    return [convert(value) for value in values] if convert is not None else values


COLUMNS: list[tuple[DataType, list[Any], pa.DataType]] = [
    (BooleanType(), [True, None, False], pa.bool_()),
    (ByteType(), [-128, None, 127], pa.int8()),
    (ShortType(), [-32768, None, 32767], pa.int16()),
    (IntegerType(), [-(2**31), None, 2**31 - 1], pa.int32()),
    (LongType(), [-(2**63), None, 2**63 - 1], pa.int64()),
    (FloatType(), [1.1, None, float("inf"), -0.0], pa.float32()),
    (DoubleType(), [1.1, None, 5e-324, -0.0], pa.float64()),
    (StringType(), ["", None, "äö€𝄞", "x" * 5000], pa.string()),
    (BinaryType(), [b"", None, bytes(range(256))], pa.binary()),
    (DateType(), [datetime.date(1, 1, 1), None, datetime.date(1582, 10, 14), datetime.date(9999, 12, 31)], pa.date32()),
    (TimestampType(), [0, None, 1, -1, 951782400 * 10**6, 1710066600 * 10**6, 1730622600 * 10**6, -2208988800 * 10**6],
     pa.timestamp("us", "America/Los_Angeles")),
]  # fmt: skip


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Europe/Berlin", "Australia/Lord_Howe"])
@pytest.mark.parametrize("binary_as_bytes", [True, False])
@pytest.mark.parametrize(
    ("spark_type", "values", "arrow_type"), COLUMNS, ids=lambda v: getattr(v, "simpleString", str)()[:12]
)
def test_a_function_sees_what_pyspark_shows(
    spark_type: DataType, values: list[Any], arrow_type: pa.DataType, binary_as_bytes: bool, zone: str, monkeypatch: Any
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        array = pa.array(values, type=arrow_type)
        session = open_session(
            lambda v: f"{type(v).__name__} {v!r}", StringType(), [spark_type.jsonValue()],
            binary_as_bytes=binary_as_bytes, session_time_zone="America/Los_Angeles",
        )  # fmt: skip
        shown = [f"{type(v).__name__} {v!r}" for v in pyspark_shows(array, spark_type, binary_as_bytes)]
        assert evaluate(session, [array]).to_pylist() == shown
        # A slice of a larger column.
        padded = pa.concat_arrays([array, array]).slice(1, len(array))
        shown = [f"{type(v).__name__} {v!r}" for v in pyspark_shows(padded, spark_type, binary_as_bytes)]
        assert evaluate(session, [padded]).to_pylist() == shown
    finally:
        monkeypatch.undo()
        time.tzset()


columns = st.integers(0, 3).flatmap(
    lambda kind: st.tuples(
        st.just(["long", "double", "string", "binary"][kind]),
        st.lists(
            st.none() | [st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(), st.binary()][kind],
            max_size=70,
        ),
    )
)


@settings(max_examples=150, deadline=None)
@given(columns)
def test_random_columns_come_back(column: tuple[str, list[Any]]) -> None:
    name, values = column
    declared = {"long": LongType(), "double": DoubleType(), "string": StringType(), "binary": BinaryType()}[name]
    try:
        array = pa.array(values, type=to_arrow_type(declared, timezone="UTC"))
    except UnicodeEncodeError:
        return
    assert evaluate(open_session(lambda v: v, declared, [name]), [array]).to_pylist() == values


def test_arguments_by_position_and_name_chains_and_none() -> None:
    numbers = pa.array([1, 2, None])
    add = lambda a, b=10, **more: f"{a} {b} {sorted(more.items())}"  # noqa: E731
    session = open_session(add, StringType(), ["long", "long", "long"], names=[None, None, "x"])
    assert evaluate(session, [numbers] * 3).to_pylist() == [
        "1 1 [('x', 1)]",
        "2 2 [('x', 2)]",
        "None None [('x', None)]",
    ]
    session = open_session([lambda v: None if v is None else v + 1, lambda v: str(v)], StringType(), ["long"])
    assert evaluate(session, [numbers]).to_pylist() == ["2", "3", "None"]
    assert evaluate(open_session(lambda: 5, LongType(), []), [], rows=3).to_pylist() == [5, 5, 5]
    assert evaluate(open_session(math.sqrt, DoubleType(), ["double"]), [pa.array([4.0])]).to_pylist() == [2.0]
    assert evaluate(open_session(str.upper, StringType(), ["string"]), [pa.array([], pa.string())]).to_pylist() == []


def test_bytes_that_are_no_utf8_fail_as_in_pyspark() -> None:
    array = pa.array([b"a\xffb"]).view(pa.string())
    with pytest.raises(UdfError, match="UnicodeDecodeError") as caught:
        evaluate(open_session(lambda s: s, StringType(), ["string"]), [array])
    with pytest.raises(UnicodeDecodeError) as theirs:
        array.to_pylist()
    assert str(theirs.value) in caught.value.text


def test_an_error_names_function_row_and_batch_and_keeps_the_users_frames() -> None:
    def inner(v: int) -> float:
        return 1 / (v - 2)

    def score(v: int) -> float:
        return inner(v)

    session = open_session(score, DoubleType(), ["long"])
    evaluate(session, [pa.array([0, 1])])
    with pytest.raises(UdfError) as caught:
        evaluate(session, [pa.array([0, 1, 2])])
    text = caught.value.text
    assert caught.value.kind == 1
    assert text.startswith("Traceback (most recent call last):\n")
    assert "in score" in text and "in inner" in text and "test_row_functions.py" in text
    assert (
        "ZeroDivisionError: division by zero\n[rudf: in the function `score`, row 2, batch 1 of the partition]" in text
    )


@pytest.mark.parametrize(
    ("values", "declared", "refused"),
    [([1, 2, "x"], LongType(), 2), ([1, 300, "x"], ByteType(), 1), ([b"a", None, "x"], BinaryType(), 2)],
    ids=repr,
)
def test_a_result_that_cannot_be_converted_is_named_by_its_row(
    values: list[Any], declared: DataType, refused: int
) -> None:
    session = open_session(lambda v: values[v], declared, ["long"])
    with pytest.raises(
        UdfError, match=rf"\[rudf: in the function `<lambda>`, row {refused}, batch 0 of the partition\]"
    ):
        evaluate(session, [pa.array([0, 1, 2])])


def test_tracebacks_follow_sparks_confs() -> None:
    def fails(v: int) -> int:
        secret = v + 41
        raise ValueError(secret)

    hidden = open_session(fails, LongType(), ["long"], hide_traceback=True)
    with pytest.raises(UdfError, match=r"^ValueError: 42\n\[rudf:"):
        evaluate(hidden, [pa.array([1])])
    shown = open_session(fails, LongType(), ["long"], traceback_with_locals=True)
    with pytest.raises(UdfError, match="secret = 42"):
        evaluate(shown, [pa.array([1])])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StopIteration("x"), "STOP_ITERATION_OCCURRED"), (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"), (MemoryError(), "MemoryError"),
    ],
)  # fmt: skip
def test_errors_of_every_kind_are_errors_of_the_task(error: BaseException, expected: str) -> None:
    def fails(v: int) -> int:
        raise error

    with pytest.raises(UdfError, match=expected):
        evaluate(open_session(fails, LongType(), ["long"]), [pa.array([1])])


def test_a_function_of_another_python_is_refused() -> None:
    import json

    document = {"protocol": 4, "eval_type": 101, "inputs": [], "functions": [], "python_version": "2.7", "settings": {}}
    with pytest.raises(ValueError, match=r"pickled by Python 2\.7") as caught:
        _native.Session(_native.session_message(json.dumps(document), b""))
    assert 2 in caught.value.args or caught.value.args[0][0] == 2


def test_memory_is_given_back_also_after_errors() -> None:
    def fails(v: Any) -> Any:
        raise ValueError(v)

    array = pa.array(["x" * 100] * 1000)
    before = sys.getrefcount(None)
    for _ in range(200):
        evaluate(open_session(lambda v: None, StringType(), ["string"]), [array])
        with pytest.raises(UdfError):
            evaluate(open_session(fails, StringType(), ["string"]), [array])
    assert _native.held_batches() == 0
    assert abs(sys.getrefcount(None) - before) < 2000


def test_row_functions_need_no_pyarrow_unless_results_are_foreign() -> None:
    script = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"pyarrow", "pandas"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
import rudf.worker.coercion, rudf.worker.datetimes, rudf.worker.errors, rudf.worker.services
assert "pyarrow" not in sys.modules
try:
    rudf.worker.coercion.to_arrow(["x"], type("T", (), {"simpleString": lambda self: "bigint"})(), False, True)
except TypeError as error:
    assert "needs pyarrow" in str(error) and "bigint" in str(error) and "str" in str(error), error
else:
    raise SystemExit("no error")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
