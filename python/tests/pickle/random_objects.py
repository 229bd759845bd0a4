"""Random objects and random programs, made by a function that chooses a number: hypothesis, a seed, or a fuzzer."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import functools
import types
import uuid
from collections.abc import Callable
from typing import Any

#: Chooses a number below its argument.
Choose = Callable[[int], int]


class Node:
    """Has a ``__dict__``."""


class Slotted:
    """Has slots, and may have a ``__dict__``, too."""

    __slots__ = ("__dict__", "left", "right")


class Items(list[Any]):
    """A list with attributes."""


class Table(dict[Any, Any]):
    """A dictionary with attributes."""


class Reducing:
    """Rebuilds itself by a call, a state, items and entries."""

    def __init__(self, label: Any = None) -> None:
        self.label = label
        self.items: list[Any] = []
        self.entries: list[tuple[Any, Any]] = []
        self.state: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Reducing, (self.label,), self.state, iter(self.items), iter(self.entries)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        self.items.append(item)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries.append((key, value))


class Stateful:
    """Has its own idea of its state, whatever type that has."""

    def __init__(self) -> None:
        self.state: Any = None

    def __getstate__(self) -> Any:
        return (self.state, "state")

    def __setstate__(self, state: Any) -> None:
        self.state = state[0]


class NewArguments(int):
    """Is made from arguments."""

    def __new__(cls, value: int = 0, *, label: Any = None) -> NewArguments:
        self = super().__new__(cls, value)
        self.label = label
        return self

    label: Any

    def __getnewargs_ex__(self) -> tuple[Any, ...]:
        return (int(self),), {"label": self.label}


class Color(enum.Enum):
    RED = 1
    GREEN = "two"


Pair = collections.namedtuple("Pair", "first second")

INTEGERS = [0, 1, -1, 255, 256, 65535, 65536, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63, -(2**63), 10**30, -(2**2040)]
TEXTS = ["", "a", "text", "é€😀", "\ud800", "x" * 255, "y" * 256, "z" * 70_000, "__main__", "a.b", "\n\0"]
FLOATS = [0.0, -0.0, 1.5, float("inf"), 1e-300]
OTHERS: list[Any] = [
    None, True, False, ..., NotImplemented, 1j, len, int, Node, Color.RED, Color, str.upper, range(3), slice(1, None),
    datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.timezone.utc), datetime.timedelta(1),
    decimal.Decimal("1.5"), fractions.Fraction(1, 3), uuid.UUID(int=5), collections.OrderedDict, type(None),
]  # fmt: skip


def atom(choose: Choose) -> Any:
    """A value without parts."""
    kind = choose(6)
    if kind == 0:
        return INTEGERS[choose(len(INTEGERS))]
    if kind == 1:
        return choose(1000) - 500
    if kind == 2:
        return TEXTS[choose(len(TEXTS))]
    if kind == 3:
        return FLOATS[choose(len(FLOATS))]
    if kind == 4:
        return bytes([choose(256)]) * (0, 1, 3, 255, 256, 70_000)[choose(6)]
    return OTHERS[choose(len(OTHERS))]


def frozen(choose: Choose, depth: int) -> Any:
    """A value that can be a key."""
    if depth == 0 or choose(3):
        value = atom(choose)
        return str(value) if isinstance(value, slice) else value
    parts = [frozen(choose, depth - 1) for _ in range(choose(5))]
    return frozenset(parts) if choose(2) else tuple(parts)


MAKERS: list[Callable[[], Any]] = [
    list, dict, Node, Slotted, Items, Table, Reducing, Stateful, collections.OrderedDict, collections.deque,
    types.SimpleNamespace, lambda: collections.defaultdict(list), bytearray, set,
]  # fmt: skip


def graph(choose: Choose) -> Any:
    """Objects that refer to each other, in cycles, too."""
    vertices = [MAKERS[choose(len(MAKERS))]() for _ in range(1 + choose(8))]
    for _ in range(choose(25)):
        source = vertices[choose(len(vertices))]
        connect(choose, source, target(choose, vertices))
    return vertices if choose(2) else vertices[0]


def target(choose: Choose, vertices: list[Any]) -> Any:
    """Something to refer to: a vertex, a value, or a vertex in something that is made around it."""
    kind = choose(8)
    if kind < 4:
        return vertices[choose(len(vertices))]
    if kind == 4:
        return tuple(target(choose, vertices) for _ in range(choose(5)))
    if kind == 5:
        wrapped = target(choose, vertices)
        return (Pair(wrapped, 1), functools.partial(print, wrapped), NewArguments(3, label=wrapped))[choose(3)]
    if kind == 6:
        return frozen(choose, 3)
    return atom(choose)


def connect(choose: Choose, source: Any, goal: Any) -> None:
    """Let one vertex refer to something."""
    if isinstance(source, (list, collections.deque)):
        source.extend([goal] * (1, 1, 2, 1001)[choose(4)])
    elif isinstance(source, dict):
        source[frozen(choose, 2)] = goal
    elif isinstance(source, Slotted):
        setattr(source, ("left", "right", "other")[choose(3)], goal)
    elif isinstance(source, Reducing):
        if choose(2):
            source.items.append(goal)
        else:
            source.entries.append((goal, frozen(choose, 1)))
        if choose(3) == 0:
            source.state = {"goal": goal} if choose(2) else [goal]
    elif isinstance(source, Stateful):
        source.state = goal
    elif isinstance(source, bytearray):
        source.extend(b"x" * (1, 300, 70_000)[choose(3)])
    elif isinstance(source, set):
        source.add(frozen(choose, 3))
    if isinstance(source, (Node, Items, Table, types.SimpleNamespace)):
        setattr(source, ("a", "b", "some_name")[choose(3)], goal)


def shape(root: Any) -> list[Any]:
    """What an object graph is: every object once, by the order in which it is met, with its parts."""
    numbers: dict[int, int] = {}
    kept: list[Any] = []
    found: list[Any] = []
    waiting = [root]

    def name(part: Any) -> Any:
        if isinstance(part, (str, bytes, int, float, complex, type(None), types.FunctionType, type, types.ModuleType)):
            if type(part) is not NewArguments:
                return repr(part)
        elif isinstance(part, (tuple, frozenset)) and not isinstance(part, Pair) and not part:
            return repr(part)
        if id(part) not in numbers:
            numbers[id(part)] = len(numbers)
            kept.append(part)
            waiting.append(part)
        return numbers[id(part)]

    name(root)
    del waiting[0]
    for obj in waiting:
        parts: list[Any] = [type(obj).__name__]
        if isinstance(obj, (set, frozenset)):
            parts.append(sorted(repr(shape(member)) for member in obj))
        elif isinstance(obj, dict):
            parts.append([(repr(shape(key)), name(value)) for key, value in obj.items()])
        elif isinstance(obj, (list, tuple, collections.deque)):
            parts.append([name(part) for part in obj])
        elif isinstance(obj, functools.partial):
            parts.append([name(part) for part in (obj.func, obj.args, obj.keywords)])
        elif not isinstance(obj, (Node, Slotted, Reducing, Stateful, types.SimpleNamespace, NewArguments)):
            parts.append(repr(obj))
        for slot in ("left", "right"):
            if isinstance(obj, Slotted) and hasattr(obj, slot):
                parts.append((slot, name(getattr(obj, slot))))
        if not isinstance(obj, (enum.Enum, functools.partial)):
            parts.append([(key, name(value)) for key, value in getattr(obj, "__dict__", {}).items()])
        found.append(parts)
    return found


def literal(choose: Choose, depth: int = 2) -> str:
    """The source of a value."""
    kind = choose(7 if depth else 4)
    if kind == 0:
        return repr(choose(2000) - 1000)
    if kind == 1:
        return repr(("", "a", "text", "é")[choose(4)] * choose(4))
    if kind == 2:
        return ("None", "True", "2.5", "b'x'", "...", "1 << 70", "frozenset({'p'})")[choose(7)]
    if kind == 3:
        return f"CONSTANT{choose(3)}"
    parts = ", ".join(literal(choose, depth - 1) for _ in range(choose(3)))
    return (f"[{parts}]", f"({parts},)" if parts else "()", f"{{'k': [{parts}]}}")[kind - 4]


def program(choose: Choose) -> str:
    """The source of a program that leaves a function ``obj(x)`` whose result tells whether everything it uses works."""
    lines = ["import math, functools, collections", *(f"CONSTANT{n} = {n} * 7" for n in range(3))]
    lines += [f"global{n} = {literal(choose)}" for n in range(3)]
    calls: list[str] = []
    for number in range(1 + choose(4)):
        lines += function(choose, number, calls) if choose(2) else class_(choose, number, calls)
    picked = [calls[choose(len(calls))] for _ in range(1 + choose(4))]
    if choose(3) == 0:
        lines += ["def make():", f"    captured = {literal(choose)}", f"    def obj(x): return [captured, {', '.join(picked)}]"]
        lines += ["    return obj", "obj = make()"]
    else:
        lines += [f"def obj(x): return [{', '.join(picked)}]"]
    return "\n".join(lines)


def function(choose: Choose, number: int, calls: list[str]) -> list[str]:
    """The source of a function; notes how it is called."""
    name = f"f{number}"
    uses = [f"global{choose(3)}", "x", "a", "k", *calls]
    body = [f"    total = [{uses[choose(len(uses))]}, {uses[choose(len(uses))]}]"]
    for _ in range(choose(4)):
        body += (
            ["    inner = lambda y: (y, total[:1], x)", "    total.append(inner(1))"],
            [
                *("    count = x", "    def bump():", "        nonlocal count", "        count += 1"),
                *("        return count", "    total += [bump(), bump(), count]"),
            ],
            ["    total.append([(i, x) for i in range(3) if i != x])"],
            ["    total.append(x in {1, 'two', (3, 4)})"],
            [
                *("    class Local:", f"        value = global{choose(3)}"),
                *("        def get(self): return self.value, x, __class__.__name__", "    total.append(Local().get())"),
            ],
            [f"    if x > 0: total.append({name}(x - 1))"],
            ["    total.append(math.floor(2.5) + len(collections.OrderedDict(a=1)))"],
            ["    try: total.append(1 // x)", "    except ZeroDivisionError as error: total.append(str(error))"],
            ["    total += (i * i for i in range(2))"],
        )[choose(9)]
    calls.append(f"{name}(x)")
    head = f"def {name}(x, a={literal(choose)}, *, k={literal(choose)}):"
    lines = [head, *body, "    return total"]
    if choose(4) == 0:
        lines.append(f"{name}.attribute = [{name}, {literal(choose)}]")
        calls.append(f"{name}.attribute[0] is {name}")
    if choose(4) == 0:
        lines.append(f"p{number} = functools.partial({name}, a={literal(choose)})")
        calls.append(f"p{number}(x)")
    return lines


def class_(choose: Choose, number: int, calls: list[str]) -> list[str]:
    """The source of a class; notes how it is used."""
    name = f"C{number}"
    bases = [call.partition("(")[0] for call in calls if call.endswith("().m(x)")]
    base = bases[choose(len(bases))] if bases and choose(2) else ("", "Exception", "dict", "list")[choose(4)]
    body = [f"    attribute = {literal(choose)}"]
    plain = not base.startswith("C")
    body.append(f"    def m(self, x): return [{number}, x, self.attribute" + ("]" if plain else ", super().m(x)]"))
    for _ in range(choose(4)):
        body += (
            ["    @property", "    def p(self): return [self.attribute, global0]"],
            ["    @classmethod", "    def c(cls, x): return cls.__name__, x"],
            ["    @staticmethod", "    def s(x): return x, CONSTANT1"],
            ["    def __repr__(self): return f'<{__class__.__qualname__}>'"],
            ["    class Inner:", "        def get(self): return global1"],
        )[choose(5)]
    if base == "" and choose(3) == 0:
        body.append("    __slots__ = ('one', '__two')")
    for method, call in (("p", f"{name}().p"), ("c", f"{name}.c(x)"), ("s", f"{name}.s(x)")):
        if any(f"def {method}(" in line for line in body):
            calls.append(call)
    calls += [f"{name}().m(x)", f"isinstance({name}(), {name})", f"{name}.__qualname__"]
    return [f"class {name}({base}):" if base else f"class {name}:", *body]
