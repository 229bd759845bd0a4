"""Results of a row function that are not of the declared type: converted as PySpark's own worker converts them.

Rust takes results of exactly the declared type itself and comes here for everything else, with all results of the
batch: the conversion is pyarrow's, after PySpark's converter for the type, so that values and errors are PySpark's.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["first_refused", "to_arrow"]


def to_arrow(values: list[Any], declared_type: Any, int_to_decimal: bool, safe: bool) -> Any:
    """Convert results to an array of the declared type.

    Parameters
    ----------
    values : list
        Results of all rows of a batch.
    declared_type : pyspark.sql.types.DataType
        The UDF's return type.
    int_to_decimal : bool
        Whether integers are taken for decimals.
    safe : bool
        Whether a cast that loses something is an error.

    Returns
    -------
    pyarrow.Array
    """
    pa = _pyarrow(values, declared_type)
    from rudf.worker.spark_types import arrow_type

    target = arrow_type(declared_type, "UTC")
    convert = _converter(declared_type, int_to_decimal)
    converted = values if convert is None else [convert(value) for value in values]
    try:
        array = pa.array(converted, type=target)
    except pa.lib.ArrowInvalid:
        array = pa.array(converted).cast(target_type=target, safe=safe)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array


def first_refused(values: list[Any], declared_type: Any, int_to_decimal: bool, safe: bool) -> int | None:
    """Return the row of the first value that `to_arrow` refuses by itself, for an error that the whole batch gave.

    None where each value can be converted and only their mixture cannot.
    """
    for row, value in enumerate(values):
        try:
            to_arrow([value], declared_type, int_to_decimal, safe)
        except Exception:
            return row
    return None


def _pyarrow(values: list[Any], declared_type: Any) -> Any:
    try:
        import pyarrow
    except ImportError:
        kinds = sorted({type(value).__name__ for value in values if value is not None})
        message = (
            f"results of the types {', '.join(kinds)} have to be converted to {declared_type.simpleString()}, which "
            f"needs pyarrow, and {sys.executable} has none: "
            "return values of exactly the declared type, or install pyarrow"
        )
        raise TypeError(message) from None
    return pyarrow


def _converter(declared_type: Any, int_to_decimal: bool) -> Callable[[Any], Any] | None:
    """Return PySpark's converter of results, whose options grew from release to release."""
    from pyspark.sql.conversion import LocalDataToArrowConversion

    create = LocalDataToArrowConversion._create_converter
    wanted = {"none_on_identity": True, "int_to_decimal_coercion_enabled": int_to_decimal}
    known = inspect.signature(create).parameters
    return create(declared_type, **{name: value for name, value in wanted.items() if name in known})
