"""Values come back as they were, with their identities."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import gc
import io
import pickle
import pickletools
import random
import re
import string
import sys
import threading
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudf.pickle import dumps

NUMBERS = [0, 1, -1, 255, 256, 65535, 65536, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63), 2**63, -(2**64), 10**400, -(10**400)]


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize(
    "value",
    [
        None, True, False, ..., NotImplemented, *NUMBERS, 0.0, -0.0, 1.5, float("inf"), 1 + 2j, "", "ä€𝄞", "\ud800", "x" * 300,
        b"", b"a" * 300, bytearray(b"xyz"), (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1] * 2500, {}, {"a": 1, 2: [3]},
        {i: str(i) for i in range(2500)}, set(), {1, 2, 3}, set(range(2500)), frozenset({1}), range(3, 10, 2), slice(1, None, 3),
        datetime.date(2020, 2, 29), datetime.datetime(2020, 1, 1, 12, fold=1), datetime.timedelta(1, 2, 3),
        datetime.timezone.utc, decimal.Decimal("1.50"), fractions.Fraction(1, 3), uuid.UUID(int=5), re.compile("a+", re.IGNORECASE),
        collections.OrderedDict(a=1), collections.deque([1, 2], 5), collections.defaultdict(list, a=[1]), collections.Counter("aab"),
        type(None), type(...), type(NotImplemented), int, collections.OrderedDict, ValueError("x", 1), string.ascii_letters,
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_value_comes_back(value: Any, protocol: int) -> None:
    pickled = dumps(value, protocol)
    loaded = pickle.loads(pickled)
    assert type(loaded) is type(value)
    assert repr(loaded) == repr(value)
    pickletools.dis(pickled, out=io.StringIO())


def test_nan_comes_back() -> None:
    value = pickle.loads(dumps(float("nan")))
    assert value != value


def test_what_is_shared_stays_shared() -> None:
    shared: list[int] = [1]
    text = "".join(["some", "text"])
    loaded = pickle.loads(dumps([shared, shared, {"k": shared}, (shared,), text, text]))
    assert loaded[0] is loaded[1] is loaded[2]["k"] is loaded[3][0]
    assert loaded[4] is loaded[5]


def test_cycles_come_back() -> None:
    loop: list[Any] = []
    loop.append(loop)
    loaded = pickle.loads(dumps(loop))
    assert loaded[0] is loaded
    inner: list[Any] = []
    pair = (inner, 1)
    inner.append(pair)
    loaded = pickle.loads(dumps(pair))
    assert loaded[0][0] is loaded
    quad = (inner := [], 1, 2, 3)
    inner.append(quad)
    loaded = pickle.loads(dumps(quad))
    assert loaded[0][0] is loaded
    table: dict[str, Any] = {}
    table["self"] = table
    loaded = pickle.loads(dumps(table))
    assert loaded["self"] is loaded


class Node:
    def __init__(self, following: Any) -> None:
        self.following = following


class Slotted:
    __slots__ = ("a", "b")


class Custom:
    def __reduce__(self) -> Any:
        return (list, (), None, iter([1, 2, 3]))


class Mapping(dict[str, int]):
    pass


class Color(enum.Enum):
    RED = 1


def test_instances_of_importable_classes_come_back() -> None:
    slotted = Slotted()
    slotted.a = [1]
    loaded = pickle.loads(dumps(slotted))
    assert loaded.a == [1] and not hasattr(loaded, "b")
    assert pickle.loads(dumps(Custom())) == [1, 2, 3]
    mapping = Mapping(a=1)
    mapping.extra = mapping  # type: ignore[attr-defined]
    loaded = pickle.loads(dumps(mapping))
    assert type(loaded) is Mapping and loaded == {"a": 1} and loaded.extra is loaded
    assert pickle.loads(dumps(Color.RED)) is Color.RED


def test_depth_costs_no_stack() -> None:
    deep: list[Any] = []
    for _ in range(1_000_000):
        deep = [deep]
    assert len(dumps(deep)) > 1_000_000
    node = Node(None)
    for _ in range(100_000):
        node = Node(node)
    assert len(dumps(node)) > 100_000


def test_copyreg_is_asked_when_pickling() -> None:
    import copyreg

    copyreg.pickle(Node, lambda node: (Node, ("registered",)))
    try:
        assert pickle.loads(dumps(Node(1))).following == "registered"
    finally:
        del copyreg.dispatch_table[Node]


def test_numpy_and_spark_types_come_back() -> None:
    np = pytest.importorskip("numpy")
    array = np.arange(10.0)
    assert (pickle.loads(dumps(array)) == array).all()
    types = pytest.importorskip("pyspark.sql.types")
    struct = types.StructType([types.StructField("a", types.ArrayType(types.DecimalType(10, 2)))])
    assert pickle.loads(dumps(struct)) == struct


def canonical(value: Any) -> str:
    """A text that is the same for the same value: of a set whatever its order is, and of NaN too."""
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}({sorted(map(canonical, value))})"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({[canonical(member) for member in value]})"
    if isinstance(value, dict):
        return f"dict({[(canonical(key), canonical(member)) for key, member in value.items()]})"
    return repr(value)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates() | st.decimals(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner)
    | st.tuples(inner, inner, inner, inner) | st.frozensets(st.integers()) | st.sets(st.text()),
    max_leaves=40,
)


@settings(max_examples=200, deadline=None)
@given(values)
def test_random_values_come_back_as_from_the_standard_pickler(value: Any) -> None:
    assert canonical(pickle.loads(dumps(value))) == canonical(pickle.loads(pickle.dumps(value)))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: {"db": [1, threading.Lock()]}, r"cannot pickle '_thread.lock' object: at dict → \['db'\] → \[1\].*Hint"),
        (lambda: Node(Node(threading.Lock())), r"at Node → \.following → \.following"),
        (lambda: sys._getframe(), "cannot pickle 'frame' object"),
    ],
)
def test_an_error_names_the_object_and_the_path_to_it(build: Any, expected: str) -> None:
    with pytest.raises(pickle.PicklingError, match=expected):
        dumps(build())


def test_the_path_leads_through_closures_and_globals() -> None:
    cfg = {"db": Node([0, Node(threading.Lock())])}

    def score(x: int) -> Any:
        return cfg, x

    message = r"at .*score → closure 'cfg' → \['db'\] → \.following → \[1\] → \.following; defined in test_values.py, line \d+"
    with pytest.raises(pickle.PicklingError, match=message) as caught:
        dumps(score)
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize(
    "result", ["no such name", (1,), (1, 2), (list, [1]), (list, (), None, 5), 7, (list, (), None, None, None, None, None)]
)
def test_rubbish_from_reduce_is_an_error(result: Any) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return result

    with pytest.raises((pickle.PicklingError, AttributeError)):
        dumps(Hostile())


def test_a_list_that_changes_while_it_is_pickled_is_no_crash() -> None:
    victim: list[Any] = [0] * 10

    class Shrinks:
        def __reduce__(self) -> Any:
            del victim[2:]
            return (int, ())

    class Grows:
        def __reduce__(self) -> Any:
            victim.extend(range(3000))
            return (int, ())

    for change in (Shrinks(), Grows()):
        victim[:] = [0, change, *range(8)]
        assert isinstance(pickle.loads(dumps(victim)), list)


def test_nothing_leaks() -> None:
    def closure(value: Any) -> Any:
        def inner(x: Any) -> Any:
            return value, x

        return inner

    payload = {"f": closure([1, 2]), "xs": list(range(50)), "n": Node("x")}
    for _ in range(200):
        dumps(payload)
    gc.collect()
    before = (sys.gettotalrefcount() if hasattr(sys, "gettotalrefcount") else len(gc.get_objects()))
    for _ in range(500):
        dumps(payload)
    gc.collect()
    after = (sys.gettotalrefcount() if hasattr(sys, "gettotalrefcount") else len(gc.get_objects()))
    assert after - before < 50


def test_threads_pickle_at_once() -> None:
    payload = [Node(i) for i in range(100)]
    expected = dumps(payload)
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.extend(dumps(payload) for _ in range(20))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(results) == {expected}


def test_a_set_goes_in_an_order_of_its_own() -> None:
    words = ["".join(random.choices(string.ascii_letters, k=8)) for _ in range(50)]
    assert dumps(set(words)) == dumps(set(reversed(words)))
