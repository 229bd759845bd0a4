"""Bytes that were cut, changed or made up: loading them ends in an exception, and changes nothing of this process."""

from __future__ import annotations

import importlib.util
import io
import pickle
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from forked import outcomes
from fresh import build, load_fresh

from rudf import pickle as rudf_pickle

#: A payload of every kind, and what loads it.
PRELUDE = """
import pickle, random, sys, types
import rudf.pickle
def outer(n):
    class Local:
        attribute = [n]
        def method(self): return n
    return [lambda x: (x, n, Local), Local, Local(), {"k": {1, 2, 3}, "text": "é" * 300}, (1, 2.5, None, 1 << 70)]
payloads = [rudf.pickle.dumps(outer(7), protocol) for protocol in (2, 3, 4, 5)]
def attempt(payload):
    try: rudf.pickle.loads(payload)
    except Exception: return False
    return True
"""


def test_every_cut_is_an_error() -> None:
    source = """
for payload in payloads:
    end = len(payload)
    # A stamp may follow the pickle's end: what is left without it is whole.
    import pickletools
    *_, (_, _, stop) = pickletools.genops(payload)
    for end in range(stop + 1): assert not attempt(payload[:end]), end
    assert attempt(payload)
"""
    assert outcomes({"cuts": PRELUDE + source}) == {"cuts": "ok"}


def test_changed_structure_is_no_crash() -> None:
    # Code is left alone: changed code can end any interpreter when it is run, or read.
    source = """
import pickletools
for seed in range(4000):
    chooser = random.Random(seed)
    payload = bytearray(chooser.choice(payloads))
    code = [(at, at + len(arg)) for op, arg, at in pickletools.genops(payload) if op.name.endswith("BYTES")]
    for _ in range(chooser.randrange(1, 4)):
        at = chooser.randrange(len(payload))
        if not any(start <= at < end + 9 for start, end in code): payload[at] = chooser.randrange(256)
    # What needs gigabytes for a length that was made up is refused by the memory limit.
    attempt(bytes(payload))
"""
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (4 << 30, -1))\n"
    assert outcomes({"changes": limit + PRELUDE + source}) == {"changes": "ok"}


RUBBISH = [
    b"",
    b"\x80",
    b"\x80\x05",
    b"\x80\x09N.",
    b"rubbish",
    b"\x80\x05.",
    b"\x00" * 100,
    b"\x80\x05K\x01)R.",  # calls 1
    b"\x80\x05h\x07.",
    b"\x80\x05\x8c\x01\xff.",  # no UTF-8
    b"\x80\x05]]s.",
]


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_rubbish_is_refused_with_a_sentence(rubbish: bytes) -> None:
    for call in (lambda: rudf_pickle.loads(rubbish), lambda: rudf_pickle.load(io.BytesIO(rubbish))):
        with pytest.raises((pickle.UnpicklingError, EOFError)) as caught:
            call()
        assert len(str(caught.value).split()) >= 3


@pytest.mark.parametrize("rubbish", [None, 5, "text", [1]])
def test_what_is_not_bytes_is_refused(rubbish: object) -> None:
    with pytest.raises(pickle.UnpicklingError, match="bytes-like object is required, not") as caught:
        rudf_pickle.loads(rubbish)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_code_of_another_version_is_refused_with_both_versions(protocol: int) -> None:
    minor = sys.version_info[1]
    payload = rudf_pickle.dumps(build("def obj(x): return x"), protocol)
    sentence = "Python 3.{}, loading on 3."
    stamps = [sentence.format(number).encode() + b"\x94K" + bytes([number]) for number in (minor, 90)]
    other = payload.replace(*stamps).replace(importlib.util.MAGIC_NUMBER, b"\x01\x02\r\n")
    assert other != payload
    writer = "3.90" if protocol >= 4 else f"3.{minor}"
    with pytest.raises(pickle.UnpicklingError, match=rf"^pickled by Python {writer}, loading on 3.{minor}$"):
        rudf_pickle.loads(other)
    with pytest.raises((KeyError, ImportError), match=f"pickled by Python {writer}"):
        pickle.loads(other)


def test_errors_of_loading_can_be_pickled() -> None:
    with pytest.raises(TypeError) as caught:
        rudf_pickle.loads(None)
    for payload in (pickle.dumps(caught.value), rudf_pickle.dumps(caught.value)):
        error = pickle.loads(payload)
        assert type(error) is pickle.UnpicklingError and error.args == caught.value.args


def test_errors_of_the_objects_own_code_stay_what_they_are() -> None:
    class Rude:
        def __reduce__(self) -> tuple[object, ...]:
            return eval, ("1 / 0",)

    with pytest.raises(ZeroDivisionError):
        rudf_pickle.loads(rudf_pickle.dumps(Rude()))
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        rudf_pickle.loads(b"cno_such_module\nname\n.")


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_other_pythons_refuse_code_of_this_one(version: str) -> None:
    here = "{}.{}".format(*sys.version_info[:2])
    if version == here:
        pytest.skip("this Python")
    known = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    for other in filter(None, known):
        command = [str(other), "-I", "-c", "import pickle, sys; pickle.load(sys.stdin.buffer)"]
        for source in ("obj = lambda x: x", "class obj:\n    def method(self): return 1"):
            done = subprocess.run(command, input=rudf_pickle.dumps(build(source)), capture_output=True, check=False)
            if b"pyenv: " in done.stderr:
                break
            assert done.returncode == 1, done.stderr
            assert f"KeyError: ('pickled by Python {here}, loading on 3.', {version[2:]})" in done.stderr.decode()
        else:
            return
    pytest.skip(f"no Python {version} here")


LIVE = """
import functools
CONSTANT = [1]
def helper(x): return CONSTANT, x
class obj:
    registry = {"a": 1}
    def method(self): return helper(self)
    def __init_subclass__(cls): obj.registry[cls.__name__] = cls
@functools.lru_cache
def cached(x): return x
obj.helper, obj.cached = staticmethod(helper), cached
"""


def test_loading_changes_no_live_class_or_function() -> None:
    cls = build(LIVE)
    function = cls.helper
    payload = rudf_pickle.dumps([cls, cls(), function])
    before = dict(vars(cls)), dict(vars(function)), function.__code__, dict(function.__globals__), cls.__mro__
    cls.registry["later"] = 2
    function.__globals__["CONSTANT"] = [2]
    for _ in range(3):
        loaded_class, instance, loaded_function = pickle.loads(payload)
        assert loaded_class is cls and type(instance) is cls and loaded_function is not function
        assert loaded_function.__globals__ is not function.__globals__
    assert dict(vars(cls)) == before[0] and dict(vars(function)) == before[1] and function.__code__ is before[2]
    assert cls.registry == {"a": 1, "later": 2} and function(5) == ([2], 5) and cls.__mro__ == before[4]
    assert {**function.__globals__, "CONSTANT": 0} == {**before[3], "CONSTANT": 0}


def test_class_is_one_over_many_loads_until_it_is_let_go() -> None:
    cls = build("class obj:\n    def __init__(self, x): self.x = x\n    def get(self): return self.x")
    payloads = [rudf_pickle.dumps(cls(number)) for number in range(3)]
    check = textwrap.dedent(
        f"""
        import gc, pickle, weakref
        loaded = [obj] + [pickle.loads(payload) for payload in {payloads!r} * 3]
        assert len({{type(one) for one in loaded}}) == 1 and [one.get() for one in loaded] == [0, *[0, 1, 2] * 3]
        reference = weakref.ref(type(obj))
        del loaded, obj
        gc.collect()
        assert reference() is None
        again = pickle.loads({payloads[1]!r})
        assert again.get() == 1
        """
    )
    assert load_fresh([("many", payloads[0], check)]) == {"many": None}


def test_errors_below_what_travels_along_can_be_shown() -> None:
    source = """
    class Base:
        def __init_subclass__(cls, *, tag): pass
    class obj(Base, tag=1): pass
    """
    check = """
    import copyreg, pickle, traceback
    copyreg._rudf.clear()
    copyreg._rudf_lock = None
    try: pickle.loads(payload)
    except Exception: text = traceback.format_exc()
    assert "in shielded" in text
    """
    assert load_fresh([("error", rudf_pickle.dumps(build(source)), textwrap.dedent(check))]) == {"error": None}


def test_modules_and_names_of_the_receiver_stay() -> None:
    payload = rudf_pickle.dumps(build("import math\ndef obj(x): return math.pi, sum([x])"))
    check = textwrap.dedent(
        f"""
        import builtins, math, pickle, sys
        before = dict(vars(builtins)), dict(vars(math)), set(sys.modules), dict(vars(sys.modules["__main__"]))
        for _ in range(3): assert pickle.loads({payload!r})(1) == (math.pi, 1)
        assert before[:2] == (dict(vars(builtins)), dict(vars(math))) and before[2] == set(sys.modules)
        assert before[3].keys() == vars(sys.modules["__main__"]).keys()
        """
    )
    assert load_fresh([("names", payload, check)]) == {"names": None}
