"""What the annotations of a function say: its kind, and its return type."""

from __future__ import annotations

import collections.abc
import datetime
import functools
import inspect
import sys
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql.types import DataType

__all__ = ["PLAIN", "AnnotationError", "FunctionKind", "Signature", "name_of", "parameters", "read_annotations"]


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
    #: Iterators of them to iterators.
    PANDAS_ITERATOR, ARROW_ITERATOR = 204, 251
    #: The columns of a group to one value.
    PANDAS_AGGREGATE, ARROW_AGGREGATE = 202, 252
    #: Iterators over the batches of a group to one value.
    PANDAS_ITERATOR_AGGREGATE, ARROW_ITERATOR_AGGREGATE = 217, 254


class _Shape(NamedTuple):
    """What an annotation says: plain values, or columns of a package, or iterators of them."""

    #: A key of ``_VECTORS``; None for plain values.
    package: str | None = None
    iterates: bool = False


_PLAIN_SHAPE = _Shape()

#: By package, whether parameters are iterators, and what is returned: ``columns``, ``iterator`` or ``value``.
_KINDS = {
    ("pandas", False, "columns"): FunctionKind.PANDAS,
    ("pandas", True, "iterator"): FunctionKind.PANDAS_ITERATOR,
    ("pandas", False, "value"): FunctionKind.PANDAS_AGGREGATE,
    ("pandas", True, "value"): FunctionKind.PANDAS_ITERATOR_AGGREGATE,
    ("pyarrow", False, "columns"): FunctionKind.ARROW,
    ("pyarrow", True, "iterator"): FunctionKind.ARROW_ITERATOR,
    ("pyarrow", False, "value"): FunctionKind.ARROW_AGGREGATE,
    ("pyarrow", True, "value"): FunctionKind.ARROW_ITERATOR_AGGREGATE,
}


@dataclass(frozen=True)
class Signature:
    """What was read from a function."""

    #: A constant of :class:`FunctionKind`.
    kind: int
    #: None where the annotations do not say it.
    return_type: DataType | None
    #: The package of :mod:`rudf.arrays` whose columns the function takes in place of the pyarrow arrays of its kind.
    arrays: str | None = None

    @property
    def iterates(self) -> bool:
        """Whether it takes an iterator of columns."""
        return self.kind in _ITERATE

    @property
    def gives_value(self) -> bool:
        """Whether it gives one plain value, of a row or of a group."""
        return self.kind in _GIVE_VALUES


PLAIN = "bool, int, float, str, bytes, datetime.date or datetime.datetime"
#: Packages whose types stand for columns: the types that are meant, and how the first is written.
_VECTORS = {
    "pyarrow": (("Array",), "pa.Array"),
    "pandas": (("Series", "DataFrame"), "pd.Series"),
    "numpy": (("ndarray",), "np.ndarray"),
    "numpy.ma": (("MaskedArray",), "np.ma.MaskedArray"),
    "polars": (("Series",), "pl.Series"),
}
#: Those whose functions are, for Spark, functions of pyarrow arrays.
_ADAPTED = {"numpy", "numpy.ma", "polars"}
_COLUMN_PACKAGES = {"pyarrow", "pandas", "polars"}


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
    shapes = {
        parameter: _shape(hints[parameter], f"parameter `{parameter}`", name) if parameter in hints else None
        for parameter in parameters(function)
    }
    returned = _shape(hints["return"], "the return value", name) if "return" in hints else None
    kind, package = _one_kind(shapes, returned, name)
    return_type = None if typed else _return_type(hints.get("return"), kind, name)
    return Signature(kind, return_type, package if package in _ADAPTED else None)


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
            f"({type(error).__name__}: {error}); write {PLAIN} for single values, pa.Array, pd.Series or np.ndarray "
            "for whole columns, and import what it names where the module does, outside of `if TYPE_CHECKING`"
        ) from error


def _annotated(function: Callable[..., Any]) -> Any:
    """Return what carries the annotations: of an instance its ``__call__``, of a partial what it calls."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isclass(function):
        return function.__init__
    return function if inspect.isroutine(function) else type(function).__call__


def parameters(function: Callable[..., Any]) -> list[str]:
    """Return the names of a function's parameters, where it tells them."""
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def _shape(annotation: Any, where: str, name: str) -> _Shape | None:
    """Return what one annotation asks for; None where it fits any."""
    if annotation is Any or annotation is type(None):
        return None
    plain = _without_none(annotation)
    package = _package_of_columns(plain)
    if package is not None:
        return _Shape(package)
    if typing.get_origin(plain) in _ITERATORS:
        (item,) = typing.get_args(plain) or (Any,)
        package = _package_of_columns(item) or _package_of_tuple(item)
        if package is not None:
            return _Shape(package, iterates=True)
    if _mentions_columns(plain):
        *others, last = (spelled for _, spelled in _VECTORS.values())
        correct = f"{', '.join(others)} or {last}"
        raise AnnotationError(
            f"`{name}`: {where} is annotated `{_spell(annotation)}`, which rudf does not run; "
            f"write {correct} for a function of whole columns, Iterator[...] of these or of a tuple of them for one "
            f"that takes batches one after another, or a plain type ({PLAIN}) for one of single values"
        )
    return _PLAIN_SHAPE


_ITERATORS = (collections.abc.Iterator, collections.abc.Iterable, collections.abc.Generator)


def _package_of_columns(annotation: Any) -> str | None:
    """Return the package of a type that stands for a column: an array, a Series, a DataFrame, or a subclass."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        packages = {_package_of_columns(member) for member in typing.get_args(annotation)}
        return packages.pop() if len(packages) == 1 else None
    # `numpy.typing.NDArray` and the like say of what, between brackets.
    annotation = typing.get_origin(annotation) or annotation
    for base in annotation.__mro__ if isinstance(annotation, type) else ():
        for package, (names, _) in _VECTORS.items():
            if base.__name__ in names and _package(base) == package.split(".")[0]:
                return package
    return None


def _package_of_tuple(annotation: Any) -> str | None:
    """Return the package of a tuple's columns."""
    if typing.get_origin(annotation) is not tuple:
        return None
    packages = {_package_of_columns(item) for item in typing.get_args(annotation) if item is not Ellipsis}
    return packages.pop() if len(packages) == 1 else None


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


def _one_kind(shapes: dict[str, _Shape | None], returned: _Shape | None, name: str) -> tuple[int, str | None]:
    """Return the kind that all parameters and the return value agree on, and the package of its columns."""
    every = [*shapes.values(), returned]
    wanted = next((shape for shape in every if shape is not None and shape.package is not None), _PLAIN_SHAPE)
    if wanted.package is None:
        return FunctionKind.ROW, None
    spelled = _VECTORS[wanted.package][1]
    if wanted.iterates:
        spelled = f"Iterator[{spelled}]"
    for parameter, shape in shapes.items():
        if shape != wanted:
            raise AnnotationError(
                f"`{name}`: parameter `{parameter}` has to be annotated `{spelled}` like the others: "
                "a function takes either whole columns or single values"
            )
    if wanted.iterates and len(shapes) > 1:
        raise AnnotationError(
            f"`{name}`: a function of iterators has one parameter; for several columns annotate it "
            f"`Iterator[tuple[{_VECTORS[wanted.package][1]}, ...]]`"
        )
    if returned is None:
        returned = wanted
    gives = "value" if returned == _PLAIN_SHAPE else "iterator" if returned.iterates else "columns"
    runs_as = "pyarrow" if wanted.package in _ADAPTED else wanted.package
    kind = _KINDS.get((runs_as, wanted.iterates, gives)) if returned.package in (None, wanted.package) else None
    if kind is None:
        raise AnnotationError(
            f"`{name}`: the return value has to be annotated `{spelled}` like the parameters, or with a plain type "
            f"({PLAIN}) where the function gives one value for all rows of a group"
        )
    return kind, wanted.package


def _without_none(annotation: Any) -> Any:
    """Strip ``Optional`` and ``| None``."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            return members[0]
    return annotation


def _return_type(annotation: Any, kind: int, name: str) -> DataType | None:
    if kind not in _GIVE_VALUES or annotation is None or annotation is Any:
        return None
    found = _SPARK_TYPES.get(_without_none(annotation)) if _hashable(annotation) else None
    if found is None:
        raise AnnotationError(
            f"`{name}`: the return annotation `{_spell(annotation)}` does not tell a Spark type; annotate it with "
            f'{PLAIN}, or give the type to the decorator, as in @rudf("array<int>")'
        )
    from pyspark.sql import types as spark_types

    return typing.cast("DataType", getattr(spark_types, found)())


#: Kinds whose functions return a plain value, which tells the type.
_GIVE_VALUES = {FunctionKind.ROW, *(kind for (_, _, gives), kind in _KINDS.items() if gives == "value")}

#: Kinds whose functions take an iterator of columns.
_ITERATE = {kind for (_, iterates, _), kind in _KINDS.items() if iterates}

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
