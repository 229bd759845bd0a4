"""Functions of pyarrow arrays and pandas Series over one batch, with PySpark's checks and casts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rudf import _native
from rudf.worker.spark_types import arrow_type

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["ArrowEvaluator", "PandasEvaluator"]

#: Function chain (innermost first), declared type, input columns, and the names of the last of them.
FunctionSpec = tuple[list[Any], Any, list[int], list[str]]


class _Function:
    """One UDF: which columns it takes, and its declared type."""

    def __init__(self, spec: FunctionSpec, arrow_type: pa.DataType) -> None:
        chain, self.declared_type, columns, names = spec
        self._call = _guarded(_chained(chain))
        positional = len(columns) - len(names)
        self._positional = columns[:positional]
        self._named = list(zip(names, columns[positional:], strict=True))
        self.arrow_type = arrow_type
        self.is_struct = type(self.declared_type).__name__ == "StructType"

    def __call__(self, columns: Sequence[Any]) -> Any:
        return self._call(
            *[columns[index] for index in self._positional],
            **{name: columns[index] for name, index in self._named},
        )


def _chained(chain: list[Any]) -> Callable[..., Any]:
    innermost, *outer = chain
    if not outer:
        return innermost  # type: ignore[no-any-return]

    def call(*args: Any, **kwargs: Any) -> Any:
        result = innermost(*args, **kwargs)
        for function in outer:
            result = function(result)
        return result

    return call


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a ``StopIteration`` that leaves a function into PySpark's error."""

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except StopIteration as error:
            from rudf.worker.errors import stop_iteration

            raise stop_iteration(error) from None

    return call


def _check_rows(length: int, rows: int) -> None:
    if length != rows:
        from pyspark.errors import PySparkRuntimeError

        raise PySparkRuntimeError(
            errorClass="RESULT_ROWS_MISMATCH",
            messageParameters={"output_length": str(length), "input_length": str(rows)},
        )


class _Running:
    """Notes which function is running: for messages, and for those who wait for this process."""

    _index = 0

    @property
    def running(self) -> int:
        """Index of the function that is running."""
        return self._index

    @running.setter
    def running(self, index: int) -> None:
        self._index = index
        _native.note_function(index)


class ArrowEvaluator(_Running):
    """Scalar functions of ``pyarrow.Array`` (eval type 250).

    Parameters
    ----------
    functions : list
        One :data:`FunctionSpec` an output column.
    input_types : list of str
        Spark types of the input columns.
    """

    def __init__(self, functions: list[FunctionSpec], input_types: list[str], *, safe_cast: bool, **_: Any) -> None:
        self._functions = [_Function(spec, arrow_type(spec[1], "UTC")) for spec in functions]
        self.running = 0

    def evaluate(self, columns: list[pa.Array], rows: int) -> list[pa.Array]:
        """Return one array of the declared type a function."""
        results = []
        for self.running, function in enumerate(self._functions):
            results.append(function(columns))
        if all(
            isinstance(result, pa.Array) and result.type == function.arrow_type and len(result) == rows
            for result, function in zip(results, self._functions, strict=True)
        ):
            return results
        return self._enforce(results, rows)

    def _enforce(self, results: list[Any], rows: int) -> list[pa.Array]:
        """Cast and check as PySpark does: over all results together, as one record batch."""
        names = [f"_{index}" for index in range(len(results))]
        batch = pa.RecordBatch.from_arrays(results, names)
        arrays, mismatches = [], []
        for name, array, function in zip(names, batch.columns, self._functions, strict=True):
            try:
                arrays.append(
                    array if array.type == function.arrow_type else array.cast(function.arrow_type, safe=True)
                )
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                mismatches.append(f"column '{name}' (expected {function.arrow_type}, actual {array.type})")
        if mismatches:
            from pyspark.errors import PySparkRuntimeError

            raise PySparkRuntimeError(
                errorClass="RESULT_COLUMN_TYPES_MISMATCH", messageParameters={"mismatch": ", ".join(mismatches)}
            )
        _check_rows(batch.num_rows, rows)
        return arrays


class PandasEvaluator(_Running):
    """Scalar functions of ``pandas.Series`` (eval type 200).

    Parameters
    ----------
    functions : list
        One :data:`FunctionSpec` an output column.
    input_types : list of str
        Spark types of the input columns.
    time_zone : str
        The session's time zone: timestamps are naive in it.
    safe_cast, int_to_decimal, prefer_int_ext_dtype : bool
        Spark's confs of the same meaning.
    """

    def __init__(
        self,
        functions: list[FunctionSpec],
        input_types: list[str],
        *,
        time_zone: str,
        safe_cast: bool,
        int_to_decimal: bool,
        prefer_int_ext_dtype: bool,
    ) -> None:
        self._functions = [_Function(spec, arrow_type(spec[1], time_zone)) for spec in functions]
        self._readers = [
            _series_reader(name, prefer_int_ext_dtype)
            if _is_simple(name)
            else _PySparkReader(time_zone, prefer_int_ext_dtype)
            for name in input_types
        ]
        self._time_zone = time_zone
        self._safe = safe_cast
        self._int_to_decimal = int_to_decimal
        self.running = 0

    def evaluate(self, columns: list[pa.Array], rows: int) -> list[pa.Array]:
        """Return one array of the declared type a function."""
        import pandas as pd

        series = [read(column) for read, column in zip(self._readers, columns, strict=True)]
        for index, one in enumerate(series):
            if isinstance(one, pd.Series):
                one.name = f"_{index}"
        if not series:
            from pyspark._globals import _NoValue

            series = [pd.Series([_NoValue] * rows)]
        results = []
        for self.running, function in enumerate(self._functions):
            result = function(series)
            if not hasattr(result, "__len__"):
                from pyspark.errors import PySparkTypeError

                raise PySparkTypeError(
                    errorClass="UDF_RETURN_TYPE",
                    messageParameters={
                        "expected": "pandas.DataFrame" if function.is_struct else "pandas.Series",
                        "actual": type(result).__name__,
                    },
                )
            _check_rows(len(result), rows)
            if function.is_struct and not isinstance(result, pd.DataFrame):
                from pyspark.errors import PySparkValueError

                raise PySparkValueError(
                    "Invalid return type. Please make sure that the UDF returns a pandas.DataFrame when the specified "
                    "return type is StructType."
                )
            results.append(result)
        arrays = []
        for self.running, (result, function) in enumerate(zip(results, self._functions, strict=True)):
            arrays.append(self._to_arrow(result, function, self.running))
        return arrays

    def _to_arrow(self, series: Any, function: _Function, index: int) -> pa.Array:
        import pandas as pd

        if isinstance(series, pd.Series) and _is_plain(series.dtype, function.arrow_type):
            # The dtype is the declared type's own: nothing to convert but NaN, which stands for null in a float.
            return pa.Array.from_pandas(series.to_numpy(), type=function.arrow_type)
        if isinstance(series, pd.Series) and pa.types.is_string(function.arrow_type):
            texts = strings_of(series)
            if texts is not None:
                return texts
        if not _is_simple(function.declared_type.jsonValue()):
            return self._convert_as_pyspark(series, function, index)
        return self._convert(series, function, index)

    def _convert_as_pyspark(self, result: Any, function: _Function, index: int) -> pa.Array:
        """Convert a Series or DataFrame of a type that needs more than its dtype."""
        from pyspark.sql.conversion import PandasToArrowConversion
        from pyspark.sql.types import StructField, StructType

        batch = PandasToArrowConversion.convert(
            [result],
            StructType([StructField(f"_{index}", function.declared_type)]),
            timezone=self._time_zone,
            safecheck=self._safe,
            arrow_cast=True,
            assign_cols_by_name=True,
            int_to_decimal_coercion_enabled=self._int_to_decimal,
        )
        return batch.column(0)

    def _convert(self, series: Any, function: _Function, index: int) -> pa.Array:
        import pandas as pd
        from pyspark.errors import PySparkTypeError, PySparkValueError

        # What is no Series fails here or below with the error that PySpark lets out.
        if isinstance(series, pd.DataFrame):
            raise AssertionError
        if isinstance(series.dtype, pd.CategoricalDtype):
            series = series.astype(series.dtype.categories.dtype)
        kind = series.dtype
        series = _prepared(series, function.declared_type, self._time_zone)
        mask = None if hasattr(series.array, "__arrow_array__") else series.isnull()
        target = function.arrow_type
        try:
            try:
                array = pa.Array.from_pandas(series, mask=mask, type=target, safe=self._safe)
            except pa.lib.ArrowInvalid:
                array = pa.Array.from_pandas(series, mask=mask).cast(target_type=target, safe=self._safe)
        except TypeError as error:
            message = (
                f"Cannot convert the output value of the column '_{index}' with type '{kind}' to the specified return "
                f"type of the column: '{target}'. Please check if the data types match and try again."
            )
            raise PySparkTypeError(message) from error
        except ValueError as error:
            message = (
                f"Failed to convert the value of the column '_{index}' with type '{kind}' to Arrow type '{target}'."
            )
            if self._safe:
                message += (
                    " It can be caused by overflows or other unsafe conversions warned by Arrow. Arrow safe type check "
                    "can be disabled by using SQL config `spark.sql.execution.pandas.convertToArrowArraySafely`."
                )
            raise PySparkValueError(message) from error
        return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def strings_of(series: Any) -> pa.Array | None:
    """Make an array of a Series of strings and nulls; None where there is anything else, for PySpark to decide on."""
    return _native.string_array(series.to_numpy().tolist()) if series.dtype == object else None


def _is_plain(dtype: Any, target: pa.DataType) -> bool:
    return (pa.types.is_integer(target) or pa.types.is_floating(target)) and str(dtype) == _NUMPY_NAMES.get(target)


_NUMPY_NAMES = {
    pa.int8(): "int8",
    pa.int16(): "int16",
    pa.int32(): "int32",
    pa.int64(): "int64",
    pa.float32(): "float32",
    pa.float64(): "float64",
}


def _prepared(series: Any, declared_type: Any, time_zone: str) -> Any:
    """Apply PySpark's own conversion of a Series before Arrow sees it (timestamps, strings, binaries)."""
    from pyspark.sql.pandas.types import _create_converter_from_pandas

    return _create_converter_from_pandas(declared_type, timezone=time_zone, error_on_duplicated_field_names=False)(
        series
    )


def _is_simple(spark_type: Any) -> bool:
    """Tell whether values of a type, in Spark's JSON, are read and converted here and not by PySpark."""
    return isinstance(spark_type, str) and spark_type.split(" ")[0] in _SIMPLE_TYPES


_SIMPLE_TYPES = {
    "boolean", "byte", "short", "integer", "long", "float", "double", "string", "binary", "date", "timestamp",
}  # fmt: skip


class _PySparkReader:
    """Makes a Series of an array, or a DataFrame of structs, with PySpark's own converter."""

    def __init__(self, time_zone: str, prefer_int_ext_dtype: bool) -> None:
        self._time_zone = time_zone
        self._prefer_int_ext_dtype = prefer_int_ext_dtype

    def __call__(self, array: pa.Array) -> Any:
        from pyspark.sql.conversion import ArrowArrayToPandasConversion
        from pyspark.sql.pandas.types import from_arrow_type

        return ArrowArrayToPandasConversion.convert(
            array,
            from_arrow_type(array.type),
            timezone=self._time_zone,
            struct_in_pandas="dict",
            ndarray_as_list=False,
            prefer_int_ext_dtype=self._prefer_int_ext_dtype,
            df_for_struct=True,
        )


def _series_reader(spark_type: str, prefer_int_ext_dtype: bool) -> Callable[[pa.Array], Any]:
    """Return what makes a Series of an array of a Spark type."""
    extension = {"byte": "Int8", "short": "Int16", "integer": "Int32", "long": "Int64"}.get(spark_type)
    if prefer_int_ext_dtype and extension is not None:
        return lambda array: _to_series(array).astype(extension)
    if spark_type == "timestamp":
        return _timestamps
    if spark_type == "string":
        # Looking for equal strings takes as long as making them.
        return lambda array: array.to_pandas(deduplicate_objects=False)
    if spark_type == "date":
        return lambda array: array.to_pandas(date_as_object=True)
    return lambda array: _writable(array.to_pandas())


def _writable(series: Any) -> Any:
    """Return a Series that a function may write to, as it may in PySpark: the batch's own memory is Spark's too."""
    return series if series.values.flags.writeable else series.copy()


def _to_series(array: pa.Array) -> Any:
    import pandas as pd

    return array.to_pandas(types_mapper=pd.ArrowDtype)


def _timestamps(array: pa.Array) -> Any:
    """Timestamps become naive in the session's time zone, in nanoseconds."""
    import pyarrow.compute as pc

    return _writable(pc.cast(pc.local_timestamp(array), pa.timestamp("ns")).to_pandas())
