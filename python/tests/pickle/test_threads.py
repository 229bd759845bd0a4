"""Many threads pickle at once, while others import modules, take them away, and change what is being pickled."""

from __future__ import annotations

from forked import outcomes

PRELUDE = """
import gc, importlib, io, pickle, pickletools, sys, threading, time, types
from rudf.pickle import Pickler, dumps
sys.setswitchinterval(1e-5)
failures = []

def run(*works, seconds=1.0):
    end = time.monotonic() + seconds
    def loop(work):
        try:
            while time.monotonic() < end and not failures: work()
        except BaseException as error: failures.append(repr(error))
    threads = [threading.Thread(target=loop, args=(work,)) for work in works]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert not failures, failures
"""


def test_bytes_are_right_while_modules_come_and_go() -> None:
    source = """
import xml.etree.ElementTree, concurrent.futures, json.decoder
def helper(x): return json.decoder.JSONDecoder, xml.etree.ElementTree.fromstring, x
def outer(n):
    class Local:
        attribute = [n]
        def method(self): return helper(n)
    return lambda x: (helper(x), Local, n)
class Instance:
    def __init__(self): self.values = [1, "two", (3.0, None)]
payloads = [outer(1), helper, [Instance() for _ in range(20)], {"k": {1, 2, 3}, "f": [outer(2), outer(3)]}, len, Instance]
expected = [dumps(obj) for obj in payloads]
def check():
    for obj, right in zip(payloads, expected): assert dumps(obj) == right
class Lazy(types.ModuleType):
    def __getattr__(self, name): raise AttributeError(name)
counter = iter(range(10**9))
def churn():
    name = f"made_up_{next(counter)}"
    sys.modules[name] = Lazy(name)
    for module in ("colorsys", "sndhdr_none", "this_is_none", "wave", "bisect"):
        sys.modules.pop(module, None)
        try: importlib.import_module(module)
        except (ImportError, KeyError): pass  # taken away by another thread
    del sys.modules[name]
def collect(): gc.collect()
run(check, check, check, check, churn, churn, collect, seconds=2.0)
"""
    assert outcomes({"modules": PRELUDE + source}) == {"modules": "ok"}


def test_classes_keep_their_keys_while_others_come_and_go() -> None:
    source = """
class Shared:
    def method(self): return 1
expected = dumps(Shared)
def check(): assert dumps(Shared) == expected
def churn():
    for _ in range(50): dumps([type("Short", (), {"n": n}) for n in range(40)])
run(check, check, churn, churn, churn, seconds=3.0)
"""
    assert outcomes({"keys": PRELUDE + source}) == {"keys": "ok"}


def test_containers_that_other_threads_change_are_no_crash() -> None:
    source = """
class Slow:
    def __reduce__(self):
        for _ in range(20): pass
        return int, ()
table = {i: [Slow()] for i in range(50)}
items = [Slow() for _ in range(50)]
members = {Slow() for _ in range(50)}
data = bytearray(70_000)
holder = types.SimpleNamespace(a=Slow(), b=[Slow()])
shared = {}
exec("X = 1\\ndef function(): return X, Y, Z, W", shared)
def pickle_all():
    for obj in (table, items, members, holder, shared["function"], data, [table, items, members]):
        try: payload = dumps(obj)
        except RuntimeError as error:
            assert "changed size" in str(error), error
            continue
        pickle.loads(payload)
counter = iter(range(10**9))
def change():
    number = next(counter)
    table[number + 1000] = [Slow()]
    table.pop(number + 995, None)
    items.append(Slow())
    del items[: number % 3]
    members.add(Slow())
    members.pop()
    holder.__dict__[f"name{number % 7}"] = Slow()
    holder.__dict__.pop(f"name{(number + 3) % 7}", None)
    shared[("X", "Y", "Z", "W")[number % 4]] = [Slow()]
    shared.pop(("X", "Y", "Z", "W")[(number + 1) % 4], None)
    try: data.append(1); del data[-1:]
    except BufferError: pass
    if len(items) > 200: del items[50:]
run(pickle_all, pickle_all, pickle_all, change, change, seconds=2.0)
"""
    assert outcomes({"containers": PRELUDE + source}) == {"containers": "ok"}


def test_a_class_has_one_key_whichever_thread_asks_first() -> None:
    source = """
import re
for _ in range(300):
    space = {"__name__": "__main__"}
    exec("class Local:\\n    def method(self): return 1\\n    x = {'a': (1, 2)}", space)
    results, barrier = [], threading.Barrier(4)
    def work():
        barrier.wait()
        results.append(dumps(space["Local"]))
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert len(set(results)) == 1
"""
    assert outcomes({"keys": PRELUDE + source}) == {"keys": "ok"}


def test_picklers_of_their_own_do_not_see_each_other() -> None:
    source = """
class Plain: pass
local = threading.local()
def work():
    mark = threading.get_ident()
    class Own(Pickler):
        def persistent_id(self, obj): return mark if isinstance(obj, Plain) else None
    class Loader(pickle.Unpickler):
        def persistent_load(self, pid): return pid
    file = io.BytesIO()
    pickler = Own(file)
    shared = [mark]
    for _ in range(20): pickler.dump([Plain(), shared, lambda: mark])
    file.seek(0)
    loader = Loader(file)
    loaded = [loader.load() for _ in range(20)]
    assert all(one[0] == mark and one[1] is loaded[0][1] and one[2]() == mark for one in loaded)
run(work, work, work, work)
"""
    assert outcomes({"picklers": PRELUDE + source}) == {"picklers": "ok"}


def test_classes_that_several_threads_load_are_one() -> None:
    source = """
space = {"__name__": "__main__"}
exec('''
class Base:
    made = []
    def __init_subclass__(cls): cls.seen = True
class Sub(Base): pass
''', space)
payload = dumps([space["Base"], space["Sub"], space["Sub"]()])
del space
gc.collect()
def load():
    gc.collect()
    base, sub, instance = pickle.loads(payload)
    assert type(instance) is sub and sub.__bases__ == (base,) and sub.seen
    class More(base): pass
run(load, load, load)
"""
    assert outcomes({"load": PRELUDE + source}) == {"load": "ok"}
