"""What the annotations of a function say: its kind, and its return type."""

from __future__ import annotations

import datetime
import inspect
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql.types import DataType

__all__ = ["AnnotationError", "FunctionKind", "Signature", "read_annotations"]


class AnnotationError(TypeError):
    """An annotation that rudf cannot make a UDF of."""


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


_PLAIN = "bool, int, float, str, bytes, datetime.date or datetime.datetime"
_VECTORS = {"pyarrow": ("Array", FunctionKind.ARROW, "pa.Array"), "pandas": ("Series", FunctionKind.PANDAS, "pd.Series")}


def read_annotations(function: Callable[..., Any], typed: bool = False) -> Signature:
    """Read kind and return type of a function.

    Parameters
    ----------
    function : callable
        Its parameters may be annotated or not.
    typed : bool
        Whether the return type is given elsewhere, so that the return annotation need not tell it.

    Raises
    ------
    AnnotationError
        With the parameter that is wrong, and what to write instead.
    """
    target = _annotated(function)
    hints = _hints(target)
    name = _name(function)
    kinds = {
        parameter: _kind(hints[parameter], f"parameter `{parameter}`", name)
        for parameter in _parameters(function)
        if parameter in hints
    }
    returned = _kind(hints["return"], "the return value", name) if "return" in hints else None
    kind = _one_kind(kinds, returned, name)
    return Signature(kind, None if typed else _return_type(hints.get("return"), kind, name))


def _annotated(function: Callable[..., Any]) -> Any:
    """Return what carries the annotations: of an instance its ``__call__``, of a partial what it calls."""
    import functools

    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return type(function).__call__


def _hints(target: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target)
    except Exception:
        # A name that is known to type checkers only: take what is there as it stands.
        return {
            name: annotation
            for name, annotation in getattr(target, "__annotations__", {}).items()
            if not isinstance(annotation, str)
        }


def _parameters(function: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _kind(annotation: Any, where: str, name: str) -> int | None:
    """Return the kind that one annotation asks for; None where it fits any."""
    if annotation is Any or annotation is None or annotation is type(None):
        return None
    plain, _ = _without_none(annotation)
    vector = _vector_kind(plain)
    if vector is not None:
        return vector
    if isinstance(plain, type) and plain.__module__.split(".")[0] in _VECTORS:
        correct = " or ".join(spelled for _, _, spelled in _VECTORS.values())
        raise AnnotationError(
            f"`{name}`: {where} is annotated `{_spell(annotation)}`, which rudf does not run as a scalar function; "
            f"write {correct} for a function of whole columns, or a plain type ({_PLAIN}) for one of single values"
        )
    return FunctionKind.ROW


def _vector_kind(annotation: Any) -> int | None:
    if not isinstance(annotation, type):
        return None
    for base in annotation.__mro__:
        package = base.__module__.split(".")[0]
        if package in _VECTORS and base.__name__ == _VECTORS[package][0]:
            return _VECTORS[package][1]
    return None


def _one_kind(kinds: dict[str, int | None], returned: int | None, name: str) -> int:
    known = {where: kind for where, kind in kinds.items() if kind is not None}
    wanted = next((kind for kind in known.values() if kind != FunctionKind.ROW), None)
    if wanted is None and returned is not None and returned != FunctionKind.ROW:
        wanted = returned
    if wanted is None:
        return FunctionKind.ROW
    spelled = next(spelled for _, kind, spelled in _VECTORS.values() if kind == wanted)
    for parameter, kind in kinds.items():
        if kind != wanted:
            raise AnnotationError(
                f"`{name}`: parameter `{parameter}` has to be annotated `{spelled}` like the others: "
                "a function takes either whole columns or single values"
            )
    if returned is not None and returned != wanted:
        raise AnnotationError(f"`{name}`: the return value has to be annotated `{spelled}` like the parameters")
    return wanted


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """Strip ``Optional`` and ``Annotated``; the flag says whether None was allowed."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _without_none(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            return _without_none(members[0])[0], True
    return annotation, False


def _return_type(annotation: Any, kind: int, name: str) -> DataType | None:
    if kind != FunctionKind.ROW or annotation is None:
        return None
    from pyspark.sql import types as spark_types

    plain, _ = _without_none(annotation)
    known: dict[Any, DataType] = {
        bool: spark_types.BooleanType(),
        int: spark_types.LongType(),
        float: spark_types.DoubleType(),
        str: spark_types.StringType(),
        bytes: spark_types.BinaryType(),
        datetime.date: spark_types.DateType(),
        datetime.datetime: spark_types.TimestampType(),
    }
    try:
        found = known.get(plain)
    except TypeError:
        found = None
    if found is None and plain is not Any:
        raise AnnotationError(
            f"`{name}`: the return annotation `{_spell(annotation)}` does not tell a Spark type; annotate it with "
            f'{_PLAIN}, or give the type to the decorator: @rudf("array<int>")'
        )
    return found


def _spell(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
