"""Pickling by value: functions travel with their code, closures and globals.

What :func:`dumps` writes is read by the standard library's ``pickle.loads``, in an interpreter of the same minor
version that needs neither rudf nor cloudpickle. As with every pickle: loading one runs code, so load only what you trust.
"""

from __future__ import annotations

from pickle import load, loads
from typing import IO, Any

from rudf import _native

__all__ = ["dump", "dumps", "load", "loads"]


def dumps(obj: Any, protocol: int | None = None) -> bytes:
    """Pickle an object, functions that the receiver cannot import by value.

    Parameters
    ----------
    obj : object
        Anything; what cannot be pickled is named with the path to it.
    protocol : int, optional
        4 or 5 (the default).

    Raises
    ------
    pickle.PicklingError
        With the path from ``obj`` to what cannot be pickled.
    """
    return _native.dumps(obj, protocol)


def dump(obj: Any, file: IO[bytes], protocol: int | None = None) -> None:
    """Pickle an object into a file that is open for writing bytes."""
    file.write(dumps(obj, protocol))
