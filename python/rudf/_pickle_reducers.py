"""How to pickle what the standard library refuses, or would pickle by a name that the receiver does not have.

Each reducer returns what ``__reduce__`` would, built from importable parts of the standard library only, because the
receiver has nothing else.
"""

from __future__ import annotations

import collections
import contextvars
import copyreg
import dataclasses
import functools
import gc
import io
import math
import operator
import struct
import sys
import types
import typing
import weakref
from collections.abc import Callable
from pickle import PicklingError
from typing import Any

from rudf import _native

Reduced = tuple[Any, ...]

_views: dict[type, Callable[..., Any]] = {
    type(getattr(kind, name)(kind())): getattr(kind, name)
    for kind in (dict, collections.OrderedDict)
    for name in ("keys", "values", "items")
}


def _maker(value: Any) -> Callable[..., Any]:
    """Return the type of a value, as something to call."""
    return type(value)


def _view(method: Callable[..., Any]) -> Callable[[Any], Reduced]:
    """Reducer of a dictionary's view: the same view of what it is a view of."""

    def reduce(view: Any) -> Reduced:
        # `view.mapping` is a proxy.
        (mapping,) = gc.get_referents(view)
        return method, (mapping,)

    return reduce


def _memoryview(view: memoryview) -> Reduced:
    if view.format == "B" and view.ndim == 1:
        return memoryview, (_bytes_of(view),)
    # `cast` goes through bytes, whatever the format.
    shape = list(view.shape or ())
    if 0 not in shape:
        caster = operator.methodcaller("cast", _native_format(view), shape)
        return caster, (memoryview(_bytes_of(view)),)
    # It takes no zeros: a slice of a view that is longer by one.
    data: Any = memoryview(bytes(view.itemsize * math.prod(shape[1:])))
    return operator.getitem, (data.cast(_native_format(view), [1, *shape[1:]]), slice(0, 0))


def _bytes_of(view: memoryview) -> bytes | bytearray:
    return view.tobytes() if view.readonly else bytearray(view)


def _native_format(view: memoryview) -> str:
    """Return the format of a view as ``cast`` takes it."""
    element: Any = memoryview(bytes(view.itemsize))
    text = view.format.lstrip("@")
    if text[:1] == ("<" if sys.byteorder == "little" else ">") or text[:1] == "=":
        text = text[1:]
    try:
        if element.cast(text).itemsize == view.itemsize:
            return text
    except (ValueError, TypeError):
        pass
    raise PicklingError(f"cannot pickle a memoryview of the format {view.format!r}: no view of bytes can be cast to it")


def _text_file(file: io.TextIOWrapper) -> Reduced:
    for name in ("stdout", "stderr"):
        if file is getattr(sys, name):
            return getattr, (sys, name)
    if file is sys.stdin:
        raise PicklingError("cannot pickle standard input")
    if file.closed:
        raise PicklingError("Cannot pickle closed files")
    if not file.readable() or not file.seekable() or file.isatty():
        raise PicklingError("cannot pickle a file that is not open for reading and seekable (TextIOWrapper)")
    position = file.tell()
    file.seek(0)
    before = file.read() if position == 0 else None
    if before is None:
        file.seek(position)
        rest = file.read()
        file.seek(0)
        content = file.read()
        start = len(content) - len(rest)
    else:
        content, start = before, 0
    file.seek(position)
    # `StringIO.__setstate__` takes the text, the newline mode, the position and the instance's dictionary.
    return io.StringIO, (), (content, "\n", start, {"name": file.name})


def _made_by(base: Any, kind: Any, *arguments: Any) -> Any:
    # Goes to the receiver as code: a subclass may want other arguments, and what it does with them is in the state.
    made = base.__new__(kind)
    base.__init__(made, *arguments)
    return made


def _descriptor_object(base: Any, value: Any, arguments: tuple[Any, ...], without: tuple[str, ...]) -> Reduced:
    """Reduce an instance of a descriptor's type or of a subclass, with its attributes but for those in ``without``."""
    kind = type(value)
    state: Any = {name: part for name, part in getattr(value, "__dict__", {}).items() if name not in without} or None
    names = copyreg._slotnames(kind)  # type: ignore[attr-defined]
    slots = {name: getattr(value, name) for name in names if hasattr(value, name)}
    if slots:
        state = state, slots
    if kind.__init__ is base.__init__ and kind.__new__ is base.__new__:
        return kind, arguments, state
    return _by_value(_made_by), (base, kind, *arguments), state


def _property(value: property) -> Reduced:
    return _descriptor_object(property, value, (value.fget, value.fset, value.fdel, value.__doc__), ())


#: What `staticmethod` and `classmethod` take over from their function.
_OF_THE_FUNCTION = ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__annotate__")


def _wrapped(value: Any) -> Reduced:
    base = staticmethod if isinstance(value, staticmethod) else classmethod
    return _descriptor_object(base, value, (value.__func__,), _OF_THE_FUNCTION)


#: What `cached_property` makes itself: 3.11 and earlier keep a lock in it.
_OF_CACHED_PROPERTY = ("func",) if sys.version_info >= (3, 12) else ("func", "lock")


def _cached_property(value: functools.cached_property[Any]) -> Reduced:
    return _descriptor_object(functools.cached_property, value, (value.func,), _OF_CACHED_PROPERTY)


def _lru_cache(value: Any) -> Reduced:
    parameters = value.cache_parameters()
    arguments = (value.__wrapped__, parameters["maxsize"], parameters["typed"], functools._CacheInfo)
    return functools._lru_cache_wrapper, arguments, dict(vars(value))


def _weak_set(value: weakref.WeakSet[Any]) -> Reduced:
    # A set, because that is written in an order which does not depend on addresses where one can be found.
    return type(value), (set(value),)


def _weak_mapping(value: Any) -> Reduced:
    return type(value), (dict(value.items()),)


@functools.cache
def _by_value(function: Callable[..., Any]) -> types.FunctionType:
    """Return a function of this module as one that travels: the receiver cannot import it."""
    return types.FunctionType(function.__code__, {"__name__": "__main__"})


def _type_var(value: Any) -> Reduced:
    if getattr(value, "__infer_variance__", False):
        return _type_parameter(value)
    return _old_type_var(value)


def _old_type_var(value: Any) -> Reduced:
    keywords: dict[str, Any] = {}
    if value.__bound__ is not None:
        keywords["bound"] = value.__bound__
    for name in ("covariant", "contravariant", "infer_variance"):
        if getattr(value, f"__{name}__", False):
            keywords[name] = True
    has_default = getattr(value, "has_default", None)
    if has_default is not None and has_default():
        keywords["default"] = value.__default__
    maker = functools.partial(_maker(value), **keywords) if keywords else _maker(value)
    return maker, (value.__name__, *getattr(value, "__constraints__", ()))


def _lazy_type_var(name: str, module: str, text: str, values: dict[Any, Any]) -> Any:
    # Goes to the receiver as code, as `_alias_maker` does.
    space: dict[str, Any] = {"__name__": module, "values": values}
    exec("def X[" + text + "](): pass", space)
    return space["X"].__type_params__[0]


def _is_importable(part: Any) -> bool:
    module = sys.modules.get(getattr(part, "__module__", None) or "")
    return isinstance(part, type) and module is not None and vars(module).get(part.__qualname__) is part


def _type_parameter(value: Any) -> Reduced:
    """Reduce a type variable of PEP 695, whose bound may lead back to what it is a parameter of."""
    name, constraints = value.__name__, value.__constraints__
    bound: Any = constraints or value.__bound__
    has_default = getattr(value, "has_default", lambda: False)()
    default = value.__default__ if has_default else None
    if all(part is None or _is_importable(part) for part in (*constraints, value.__bound__, default)):
        return _old_type_var(value)
    text: str = name
    if constraints:
        text += ": (" + "".join(f"values[{name}][0][{index}], " for index in range(len(constraints))) + ")"
    elif bound is not None:
        text += f": values[{name}][0]"
    if has_default:
        text += f" = values[{name}][1]"
    values: dict[Any, Any] = {}
    setter = functools.partial(operator.setitem, values)
    return _by_value(_lazy_type_var), (name, value.__module__, text, values), (bound, default), None, None, setter


def _type_var_tuple(value: Any) -> Reduced:
    keywords = {}
    has_default = getattr(value, "has_default", None)
    if has_default is not None and has_default():
        keywords["default"] = value.__default__
    maker = functools.partial(_maker(value), **keywords) if keywords else _maker(value)
    return maker, (value.__name__,)


def _new_type(value: Any) -> Reduced:
    return typing.NewType, (value.__qualname__, value.__supertype__), {"__module__": value.__module__}


def _alias_maker(name: str, module: str, parameters: tuple[Any, ...] | None, value: str, values: dict[Any, Any]) -> Any:
    # Goes to the receiver as code: only what a `type` statement makes has a value that is looked up when asked for.
    space = {"__name__": module, "values": values}
    code = compile("type X = " + value, "rudf", "exec")
    # Its name and its type parameters are constants of the statement.
    constants = tuple({"X": name, None: parameters}.get(part, part) for part in code.co_consts)
    exec(code.replace(co_consts=constants), space)
    return space["X"]


def _type_alias(alias: Any) -> Reduced:
    maker = _by_value(_alias_maker)
    arguments = (alias.__name__, alias.__module__, alias.__type_params__ or None)
    try:
        value = alias.__value__
    except NameError as error:
        # A name for type checkers only, or one that comes later: it is missing at the receiver, too.
        return maker, (*arguments, error.name, {}), None
    # The value may lead back to the alias, so it is set afterwards.
    values: dict[Any, Any] = {}
    return maker, (*arguments, "values[X]", values), value, None, None, functools.partial(operator.setitem, values)


def _structure(value: struct.Struct) -> Reduced:
    return struct.Struct, (value.format,)


def _mapping_proxy(value: types.MappingProxyType[Any, Any]) -> Reduced:
    (mapping,) = gc.get_referents(value)
    if "__module__" in value and "__doc__" in value:
        # That of a class, which may change while it is pickled.
        mapping = dict(value)
    return types.MappingProxyType, (mapping,)


def _descriptor(value: Any) -> Reduced:
    return getattr, (value.__objclass__, value.__name__)


def _sentinel(name: str) -> Callable[[Any], Reduced | str]:
    """Reducer of a value of ``dataclasses`` that is compared by identity.

    A class that a worker has sent back with cloudpickle holds a copy, which goes as the original.
    """

    def reduce(value: Any) -> Reduced | str:
        return name if value is vars(dataclasses)[name] else (getattr, (dataclasses, name))

    return reduce


def _context_variable(value: contextvars.ContextVar[Any]) -> Reduced:
    # What it is set to belongs to a context of this process; in an empty one it has its default.
    try:
        default = contextvars.Context().run(value.get)
    except LookupError:
        return contextvars.ContextVar, (value.name,)
    return functools.partial(contextvars.ContextVar, default=default), (value.name,)


#: Reducers that are always used, by exact type.
ALWAYS: dict[type, Callable[[Any], Reduced | str]] = {
    **{kind: _view(method) for kind, method in _views.items()},
    memoryview: _memoryview,
    types.MappingProxyType: _mapping_proxy,
    struct.Struct: _structure,
    types.GetSetDescriptorType: _descriptor,
    types.MemberDescriptorType: _descriptor,
    io.TextIOWrapper: _text_file,
    functools.cached_property: _cached_property,
    weakref.WeakSet: _weak_set,
    # Compared by identity: the receiver has its own.
    type(dataclasses.MISSING): _sentinel("MISSING"),
    type(dataclasses.KW_ONLY): _sentinel("KW_ONLY"),
    type(vars(dataclasses)["_HAS_DEFAULT_FACTORY"]): _sentinel("_HAS_DEFAULT_FACTORY"),
    type(vars(dataclasses)["_FIELD"]): lambda kind: _sentinel(kind.name)(kind),
    weakref.WeakKeyDictionary: _weak_mapping,
    # By its name, where a module that can be imported has it under that.
    contextvars.ContextVar: lambda value: str(value.name),
    weakref.WeakValueDictionary: _weak_mapping,
}

#: Reducers by base class, for subclasses that do not say how to reduce themselves.
SUBCLASSES: dict[type, Callable[[Any], Reduced | str]] = {
    property: _property,
    staticmethod: _wrapped,
    classmethod: _wrapped,
    functools.cached_property: _cached_property,
}

#: Reducers for objects that reduce to a name, when the receiver cannot import that name.
UNNAMED: dict[type, Callable[[Any], Reduced | str]] = {
    functools._lru_cache_wrapper: _lru_cache,
    typing.TypeVar: _type_var,
    typing.ParamSpec: _old_type_var,
    typing.NewType: _new_type,
    contextvars.ContextVar: _context_variable,
}
if hasattr(typing, "TypeVarTuple"):
    UNNAMED[typing.TypeVarTuple] = _type_var_tuple
if hasattr(typing, "TypeAliasType"):
    UNNAMED[typing.TypeAliasType] = _type_alias

_native.pickle_set_reducers(ALWAYS, SUBCLASSES, UNNAMED)
