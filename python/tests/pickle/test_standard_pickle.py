"""Where both make the same choices the bytes are those of the standard library."""

from __future__ import annotations

import datetime
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudf import pickle as rudf_pickle

ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20), st.binary(max_size=20)
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.integers(), st.text(max_size=5)), inner, max_size=5),
    ),
    max_leaves=30,
)


@settings(max_examples=200, deadline=None)
@given(VALUES, st.sampled_from([3, 4, 5]))
def test_nested_values_give_the_same_bytes(value: object, protocol: int) -> None:
    assert rudf_pickle.dumps(value, protocol) == pickle.dumps(value, protocol)


@pytest.mark.parametrize(
    "value",
    [
        list(range(100_000)),
        [str(i) for i in range(30_000)],
        {i: [i] for i in range(5000)},
        ["x" * 70_000, b"y" * 70_000, ["z"] * 5],
        [datetime.date(2020, 1, 2), datetime.timedelta(5), datetime.date(2021, 1, 2)],
        [bytes(65_535), bytes(65_536), "a" * 65_535, "a" * 65_536],
    ],
    ids=range(6),
)
@pytest.mark.parametrize("protocol", [4, 5])
def test_larger_values_give_the_same_bytes(value: object, protocol: int) -> None:
    assert rudf_pickle.dumps(value, protocol) == pickle.dumps(value, protocol)


class Slotted:
    """Pickled by what is in its slots; some may be empty."""

    __slots__ = ("__hidden", "left", "right")

    def __init__(self, **values: object) -> None:
        self.__hidden = values.pop("hidden", None)
        for name, value in values.items():
            setattr(self, name, value)


class SlottedAndMore(Slotted):
    """Slots of a base, and a ``__dict__``."""


class SlottedWithState(Slotted):
    """Has a say in what is pickled."""

    __slots__ = ()

    def __getstate__(self) -> object:
        return None, {"left": "as it says"}


class Answering(Slotted):
    """Answers for attributes that it does not have."""

    __slots__ = ()

    def __getattr__(self, name: str) -> object:
        if name == "__getnewargs__":
            return tuple
        raise AttributeError(name)


class Empty:
    """Nothing to keep."""

    __slots__ = ("value",)


def test_slots_give_what_the_standard_library_gives() -> None:
    values: list[object] = [kind(left=1, hidden=2) for kind in (Slotted, SlottedAndMore, SlottedWithState, Answering)]
    values += [Slotted(right=values[0]), Slotted(left=2, right=3, hidden="x"), Answering(right=5)]
    more = SlottedAndMore(left=4)
    more.extra = values
    ours, theirs = pickle.loads(rudf_pickle.dumps([*values, more])), pickle.loads(pickle.dumps([*values, more]))

    def tell(value: object) -> object:
        names = ("_Slotted__hidden", "left", "right")
        slots = {name: getattr(value, name, "empty") for name in names}
        slots = {name: type(slot).__name__ if isinstance(slot, Slotted) else slot for name, slot in slots.items()}
        return type(value).__name__, slots, sorted(getattr(value, "__dict__", ()))

    assert [tell(value) for value in ours] == [tell(value) for value in theirs]
    assert ours[4].right is ours[0] and ours[-1].extra[1] is ours[1]
    empty = Empty()
    full = Empty()
    full.value = empty
    assert type(pickle.loads(rudf_pickle.dumps([full, empty, full]))[0].value) is Empty


@pytest.mark.parametrize("protocol", [4, 5])
def test_instances_with_slots_give_the_same_bytes(protocol: int) -> None:
    values = [Slotted(left=i, right=str(i)) for i in range(3)]
    assert rudf_pickle.dumps(values, protocol) == pickle.dumps(values, protocol)


def test_buffers_go_out_of_band() -> None:
    buffers: list[pickle.PickleBuffer] = []
    data = bytearray(b"x" * 1000)
    payload = rudf_pickle.dumps(pickle.PickleBuffer(data), buffer_callback=buffers.append)
    assert len(payload) < 50
    assert pickle.loads(payload, buffers=[data]) is data and len(buffers) == 1


def test_arrays_round_trip() -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(200_000, dtype="float64")
    back = pickle.loads(rudf_pickle.dumps(lambda: array))()
    assert (back == array).all() and back.dtype == array.dtype


SCRIPT = """
import sys
sys.path[1:1] = sys.argv[1:]
from rudf import pickle
NAMES = {"alpha", "beta", "gamma", "delta", 1, 2, (3, "x")}
class Unused: pass
def helper(x): return x in NAMES
def outer():
    captured = {"k": frozenset(["a", "b", "c"])}
    def inner(y):
        return [helper(z) for z in (y, captured) if z in {"p", "q", "r"}]
    return inner
sys.stdout.write(pickle.dumps([helper, outer()]).hex())
"""


def test_bytes_do_not_depend_on_hash_seed_or_directory(tmp_path: Path) -> None:
    package = str(Path(rudf_pickle.__file__).parent.parent)
    outputs = set()
    for number, seed in enumerate(["1", "2", "77"]):
        folder = tmp_path / f"d{number}"
        folder.mkdir()
        script = folder / "job.py"
        script.write_text(SCRIPT)
        environment = {"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            [sys.executable, str(script), package], cwd=folder, env=environment, capture_output=True, check=True
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
