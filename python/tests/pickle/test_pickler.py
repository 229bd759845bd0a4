"""The class that clients subclass, the registry of modules that go by value, and what must not go wrong in use."""

from __future__ import annotations

import copyreg
import gc
import importlib
import io
import json
import json.decoder
import pickle
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from fresh import load_fresh

from rudf import pickle as rudf_pickle


class Plain:
    """An importable class of no particular kind."""

    def __init__(self, value: int) -> None:
        self.value = value


def written(pickler_class: type[rudf_pickle.Pickler], obj: object, **options: Any) -> bytes:
    """What a pickler writes for one object."""
    file = io.BytesIO()
    pickler_class(file, **options).dump(obj)
    return file.getvalue()


def test_persistent_ids_stay_out_of_the_pickle() -> None:
    class Persistent(rudf_pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return ("plain", obj.value) if isinstance(obj, Plain) else None

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            return pid

    payload = written(Persistent, [Plain(1), {"k": (Plain(2),)}])
    assert Unpickler(io.BytesIO(payload)).load() == [("plain", 1), {"k": (("plain", 2),)}]


def test_reducer_override_may_call_the_base() -> None:
    class Override(rudf_pickle.CloudPickler):
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, Plain):
                return (str, ("replaced",))
            return super().reducer_override(obj)

    result = pickle.loads(written(Override, [Plain(1), lambda: 5]))
    assert result[0] == "replaced" and result[1]() == 5


def test_dispatch_table_of_instance_class_and_base() -> None:
    def reduce(obj: Plain) -> tuple[Any, ...]:
        return (int, (obj.value,))

    class Table(rudf_pickle.CloudPickler):
        dispatch_table = {Plain: reduce}  # noqa: RUF012

    assert pickle.loads(written(Table, Plain(3))) == 3
    file = io.BytesIO()
    pickler = rudf_pickle.CloudPickler(file)
    pickler.dispatch_table = copyreg.dispatch_table.copy()
    pickler.dispatch_table[Plain] = reduce
    pickler.dump([Plain(4), lambda: 1])
    assert pickle.loads(file.getvalue())[0] == 4
    file = io.BytesIO()
    pickler = rudf_pickle.CloudPickler(file)
    pickler.dispatch_table[Plain] = reduce
    pickler.dump(Plain(6))
    assert pickle.loads(file.getvalue()) == 6 and Plain not in rudf_pickle.CloudPickler.dispatch_table
    assert type(pickle.loads(written(rudf_pickle.CloudPickler, Plain(7)))) is Plain
    rudf_pickle.Pickler.dispatch_table[Plain] = reduce
    try:
        assert pickle.loads(written(rudf_pickle.Pickler, Plain(5))) == 5
    finally:
        del rudf_pickle.Pickler.dispatch_table[Plain]


def test_what_ray_and_others_do_to_the_class_works() -> None:
    class RayPickler(rudf_pickle.CloudPickler):
        dispatch = rudf_pickle.CloudPickler.dispatch.copy()
        dispatch_table = rudf_pickle.CloudPickler.dispatch_table.new_child()

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.seen: list[Any] = []

        def reducer_override(self, obj: Any) -> Any:
            self.seen.append(obj)
            if type(obj) is range:
                return tuple, (list(obj),)
            return super().reducer_override(obj)

        def persistent_id(self, obj: Any) -> Any:
            return "the plain one" if type(obj) is Plain else None

    assert rudf_pickle.CloudPickler.dispatch is rudf_pickle.CloudPickler.dispatch_table
    RayPickler.dispatch_table[slice] = lambda value: (str, (str(value),))
    file, buffers = io.BytesIO(), []
    pickler = RayPickler(file, 5, buffers.append)
    pickler.dump([range(3), slice(1), Plain(3), lambda x: x, pickle.PickleBuffer(b"out of band")])
    assert any(callable(obj) for obj in pickler.seen) and bytes(buffers[0]) == b"out of band"

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            return pid

    file.seek(0)
    numbers, text, plain, function, data = Unpickler(file, buffers=buffers).load()
    assert (numbers, text, plain, function(5)) == ((0, 1, 2), "slice(None, 1, None)", "the plain one", 5) and bytes(data) == b"out of band"
    assert slice not in rudf_pickle.CloudPickler.dispatch_table
    rudf_pickle.CloudPickler.dispatch[Plain] = lambda value: (int, (value.value,))
    try:
        assert pickle.loads(written(rudf_pickle.CloudPickler, Plain(3))) == 3
    finally:
        del rudf_pickle.CloudPickler.dispatch[Plain]


def test_reducers_of_all_picklers_hold_for_dumps_too() -> None:
    class Connection:
        pass

    function = lambda: Connection()  # noqa: E731
    rudf_pickle.CloudPickler.dispatch[Connection] = lambda _: (str, ("connection",))
    try:
        assert pickle.loads(rudf_pickle.dumps([Connection(), function]))[0] == "connection"
        assert pickle.loads(rudf_pickle.dumps(Connection(), 2, by_value=["json"])) == "connection"
    finally:
        del rudf_pickle.CloudPickler.dispatch[Connection]
    assert isinstance(pickle.loads(rudf_pickle.dumps(Connection())), Connection)


def test_by_value_is_no_single_name() -> None:
    with pytest.raises(TypeError, match=r"write by_value=\['json'\]"):
        rudf_pickle.dumps(len, by_value="json")


def test_copyreg_is_followed_live() -> None:
    copyreg.pickle(Plain, lambda obj: (int, (obj.value,)))
    try:
        assert pickle.loads(rudf_pickle.dumps(Plain(6))) == 6
    finally:
        del copyreg.dispatch_table[Plain]
    assert isinstance(pickle.loads(rudf_pickle.dumps(Plain(6))), Plain)


def test_memo_spans_dumps_until_cleared() -> None:
    file = io.BytesIO()
    pickler = rudf_pickle.Pickler(file)
    shared = ["shared"]
    pickler.dump(shared)
    first = file.tell()
    pickler.dump(shared)
    assert file.tell() - first < 10 and id(shared) in pickler.memo
    unpickler = pickle.Unpickler(io.BytesIO(file.getvalue()))
    assert unpickler.load() is unpickler.load()
    pickler.clear_memo()
    pickler.dump(shared)
    assert not {id(shared)} - set(pickler.memo)


def test_pickler_that_reenters_itself_is_refused() -> None:
    file = io.BytesIO()
    pickler = rudf_pickle.Pickler(file)

    class Reenter:
        def __reduce__(self) -> Any:
            pickler.dump(1)
            return (int, ())

    with pytest.raises(RuntimeError):
        pickler.dump(Reenter())


def test_module_by_value_for_one_call_and_for_all() -> None:
    by_reference = rudf_pickle.dumps(json.decoder.scanstring and json.dumps)
    by_value = rudf_pickle.dumps(json.dumps, by_value=[json])
    assert len(by_value) > len(by_reference) == len(rudf_pickle.dumps(json.dumps))
    check = "import json\nassert obj is not json.dumps and obj([1]) == '[1]'"
    assert load_fresh([("by value", by_value, check)]) == {"by value": None}
    rudf_pickle.register_pickle_by_value(json)
    try:
        assert rudf_pickle.list_registry_pickle_by_value() == {"json"}
        assert len(rudf_pickle.dumps(json.decoder.JSONDecoder)) > 1000
    finally:
        rudf_pickle.unregister_pickle_by_value(json)
    assert rudf_pickle.dumps(json.dumps) == by_reference
    with pytest.raises(ValueError, match="not registered"):
        rudf_pickle.unregister_pickle_by_value(json)


def test_package_by_value_brings_its_submodules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "only_here"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("from . import tools\nVERSION = 1\n")
    (package / "tools.py").write_text(
        "import only_here.inner.deep\nCONSTANT = [7]\ndef helper(x): return x + CONSTANT[0]\n"
        "def deep(): return only_here.inner.deep.value()\n"
    )
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "deep.py").write_text("def value(): return 'deep'\n")
    monkeypatch.syspath_prepend(tmp_path)
    only_here = importlib.import_module("only_here")
    try:
        cases = {
            "a function": (only_here.tools.deep, "assert obj() == 'deep'"),
            "through the package": (lambda: only_here.tools.helper(2), "assert obj() == 9"),
            "through a default": (lambda p=only_here: p.inner.deep.value(), "assert obj() == 'deep'"),
            "the module": (only_here.tools, "assert obj.deep() == 'deep' and obj.CONSTANT == [7]"),
        }
        payloads = [
            (name, rudf_pickle.dumps(obj, by_value=[only_here]), check) for name, (obj, check) in cases.items()
        ]
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "only_here"]:
            del sys.modules[name]
    assert load_fresh(payloads) == dict.fromkeys(cases)


def test_importable_bases_and_metaclasses_see_plain_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugins_of_here.py").write_text(
        "SEEN = {}\n"
        "class Plugin:\n"
        "    def __init_subclass__(cls, **keywords): SEEN[cls.name] = cls\n"
        "class Meta(type):\n"
        "    def __init__(cls, name, bases, namespace):\n"
        "        if bases: SEEN[namespace['key']] = cls\n"
        "class Keyed(metaclass=Meta): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugins = importlib.import_module("plugins_of_here")
    try:
        space = {"__name__": "__main__", "plugins": plugins}
        exec(
            "class Csv(plugins.Plugin):\n"
            "    name, limits = 'csv', [1]\n"
            "    def read(self): return self.name\n"
            "class Json(plugins.Keyed):\n"
            "    key = ('json', 1)\n",
            space,
        )
        payload = rudf_pickle.dumps((space["Csv"], space["Json"]))
    finally:
        del sys.modules["plugins_of_here"]
    # The fresh interpreter finds the module only from the second case on.
    check = "csv, json = obj\nimport plugins_of_here as p\nassert p.SEEN == {'csv': csv, ('json', 1): json}\n"
    check += "assert csv().read() == 'csv' and csv.limits == [1] and json.key == ('json', 1)"
    path = f"import sys\nsys.path.append({str(tmp_path)!r})"
    assert load_fresh([("path", rudf_pickle.dumps(None), path), ("classes", payload, check)]) == {"path": None, "classes": None}


def test_a_million_nested_lists_and_a_long_linked_list_are_written() -> None:
    nested: list[Any] = []
    for _ in range(1_000_000):
        nested = [nested]
    payload = rudf_pickle.dumps(nested)
    assert payload.count(b"]") >= 1_000_000
    while nested:  # taken apart by hand: the interpreter's own way down is recursive
        nested = nested[0]
    node: Any = None
    for value in range(100_000):
        outer = Plain(value)
        outer.next, node = node, outer  # type: ignore[attr-defined]
    assert len(rudf_pickle.dumps(node)) > 100_000
    while node is not None:
        node = node.next


def test_interrupt_arrives_during_a_long_dump() -> None:
    data = [[[number]] for number in range(300_000)]
    usual = signal.signal(signal.SIGALRM, signal.default_int_handler)
    # An interrupt that arrives while a callback of the garbage collector runs (hypothesis has one) is only reported.
    gc.disable()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            for _ in range(1000):
                rudf_pickle.dumps(data)
    finally:
        gc.enable()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)


def test_nothing_leaks() -> None:
    def make(number: int) -> Any:
        space: dict[str, Any] = {"__name__": "__main__"}
        exec(f"class C:\n    def f(self): return {number}\nobj = [C(), lambda x: x + {number}]", space)
        return space["obj"]

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    kept = make(0)
    for number in range(6000):
        rudf_pickle.dumps(make(number))
    gc.collect()
    before, objects = peak(), len(gc.get_objects())
    for number in range(6000):
        rudf_pickle.dumps(make(number))
        rudf_pickle.dumps(kept)
    gc.collect()
    assert len(gc.get_objects()) - objects < 500
    assert peak() - before < 20_000


def test_peak_memory_of_a_large_array_is_its_size() -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.ones(100_000_000 // 8)
    function = lambda: array  # noqa: E731
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    payload = rudf_pickle.dumps(function)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert len(payload) > array.nbytes and grown * 1024 < 1.15 * array.nbytes
