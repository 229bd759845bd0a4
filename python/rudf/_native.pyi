"""The extension module: see ``rust/python``."""

from collections.abc import Callable, Mapping
from pickle import PickleBuffer
from typing import Any

def pickle_dumps(
    obj: Any,
    protocol: int | None = None,
    buffer_callback: Callable[[PickleBuffer], Any] | None = None,
    by_value: list[str] = ...,
    extra_reducers: Mapping[type, Callable[[Any], Any]] | None = None,
) -> bytes: ...
