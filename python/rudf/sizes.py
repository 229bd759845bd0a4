"""What goes into a pickle and how much of it each part takes; a warning where that is a lot.

The sizes are those of the very bytes: the pickler says where it stands before and after each object.
"""

from __future__ import annotations

import dataclasses
import json
import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from rudf import _native

__all__ = ["DEFAULT_WARN_BYTES", "WARN_CONF", "Explanation", "Part", "check", "explain", "set_warn_bytes"]

WARN_CONF = "spark.rudf.pickle.warnBytes"
DEFAULT_WARN_BYTES = 1 << 20

#: A part with less than this share of the whole is counted with others in the text, unless a function names it.
_SHARE = 0.01
#: So many variables of one function are shown one by one.
_NAMED = 20
#: Of more functions than these is not remembered whether they were warned of.
_MOST_KEYS = 10_000
_VARIABLE = re.compile(r"(closure|global) '")


@dataclass(frozen=True)
class Part:
    """One object in a pickle.

    Attributes
    ----------
    label
        What it is to its holder: ``closure 'x'``, ``global 'x'``, ``.attribute``, ``['key']``, ``[0]``; empty for the
        whole.
    type
        ``function f``, ``class C``, ``module m``, or the name of its type.
    how
        ``value``: its definition travels. ``reference``: the receiver imports it. ``data``: an object and its state.
        ``shared``: it is in the bytes already, and this is a pointer to it.
    why
        The reason, for functions, classes and modules.
    size
        Bytes, all of its parts included.
    parts
        By falling size; for large containers the largest ones.
    others
        How many more parts there are, ``others_size`` bytes together.
    """

    label: str
    type: str
    how: str
    why: str
    size: int
    parts: tuple[Part, ...]
    others: int
    others_size: int


@dataclass(frozen=True)
class Explanation:
    """What :func:`explain` returns: text with ``str``, JSON with :meth:`to_json`."""

    name: str
    size: int
    root: Part

    def largest(self, count: int = 3) -> list[tuple[str, Part]]:
        """Return the variables, by their path, that take the most bytes."""
        found = sorted(_contributors(self.root, ""), key=lambda item: -item[1].size)
        return found[:count]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain dictionaries and lists."""
        return dataclasses.asdict(self)

    def to_json(self, indent: int | None = None) -> str:
        """Return :meth:`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=indent)

    def __str__(self) -> str:
        width = len(f"{self.size:,}")
        lines = [f"{self.size:>{width},}  {_description(self.root)}"]
        for depth, size, text in _lines(self.root, self.size, 1):
            lines.append(f"{size:>{width},}  {'  ' * depth}{text}")
        return "\n".join(lines)


def explain(obj: Any, *, by_value: Iterable[ModuleType | str] = ()) -> Explanation:
    """Tell what goes into the pickle of an object: each part with its size, by value or by reference, and why.

    Parameters
    ----------
    obj
        A function, a class, a UDF of PySpark or of rudf (its function is explained), or any object.
    by_value
        See :func:`rudf.pickle.dumps`.

    Raises
    ------
    pickle.PicklingError
        As :func:`rudf.pickle.dumps` does.

    Examples
    --------
    >>> table = list(range(100_000))
    >>> print(explain(lambda key: table[key]))  # doctest: +SKIP
    383,143  function <lambda> by value: __main__ is another module at the receiver
    382,876    global 'table': list
        167    code: job.py, line 2
    """
    from rudf.pickle import _names

    if hasattr(obj, "evalType") and callable(getattr(obj, "func", None)):
        obj = obj.func
    size, tree = _native.pickle_explain(obj, None, _names(by_value))
    name = getattr(obj, "__qualname__", None)
    return Explanation(name if isinstance(name, str) else type(obj).__qualname__, size, _part(tree))


def _part(tree: tuple[Any, ...]) -> Part:
    label, type_name, how, why, size, parts, others, others_size = tree
    return Part(label, type_name, how, why, size, tuple(map(_part, parts)), others, others_size)


def _is_code(part: Part) -> bool:
    """Tell whether what the part holds are variables of a function, attributes of a class or members of a module."""
    return part.how == "value"


def _description(part: Part) -> str:
    if part.how == "data":
        return part.type
    how = "shared" if part.how == "shared" else f"by {part.how}"
    return f"{part.type} {how}: {part.why}" if part.why else f"{part.type} {how}"


def _lines(part: Part, whole: int, depth: int) -> Iterator[tuple[int, int, str]]:
    """Yield depth, size and text of the parts that are worth a line."""
    others, others_size = part.others, part.others_size
    named = 0
    for inner in part.parts:
        is_named = _is_code(part) and named < _NAMED and _VARIABLE.match(inner.label) is not None
        named += is_named
        if inner.size >= whole * _SHARE or is_named:
            yield depth, inner.size, f"{inner.label}: {_description(inner)}"
            yield from _lines(inner, whole, depth + 1)
        else:
            others += 1
            others_size += inner.size
    if others and others_size >= whole * _SHARE:
        yield depth, others_size, f"… {others:,} more"


def _contributors(part: Part, path: str) -> Iterator[tuple[str, Part]]:
    """Yield what functions and classes hold, with the way to it."""
    inner_parts = [inner for inner in part.parts if inner.label not in ("code", "registry of classes")]
    if (_is_code(part) or not path) and inner_parts:
        for inner in inner_parts:
            yield from _contributors(inner, f"{path} → {inner.label}" if path else inner.label)
    elif path:
        yield path, part


class _Warned:
    """The limit, and which functions it was said of."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.limit: int | None = None
        self.keys: set[tuple[str, ...]] = set()


_warned = _Warned()


def set_warn_bytes(limit: int | str | None) -> None:
    """Warn of functions whose pickle is larger, where the application's conf does not say.

    Parameters
    ----------
    limit
        Bytes, or a text such as ``4m``; zero or less for no warnings; None for the default, 1 MB.
    """
    _warned.limit = None if limit is None else _bytes(limit)


def check(obj: Any, payload: bytes) -> None:
    """Warn, once for each function, where a pickled function, class or command of PySpark is larger than the limit.

    Rows and other data are not looked at. What takes the bytes is found out only when there is something to say.
    """
    root = obj[0] if isinstance(obj, tuple) and obj else obj
    if not callable(root):
        return
    limit = _limit()
    if not 0 < limit < len(payload):
        return
    name = (str(getattr(root, "__module__", "")), str(getattr(root, "__qualname__", type(root))))
    if not _first_time((*name, str(len(payload)))):
        return
    explanation = explain(root)
    largest = explanation.largest()
    # PySpark wraps functions of RDDs in its own, which all have the same names: the variables tell them apart.
    if _first_time((*name, *(path for path, _ in largest))):
        from rudf.notice import frames_of_rudf

        text = _sentence(explanation, len(payload), limit, largest)
        warnings.warn(text, RuntimeWarning, stacklevel=frames_of_rudf())


def _first_time(key: tuple[str, ...]) -> bool:
    with _warned.lock:
        if len(_warned.keys) > _MOST_KEYS:
            _warned.keys.clear()
        before = len(_warned.keys)
        _warned.keys.add(key)
        return len(_warned.keys) > before


def _sentence(explanation: Explanation, size: int, limit: int, largest: list[tuple[str, Part]]) -> str:
    parts = ", ".join(f"{path} ({part.type}, {part.size:,} bytes)" for path, part in largest if part.size * 50 > size)
    return (
        f"the pickle of `{explanation.name}` has {size:,} bytes, and workers get it for every stage that uses it; the "
        f"largest parts: {parts or 'its code'}. Broadcast them with SparkContext.broadcast, or load them inside the "
        f"function. (The limit {WARN_CONF} is {limit:,}; rudf.pickle.explain tells everything.)"
    )


def _limit() -> int:
    from rudf.session import running_context

    context = running_context()
    configured = context.getConf().get(WARN_CONF) if context is not None else None
    if configured is not None:
        return _bytes(configured)
    return DEFAULT_WARN_BYTES if _warned.limit is None else _warned.limit


def _bytes(limit: int | str) -> int:
    """Read a number of bytes as Spark does: ``1000``, ``64k``, ``1m``, ``1mb``."""
    match = re.fullmatch(r"(-?\d+)\s*(?:([kmgtp])?b?)", str(limit).strip().lower())
    if match is None:
        raise ValueError(f"{WARN_CONF} must be a number of bytes such as 1000000 or 1m, not {limit!r}")
    return int(match[1]) << 10 * " kmgtp".index(match[2] or " ")
