"""Pickling by value: functions, lambdas, closures and all they use travel in the bytes.

What :func:`dumps` writes loads with the standard library's :func:`pickle.loads` alone: the receiver needs neither
rudf nor cloudpickle, only the same minor version of Python. Pickles are code: load them only from where you would
run code from.
"""

from __future__ import annotations

import io
import pickle as _pickle
from collections.abc import Callable, Iterable
from pickle import HIGHEST_PROTOCOL, PicklingError, UnpicklingError, load, loads
from types import ModuleType
from typing import Any

from rudf import _native

__all__ = [
    "DEFAULT_PROTOCOL",
    "HIGHEST_PROTOCOL",
    "PicklingError",
    "UnpicklingError",
    "dump",
    "dumps",
    "load",
    "loads",
]

#: The protocol that is written when none is asked for.
DEFAULT_PROTOCOL: int = 5


def dumps(
    obj: Any,
    protocol: int | None = None,
    *,
    buffer_callback: Callable[[_pickle.PickleBuffer], Any] | None = None,
    by_value: Iterable[ModuleType | str] = (),
) -> bytes:
    """Pickle an object, with the functions it holds by value.

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
    if buffer_callback is not None and protocol is not None and 0 <= protocol < 5:
        raise ValueError("buffer_callback needs protocol >= 5")
    names = [module if isinstance(module, str) else module.__name__ for module in by_value]
    return _native.pickle_dumps(obj, protocol, buffer_callback, names, None)


def dump(
    obj: Any,
    file: io.BufferedIOBase,
    protocol: int | None = None,
    *,
    buffer_callback: Callable[[_pickle.PickleBuffer], Any] | None = None,
    by_value: Iterable[ModuleType | str] = (),
) -> None:
    """Write :func:`dumps` of an object to an open binary file."""
    file.write(dumps(obj, protocol, buffer_callback=buffer_callback, by_value=by_value))
