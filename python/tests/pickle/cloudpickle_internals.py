"""The private names of cloudpickle that its own test suite reaches into, on top of rudf's pickler.

For ``cloudpickle_suite.sh rudf.pickle --internals cloudpickle_internals --path python/tests/pickle``.
"""

from __future__ import annotations

import sys
import types
import typing
import warnings
import weakref
from typing import Any

from rudf import _native
from rudf.pickle import list_registry_pickle_by_value


def _reference(obj: Any, name: str | None) -> tuple[Any, str] | None:
    return _native.pickle_reference(obj, name, list(list_registry_pickle_by_value()))


def _lookup_module_and_qualname(obj: Any, name: str | None = None) -> tuple[Any, str] | None:
    return _reference(obj, name)


def _should_pickle_by_reference(obj: Any, name: str | None = None) -> bool:
    if isinstance(obj, types.ModuleType):
        registered = list_registry_pickle_by_value()
        parts = obj.__name__.split(".")
        if any(".".join(parts[:length]) in registered for length in range(1, len(parts) + 1)):
            return False
        return obj.__name__ in sys.modules
    if not isinstance(obj, (types.FunctionType, type)) and not hasattr(obj, "__name__"):
        raise TypeError("cannot check importability of object instances")
    return _reference(obj, name) is not None


def _whichmodule(obj: Any, name: str) -> str | None:
    found = _native.pickle_module_of(obj, name)
    return None if found is None else str(found)


def _extract_code_globals(code: types.CodeType) -> dict[str, None]:
    return _native.pickle_code_globals(code)


def _make_empty_cell() -> types.CellType:
    return types.CellType()


def _extract_class_dict(cls: type) -> dict[str, Any]:
    inherited: dict[str, Any] = {}
    for base in reversed(cls.__bases__):
        inherited.update(base.__dict__)
    return {name: value for name, value in sorted(vars(cls).items()) if inherited.get(name, ...) is not value}


def is_tornado_coroutine(function: Any) -> bool:
    warnings.warn("ask tornado.gen.is_coroutine_function", DeprecationWarning, stacklevel=2)
    try:
        from tornado import gen
    except ImportError:
        return False
    return bool(gen.is_coroutine_function(function))


# What pickles written by cloudpickle itself name: enough of it to read its old ones.

_tracked: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def _builtin_type(name: str) -> Any:
    return types.CodeType if name == "CodeType" else getattr(types, name)


def _make_cell(value: Any) -> types.CellType:
    return types.CellType(value)


def _make_function(code: Any, globals_: Any, name: Any, defaults: Any, closure: Any) -> Any:
    globals_["__builtins__"] = __builtins__
    return types.FunctionType(code, globals_, name, defaults, closure)


def _function_setstate(function: Any, state: Any) -> None:
    attributes, slots = state
    function.__dict__.update(attributes)
    function.__globals__.update(slots.pop("__globals__"))
    slots.pop("_cloudpickle_submodules")
    for cell, value in zip(function.__closure__ or (), slots.pop("__closure__") or (), strict=False):
        try:
            cell.cell_contents = value.cell_contents
        except ValueError:
            continue
    for name, value in slots.items():
        setattr(function, name, value)


def _make_skeleton_class(kind: Any, name: str, bases: Any, keywords: Any, tracker: str, extra: Any) -> Any:
    cls = types.new_class(name, bases, {"metaclass": kind}, lambda space: space.update(keywords))
    return _tracked.setdefault(tracker, cls)


def _make_skeleton_enum(
    bases: Any, name: str, qualname: str, members: Any, module: str, tracker: str, extra: Any
) -> Any:
    base = bases[-1]
    cls = base(name, members, module=module, qualname=qualname)
    return _tracked.setdefault(tracker, cls)


def _class_setstate(cls: Any, state: Any) -> Any:
    attributes, _ = state
    for name, value in attributes.items():
        if name != "_abc_impl":
            setattr(cls, name, value)
    return cls


def _make_typevar(name: str, bound: Any, constraints: Any, covariant: Any, contravariant: Any, tracker: str) -> Any:
    variable = typing.TypeVar(  # type: ignore[misc]
        name, *constraints, bound=bound, covariant=covariant, contravariant=contravariant
    )
    return _tracked.setdefault(tracker, variable)


def dynamic_subimport(name: str, variables: dict[str, Any]) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(variables)
    module.__dict__["__builtins__"] = __builtins__
    return module


def subimport(name: str) -> types.ModuleType:
    __import__(name)
    return sys.modules[name]
