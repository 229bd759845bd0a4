"""Functions of NumPy arrays and of polars Series, which Spark knows as functions of pyarrow arrays.

An :class:`ArrayFunction` travels by value, with all of this module that it needs: workers need no rudf. What a package
has no form for is not guessed at; ``README.md`` has the rules.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from rudf.worker.spark_types import arrow_type

__all__ = ["BY_VALUE", "ArrayFunction"]

#: Modules that travel by value.
BY_VALUE = [__name__, arrow_type.__module__]

#: By package, what the user calls its columns, and what has to be imported.
_FORMS = {
    "numpy": ("np.ndarray", "numpy"),
    "numpy.ma": ("np.ma.MaskedArray", "numpy"),
    "polars": ("pl.Series", "polars"),
}


class ArrayFunction:
    """A function of pyarrow arrays that calls one of another package's columns.

    Parameters
    ----------
    function : callable
        What is called.
    package : str
        ``numpy``, ``numpy.ma`` or ``polars``.
    name : str
        Name of the UDF, for messages.
    parameters : list of str
        Names of its positional parameters, for messages.
    return_type : pyspark.sql.types.DataType
        What is declared.
    iterates : bool
        Whether it takes an iterator of columns, or of tuples of columns.
    gives_value : bool
        Whether it gives a plain value, and no columns.
    """

    def __init__(
        self,
        function: Any,
        package: str,
        name: str,
        parameters: list[str],
        return_type: Any,
        iterates: bool,
        gives_value: bool,
    ) -> None:
        self.__name__ = name
        self._function = function
        self._package = package
        self._parameters = parameters
        self._return_type = return_type
        self._iterates = iterates
        self._gives_value = gives_value
        self._target: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Look for the package before the function is unpickled, which refers to it and would fail with less to say."""
        return _unpickled, (self._package, self.__name__), {**self.__dict__, "_target": None}

    def __call__(self, *columns: Any, **named: Any) -> Any:
        """Call the function with columns of its package, and make pyarrow arrays of what it returns."""
        if self._iterates:
            (batches,) = columns
            result = self._function(map(self._read_batch, batches))
        else:
            result = self._function(
                *[self._read(column, self._spell(index)) for index, column in enumerate(columns)],
                **{name: self._read(column, f"`{name}`") for name, column in named.items()},
            )
        if self._gives_value:
            return None if isinstance(result, float) and result != result and self._package == "numpy" else result
        if self._iterates:
            return self._write_all(result)
        lengths = [len(column) for column in (*columns, *named.values())]
        return self._write(result, lengths[0] if lengths else None)

    def _spell(self, index: int) -> str:
        return f"`{self._parameters[index]}`" if index < len(self._parameters) else f"argument {index + 1}"

    def _read_batch(self, batch: Any) -> Any:
        if isinstance(batch, tuple):
            return tuple(self._read(column, f"column {index + 1}") for index, column in enumerate(batch))
        return self._read(batch, "the column")

    def _read(self, column: Any, where: str) -> Any:
        """Make a column of the package, without a copy where its memory is what the package's would be."""
        if self._package == "polars":
            import polars

            return polars.from_arrow(column)
        import pyarrow as pa

        if not column.null_count:
            values = column.to_numpy(zero_copy_only=False)
            return values if self._package == "numpy" else _masked(values, False)
        without_null = pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)
        if self._package == "numpy.ma":
            filled = column.fill_null(pa.scalar(0).cast(column.type)) if without_null else column
            return _masked(filled.to_numpy(zero_copy_only=False), column.is_null().to_numpy(zero_copy_only=False))
        if without_null:
            row = column.is_null().index(pa.scalar(True)).as_py()
            raise ValueError(
                f"`{self.__name__}`: {where} is null in row {row} of its batch, and an array of NumPy's has no null of "
                f"the type {column.type}: give the function coalesce(column, value), or annotate np.ma.MaskedArray, "
                "pl.Series or pd.Series"
            )
        return column.to_numpy(zero_copy_only=False)

    def _write_all(self, results: Any) -> Any:
        if not hasattr(results, "__next__"):
            spelled = _FORMS[self._package][0]
            raise TypeError(
                f"`{self.__name__}` returned {type(results).__name__}, and has to return an iterator of {spelled}, "
                "as it is annotated: write `yield` for each result"
            )
        return _written(self._write, results)

    def _write(self, result: Any, rows: int | None = None) -> Any:
        """Make a pyarrow array of the declared type."""
        spelled, package = _FORMS[self._package]
        column = sys.modules[package].Series if package == "polars" else sys.modules[package].ndarray
        if not isinstance(result, column):
            raise TypeError(
                f"`{self.__name__}` returned {type(result).__name__}, and has to return {spelled}, as it is annotated"
            )
        if rows is not None and len(result if package == "polars" or result.ndim else ()) != rows:
            raise ValueError(f"`{self.__name__}` returned {_size(result)} for {rows} rows")
        if self._target is None:
            self._target = arrow_type(self._return_type, "UTC")
        target = self._target
        convert = _of_polars if package == "polars" else _of_numpy
        try:
            return convert(result, target)
        except (ArithmeticError, AttributeError, TypeError, ValueError, NotImplementedError) as error:
            raise self._unfit(result, lambda part: convert(part, target), error) from error

    def _unfit(self, result: Any, convert: Any, error: Exception) -> Exception:
        """Tell the first row that cannot be converted; where no row is at fault, what cannot be at all."""
        declared = self._return_type.simpleString()
        row = _first_row_unfit(result, convert)
        if row is None:
            return TypeError(
                f"`{self.__name__}` returned an array of {_size(result)} of {result.dtype}, which cannot become a "
                f"column of {declared}: {error}"
            )
        value = repr(result[row])
        value = value if len(value) <= 200 else value[:200] + "..."
        return ValueError(f"`{self.__name__}`: row {row} of its result, {value}, cannot become {declared}: {error}")


def _unpickled(package: str, name: str) -> Any:
    """Make what the state of a pickled function goes into."""
    spelled, module = _FORMS[package]
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"`{name}` takes {spelled}, and {sys.executable} cannot import {module}: install it there ({error})"
        ) from error
    return object.__new__(ArrayFunction)


def _masked(values: Any, nulls: Any) -> Any:
    import numpy as np

    return np.ma.MaskedArray(values, nulls)


def _written(write: Any, results: Any) -> Any:
    """Write one result after another, and leave the function's frame where nobody wants more."""
    try:
        for result in results:
            yield write(result)
    finally:
        if hasattr(results, "close"):
            results.close()


def _size(result: Any) -> str:
    if getattr(result, "ndim", 1) == 0:
        return "a single value"
    dimensions = getattr(result, "ndim", 1)
    return f"{len(result)} values" if dimensions == 1 else f"{len(result)} rows of {dimensions} dimensions"


def _first_row_unfit(result: Any, convert: Any) -> int | None:
    def fits(rows: int) -> bool:
        try:
            convert(result[:rows])
        except Exception:
            return False
        return True

    if getattr(result, "ndim", 1) == 0 or not fits(0) or fits(len(result)):
        return None
    fitting, unfit = 0, len(result)
    while unfit - fitting > 1:
        middle = (fitting + unfit) // 2
        if fits(middle):
            fitting = middle
        else:
            unfit = middle
    return fitting


def _of_numpy(result: Any, target: Any) -> Any:
    """NaN and NaT are null, as in a Series of pandas; in a masked array what is masked is."""
    import numpy as np
    import pyarrow as pa

    if result.ndim == 2 and pa.types.is_list(target):
        rows, width = result.shape
        offsets = pa.array(np.arange(rows + 1, dtype=np.int64) * width)
        array = pa.LargeListArray.from_arrays(offsets, _of_numpy(result.reshape(-1), target.value_type))
    elif result.ndim != 1:
        raise TypeError("it has to have one dimension, or two for a column of arrays")
    elif result.dtype.kind in "OSU":
        array = pa.array(result, target, from_pandas=True)
    else:
        array = pa.array(result, from_pandas=True)
    return array if array.type == target else array.cast(target)


def _of_polars(result: Any, target: Any) -> Any:
    array = result.to_arrow()
    return array if array.type == target else array.cast(target)
