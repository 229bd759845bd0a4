"""Pickling by value: functions, lambdas, closures, classes and all they use travel in the bytes.

What :func:`dumps` writes loads with the standard library's :func:`pickle.loads` alone: the receiver needs neither
rudf nor cloudpickle, only the same minor version of Python. Pickles are code: load them only from where you would
run code from.
"""

from __future__ import annotations

import copyreg
import pickle as _pickle
import re
import sys
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pickle import HIGHEST_PROTOCOL, PickleError, PicklingError, UnpicklingError
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from rudf import _native
from rudf import _pickle_reducers as _pickle_reducers
from rudf._version import __version__

if TYPE_CHECKING:
    from rudf.sizes import Explanation, Part, explain
    from rudf.takeover import install, installed, is_installed, uninstall

__all__ = [
    "DEFAULT_PROTOCOL",
    "HIGHEST_PROTOCOL",
    "CloudPickler",
    "Explanation",
    "Part",
    "PickleError",
    "Pickler",
    "PicklingError",
    "UnpicklingError",
    "__version__",
    "dump",
    "dumps",
    "explain",
    "install",
    "installed",
    "is_installed",
    "list_registry_pickle_by_value",
    "load",
    "loads",
    "register_pickle_by_value",
    "uninstall",
    "unregister_pickle_by_value",
]

# Imported when they are first asked for: a worker needs none of them.
_LAZY = {
    "Explanation": "rudf.sizes",
    "Part": "rudf.sizes",
    "explain": "rudf.sizes",
    "install": "rudf.takeover",
    "installed": "rudf.takeover",
    "is_installed": "rudf.takeover",
    "uninstall": "rudf.takeover",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'rudf.pickle' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


#: cloudpickle's users reach the standard library's module through its namespace: Ray does.
pickle = _pickle

#: The protocol that is written when none is asked for.
DEFAULT_PROTOCOL: int = 5

#: Names of the modules registered to go by value in every pickle of this process.
_by_value_modules: set[str] = set()

_pickle_dumps = _native.pickle_dumps

BufferCallback = Callable[[_pickle.PickleBuffer], Any]


class _Writable(Protocol):
    def write(self, data: bytes, /) -> Any: ...


def register_pickle_by_value(module: ModuleType) -> None:
    """Have the functions and classes of a module travel by value in every pickle of this process.

    Submodules are included. For a single pickle use the argument ``by_value`` of :func:`dumps`.

    Parameters
    ----------
    module
        An imported module: the receiver does not have it, or has another version.
    """
    if not isinstance(module, ModuleType):
        raise ValueError(f"Input should be a module object, got {module!s} instead")
    if module.__name__ not in sys.modules:
        raise ValueError(f"{module} was not imported correctly, have you used an `import` statement to access it?")
    _by_value_modules.add(module.__name__)


def unregister_pickle_by_value(module: ModuleType) -> None:
    """Undo :func:`register_pickle_by_value`."""
    if not isinstance(module, ModuleType):
        raise ValueError(f"Input should be a module object, got {module!s} instead")
    if module.__name__ not in _by_value_modules:
        raise ValueError(f"{module} is not registered for pickle by value")
    _by_value_modules.remove(module.__name__)


def list_registry_pickle_by_value() -> set[str]:
    """Names of the modules that are registered to go by value: a copy."""
    return _by_value_modules.copy()


def _names(by_value: Iterable[ModuleType | str]) -> list[str]:
    """Names of the modules of one call and of the registry."""
    if isinstance(by_value, str):
        raise TypeError(f"by_value takes several modules: write by_value=[{by_value!r}]")
    return [*_by_value_modules, *(module if isinstance(module, str) else module.__name__ for module in by_value)]


def _check_callback(protocol: int | None) -> None:
    if protocol is not None and 0 <= protocol < 5:
        raise ValueError("buffer_callback needs protocol >= 5")


def dumps(
    obj: Any,
    protocol: int | None = None,
    buffer_callback: BufferCallback | None = None,
    *,
    by_value: Iterable[ModuleType | str] = (),
) -> bytes:
    """Pickle an object, with the functions and classes it holds by value.

    Parameters
    ----------
    obj
        What to pickle.
    protocol
        2 to 5; the highest by default.
    buffer_callback
        Called with each large buffer, which then stays out of the bytes unless the call returns a true value
        (PEP 574, protocol 5).
    by_value
        Modules, or their names, whose functions and classes are to travel by value in this one pickle although they
        can be imported here. Submodules are included.

    Returns
    -------
    bytes
        For ``pickle.loads``.

    Raises
    ------
    pickle.PicklingError
        If something cannot be pickled; the message holds the path that leads to it.
    """
    if buffer_callback is not None:
        _check_callback(protocol)
    if _shared_reducers:
        hooks = (Pickler.dispatch_table, None, None)
        number = DEFAULT_PROTOCOL if protocol is None else protocol
        return _native.PickleMemo().dump(obj, number, True, buffer_callback, _names(by_value), hooks)
    if by_value or _by_value_modules:
        return _pickle_dumps(obj, protocol, buffer_callback, _names(by_value))
    return _pickle_dumps(obj, protocol, buffer_callback)


def dump(
    obj: Any,
    file: _Writable,
    protocol: int | None = None,
    buffer_callback: BufferCallback | None = None,
    *,
    by_value: Iterable[ModuleType | str] = (),
) -> None:
    """Write :func:`dumps` of an object to a file that is open for writing bytes."""
    file.write(dumps(obj, protocol, buffer_callback, by_value=by_value))


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def readline(self) -> bytes: ...


def loads(
    data: Any,
    /,
    *,
    fix_imports: bool = True,
    encoding: str = "ASCII",
    errors: str = "strict",
    buffers: Iterable[Any] | None = (),
) -> Any:
    """Load a pickle, whoever wrote it: the standard library's :func:`pickle.loads`, with errors that say what is wrong.

    Parameters
    ----------
    data
        A bytes-like object.
    fix_imports, encoding, errors, buffers
        See :func:`pickle.loads`.

    Raises
    ------
    pickle.UnpicklingError
        If the bytes are no pickle, are damaged, or hold code that another version of Python wrote; also if ``data``
        is not bytes. What the reader of the standard library raises for it is a base of the exception, too.
    EOFError
        If there are no bytes.
    """
    try:
        return _pickle.loads(data, fix_imports=fix_imports, encoding=encoding, errors=errors, buffers=buffers)
    except Exception as error:
        raise _explained(error) from error.__cause__


def load(
    file: _Readable,
    /,
    *,
    fix_imports: bool = True,
    encoding: str = "ASCII",
    errors: str = "strict",
    buffers: Iterable[Any] | None = (),
) -> Any:
    """Load a pickle from a file that is open for reading bytes: see :func:`loads`."""
    try:
        return _pickle.load(file, fix_imports=fix_imports, encoding=encoding, errors=errors, buffers=buffers)
    except Exception as error:
        raise _explained(error) from error.__cause__


#: What is said of a stamp that is not this Python's: see ``rust/pickle/src/facts.rs``.
_STAMP = re.compile(r"(?:bad magic number in |\()'(pickled by Python [0-9.]+)")


def _explained(error: Exception) -> Exception:
    """Make an exception of the reader say what is wrong with the pickle; leave those of the objects' own code alone."""
    stamp = _STAMP.match(str(error)) if isinstance(error, (ImportError, KeyError)) else None
    if stamp:
        return _unpickling_error(type(error), f"{stamp[1]}, loading on {sys.version_info[0]}.{sys.version_info[1]}")
    below = error.__traceback__ and error.__traceback__.tb_next
    if below or isinstance(error, (UnpicklingError, EOFError, ImportError, AttributeError, RecursionError, OSError)):
        # Something else than the reader itself has raised it, or it is plain enough.
        return error
    for kind in (TypeError, ValueError, LookupError, OverflowError, MemoryError):
        if isinstance(error, kind):
            return _unpickling_error(kind, f"this is no pickle, or a damaged one: {type(error).__name__}: {error}")
    return error


def _unpickling_error(kind: type[Exception], message: str) -> Exception:
    """Return an ``UnpicklingError`` that callers who expect what the standard library raises will catch as well."""

    def reduce(error: Exception) -> tuple[Any, ...]:
        # On its way to another process, as that of a pool, it is the plain one.
        return UnpicklingError, error.args

    # `KeyError` would show the sentence in quotes.
    names = {"__module__": "pickle", "__str__": Exception.__str__, "__reduce__": reduce}
    both: type[Exception] = type("UnpicklingError", (UnpicklingError, kind), names)
    return both(message)


#: Reducers by type that are used for every pickle: what is put into `Pickler.dispatch_table`.
_shared_reducers: dict[Any, Any] = {}


class _DispatchTable:
    """Reducers by type: those of all picklers, and for each pickler that is asked for them its own on top."""

    def __init__(self) -> None:
        self.shared: ChainMap[Any, Any] = ChainMap(_shared_reducers, copyreg.dispatch_table)

    def __get__(self, pickler: Pickler | None, owner: type | None = None) -> Any:
        if pickler is None:
            return self.shared
        return vars(pickler).setdefault("dispatch_table", self.shared.new_child())


class Pickler:
    """Pickles several objects into one file, remembering what it has written.

    Made to be subclassed as the standard library's: override ``persistent_id`` or ``reducer_override``, or give the
    class or an instance a ``dispatch_table``.

    Parameters
    ----------
    file
        Anything with ``write``.
    protocol
        2 to 5; the highest by default.
    fix_imports
        Write the module names of Python 2 (protocol 2 only). A function is taken for ``buffer_callback``, which is the
        third argument of cloudpickle's class.
    buffer_callback
        See :func:`dumps`.
    by_value
        See :func:`dumps`.
    """

    #: Reducers by type. Starts with what ``copyreg`` knows, and follows it. What is put into it holds for :func:`dumps`
    #: as well; what is put into that of an instance is the instance's own.
    dispatch_table: ClassVar[Any] = _DispatchTable()
    #: The same: Ray registers its reducers under this name.
    dispatch: ClassVar[Any] = dispatch_table

    def __init__(
        self,
        file: _Writable,
        protocol: int | None = None,
        fix_imports: bool | BufferCallback = True,
        buffer_callback: BufferCallback | None = None,
        *,
        by_value: Iterable[ModuleType | str] = (),
    ) -> None:
        if callable(fix_imports):
            buffer_callback, fix_imports = fix_imports, True
        if buffer_callback is not None:
            _check_callback(protocol)
        if not callable(getattr(file, "write", None)):
            raise TypeError("file must have a 'write' attribute")
        if protocol is None or protocol < 0:
            protocol = DEFAULT_PROTOCOL
        self.proto = protocol
        self._write = file.write
        self._fix_imports = bool(fix_imports)
        self._buffer_callback = buffer_callback
        self._by_value = tuple(by_value)
        self._memo = _native.PickleMemo()

    def dump(self, obj: Any) -> None:
        """Write a pickle of ``obj`` to the file."""
        try:
            memo = self._memo
        except AttributeError:
            raise PicklingError(f"Pickler.__init__() was not called by {type(self).__name__}.__init__()") from None
        payload = memo.dump(
            obj, self.proto, self._fix_imports, self._buffer_callback, _names(self._by_value), self._hooks()
        )
        self._write(payload)

    def _hooks(self) -> tuple[Any, Any, Any]:
        """Find what a subclass or an instance has changed: dispatch table, reducer, persistent ids."""
        shared = Pickler.dispatch_table
        table = vars(self).get("dispatch_table", shared) if type(self).dispatch_table is shared else self.dispatch_table
        if isinstance(table, ChainMap) and table.maps[-1] is copyreg.dispatch_table and not any(table.maps[:-1]):
            table = None
        override = self.reducer_override if _is_changed(self, "reducer_override") else None
        if "reducer_override" in vars(self) and not callable(override):
            raise TypeError(f"reducer_override must be callable, not {type(override).__name__}")
        persistent = self.persistent_id if _is_changed(self, "persistent_id") else None
        return table, override, persistent

    def reducer_override(self, obj: Any) -> Any:
        """Reduce an object, or return ``NotImplemented`` to have it pickled as usual."""
        return NotImplemented

    def persistent_id(self, obj: Any) -> Any:
        """Name an object that stays out of the pickle, or return ``None``."""
        return None

    def clear_memo(self) -> None:
        """Forget what has been written, so that the next dump stands alone."""
        self._memo.clear()

    @property
    def memo(self) -> PicklerMemo:
        """What has been written: number and object by the object's ``id``. May be set to another pickler's."""
        return PicklerMemo(self._memo)

    @memo.setter
    def memo(self, entries: Mapping[int, tuple[int, Any]]) -> None:
        if not isinstance(entries, Mapping):
            raise TypeError(f"'memo' attribute must be a pickler's memo or a dict, not {type(entries).__name__}")
        self._memo.restore(dict(entries))


class PicklerMemo(Mapping[int, tuple[int, Any]]):
    """The memo of a :class:`Pickler`: a view of what it has written.

    Parameters
    ----------
    memo
        What the pickler keeps.
    """

    def __init__(self, memo: _native.PickleMemo) -> None:
        self._memo = memo

    def __getitem__(self, address: int) -> tuple[int, Any]:
        return self._memo.copy()[address]

    def __iter__(self) -> Iterator[int]:
        return iter(self._memo.copy())

    def __len__(self) -> int:
        return len(self._memo.copy())

    def copy(self) -> dict[int, tuple[int, Any]]:
        """Return the entries as they are now."""
        return self._memo.copy()

    def clear(self) -> None:
        """Have the pickler forget what it has written."""
        self._memo.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self._memo.copy(),)


def _is_changed(pickler: Pickler, name: str) -> bool:
    """Whether a subclass or the instance has a method of its own."""
    return name in vars(pickler) or getattr(type(pickler), name) is not getattr(Pickler, name)


#: The name under which cloudpickle's users know it.
CloudPickler = Pickler
