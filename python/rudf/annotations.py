"""What the annotations of a function say: its kind, and its return type."""

from __future__ import annotations

import datetime
import functools
import inspect
import sys
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql.types import DataType

__all__ = ["PLAIN", "AnnotationError", "FunctionKind", "Signature", "name_of", "read_annotations"]


class AnnotationError(TypeError):
    """An annotation that rudf cannot make a UDF of, or one that is missing."""


class FunctionKind:
    """PySpark's eval types (``pyspark.util.PythonEvalType``) of the kinds of functions."""

    #: Plain values, a row at a time.
    ROW = 101
    #: ``pandas.Series`` to ``pandas.Series``.
    PANDAS = 200
    #: ``pyarrow.Array`` to ``pyarrow.Array``.
    ARROW = 250


@dataclass(frozen=True)
class Signature:
    """What was read from a function."""

    #: A constant of :class:`FunctionKind`.
    kind: int
    #: None where the annotations do not say it.
    return_type: DataType | None


PLAIN = "bool, int, float, str, bytes, datetime.date or datetime.datetime"
#: Packages whose types stand for columns: the one type that is meant, its kind, and how it is written.
_VECTORS = {
    "pyarrow": ("Array", FunctionKind.ARROW, "pa.Array"),
    "pandas": ("Series", FunctionKind.PANDAS, "pd.Series"),
}
_COLUMN_PACKAGES = {*_VECTORS, "polars"}


def read_annotations(function: Callable[..., Any], typed: bool = False) -> Signature:
    """Read kind and return type of a function.

    Parameters
    ----------
    function : callable
        Its parameters may be annotated or not: without annotations it is a function of plain values.
    typed : bool
        Whether the return type is given elsewhere, so that the return annotation need not tell it.

    Raises
    ------
    AnnotationError
        With the parameter that is wrong, and what to write instead.
    """
    name = name_of(function)
    hints = _hints(function, name)
    kinds = {
        parameter: _kind(hints[parameter], f"parameter `{parameter}`", name) if parameter in hints else None
        for parameter in _parameters(function)
    }
    returned = _kind(hints["return"], "the return value", name) if "return" in hints else None
    kind = _one_kind(kinds, returned, name)
    return Signature(kind, None if typed else _return_type(hints.get("return"), kind, name))


def name_of(function: Any) -> str:
    """Return the name that a UDF of this function gets."""
    return getattr(function, "__name__", type(function).__name__)


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    """Return the annotations, those written as strings evaluated, without ``Annotated`` around them."""
    target = _annotated(function)
    try:
        return typing.get_type_hints(target)
    except Exception:
        return {where: _evaluate(value, where, target, name) for where, value in _raw_annotations(target).items()}


def _raw_annotations(target: Any) -> dict[str, Any]:
    """Return the annotations as they were written, also where they name what does not exist."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(target, format=annotationlib.Format.STRING)
    return dict(getattr(target, "__annotations__", {}))


def _evaluate(annotation: Any, where: str, target: Any, name: str) -> Any:
    """Evaluate one annotation, so that an error names the one that is at fault."""
    namespace = getattr(inspect.unwrap(target), "__globals__", {})
    try:
        holder = types.SimpleNamespace(__annotations__={"it": annotation})
        return typing.get_type_hints(holder, namespace, {})["it"]
    except Exception as error:
        place = "the return value" if where == "return" else f"parameter `{where}`"
        raise AnnotationError(
            f"`{name}`: the annotation of {place}, `{_spell(annotation)}`, cannot be evaluated "
            f"({type(error).__name__}: {error}); write {PLAIN} for single values, pa.Array or pd.Series for whole "
            "columns, and import what it names where the module does, outside of `if TYPE_CHECKING`"
        ) from error


def _annotated(function: Callable[..., Any]) -> Any:
    """Return what carries the annotations: of an instance its ``__call__``, of a partial what it calls."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isclass(function):
        return function.__init__
    return function if inspect.isroutine(function) else type(function).__call__


def _parameters(function: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def _kind(annotation: Any, where: str, name: str) -> int | None:
    """Return the kind that one annotation asks for; None where it fits any."""
    if annotation is Any or annotation is type(None):
        return None
    plain = _without_none(annotation)
    vector = _vector_kind(plain)
    if vector is not None:
        return vector
    if _mentions_columns(plain):
        correct = " or ".join(spelled for _, _, spelled in _VECTORS.values())
        raise AnnotationError(
            f"`{name}`: {where} is annotated `{_spell(annotation)}`, which rudf does not run as a scalar function; "
            f"write {correct} for a function of whole columns, or a plain type ({PLAIN}) for one of single values; "
            "for iterators, data frames and aggregates use PySpark's pandas_udf or arrow_udf"
        )
    return FunctionKind.ROW


def _vector_kind(annotation: Any) -> int | None:
    """Return the kind of a type that stands for a column: ``pa.Array``, ``pd.Series`` or a subclass."""
    for base in annotation.__mro__ if isinstance(annotation, type) else ():
        meant, kind, _ = _VECTORS.get(_package(base), (None, None, None))
        if base.__name__ == meant:
            return kind
    return None


def _mentions_columns(annotation: Any) -> bool:
    """Tell whether a type, or one between its brackets, belongs to a package of columns or is numpy's array."""
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return _package(annotation) in _COLUMN_PACKAGES or (_package(annotation), annotation.__name__) == (
            "numpy",
            "ndarray",
        )
    inside = (typing.get_origin(annotation), *typing.get_args(annotation))
    return any(_mentions_columns(part) for part in inside if part is not None and part is not annotation)


def _package(kind: type) -> str:
    return kind.__module__.split(".")[0]


def _one_kind(kinds: dict[str, int | None], returned: int | None, name: str) -> int:
    """Return the kind that all parameters and the return value agree on."""
    every = [*kinds.values(), returned]
    wanted = next((kind for kind in every if kind not in (None, FunctionKind.ROW)), FunctionKind.ROW)
    if wanted is None or wanted == FunctionKind.ROW:
        return FunctionKind.ROW
    spelled = next(spelled for _, kind, spelled in _VECTORS.values() if kind == wanted)
    for parameter, kind in kinds.items():
        if kind != wanted:
            raise AnnotationError(
                f"`{name}`: parameter `{parameter}` has to be annotated `{spelled}` like the others: "
                "a function takes either whole columns or single values"
            )
    if returned is not None and returned != wanted:
        raise AnnotationError(
            f"`{name}`: the return value has to be annotated `{spelled}` like the parameters: a function of whole "
            "columns returns one of the same length (aggregates are PySpark's pandas_udf and arrow_udf)"
        )
    return wanted


def _without_none(annotation: Any) -> Any:
    """Strip ``Optional`` and ``| None``."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            return members[0]
    return annotation


def _return_type(annotation: Any, kind: int, name: str) -> DataType | None:
    if kind != FunctionKind.ROW or annotation is None or annotation is Any:
        return None
    found = _SPARK_TYPES.get(_without_none(annotation)) if _hashable(annotation) else None
    if found is None:
        raise AnnotationError(
            f"`{name}`: the return annotation `{_spell(annotation)}` does not tell a Spark type; annotate it with "
            f'{PLAIN}, or give the type to the decorator, as in @rudf("array<int>")'
        )
    from pyspark.sql import types as spark_types

    return typing.cast("DataType", getattr(spark_types, found)())


_SPARK_TYPES: dict[Any, str] = {
    bool: "BooleanType",
    int: "LongType",
    float: "DoubleType",
    str: "StringType",
    bytes: "BinaryType",
    datetime.date: "DateType",
    datetime.datetime: "TimestampType",
}


def _hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True


def _spell(annotation: Any) -> str:
    if annotation is type(None):
        return "None"
    plain_class = isinstance(annotation, type) and typing.get_origin(annotation) is None
    return annotation.__qualname__ if plain_class else str(annotation)
