"""PySpark's conversions between Arrow and pandas, and shorter ways to the same where they do more than they have to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from rudf.worker.vectorized import strings_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Conversion"]

#: Fewer rows are not worth more than PySpark's conversion.
_FEW_ROWS = 256


class Conversion:
    """PySpark's conversions, with the confs of a session."""

    def __init__(self, conf: Any) -> None:
        self._conf = conf

    def series_of(self, batch: pa.RecordBatch) -> list[pd.Series]:
        """Make a Series of each column."""
        from pyspark.sql.conversion import ArrowBatchTransformer

        made: list[pd.Series] = ArrowBatchTransformer.to_pandas(
            batch, timezone=self._conf.timezone, prefer_int_ext_dtype=self._conf.prefer_int_ext_dtype
        )
        return made

    def field_readers(self, types: list[pa.DataType]) -> list[Callable[[pa.Array], Any]]:
        """Return what makes a Series or array of each column of a batch that becomes one DataFrame.

        Functions may write to what is made. PySpark has two ways, which differ in integers with nulls; all types of a
        batch together decide which of them it goes.
        """
        from pyspark.sql.conversion import ArrowArrayToPandasConversion
        from pyspark.sql.pandas.types import from_arrow_type
        from pyspark.sql.types import StructField, StructType

        kinds = [from_arrow_type(kind) for kind in types]
        struct = StructType([StructField(f"_{number}", kind) for number, kind in enumerate(kinds)])
        by_numpy = ArrowArrayToPandasConversion._prefer_convert_numpy(struct, True)
        options = {"timezone": self._conf.timezone, "struct_in_pandas": "dict"}
        if by_numpy:
            options["prefer_int_ext_dtype"] = self._conf.prefer_int_ext_dtype
        convert = (
            ArrowArrayToPandasConversion.convert_numpy if by_numpy else ArrowArrayToPandasConversion.convert_legacy
        )
        keeps_dtype = not (by_numpy and self._conf.prefer_int_ext_dtype)

        def reader(arrow: pa.DataType, kind: Any) -> Callable[[pa.Array], Any]:
            is_number = keeps_dtype and (pa.types.is_integer(arrow) or pa.types.is_floating(arrow))

            def read(column: pa.Array) -> Any:
                if is_number and not column.null_count:
                    return column.to_numpy().copy()
                return convert(column, kind, **options)

            return read

        return [reader(arrow, kind) for arrow, kind in zip(types, kinds)]

    def batch_of(self, data: list[Any], schema: Any) -> pa.RecordBatch:
        """Make a record batch of Series and, for structs, DataFrames."""
        from pyspark.sql.conversion import PandasToArrowConversion

        return PandasToArrowConversion.convert(
            data,
            schema,
            timezone=self._conf.timezone,
            safecheck=self._conf.safecheck,
            arrow_cast=True,
            prefers_large_types=self._conf.use_large_var_types,
            assign_cols_by_name=self._conf.assign_cols_by_name,
            int_to_decimal_coercion_enabled=self._conf.int_to_decimal_coercion_enabled,
        )

    def struct_of(
        self, frame: pd.DataFrame, declared: Any, texts: Callable[[pd.Series], pa.Array | None] = strings_of
    ) -> pa.RecordBatch:
        """Make a record batch of one column, a struct of the type `declared`, of a DataFrame.

        `texts` makes arrays of columns of strings, or none where there is anything else.
        """
        from pyspark.sql.conversion import ArrowBatchTransformer
        from pyspark.sql.types import StructField, StructType

        # PySpark takes the columns by their names or their places, which are one here.
        is_as_declared = type(frame) is pd.DataFrame and frame.columns.tolist() == declared.names
        if not is_as_declared or len(frame) < _FEW_ROWS or len(set(declared.names)) < len(declared.names):
            return self.batch_of([frame], StructType([StructField("_0", declared)]))
        columns = []
        for field in declared.fields:
            column = frame[field.name]
            array = texts(column) if field.dataType.simpleString() == "string" else None
            columns.append(column if array is None else pd.Series(pd.arrays.ArrowExtensionArray(array)))
        return ArrowBatchTransformer.wrap_struct(self.batch_of(columns, declared))

    def verify(self, result: Any, declared: Any) -> None:
        """Raise PySpark's error where a DataFrame has not the declared columns."""
        from pyspark.worker import verify_pandas_result

        verify_pandas_result(result, declared, self._conf.assign_cols_by_name, truncate_return_schema=False)

    def frames_of(self, results: Any, declared: Any) -> Iterator[pd.DataFrame]:
        """Yield what a function of ``mapInPandas`` returned; raise PySpark's error where that is something else."""
        from pyspark.worker import verify_pandas_result

        if self._conf.map_in_batch_legacy_accept_any_iterable and not isinstance(results, Iterator):
            with contextlib.suppress(TypeError):
                results = iter(results)
        if not isinstance(results, Iterator):
            raise _no_iterator_of_frames(type(results).__name__)
        for result in results:
            if not isinstance(result, pd.DataFrame):
                raise _no_iterator_of_frames(f"iterator of {type(result).__name__}")
            verify_pandas_result(result, declared, assign_cols_by_name=True, truncate_return_schema=True)
            yield result


def _no_iterator_of_frames(actual: str) -> Exception:
    from pyspark.errors import PySparkTypeError

    return PySparkTypeError(
        errorClass="UDF_RETURN_TYPE",
        messageParameters={"expected": "iterator of pandas.DataFrame", "actual": actual},
    )
