"""Random object graphs, with cycles and shared parts, come back as the standard pickler brings them back."""

from __future__ import annotations

import pickle
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rudf import pickle as rudf_pickle


class Node:
    """Has a ``__dict__``."""


class Slotted:
    """Has slots."""

    __slots__ = ("left", "right")


class Reducing:
    """Rebuilds itself by a call, a state and items."""

    def __init__(self, label: int) -> None:
        self.label, self.items = label, []
        self.extra: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Reducing, (self.label,), {"extra": self.extra}, iter(self.items)

    def append(self, item: Any) -> None:
        self.items.append(item)

    def extend(self, items: list[Any]) -> None:
        self.items.extend(items)


MAKERS = {
    "list": list,
    "dict": dict,
    "node": Node,
    "slotted": Slotted,
    "reducing": lambda: Reducing(7),
    "leaf": lambda: "a string",
}


def connect(source: Any, target: Any, number: int) -> None:
    """Let one vertex refer to another."""
    if isinstance(source, list):
        source.append(target)
    elif isinstance(source, dict):
        source[number] = target
    elif isinstance(source, Node):
        setattr(source, f"edge{number}", target)
    elif isinstance(source, Slotted):
        setattr(source, "left" if number % 2 else "right", target)
    elif isinstance(source, Reducing):
        source.items.append(target)
        source.extra = (target, number)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(MAKERS)), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20),
    st.sampled_from([2, 3, 4, 5]),
)
def test_graph_is_the_one_that_the_standard_pickler_gives(
    kinds: list[str], edges: list[tuple[int, int]], protocol: int
) -> None:
    vertices = [MAKERS[kind]() for kind in kinds]
    for number, (source, target) in enumerate(edges):
        connect(vertices[source % len(vertices)], vertices[target % len(vertices)], number)
    theirs = pickle.loads(pickle.dumps(vertices, protocol))
    ours = pickle.loads(rudf_pickle.dumps(vertices, protocol))
    assert pickle.dumps(ours) == pickle.dumps(theirs)
