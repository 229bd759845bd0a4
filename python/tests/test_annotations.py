"""Annotations tell kind and return type, and errors tell what to write instead."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Optional

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import types as T

from rudf import rudf
from rudf.annotations import AnnotationError, FunctionKind, read_annotations

if TYPE_CHECKING:
    import pandas as only_for_checkers


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (bool, T.BooleanType()),
        (int, T.LongType()),
        (float, T.DoubleType()),
        (str, T.StringType()),
        (bytes, T.BinaryType()),
        (datetime.date, T.DateType()),
        (datetime.datetime, T.TimestampType()),
        (Optional[int], T.LongType()),
        (float | None, T.DoubleType()),
        (Annotated[str, "a label"], T.StringType()),
        (Annotated[Optional[int], "a count"], T.LongType()),
        ("float | None", T.DoubleType()),
    ],
    ids=str,
)
def test_a_plain_return_annotation_tells_the_spark_type(annotation: Any, expected: T.DataType) -> None:
    def function(x):
        return x

    function.__annotations__ = {"x": int, "return": annotation}
    assert read_annotations(function).return_type == expected
    assert rudf(function).evalType == FunctionKind.ROW


def test_arrays_and_series_tell_the_kind() -> None:
    def arrays(a: pa.Array, b: pa.DoubleArray) -> pa.Array: ...

    def series(a: pd.Series, *more: Optional[pd.Series]) -> pd.Series: ...

    assert read_annotations(arrays, typed=True).kind == FunctionKind.ARROW
    assert read_annotations(series, typed=True).kind == FunctionKind.PANDAS


Pairs = Iterator[tuple[pa.Array, pa.Array]]


def _iterates(x: Iterator[pd.Series]) -> Iterator[pd.Series]: ...
def _iterates_pairs(x: Iterator[tuple[pd.Series, pd.DataFrame]]) -> Iterator[pd.Series]: ...
def _iterates_arrays(x: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]: ...
def _structs(x: pd.DataFrame, y: pd.Series | pd.DataFrame) -> pd.DataFrame: ...
def _total(x: pd.Series, y: pd.Series) -> float: ...
def _arrow_total(x: pa.Array) -> int: ...
def _label(x: pd.Series) -> str | None: ...
def _batches(x: Iterator[pd.Series]) -> int: ...
def _arrow_batches(x: Pairs) -> bool: ...


@pytest.mark.parametrize(
    ("function", "kind", "returned"),
    [
        (_iterates, FunctionKind.PANDAS_ITERATOR, None),
        (_iterates_pairs, FunctionKind.PANDAS_ITERATOR, None),
        (_iterates_arrays, FunctionKind.ARROW_ITERATOR, None),
        (_structs, FunctionKind.PANDAS, None),
        (_total, FunctionKind.PANDAS_AGGREGATE, T.DoubleType()),
        (_arrow_total, FunctionKind.ARROW_AGGREGATE, T.LongType()),
        (_label, FunctionKind.PANDAS_AGGREGATE, T.StringType()),
        (_batches, FunctionKind.PANDAS_ITERATOR_AGGREGATE, T.LongType()),
        (_arrow_batches, FunctionKind.ARROW_ITERATOR_AGGREGATE, T.BooleanType()),
    ],
)
def test_iterators_and_aggregates_are_told_by_what_they_take_and_return(
    function: Any, kind: int, returned: T.DataType | None
) -> None:
    signature = read_annotations(function)
    assert (signature.kind, signature.return_type) == (kind, returned)
    assert rudf("string")(function).evalType == kind


def _array(x: np.ndarray, *more: npt.NDArray[np.float64] | None) -> np.ndarray: ...
def _masked(x: np.ma.MaskedArray) -> np.ma.MaskedArray: ...
def _array_batches(x: Iterator[tuple[np.ndarray, ...]]) -> Iterator[np.ndarray]: ...
def _array_total(x: np.ndarray) -> float: ...
def _array_batches_total(x: Iterator[np.ndarray]) -> int: ...


@pytest.mark.parametrize(
    ("function", "kind", "package", "iterates", "gives_value"),
    [
        (_array, FunctionKind.ARROW, "numpy", False, False),
        (_masked, FunctionKind.ARROW, "numpy.ma", False, False),
        (_array_batches, FunctionKind.ARROW_ITERATOR, "numpy", True, False),
        (_array_total, FunctionKind.ARROW_AGGREGATE, "numpy", False, True),
        (_array_batches_total, FunctionKind.ARROW_ITERATOR_AGGREGATE, "numpy", True, True),
        (_arrow_total, FunctionKind.ARROW_AGGREGATE, None, False, True),
    ],
)
def test_arrays_of_other_packages_are_told_apart(
    function: Any, kind: int, package: str | None, iterates: bool, gives_value: bool
) -> None:
    signature = read_annotations(function)
    assert (signature.kind, signature.arrays, signature.iterates, signature.gives_value) == (
        kind,
        package,
        iterates,
        gives_value,
    )


def test_polars_series_tell_the_kind() -> None:
    pl = pytest.importorskip("polars")

    def function(x): ...

    function.__annotations__ = {"x": pl.Series, "return": pl.Series}
    assert read_annotations(function).arrays == "polars"
    function.__annotations__ = {"x": pl.DataFrame, "return": pl.Series}
    with pytest.raises(AnnotationError, match=r"parameter `x` is annotated `DataFrame`, which rudf does not run"):
        read_annotations(function)


def test_annotations_of_partials_and_callables_are_read() -> None:
    class Scaled:
        def __call__(self, x: float) -> float:
            return x * 2

    def scale(factor: float, x: int) -> int:
        return int(factor * x)

    assert rudf(Scaled()).returnType == T.DoubleType()
    assert rudf(functools.partial(scale, 2.0)).returnType == T.LongType()


def test_a_function_without_annotations_takes_plain_values() -> None:
    assert rudf("string")(lambda x, y: x).evalType == FunctionKind.ROW


def _no_return(x: int): ...
def _returns_any(x: int) -> Any: ...
def _returns_list(x: int) -> list[int]: ...
def _returns_none(x: int) -> None: ...
def _returns_either(x: int) -> int | str: ...
def _unhashable(x: int) -> Annotated[list, []]: ...
def _series_without_type(x: pd.Series) -> pd.Series: ...
def _misspelled(x: flaot, y: int) -> float: ...  # noqa: F821
def _misspelled_return(x: int) -> flaot: ...  # noqa: F821
def _hidden_import(x: only_for_checkers.Series) -> float: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_no_return, r"`_no_return` has no return type: annotate the return value with bool, .*@rudf\(\"double\"\)"),
        (_returns_any, r"`_returns_any` has no return type"),
        (_returns_list, r"`_returns_list`: the return annotation `list\[int\]` does not tell a Spark type.*array<int>"),
        (_returns_none, r"the return annotation `None` does not tell"),
        (_returns_either, r"the return annotation `int \| str` does not tell"),
        (_unhashable, r"the return annotation `list` does not tell"),
        (_series_without_type, r"has no return type: that of a function of whole columns.*@rudf\(\"double\"\)"),
        (_misspelled, r"`_misspelled`: the annotation of parameter `x`, `flaot`, cannot be evaluated \(NameError"),
        (_misspelled_return, r"the annotation of the return value, `flaot`, cannot be evaluated"),
        (_hidden_import, r"parameter `x`.*outside of `if TYPE_CHECKING`"),
    ],
)
def test_without_a_type_the_error_says_what_to_write(function: Any, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        rudf(function)


def _iterator_of_columns(x: pd.Series) -> Iterator[pd.Series]: ...
def _columns_of_iterator(x: Iterator[pa.Array]) -> pa.Array: ...
def _two_iterators(x: Iterator[pa.Array], y: Iterator[pa.Array]) -> Iterator[pa.Array]: ...
def _other_columns(x: pd.Series) -> pa.Array: ...
def _mixed_pairs(x: Iterator[tuple[pd.Series, pa.Array]]) -> Iterator[pd.Series]: ...
def _mixed(x: pa.Array, y: float) -> pa.Array: ...
def _one_bare(x: pd.Series, y) -> pd.Series: ...
def _two_kinds(x: pa.Array, y: pd.Series) -> pa.Array: ...
def _chunked(x: pa.ChunkedArray) -> pa.ChunkedArray: ...
def _numpy_and_arrow(x: np.ndarray) -> pa.Array: ...
def _numpy_and_masked(x: np.ndarray, y: np.ma.MaskedArray) -> np.ndarray: ...
def _dtypes(x: np.dtype) -> np.ndarray: ...
def _only_returned(x: float) -> pd.Series: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_iterator_of_columns, r"the return value has to be annotated `pd.Series` like the parameters"),
        (_columns_of_iterator, r"the return value has to be annotated `Iterator\[pa.Array\]` like the parameters"),
        (_two_iterators, r"a function of iterators has one parameter.*`Iterator\[tuple\[pa.Array, ...\]\]`"),
        (_other_columns, r"the return value has to be annotated `pd.Series`"),
        (_mixed_pairs, r"parameter `x` is annotated `.*Iterator\[.*tuple\[.*`, which rudf does not run"),
        (_mixed, r"`_mixed`: parameter `y` has to be annotated `pa.Array` like the others"),
        (_one_bare, r"parameter `y` has to be annotated `pd.Series`"),
        (_two_kinds, r"parameter `y` has to be annotated `pa.Array`"),
        (
            _chunked,
            r"parameter `x` is annotated `ChunkedArray`.*write pa.Array, pd.Series, np.ndarray, .* or pl.Series",
        ),
        (_numpy_and_arrow, r"the return value has to be annotated `np.ndarray` like the parameters"),
        (_numpy_and_masked, r"parameter `y` has to be annotated `np.ndarray` like the others"),
        (_dtypes, r"parameter `x` has to be annotated `np.ndarray` like the others"),
        (_only_returned, r"parameter `x` has to be annotated `pd.Series`"),
    ],
)
def test_a_wrong_annotation_is_named(function: Any, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        rudf("double")(function)


def test_values_of_numpy_and_collections_are_plain() -> None:
    def function(x: np.float64, y: list[int], z: dict[str, int]) -> str: ...

    assert rudf(function).evalType == FunctionKind.ROW
