"""Functions by value: what they are made of, what they capture, how they are shared."""

from fresh import Case

CASES = {
    "lambda": Case("obj = lambda x: x + 1", "assert obj(1) == 2"),
    "function_with_everything": Case(
        """
        def obj(a: int, b: "str" = "b", *args: float, c=[1], d, **kw) -> bool:
            'what it does'
            return a, b, args, c, d, kw
        obj.attribute = {"x": 1}
        obj.__qualname__ = "other.name"
        """,
        """
        assert obj(1, d=4) == (1, "b", (), [1], 4, {})
        assert obj(1, 2, 3, c=0, d=4, e=5) == (1, 2, (3,), 0, 4, {"e": 5})
        assert obj.__doc__ == "what it does" and obj.attribute == {"x": 1}
        assert obj.__qualname__ == "other.name" and obj.__name__ == "obj" and obj.__module__ == "__main__"
        assert obj.__annotations__ == {"a": int, "b": "str", "args": float, "return": bool}
        """,
    ),
    "changed_name_doc_module": Case(
        """
        def obj(): 'doc'
        obj.__name__, obj.__doc__, obj.__module__ = "renamed", None, "elsewhere"
        """,
        "assert (obj.__name__, obj.__doc__, obj.__module__) == ('renamed', None, 'elsewhere')",
    ),
    "doc_added_later": Case("obj = lambda: 0\nobj.__doc__ = 'later'", "assert obj.__doc__ == 'later'"),
    "closure": Case(
        """
        def outer():
            number, text, items = 3, "t", [1, 2]
            def inner(x): return number, text, items, x
            return inner
        obj = outer()
        """,
        "assert obj(9) == (3, 't', [1, 2], 9)",
    ),
    "closure_recursive": Case(
        """
        def outer():
            def factorial(n): return 1 if n < 2 else n * factorial(n - 1)
            return factorial
        obj = outer()
        """,
        "assert obj(5) == 120 and obj.__closure__[0].cell_contents is obj",
    ),
    "closure_mutually_recursive": Case(
        """
        def outer():
            def even(n): return n == 0 or odd(n - 1)
            def odd(n): return n != 0 and even(n - 1)
            return even, odd
        obj = outer()
        """,
        "even, odd = obj\nassert even(10) and odd(7) and not even(3)",
    ),
    "closures_share_a_cell": Case(
        """
        def outer():
            count = 0
            def up():
                nonlocal count
                count += 1
            def read(): return count
            return up, read
        obj = outer()
        """,
        "up, read = obj\nup(); up()\nassert read() == 2",
    ),
    "closures_share_a_cell_with_object": Case(
        """
        def outer():
            state = {"n": 0}
            def swap():
                nonlocal state
                state = {"n": 5}
            def read(): return state["n"]
            return swap, read
        obj = outer()
        """,
        "swap, read = obj\nassert read() == 0\nswap()\nassert read() == 5",
    ),
    "empty_cell": Case(
        """
        def outer():
            if False: late = 1
            def inner(): return late
            return inner
        obj = outer()
        """,
        """
        try: obj()
        except NameError: pass
        else: raise AssertionError
        """,
    ),
    "cell_with_none": Case("def outer(v):\n    return lambda: v\nobj = outer(None)", "assert obj() is None"),
    "global_values": Case(
        """
        LIMIT, NAMES = 10, ["a"]
        unused = open("/dev/null")
        def obj(x): return x < LIMIT, NAMES
        """,
        "assert obj(3) == (True, ['a']) and 'unused' not in obj.__globals__",
    ),
    "global_function_chain": Case(
        """
        K = 2
        def double(x): return x * K
        def obj(x): return double(x) + 1
        """,
        "assert obj(4) == 9",
    ),
    "recursive_global": Case("def obj(n): return 1 if n < 2 else n * obj(n - 1)", "assert obj(6) == 720"),
    "global_in_nested_code": Case(
        """
        FACTOR = 3
        def obj(xs):
            def inner(x): return [y * FACTOR for y in (x,)]
            return [inner(x)[0] for x in xs]
        """,
        "assert obj([1, 2]) == [3, 6]",
    ),
    "global_in_class_body": Case(
        """
        BASE = 7
        def obj():
            class Local:
                value = BASE
                def get(self): return BASE + self.value
            return Local().get()
        """,
        "assert obj() == 14",
    ),
    "global_set_and_deleted": Case(
        """
        COUNT = 1
        def bump():
            global COUNT
            COUNT += 1
        def read(): return COUNT
        obj = [bump, read]
        """,
        "bump, read = obj\nbump()\nassert read() == 2 and bump.__globals__ is read.__globals__",
    ),
    "global_missing": Case(
        "def obj(): return nowhere", "try: obj()\nexcept NameError: pass\nelse: raise AssertionError"
    ),
    "many_globals": Case(
        """
        for i in range(700): globals()[f"g{i}"] = i
        body = " + ".join(f"g{i}" for i in range(700))
        exec(f"def obj(): return {body}")
        """,
        "assert obj() == sum(range(700))",
    ),
    "module_global": Case("import math\ndef obj(x): return math.floor(x)", "assert obj(1.5) == 1"),
    "submodule_global": Case(
        """
        import xml.etree.ElementTree
        def obj(): return xml.etree.ElementTree.fromstring("<a/>").tag
        """,
        "assert obj() == 'a'",
    ),
    "submodule_in_nested_function": Case(
        """
        import concurrent.futures
        def obj():
            def inner(): return concurrent.futures.Future().done()
            return inner()
        """,
        "assert obj() is False",
    ),
    "submodule_in_closure": Case(
        """
        def outer():
            import concurrent.futures as _, concurrent
            return lambda: concurrent.futures.Future().done()
        obj = outer()
        """,
        "assert obj() is False",
    ),
    "module_alias": Case("import os.path as p\ndef obj(x): return p.basename(x)", "assert obj('a/b') == 'b'"),
    "import_in_body": Case("def obj():\n    import json\n    return json.dumps([1])", "assert obj() == '[1]'"),
    "builtins_are_there": Case("def obj(xs): return sum(len(x) for x in xs)", "assert obj(['ab', 'c']) == 3"),
    "generator_function": Case("def obj(n):\n    for i in range(n): yield i * i", "assert list(obj(3)) == [0, 1, 4]"),
    "coroutine_function": Case(
        "async def obj(x): return x + 1",
        """
        import asyncio
        assert asyncio.run(obj(1)) == 2
        """,
    ),
    "async_generator_function": Case(
        "async def obj(n):\n    for i in range(n): yield i",
        """
        import asyncio
        async def main(): return [i async for i in obj(3)]
        assert asyncio.run(main()) == [0, 1, 2]
        """,
    ),
    "partial": Case(
        "import functools\ndef f(a, b=0): return a - b\nobj = functools.partial(f, b=3)", "assert obj(10) == 7"
    ),
    "wraps": Case(
        """
        import functools
        def decorate(f):
            @functools.wraps(f)
            def wrapper(*a): return f(*a) + 1
            return wrapper
        @decorate
        def obj(x):
            'inner doc'
            return x
        """,
        "assert obj(1) == 2 and obj.__doc__ == 'inner doc' and obj.__wrapped__(1) == 1",
    ),
    "default_is_the_function": Case("def obj(f=None): return f\nobj.__defaults__ = ([obj],)", "assert obj()[0] is obj"),
    "attribute_is_the_function": Case("def obj(): return 1\nobj.me = obj", "assert obj.me is obj"),
    "same_function_twice": Case("f = lambda: 1\nobj = [f, f]", "assert obj[0] is obj[1]"),
    "thousand_lambdas": Case(
        "obj = [lambda x, i=i: x + i for i in range(1000)]", "assert [f(1) for f in obj] == list(range(1, 1001))"
    ),
    "importable_function": Case(
        "import json\nobj = json.dumps", "import json\nassert obj is json.dumps and len(payload) < 60"
    ),
    "builtin_function": Case("obj = len", "assert obj is len"),
    "method_of_builtin": Case("obj = [3, 1].append", "obj(5)\nassert obj.__self__ == [3, 1, 5]"),
    "unbound_builtin_method": Case("obj = str.upper", "assert obj is str.upper"),
    "classmethod_of_builtin": Case("obj = dict.fromkeys", "assert obj('a') == {'a': None}"),
    "constants_of_every_kind": Case(
        """
        def obj(x):
            return (x in {1, "two", b"three", (4, 5.0), None, ...}, 1 << 100, -5, 2.5, 1j, "é\\ud800", b"\\xff",
                    (1, (2, "three")), True, ...)
        """,
        """
        expected = (True, 1 << 100, -5, 2.5, 1j, "é\\ud800", b"\\xff", (1, (2, "three")), True, ...)
        assert obj("two") == expected and obj((4, 5.0)) == expected
        """,
    ),
    "exception_handling_code": Case(
        """
        def obj(x):
            try:
                with open("/dev/null") as f: return 1 / x
            except ZeroDivisionError as e:
                return str(e)
            finally:
                pass
        """,
        "assert obj(0) == 'division by zero' and obj(2) == 0.5",
    ),
    "traceback_names_file_and_line": Case(
        "def obj():\n    raise ValueError",
        """
        import traceback
        try: obj()
        except ValueError as e: frame = traceback.extract_tb(e.__traceback__)[-1]
        assert (frame.filename, frame.lineno, frame.name) == ("job.py", 2, "obj"), frame
        """,
    ),
    "code_object": Case(
        "def f(): return 7\nobj = f.__code__", "import types\nassert types.FunctionType(obj, {})() == 7"
    ),
    "cell_object": Case(
        "import types\nobj = [types.CellType(5), types.CellType(), types.CellType([1])]",
        "assert obj[0].cell_contents == 5 and obj[2].cell_contents == [1]",
    ),
    "function_in_data": Case(
        "obj = {'f': [lambda x: x], 1: (lambda: 2,)}", "assert obj['f'][0](3) == 3 and obj[1][0]() == 2"
    ),
    "annotations_with_objects": Case(
        "import decimal\ndef obj(x: decimal.Decimal) -> 'list[int]': pass",
        "import decimal\nassert obj.__annotations__ == {'x': decimal.Decimal, 'return': 'list[int]'}",
    ),
    "dynamic_module": Case(
        """
        import types
        obj = types.ModuleType("made_up")
        exec("X = 5\\ndef get(): return X", obj.__dict__)
        """,
        "assert obj.X == 5 and obj.get() == 5 and obj.__name__ == 'made_up'",
    ),
}
