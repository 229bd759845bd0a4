"""Has PySpark pickle through rudf on the driver: swaps what PySpark looks up at each call, and puts it back.

All of PySpark's own pickling by value goes through two attributes of the package ``pyspark.cloudpickle``, which are
looked up at each call; the values of broadcast variables go through ``Broadcast.dump``. Nothing else is touched, and
nothing on the workers: they load rudf's bytes with the standard library, and pickle with PySpark's own copy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pickle import PickleError, PicklingError
from typing import Any

from rudf import _native, pickle, sizes

__all__ = ["install", "installed", "is_installed", "uninstall"]


class _Swapped:
    """What the swap has replaced, and who wants it to last."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lasting = False
        self.blocks = 0
        #: Original and replacement of each attribute, by its holder and name.
        self.attributes: dict[tuple[Any, str], tuple[Any, Any]] = {}

    @property
    def active(self) -> bool:
        return self.lasting or self.blocks > 0


_swapped = _Swapped()


def install() -> None:
    """Have all of PySpark pickle through rudf in this process, until :func:`uninstall`.

    UDFs of every kind, functions and rows of RDDs, values of broadcast variables, ``foreachBatch``, UDTFs, data
    sources and the plans of Spark Connect. Calling it again changes nothing.

    Raises
    ------
    ImportError
        Where PySpark is not installed.
    """
    with _swapped.lock:
        _swap()
        _swapped.lasting = True


def uninstall() -> None:
    """Undo :func:`install`. Blocks of :func:`installed` that are open keep what they asked for."""
    with _swapped.lock:
        _swapped.lasting = False
        _restore()


@contextmanager
def installed() -> Iterator[None]:
    """Have PySpark pickle through rudf inside a ``with`` block, for all threads of the process.

    Blocks may overlap, in one thread or in several; the last one to end puts things back, unless :func:`install` was
    called.
    """
    with _swapped.lock:
        _swap()
        _swapped.blocks += 1
    try:
        yield
    finally:
        with _swapped.lock:
            _swapped.blocks -= 1
            _restore()


def is_installed() -> bool:
    """Tell whether PySpark pickles through rudf now."""
    return _swapped.active


def _swap() -> None:
    import pyspark.cloudpickle as package

    replacements: list[tuple[Any, str, Callable[[Any], Any]]] = [(package, "dumps", _dumps), (package, "dump", _dump)]
    try:
        from pyspark import Broadcast
    except ImportError:  # PySpark's client for Spark Connect has no broadcast variables.
        pass
    else:
        replacements.append((Broadcast, "dump", _broadcast_dump))
    for holder, name, make in replacements:
        if (holder, name) in _swapped.attributes:
            continue
        original = getattr(holder, name)
        replacement = make(original)
        # A function of the user's may hold one of these: it travels under the name that a worker knows.
        replacement.__module__ = holder.__name__ if holder is package else holder.__module__
        replacement.__name__ = name
        replacement.__qualname__ = name if holder is package else f"{holder.__qualname__}.{name}"
        replacement.__doc__ = original.__doc__
        setattr(holder, name, replacement)
        _swapped.attributes[holder, name] = original, replacement


def _restore() -> None:
    if _swapped.active:
        return
    for (holder, name), (original, replacement) in list(_swapped.attributes.items()):
        # Where someone has wrapped ours since, it stays below theirs and hands on to the original.
        if getattr(holder, name) is replacement:
            setattr(holder, name, original)
            del _swapped.attributes[holder, name]


def _pickled(obj: Any, protocol: int | None, buffer_callback: Any) -> bytes:
    from pyspark.cloudpickle import cloudpickle

    registered: set[str] = cloudpickle.list_registry_pickle_by_value()  # type: ignore[no-untyped-call]
    try:
        # Workers pickle what they send back with PySpark's own pickler: it is told the classes that travel.
        return _native.pickle_dumps(obj, protocol, buffer_callback, pickle._names(registered), True)
    except (PickleError, MemoryError):
        raise
    except Exception as error:
        raise PicklingError(f"Could not serialize object: {_text(error)}") from error


def _text(error: Exception) -> str:
    """Name an exception of the user's code, with the path to where it came from."""
    notes = getattr(error, "__notes__", ())
    return ": ".join([type(error).__name__, str(error), *(note for note in notes if isinstance(note, str))])


def _dumps(original: Callable[..., bytes]) -> Callable[..., bytes]:
    def dumps(obj: Any, protocol: int | None = None, buffer_callback: Any = None) -> bytes:
        if not _swapped.active or protocol in (0, 1):
            return original(obj, protocol, buffer_callback)
        payload = _pickled(obj, protocol, buffer_callback)
        sizes.check(obj, payload)
        return payload

    return dumps


def _dump(original: Callable[..., None]) -> Callable[..., None]:
    def dump(obj: Any, file: Any, protocol: int | None = None, buffer_callback: Any = None) -> None:
        if not _swapped.active or protocol in (0, 1):
            original(obj, file, protocol, buffer_callback)
        else:
            file.write(_pickled(obj, protocol, buffer_callback))

    return dump


def _broadcast_dump(original: Callable[..., None]) -> Callable[..., None]:
    def dump(self: Any, value: Any, f: Any) -> None:
        if not _swapped.active:
            original(self, value, f)
            return
        try:
            f.write(_pickled(value, None, None))
        except PickleError as error:
            text = str(error).removeprefix("Could not serialize object: ")
            raise PicklingError(f"Could not serialize broadcast: {text}") from error.__cause__
        f.close()

    return dump
