"""The private names of cloudpickle that its own test suite reaches into, on top of rudf's pickler.

For ``cloudpickle_suite.sh rudf.pickle --internals cloudpickle_internals --path python/tests/pickle``.
"""

from __future__ import annotations

import types
from typing import Any

from rudf import _native
from rudf.pickle import list_registry_pickle_by_value


def _reference(obj: Any, name: str | None) -> tuple[Any, str] | None:
    return _native.pickle_reference(obj, name, list(list_registry_pickle_by_value()))


def _lookup_module_and_qualname(obj: Any, name: str | None = None) -> tuple[Any, str] | None:
    return _reference(obj, name)


def _should_pickle_by_reference(obj: Any, name: str | None = None) -> bool:
    if isinstance(obj, types.ModuleType):
        import sys

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
    try:
        from tornado import gen
    except ImportError:
        return False
    return bool(gen.is_coroutine_function(function))
