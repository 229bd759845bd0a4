"""Objects that do their worst while they are pickled: each ends in an exception or in a pickle, none in a crash."""

from __future__ import annotations

import re
import textwrap
from functools import cache

import pytest
from forked import outcomes

#: What every source starts with.
PRELUDE = """
import gc, io, pickle, sys, threading, types, weakref
from rudf.pickle import Pickler, dumps, dump
"""

#: By name: the source, and a pattern of how it has to end.
HOSTILE: dict[str, tuple[str, str]] = {
    "reduce_returns_an_endless_iterator_of_fresh_iterators": (
        """
        class Items:
            turns = 0
            def __next__(self):
                Items.turns += 1
                if Items.turns % 1001 == 0: raise StopIteration
                return 1
            def __iter__(self):
                Items.turns = 0
                return Items()
        class Evil:
            def __reduce__(self): return list, (), None, Items()
        assert len(pickle.loads(dumps(Evil()))) <= 1001
        """,
        "ok",
    ),
    "reduce_returns_what_only_looks_like_an_iterator": (
        """
        class Items:
            def __init__(self): self.__next__ = lambda: 1
        class Evil:
            def __reduce__(self): return list, (), None, Items()
        dumps(Evil())
        """,
        "PicklingError: fourth item .* must be an iterator",
    ),
    "reduce_returns_items_that_raise": (
        """
        def items():
            yield 1
            raise ZeroDivisionError("items")
        class Evil:
            def __reduce__(self): return list, (), None, items()
        dumps(Evil())
        """,
        "ZeroDivisionError: items",
    ),
    "reduce_returns_items_that_are_no_pairs": (
        """
        class Evil:
            def __reduce__(self): return dict, (), None, None, iter([(1, 2), (1, 2, 3)])
        dumps(Evil())
        """,
        "PicklingError: dict items iterator must return 2-tuples",
    ),
    "reduce_returns_a_subclass_of_tuple_that_lies": (
        """
        class Liar(tuple):
            def __len__(self): return 5
            def __getitem__(self, i): raise RuntimeError
            def __iter__(self): raise RuntimeError
        class Evil:
            def __reduce__(self): return Liar((list, ()))
        assert pickle.loads(dumps(Evil())) == []
        """,
        "ok",
    ),
    "reduce_returns_arguments_that_are_a_lying_tuple": (
        """
        class Liar(tuple):
            def __reduce_ex__(self, p): return (tuple, ([1, 2],))
        class Evil:
            def __reduce__(self): return list, Liar(([3],))
        dumps(Evil())
        """,
        "ok",
    ),
    "reduce_ex_of_an_instance_is_rubbish": (
        "class Evil: pass\nevil = Evil()\nevil.__reduce_ex__ = 5\ndumps(evil)",
        "TypeError: 'int' object is not callable",
    ),
    "reduce_and_reduce_ex_are_none": (
        "class Evil:\n    __reduce_ex__ = None\n    __reduce__ = None\ndumps(Evil())",
        "TypeError|PicklingError",
    ),
    "reduce_clears_the_dictionary_that_holds_it": (
        """
        box = {}
        class Evil:
            def __reduce__(self):
                box.clear()
                gc.collect()
                return int, ()
        box.update({i: Evil() for i in range(3)})
        dumps(box)
        """,
        "RuntimeError: dictionary changed size",
    ),
    "reduce_exchanges_the_entries_of_the_dictionary_that_holds_it": (
        """
        box = {}
        class Evil:
            def __reduce__(self):
                keys = list(box)
                for key in keys: del box[key]
                for key in keys: box[str(key) + "x"] = [key]
                gc.collect()
                return int, ()
        box.update({i: Evil() for i in range(3)})
        assert isinstance(pickle.loads(dumps(box)), dict)
        """,
        "ok",
    ),
    "reduce_changes_the_set_that_holds_it": (
        """
        box = set()
        class Evil:
            def __reduce__(self):
                box.clear()
                gc.collect()
                return int, ()
        box.update(Evil() for i in range(5))
        pickle.loads(dumps(box))
        """,
        "ok",
    ),
    "reduce_changes_the_attributes_of_its_holder": (
        """
        class Holder: pass
        holder = Holder()
        class Evil:
            def __reduce__(self):
                holder.__dict__ = {}
                gc.collect()
                return int, ()
        for name in "abcde": setattr(holder, name, Evil())
        dumps(holder)
        """,
        "ok",
    ),
    "reduce_changes_the_globals_of_a_function": (
        """
        class Evil:
            def __reduce__(self):
                globals().pop("other", None)
                globals().update({f"name{i}": i for i in range(1000)})
                gc.collect()
                return int, ()
        evil, other = Evil(), [1]
        def function(): return evil, other
        dumps(function)
        """,
        "ok",
    ),
    "reduce_changes_the_function_that_holds_it": (
        """
        class Evil:
            def __reduce__(self):
                function.__code__ = (lambda: 5).__code__
                function.__defaults__ = function.__kwdefaults__ = None
                function.__dict__ = {}
                gc.collect()
                return int, ()
        def function(a=Evil(), *, b=Evil()): return a, b
        function.attribute = [Evil()]
        dumps(function)
        """,
        "ok",
    ),
    "reduce_empties_the_cell_that_holds_it": (
        """
        def outer():
            class Evil:
                def __reduce__(self):
                    nonlocal evil
                    del evil
                    gc.collect()
                    return int, ()
            evil = Evil()
            return lambda: evil
        dumps(outer())
        """,
        "ok",
    ),
    "reduce_changes_the_class_that_holds_it": (
        """
        class Evil:
            def __reduce__(self):
                for name in ("a", "b", "c"):
                    if name in Holder.__dict__: delattr(Holder, name)
                Holder.__bases__ = (Other,)
                gc.collect()
                return int, ()
        class Base: pass
        class Other: pass
        class Holder(Base): a, b, c = Evil(), Evil(), [Evil()]
        dumps(Holder)
        """,
        "ok",
    ),
    "reduce_of_an_enum_member_changes_the_enum": (
        """
        import enum
        class Evil:
            def __reduce__(self):
                Color._member_map_.clear()
                Color._value2member_map_.clear()
                return int, ()
        class Color(enum.Enum):
            RED = Evil()
            GREEN = [Evil()]
        dumps(Color)
        """,
        "ok|RuntimeError: dictionary changed size",
    ),
    "reduce_pickles_on_the_same_pickler": (
        """
        pickler = Pickler(io.BytesIO())
        class Evil:
            def __reduce__(self):
                pickler.dump([1])
                return int, ()
        pickler.dump([Evil()])
        """,
        "RuntimeError: ",
    ),
    "persistent_id_pickles_on_the_same_pickler": (
        """
        class Evil(Pickler):
            def persistent_id(self, obj):
                self.dump(obj)
        Evil(io.BytesIO()).dump([1])
        """,
        "RuntimeError: ",
    ),
    "reducer_override_pickles_on_the_same_pickler": (
        """
        class Evil(Pickler):
            def reducer_override(self, obj):
                self.dump(obj)
        Evil(io.BytesIO()).dump([lambda: 1])
        """,
        "RuntimeError: ",
    ),
    "persistent_id_clears_the_memo": (
        """
        class Evil(Pickler):
            def persistent_id(self, obj):
                self.clear_memo()
        Evil(io.BytesIO()).dump([1])
        """,
        "RuntimeError: ",
    ),
    "persistent_id_reads_and_sets_the_memo": (
        """
        class Evil(Pickler):
            def persistent_id(self, obj):
                self.memo = dict(self.memo)
        Evil(io.BytesIO()).dump([1])
        """,
        "RuntimeError: ",
    ),
    "persistent_id_starts_the_pickler_again": (
        """
        class Evil(Pickler):
            def persistent_id(self, obj):
                Pickler.__init__(self, io.BytesIO())
        Evil(io.BytesIO()).dump([[1], [2]])
        """,
        "ok",
    ),
    "a_pickler_shared_by_threads": (
        """
        sys.setswitchinterval(1e-6)
        failures = []
        class Slow:
            def __reduce__(self):
                for _ in range(100): pass
                return int, ()
        pickler = Pickler(io.BytesIO())
        def work():
            for _ in range(300):
                try: pickler.dump([Slow(), {"a": Slow()}])
                except RuntimeError: pass
                except BaseException as error: failures.append(error)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert not failures, failures
        """,
        "ok",
    ),
    "persistent_id_of_a_persistent_id": (
        """
        class Same(Pickler):
            def persistent_id(self, obj): return obj if isinstance(obj, str) else None
        class Loader(pickle.Unpickler):
            def persistent_load(self, pid): return pid
        file = io.BytesIO()
        Same(file).dump(["a", ("b",)])
        file.seek(0)
        assert Loader(file).load() == ["a", ("b",)]
        """,
        "ok",
    ),
    "dispatch_table_that_is_rubbish": (
        "pickler = Pickler(io.BytesIO())\npickler.dispatch_table = 5\npickler.dump(object())",
        "TypeError|AttributeError",
    ),
    "dispatch_table_that_raises": (
        """
        class Table:
            maps = [{}]
            def __getitem__(self, key): raise ZeroDivisionError("table")
        pickler = Pickler(io.BytesIO())
        pickler.dispatch_table = Table()
        pickler.dump(object())
        """,
        "ZeroDivisionError: table",
    ),
    "class_attribute_that_lies": (
        """
        class Evil:
            @property
            def __class__(self): return dict
        dumps(Evil())
        """,
        "ok|PicklingError: ",
    ),
    "class_attribute_that_raises": (
        """
        class Evil:
            @property
            def __class__(self): raise ZeroDivisionError("class")
        dumps(Evil())
        """,
        "ZeroDivisionError: class|ok",
    ),
    "dict_attribute_that_lies": (
        """
        class Evil:
            __dict__ = 5
        dumps(Evil())
        class Worse:
            @property
            def __dict__(self): raise ZeroDivisionError("dict")
        dumps(Worse())
        """,
        "ZeroDivisionError: dict|ok|AttributeError",
    ),
    "getstate_raises": (
        "class Evil:\n    def __getstate__(self): raise ZeroDivisionError('state')\ndumps([Evil()])",
        "ZeroDivisionError: state",
    ),
    "getstate_recurses": (
        "class Evil:\n    def __getstate__(self): return dumps(self)\ndumps(Evil())",
        "RecursionError|PicklingError: Could not pickle object as excessively deep recursion",
    ),
    "getattr_recurses": (
        """
        class Evil:
            def __getattr__(self, name): return getattr(self, name + "x")
        dumps(Evil())
        """,
        "ok|PicklingError: Could not pickle object as excessively deep recursion",
    ),
    "getattr_answers_everything": (
        "class Evil:\n    def __getattr__(self, name): return self\ndumps(Evil())",
        "ok|TypeError|PicklingError|RecursionError",
    ),
    "getattribute_raises": (
        """
        class Evil:
            def __getattribute__(self, name): raise ZeroDivisionError(name)
        dumps([Evil()])
        """,
        "ZeroDivisionError: ",
    ),
    "eq_and_hash_raise": (
        """
        class Evil:
            def __init__(self, allowed): self.allowed = allowed
            def __eq__(self, other): raise ZeroDivisionError("eq")
            def __hash__(self):
                if not self.allowed: raise ZeroDivisionError("hash")
                return 5
        evils = [Evil(True)]
        box = {evils[0]: 1}
        held = {evils[0]}
        evils[0].allowed = False
        dumps([evils, box, held, evils[0]])
        """,
        "ok",
    ),
    "metaclass_getattribute_raises_for_every_name": (
        """
        for name in ("__mro__", "__dict__", "__bases__", "__name__", "__qualname__", "__module__", "__flags__",
                     "__reduce_ex__", "__reduce__", "__getstate__", "__new__", "__class__", "__doc__"):
            class Meta(type):
                def __getattribute__(cls, asked):
                    if asked == name and armed: raise ZeroDivisionError(asked)
                    return type.__getattribute__(cls, asked)
            armed = False
            class Evil(metaclass=Meta): x = 1
            class Sub(Evil): y = 2
            instance = Sub()
            armed = True
            for obj in (Evil, Sub, instance, [Evil(), Sub]):
                try: dumps(obj)
                except (ZeroDivisionError, pickle.PicklingError, TypeError): pass
        """,
        "ok",
    ),
    "metaclass_getattribute_returns_rubbish_for_every_name": (
        """
        for rubbish in (5, None, (), [], "x", {1: 2}, object()):
            for name in ("__mro__", "__dict__", "__bases__", "__name__", "__qualname__", "__module__", "__flags__",
                         "__reduce_ex__", "__reduce__", "__getstate__", "__new__", "__class__", "__doc__"):
                class Meta(type):
                    def __getattribute__(cls, asked):
                        if asked == name and armed: return rubbish
                        return type.__getattribute__(cls, asked)
                armed = False
                class Evil(metaclass=Meta): x = 1
                class Sub(Evil): y = 2
                instance = Sub()
                armed = True
                for obj in (Evil, Sub, instance, [Evil, Sub]):
                    try: dumps(obj)
                    except Exception as error: pass
        """,
        "ok",
    ),
    "function_attributes_that_are_rubbish": (
        """
        def function(): pass
        function.__module__ = 5
        dumps(function)
        function.__module__ = None
        function.__doc__ = [function]
        function.__annotations__ = {5: function}
        assert pickle.loads(dumps(function)).__doc__[0].__name__ == "function"
        """,
        "ok",
    ),
    "functions_with_names_of_lone_surrogates": (
        r"""
        def function(): return 1
        function.__name__ = function.__qualname__ = function.__module__ = "\ud800"
        loaded = pickle.loads(dumps(function))
        assert loaded.__name__ == "\ud800" == loaded.__module__
        """,
        "ok|UnicodeEncodeError|PicklingError",
    ),
    "class_with_names_of_lone_surrogates": (
        r"""
        class Evil: pass
        setattr(Evil, "\ud800", 1)
        Evil.__qualname__ = "\ud800"
        dumps(Evil)
        """,
        "ok|UnicodeEncodeError|PicklingError",
    ),
    "strings_of_lone_surrogates": (
        r"""
        for protocol in (2, 3, 4, 5):
            for text in ("\ud800", "\udc80" * 300, "a\udfffb" * 30_000, "\ud83d\ude00"):
                values = [text, {text: text}, (text,), frozenset([text])]
                assert pickle.loads(dumps(values, protocol)) == values
        """,
        "ok",
    ),
    "code_with_constants_that_are_no_constants": (
        """
        def function(): return 1
        for constant in (object(), [1], {1: 2}, lambda: 1, threading.Lock(), float):
            function.__code__ = function.__code__.replace(co_consts=(None, constant))
            try: dumps(function)
            except (ValueError, pickle.PicklingError): pass
        """,
        "ok",
    ),
    "code_that_is_nested_deeply": (
        """
        constant = 1
        for _ in range(5000): constant = (constant,)
        def function(): return 1
        function.__code__ = function.__code__.replace(co_consts=(None, constant))
        dumps(function)
        """,
        "ValueError|PicklingError",
    ),
    "code_with_rubbish_for_instructions": (
        r"""
        def function(): return 1
        # The last two take the interpreter along from 3.12 on, before anything is pickled.
        for code in (b"", b"\xff" * 100, bytes(range(256)), b"\x90\xff" * 9)[: 4 if sys.version_info < (3, 12) else 2]:
            try: function.__code__ = function.__code__.replace(co_code=code)
            except ValueError: continue
            dumps(function)
        """,
        "ok",
    ),
    "class_with_an_enormous_integer": (
        "class Holder: number = 1 << 100_000\nassert pickle.loads(dumps(Holder)).number == 1 << 100_000",
        "ok",
    ),
    "module_that_is_rubbish": (
        """
        class Evil(types.ModuleType):
            def __getattribute__(self, name):
                if armed: raise ZeroDivisionError(name)
                return super().__getattribute__(name)
        armed = False
        module = sys.modules["evil"] = Evil("evil")
        def function(): return module.part
        armed = True
        for obj in (module, function):
            try: dumps(obj)
            except ZeroDivisionError: pass
        """,
        "ok",
    ),
    "modules_that_are_no_modules": (
        """
        class Evil:
            def __getattr__(self, name): raise ZeroDivisionError(name)
        sys.modules["evil"], sys.modules[5], sys.modules["none"] = Evil(), Evil(), None
        class Strange:
            def __reduce__(self): return "nowhere"
        try: dumps(Strange())
        except pickle.PicklingError: pass
        dumps(lambda: evil)
        """,
        "ok",
    ),
    "look_up_in_a_module_that_changes_sys_modules": (
        """
        class Lazy(types.ModuleType):
            def __getattr__(self, name):
                for number in range(100): sys.modules[f"more{number}"] = types.ModuleType(f"more{number}")
                raise AttributeError(name)
        sys.modules["lazy"] = Lazy("lazy")
        class Strange:
            __module__ = None
            def __reduce__(self): return "nowhere"
        dumps(Strange())
        """,
        "PicklingError",
    ),
    "file_whose_write_raises": (
        """
        class File:
            def write(self, data): raise ZeroDivisionError("write")
        for attempt in (lambda: dump([1], File()), lambda: Pickler(File()).dump([1])):
            try: attempt()
            except ZeroDivisionError: pass
            else: raise AssertionError
        """,
        "ok",
    ),
    "file_whose_write_pickles_again": (
        """
        class File:
            def __init__(self): self.depth = 0
            def write(self, data):
                self.depth += 1
                if self.depth < 5: self.pickler.dump([data])
        file = File()
        file.pickler = Pickler(file)
        file.pickler.dump([1])
        assert file.depth == 5
        """,
        "ok",
    ),
    "file_whose_write_is_no_function": ("class File: write = 5\nPickler(File()).dump(1)", "TypeError"),
    "buffer_callback_raises": (
        """
        def callback(buffer): raise ZeroDivisionError("callback")
        dumps(pickle.PickleBuffer(b"x" * 100_000), buffer_callback=callback)
        """,
        "ZeroDivisionError: callback",
    ),
    "buffer_callback_releases_the_buffer": (
        """
        for size in (10, 100_000):
            for answer in (True, False):
                data = bytearray(size)
                buffer = pickle.PickleBuffer(data)
                def callback(buffer):
                    buffer.release()
                    return answer
                assert len(dumps([buffer, 1], buffer_callback=callback)) > (size if answer else 5)
                data.append(1)
        """,
        "ok",
    ),
    "buffer_that_was_released": (
        "buffer = pickle.PickleBuffer(b'x')\nbuffer.release()\ndumps(buffer)",
        "ValueError: operation forbidden on released PickleBuffer",
    ),
    "buffer_of_python_code": (
        """
        if sys.version_info < (3, 12): raise SystemExit("no __buffer__")
        class Evil:
            def __init__(self, data): self.data = data
            def __buffer__(self, flags): return memoryview(self.data)
            def __release_buffer__(self, view):
                view.release()
                raise ZeroDivisionError("release")
        sys.unraisablehook = lambda *a: None
        for evil in (Evil(bytearray(10)), Evil(bytearray(100_000)), Evil(5), Evil(b"x")):
            # The standard library's buffers cannot be had from such an object twice.
            try: dumps(pickle.PickleBuffer(evil))
            except TypeError: pass
        """,
        "ok|SystemExit",
    ),
    "bytearray_that_shrinks_meanwhile": (
        """
        data = bytearray(b"x" * 100_000)
        class Evil:
            def __reduce__(self):
                try: data.clear()
                except BufferError: pass
                return int, ()
        assert len(pickle.loads(dumps([data, Evil(), data]))[0]) == 100_000
        data.clear()
        """,
        "ok",
    ),
    "memoryview_that_was_released": (
        "view = memoryview(b'x')\nview.release()\ndumps(view)",
        "ValueError",
    ),
    "weak_references_that_die_meanwhile": (
        """
        class Node: pass
        nodes = [Node() for _ in range(10)]
        box = weakref.WeakSet(nodes)
        class Evil:
            def __reduce__(self):
                nodes.clear()
                gc.collect()
                return int, ()
        dumps([Evil(), box])
        """,
        "ok",
    ),
    "finalizer_pickles": (
        """
        class Evil:
            def __del__(self): dumps([lambda: 1, {}])
        def make():
            evil = Evil()
            evil.me = evil
        class Maker:
            def __reduce__(self):
                make()
                gc.collect()
                return int, ()
        dumps([Maker() for _ in range(50)])
        """,
        "ok",
    ),
    "exception_that_cannot_be_shown": (
        """
        class Evil(pickle.PicklingError):
            def __str__(self): raise ZeroDivisionError
            def add_note(self, note): raise ZeroDivisionError
        class Raiser:
            def __reduce__(self): raise Evil
        try: dumps([Raiser()])
        except Evil: pass
        """,
        "ok",
    ),
    "keys_that_cannot_be_shown": (
        """
        class Key:
            def __repr__(self): raise ZeroDivisionError
            def __reduce__(self): return int, ()
        dumps({Key(): [threading.Lock()]})
        """,
        r"PicklingError: .*_thread.lock",
    ),
    "objects_that_make_new_ones_without_end": (
        """
        class Endless:
            def __reduce__(self): return list, ([Endless()],)
        dumps(Endless())
        """,
        "PicklingError: Could not pickle object as excessively deep recursion",
    ),
    "name_of_a_reducer_that_lies": (
        """
        def function(*a): pass
        for name in ("__newobj__", "__newobj_ex__"):
            function.__name__ = name
            for arguments in ((), (5,), (object, 1), (int, (), {}), (5, 5, 5)):
                class Evil:
                    def __reduce__(self): return function, arguments
                for protocol in (2, 3, 4, 5):
                    try: dumps(Evil(), protocol)
                    except (pickle.PicklingError, AttributeError, TypeError): pass
        """,
        "ok",
    ),
    "state_setter_and_state_that_are_rubbish": (
        """
        class Evil:
            def __reduce__(self): return object, (), object(), None, None, print
        dumps(Evil())
        """,
        "ok",
    ),
    "abstract_class_whose_registry_dies": (
        """
        import abc
        class Shape(abc.ABC): pass
        class Evil(type):
            def __getattribute__(cls, name):
                gc.collect()
                return type.__getattribute__(cls, name)
        for _ in range(20): Shape.register(Evil("Temporary", (), {}))
        dumps(Shape)
        """,
        "ok",
    ),
    "pickler_that_pickles_itself_is_collected": (
        """
        class Holder: pass
        def make():
            holder = Holder()
            holder.pickler = Pickler(io.BytesIO())
            holder.pickler.dump([[holder.__class__], Holder])
            box = [holder]
            holder.pickler.memo = {id(box): (0, box)}
            return weakref.ref(holder)
        reference = make()
        gc.collect()
        assert reference() is None
        """,
        "ok",
    ),
    "failed_dump_leaves_the_memo_as_it_was": (
        """
        file = io.BytesIO()
        pickler = Pickler(file)
        shared, other = ["shared"], ["other"]
        pickler.dump(shared)
        try: pickler.dump([other, {"attribute": 1}, lambda: 1, threading.Lock()])
        except pickle.PicklingError: pass
        pickler.dump([shared, other, "attribute", lambda: 2])
        file.seek(0)
        unpickler = pickle.Unpickler(file)
        first, second = unpickler.load(), unpickler.load()
        assert second[0] is first and second[1:3] == [["other"], "attribute"] and second[3]() == 2
        """,
        "ok",
    ),
}


@cache
def endings() -> dict[str, str]:
    """How every source ended."""
    return outcomes({name: PRELUDE + textwrap.dedent(source) for name, (source, _) in HOSTILE.items()})


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_object_is_no_crash(name: str) -> None:
    outcome, expected = endings()[name], HOSTILE[name][1]
    assert re.match(expected, outcome), outcome
