"""Classes across several loads: one class per key at the receiver, and no change to what a process defined itself."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
import typing
from pathlib import Path

from forked import outcomes
from fresh import CHILD, build, load_fresh

from rudf import pickle as rudf_pickle

POINT = """
class obj:
    registry = []
    def __init__(self, x): self.x = x
    def __eq__(self, other): return type(self) is type(other) and self.x == other.x
"""


def test_own_class_comes_back_as_itself() -> None:
    cls = build(POINT)
    assert pickle.loads(rudf_pickle.dumps(cls)) is cls
    assert type(pickle.loads(rudf_pickle.dumps(cls(1)))) is cls
    variable = typing.TypeVar("variable")
    assert pickle.loads(rudf_pickle.dumps(variable)) is variable


def test_loading_does_not_change_an_own_class() -> None:
    cls = build(POINT)
    payload = rudf_pickle.dumps(cls)
    before = cls.__init__
    cls.registry = ["changed later"]
    pickle.loads(payload)
    assert cls.registry == ["changed later"] and cls.__init__ is before


def test_own_enum_members_come_back_as_themselves() -> None:
    color = build("import enum\nclass obj(enum.Enum):\n    RED = 1\n    GREEN = 2")
    assert pickle.loads(rudf_pickle.dumps(color.RED)) is color.RED
    assert pickle.loads(rudf_pickle.dumps([color, color.GREEN]))[1] is color.GREEN


def test_two_pickles_of_one_class_give_one_class() -> None:
    cls = build(POINT)
    payloads = [rudf_pickle.dumps(cls(1)), rudf_pickle.dumps([cls, cls(1)])]
    check = f"""
other, (cls, same) = obj, pickle.loads({payloads[1]!r})
assert type(other) is cls is type(same) and other == same
"""
    assert load_fresh([("two", payloads[0], "import pickle\n" + check)]) == {"two": None}


def test_equal_classes_stay_apart() -> None:
    first, second = build(POINT), build(POINT)
    pair = rudf_pickle.dumps([first, second])
    assert load_fresh([("apart", pair, "assert obj[0] is not obj[1]")]) == {"apart": None}
    assert pickle.loads(pair) == [first, second]


def test_subclass_in_a_later_pickle_does_not_run_init_subclass() -> None:
    base, sub = build(
        """
        class Base:
            def __init_subclass__(cls, *, tag): cls.tag = tag
        class Sub(Base, tag="t"): pass
        obj = Base, Sub
        """
    )
    later = rudf_pickle.dumps(sub)
    check = f"import pickle\nsub = pickle.loads({later!r})\nassert sub.tag == 't' and sub.__bases__ == (obj,)"
    assert load_fresh([("later", rudf_pickle.dumps(base), check)]) == {"later": None}


def test_class_survives_a_round_trip_through_another_process() -> None:
    cls = build(POINT)
    child = textwrap.dedent(
        """
        import sys
        sys.path.insert(0, sys.argv[1])
        from rudf import pickle
        obj = pickle.load(sys.stdin.buffer)
        obj.x += 1
        sys.stdout.buffer.write(pickle.dumps(obj))
        """
    )
    package = str(Path(rudf_pickle.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", child, package], input=rudf_pickle.dumps(cls(1)), capture_output=True, check=True
    )
    assert pickle.loads(done.stdout) == cls(2)


def test_registry_lets_go_of_classes() -> None:
    check = """
import copyreg, gc
assert len(copyreg._rudf) == 1
del obj
gc.collect()
assert not copyreg._rudf
"""
    assert "pickle" in CHILD
    assert load_fresh([("gone", rudf_pickle.dumps(build(POINT)), check)]) == {"gone": None}


CLASS_SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from rudf import pickle
import abc, dataclasses, enum
class A(abc.ABC):
    names = {"x", "y", "z"}
    @abc.abstractmethod
    def f(self): ...
class B(A):
    def f(self): return super().names
@dataclasses.dataclass
class C:
    a: int
    b: str = "b"
class E(enum.Flag):
    X = 1
    Y = 2
def factory(n):
    class Made:
        def get(self): return n
    return Made
sys.stdout.write(pickle.dumps([B, C(1), E.X | E.Y, factory(1), factory(2)]).hex())
"""


def test_registry_forgets_how_often_it_gave_keys() -> None:
    source = """
import copyreg, pickle
from rudf.pickle import dumps
def make(n): return type("Made", (), {"n": n})
living = [make(-1), make(-2)]
before = [dumps(made) for made in living]
for n in range(210_000): dumps(make(n))
assert len(copyreg._rudf.counts) <= 110_000 and len(copyreg._rudf.keys_by_address) < 10_000
assert [dumps(made) for made in living] == before
assert all(pickle.loads(payload) is made for payload, made in zip(before, living))
again = make(-2)
assert dumps(again) != before[1] and pickle.loads(dumps(again)) is again
"""
    assert outcomes({"counts": source}) == {"counts": "ok"}


def test_bytes_of_classes_do_not_depend_on_hash_seed_or_directory(tmp_path: Path) -> None:
    package = str(Path(rudf_pickle.__file__).parent.parent)
    outputs = set()
    for seed in ("1", "2", "77"):
        folder = tmp_path / seed
        folder.mkdir()
        (folder / "job.py").write_text(CLASS_SCRIPT)
        done = subprocess.run(
            [sys.executable, str(folder / "job.py"), package],
            cwd=folder,
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=True,
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1


def test_class_has_the_same_bytes_before_and_after_its_first_instance() -> None:
    source = """
        class Point:
            def __init__(self): self.x = 1
        obj = Point
        """
    first, second = build(source), build(source)
    second_instance = second()  # type: ignore[operator]
    second_instance.__reduce_ex__(2)
    assert "__slotnames__" in vars(second)
    before = rudf_pickle.dumps(first)
    first().__reduce_ex__(2)  # type: ignore[operator]
    assert rudf_pickle.dumps(first) == before
    assert b"__slotnames__" not in rudf_pickle.dumps(second)
