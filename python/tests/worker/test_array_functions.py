"""Functions of NumPy arrays and polars Series: what they see of a column, and what becomes of their results."""

from __future__ import annotations

import builtins
import datetime
import decimal
import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from pyspark.sql import types as T
from sessions import UdfError, evaluate, open_session

from rudf import _native, arrays, pickle, rudf
from rudf.annotations import FunctionKind

try:
    import polars as pl
except ImportError:
    pl = None  # type: ignore[assignment]

with_polars = pytest.mark.skipif(pl is None, reason="polars is not installed")

TYPES: dict[str, T.DataType] = {
    "bigint": T.LongType(),
    "int": T.IntegerType(),
    "double": T.DoubleType(),
    "boolean": T.BooleanType(),
    "string": T.StringType(),
    "binary": T.BinaryType(),
    "date": T.DateType(),
    "timestamp": T.TimestampType(),
    "timestamp_ntz": T.TimestampNTZType(),
    "decimal(38,18)": T.DecimalType(38, 18),
    "interval day to second": T.DayTimeIntervalType(),
    "array<bigint>": T.ArrayType(T.LongType()),
    "array<double>": T.ArrayType(T.DoubleType()),
    "array<int>": T.ArrayType(T.IntegerType()),
    "struct<a:int>": T.StructType([T.StructField("a", T.IntegerType())]),
    "void": T.NullType(),
}
DAY, MOMENT = datetime.date(2020, 2, 29), datetime.datetime(2020, 2, 29, 12)


def pickled(function: Any, declared: str) -> bytes:
    """Pickle what goes to workers."""
    return pickle.dumps(rudf(TYPES[declared])(function)._shipped(function), by_value=arrays.BY_VALUE)


def of(function: Any, declared: str, inputs: list[str], names: list[str | None] | None = None) -> Any:
    """Open a session for a function of whole columns."""
    shipped = pickle.loads(pickled(function, declared))
    spark_types = [TYPES[name].jsonValue() for name in inputs]
    return open_session(shipped, TYPES[declared], spark_types, FunctionKind.ARROW, names)


def np_identity(x: np.ndarray) -> np.ndarray:
    return x


def np_masked(x: np.ma.MaskedArray) -> np.ma.MaskedArray:
    return x


COLUMNS = {
    "bigint": pa.array([1, -(2**62) - 1, 3]),
    "double": pa.array([1.5, None, -0.0]),
    "boolean": pa.array([True, False, True]),
    "string": pa.array(["a", None, "ä"]),
    "binary": pa.array([b"a", None, b""]),
    "date": pa.array([DAY, None, datetime.date(1, 1, 1)]),
    "timestamp": pa.array([MOMENT, None, MOMENT], pa.timestamp("us", "UTC")),
    "timestamp_ntz": pa.array([MOMENT, None, MOMENT], pa.timestamp("us")),
    "decimal(38,18)": pa.array([decimal.Decimal("1.5"), None, decimal.Decimal(2)], pa.decimal128(38, 18)),
    "interval day to second": pa.array([datetime.timedelta(1), None, datetime.timedelta(0)], pa.duration("us")),
    "array<bigint>": pa.array([[1, 2], None, []], pa.list_(pa.field("element", pa.int64()))),
    "void": pa.nulls(3),
}


@pytest.mark.parametrize("declared", COLUMNS)
def test_a_column_comes_back_as_it_went_in(declared: str) -> None:
    column = COLUMNS[declared]
    for identity in (np_identity, np_masked):
        session = of(identity, declared, [declared])
        assert evaluate(session, [column]).to_pylist() == column.to_pylist()
        assert evaluate(session, [column.slice(1)]).to_pylist() == column.slice(1).to_pylist()
        assert len(evaluate(session, [column.slice(3)], 0)) == 0


def is_the_batch_itself(function: Any) -> bool:
    """Tell whether what a function keeps of its argument, in `builtins`, is memory of the batch."""
    before = _native.held_batches()
    evaluate(of(function, "double", ["double"]), [pa.array([1.0, 2.0])])
    gc.collect()
    held = _native.held_batches() - before
    del builtins.__dict__["_kept"]
    gc.collect()
    return held == 1 and _native.held_batches() == before


def test_numbers_without_nulls_are_the_batch_itself() -> None:
    def keeps(x: npt.NDArray[np.float64]) -> np.ndarray:
        assert not x.flags.writeable
        builtins.__dict__["_kept"] = x
        return x * 1

    assert is_the_batch_itself(keeps)


@pytest.mark.parametrize("column", [pa.array([1, None, 3]), pa.array([True, None, False])])
def test_nulls_that_numpy_has_no_value_for_are_refused_or_masked(column: pa.Array) -> None:
    kind = {pa.int64(): "bigint", pa.bool_(): "boolean"}[column.type]
    message = r"`np_identity`: `x` is null in row 1 of its batch, and .* of the type (int64|bool): give .*coalesce"
    with pytest.raises(UdfError, match=message):
        evaluate(of(np_identity, "bigint", [kind]), [column])
    assert evaluate(of(np_masked, kind, [kind]), [column]).to_pylist() == column.to_pylist()


def test_nan_is_null_in_a_plain_array_and_not_in_a_masked_one() -> None:
    def roots(x: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.sqrt(x)

    def masked_roots(x: np.ma.MaskedArray) -> np.ma.MaskedArray:
        return np.ma.MaskedArray([np.nan] * len(x), x.mask)

    column = pa.array([4.0, -1.0, None])
    assert evaluate(of(roots, "double", ["double"]), [column]).to_pylist() == [2.0, None, None]
    assert repr(evaluate(of(masked_roots, "double", ["double"]), [column]).to_pylist()) == "[nan, nan, None]"


def test_arguments_are_positional_or_named() -> None:
    def power(x: np.ndarray, exponent: np.ndarray) -> np.ndarray:
        return x**exponent

    session = of(power, "double", ["double", "bigint"], [None, "exponent"])
    assert evaluate(session, [pa.array([2.0, 3.0]), pa.array([3, 2])]).to_pylist() == [8.0, 9.0]


@pytest.mark.parametrize(
    ("declared", "make", "expected"),
    [
        ("bigint", lambda n: np.arange(n, dtype=np.int8), [0, 1, 2]),
        ("double", lambda n: np.arange(n), [0.0, 1.0, 2.0]),
        ("bigint", lambda n: np.array([1.0, 2.0, np.nan]), [1, 2, None]),
        ("string", lambda n: np.arange(n), ["0", "1", "2"]),
        ("string", lambda n: np.array(["a", "bc", ""]), ["a", "bc", ""]),
        ("date", lambda n: np.array([DAY] * n, "datetime64[D]"), [DAY] * 3),
        ("date", lambda n: np.array([DAY] * n, object), [DAY] * 3),
        ("timestamp_ntz", lambda n: np.array([MOMENT] * n, "datetime64[s]"), [MOMENT] * 3),
        ("array<double>", lambda n: np.ones((n, 2)), [[1.0, 1.0]] * 3),
        ("array<int>", lambda n: np.empty((n, 0), int), [[]] * 3),
        ("struct<a:int>", lambda n: np.array([{"a": 1}, None, {"a": 2}]), [{"a": 1}, None, {"a": 2}]),
        ("bigint", lambda n: np.array([1.0, 1.5, 2.5]), r"row 1 of its result, .*1.5.*, cannot become bigint"),
        ("int", lambda n: np.array([1, 2, 2**40]), r"row 2 of its result, .*1099511627776.*, cannot become int"),
        ("bigint", lambda n: np.array([1, "x", None], object), r"row 1 of its result, 'x', cannot become bigint"),
        ("double", lambda n: np.ones(n, complex), r"an array of 3 values of complex128, which cannot become a column"),
        ("double", lambda n: np.ones((n, 2)), r"3 rows of 2 dimensions of float64, which cannot become .* one dim"),
        ("double", lambda n: np.ones(n + 1), r"ValueError: `make_result` returned 4 values for 3 rows"),
        ("double", lambda n: np.array(1.0), r"ValueError: `make_result` returned a single value for 3 rows"),
        ("double", lambda n: [1.0] * n, r"TypeError: `make_result` returned list, and has to return np.ndarray"),
        ("double", lambda n: np.float64(1), r"TypeError: `make_result` returned float64, and has to return"),
        ("double", lambda n: None, r"TypeError: `make_result` returned NoneType"),
    ],
)
def test_results_become_the_declared_type_or_are_named(declared: str, make: Any, expected: Any) -> None:
    def make_result(x: np.ndarray) -> np.ndarray:
        return make(len(x))

    session = of(make_result, declared, ["bigint"])
    if isinstance(expected, str):
        with pytest.raises(UdfError, match=expected) as raised:
            evaluate(session, [pa.array([1, 2, 3])])
        assert "[rudf: in the function `make_result`, batch 0 of the partition]" in raised.value.text
    else:
        assert evaluate(session, [pa.array([1, 2, 3])]).to_pylist() == expected


def test_a_simplified_traceback_shows_the_users_frames_alone() -> None:
    def fails(x: np.ndarray) -> np.ndarray:
        return x.nothing

    shipped = pickle.loads(pickled(fails, "double"))
    session = open_session(shipped, T.DoubleType(), ["double"], FunctionKind.ARROW, simplified_traceback=True)
    with pytest.raises(UdfError) as raised:
        evaluate(session, [pa.array([1.0])])
    assert raised.value.text.count('File "') == 1
    assert raised.value.text.count("in fails") == 1


def test_iterators_take_columns_or_tuples_of_them() -> None:
    def sums(batches: Iterator[tuple[np.ndarray, ...]]) -> Iterator[np.ndarray]:
        for one, other in batches:
            yield one + other

    def doubled(batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        return (batch * 2 for batch in batches)

    def listed(batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        return [batch * 2 for batch in batches]  # type: ignore[return-value]

    column = pa.array([1, 2])
    function = pickle.loads(pickled(sums, "double"))
    (result,) = function(iter([(column, column)]))
    assert result.equals(pa.array([2.0, 4.0]))
    function = pickle.loads(pickled(doubled, "bigint"))
    assert [result.to_pylist() for result in function(iter([column, column.slice(1)]))] == [[2, 4], [4]]
    function = pickle.loads(pickled(listed, "bigint"))
    with pytest.raises(TypeError, match="`listed` returned list, and has to return an iterator"):
        function(iter([column]))


def test_a_function_that_nobody_reads_any_more_is_left() -> None:
    left = []

    def endless(batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        try:
            while True:
                yield np.zeros(1)
        finally:
            left.append(True)

    function = arrays.ArrayFunction(endless, "numpy", "endless", [], T.DoubleType(), iterates=True, gives_value=False)
    results = function(iter([]))
    next(results)
    results.close()
    assert left == [True]


def test_aggregates_give_a_value() -> None:
    def mean(x: np.ndarray) -> float:
        return x.mean()

    def total(batches: Iterator[np.ndarray]) -> int:
        return sum(int(batch.sum()) for batch in batches)

    function = pickle.loads(pickled(mean, "double"))
    assert function(pa.array([1, 2])) == 1.5
    assert function(pa.array([1.0, None])) is None
    function = pickle.loads(pickled(total, "bigint"))
    assert function(iter([pa.array([1, 2]), pa.array([3])])) == 6


@with_polars
def test_polars_series_go_in_and_come_out() -> None:
    def identity(x: pl.Series) -> pl.Series:
        return x

    def keeps(x: pl.Series) -> pl.Series:
        builtins.__dict__["_kept"] = x
        return x * 1

    for declared, column in COLUMNS.items():
        session = of(identity, declared, [declared])
        assert evaluate(session, [column]).to_pylist() == column.to_pylist(), declared
        assert evaluate(session, [column.slice(1)]).to_pylist() == column.slice(1).to_pylist(), declared
    assert evaluate(of(identity, "bigint", ["bigint"]), [pa.array([1, None])]).to_pylist() == [1, None]
    assert evaluate(of(identity, "double", ["double"]), [pa.array([1.0, float("nan")])]).to_pylist()[0] == 1.0
    assert is_the_batch_itself(keeps)


@with_polars
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: pl.Series([1, 2, 2**40]), r"row 2 of its result, 1099511627776, cannot become int"),
        (lambda: pl.Series(["1", "2", "x"]), r"row 2 of its result, 'x', cannot become int"),
        (lambda: pl.Series([1, 2]), r"ValueError: `make_result` returned 2 values for 3 rows"),
        (lambda: [1, 2, 3], r"TypeError: `make_result` returned list, and has to return pl.Series"),
        (lambda: pl.lit(1), r"TypeError: `make_result` returned Expr, and has to return pl.Series"),
        (lambda: pl.Series([object()] * 3), r"an array of 3 values of Object, which cannot become a column of int"),
    ],
)
def test_results_of_polars_that_do_not_fit_are_named(make: Any, expected: str) -> None:
    def make_result(x: pl.Series) -> pl.Series:
        return make()

    with pytest.raises(UdfError, match=expected):
        evaluate(of(make_result, "int", ["bigint"]), [pa.array([1, 2, 3])])


@with_polars
def test_a_missing_package_is_named_before_the_function_is_unpickled() -> None:
    def identity(x: pl.Series) -> pl.Series:
        return pl.Series(x)

    script = (
        "import pickle, sys\nsys.modules['polars'] = sys.modules['rudf'] = None\n"
        f"try: pickle.loads({pickled(identity, 'double')!r})\nexcept ImportError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert told.startswith(f"`identity` takes pl.Series, and {sys.executable} cannot import polars: install it there (")


def test_what_travels_needs_no_rudf() -> None:
    def identity(x: np.ndarray) -> np.ndarray:
        return x

    script = (
        "import json, pickle, sys\nsys.modules['rudf'] = None\nimport pyarrow as pa\n"
        f"print(json.dumps(pickle.loads({pickled(identity, 'double')!r})(pa.array([1.5, None])).to_pylist()))"
    )
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert json.loads(told) == [1.5, None]
