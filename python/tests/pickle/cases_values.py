"""Values: every builtin type, and objects that reduce themselves."""

from fresh import Case

CASES = {
    "atoms": Case(
        "obj = [None, True, False, 0, 1, -1, 255, 256, 65535, 65536, -65536, 2**31 - 1, 2**31, -2**31, -2**31 - 1]",
        "assert obj == [None, True, False, 0, 1, -1, 255, 256, 65535, 65536, -65536,"
        " 2**31 - 1, 2**31, -2**31, -2**31 - 1]",
    ),
    "big_ints": Case(
        "obj = [s * (2**n + d) for n in (62, 63, 64, 255, 256, 2040, 5000) for d in (-1, 0, 1) for s in (1, -1)]",
        "assert obj == [s * (2**n + d) for n in (62, 63, 64, 255, 256, 2040, 5000) for d in (-1, 0, 1)"
        " for s in (1, -1)]",
    ),
    "floats": Case(
        "obj = [0.0, -0.0, 1.5, float('inf'), float('-inf'), float('nan')]",
        "assert repr(obj) == '[0.0, -0.0, 1.5, inf, -inf, nan]'",
    ),
    "complex": Case("obj = 1 - 2j", "assert obj == 1 - 2j"),
    "strings": Case(
        "obj = ['', 'ascii', 'é€😀', '\\ud800x', 'x' * 300, 'y' * 70000]",
        "assert obj == ['', 'ascii', 'é€😀', '\\ud800x', 'x' * 300, 'y' * 70000]",
    ),
    "bytes": Case(
        "obj = [b'', b'abc', bytes(300), bytes(70000), bytearray(b'x'), bytearray(), bytearray(70000)]",
        "assert obj == [b'', b'abc', bytes(300), bytes(70000), bytearray(b'x'), bytearray(), bytearray(70000)]"
        " and type(obj[4]) is bytearray",
    ),
    "containers": Case(
        "obj = [[], [1], list(range(2500)), (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, [4]), {}, {1: 2},"
        " {i: str(i) for i in range(2500)}, set(), {1, 'a'}, frozenset(), frozenset({1, (2, 3)}), set(range(3000))]",
        "assert obj == [[], [1], list(range(2500)), (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, [4]), {}, {1: 2},"
        " {i: str(i) for i in range(2500)}, set(), {1, 'a'}, frozenset(), frozenset({1, (2, 3)}), set(range(3000))]",
    ),
    "batch_edges": Case(
        "obj = [[str] * n for n in (999, 1000, 1001, 2000)] + [{i: [i] for i in range(n)} for n in (999, 1000, 1001)]",
        "assert obj == [[str] * n for n in (999, 1000, 1001, 2000)]"
        " + [{i: [i] for i in range(n)} for n in (999, 1000, 1001)]",
    ),
    "recursive_list": Case("obj = []\nobj.append(obj)", "assert obj[0] is obj and len(obj) == 1"),
    "recursive_dict": Case("obj = {}\nobj[1] = obj", "assert obj[1] is obj"),
    "recursive_tuple": Case("inner = []\nobj = (inner,)\ninner.append(obj)", "assert obj[0][0] is obj"),
    "recursive_long_tuple": Case("inner = []\nobj = (1, 2, 3, 4, inner)\ninner.append(obj)", "assert obj[4][0] is obj"),
    "recursive_frozenset": Case(
        """
        class_ = __import__("types").SimpleNamespace
        import functools
        holder = functools.partial(print)
        obj = frozenset([holder])
        holder.__setstate__((print, (), {}, {"me": obj}))
        """,
        "assert next(iter(obj)).me is obj",
    ),
    "shared_references": Case(
        "x = [1]\ny = 'some text'\nobj = [x, x, {'k': x}, y, (y,)]",
        "assert obj[0] is obj[1] is obj[2]['k'] and obj[3] is obj[4][0]",
    ),
    "range_slice_singletons": Case(
        "obj = [range(1, 9, 2), slice(1, None, 2), ..., NotImplemented, type(None), type(...), type(NotImplemented)]",
        "assert obj == [range(1, 9, 2), slice(1, None, 2), ..., NotImplemented, type(None), type(...),"
        " type(NotImplemented)]",
    ),
    "types": Case(
        "import types\nobj = [int, type, object, types.FunctionType, types.CodeType, types.CellType, Exception]",
        "import types\nassert obj == [int, type, object, types.FunctionType, types.CodeType, types.CellType, Exception]",
    ),
    "standard_objects": Case(
        """
        import collections, datetime, decimal, fractions, pathlib, re, uuid
        obj = [datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.timezone.utc),
               datetime.timedelta(1, 2, 3), decimal.Decimal("1.50"), fractions.Fraction(1, 3),
               collections.OrderedDict(a=1, b=2), collections.deque([1, 2], 5), collections.Counter("aab"),
               collections.defaultdict(list, {1: [2]}), uuid.UUID(int=5), pathlib.PurePosixPath("/a/b"),
               re.compile("a+", re.I), ValueError("x", 1), collections.ChainMap({1: 2})]
        """,
        """
        import collections, datetime, decimal, fractions, pathlib, re, uuid
        assert obj[:5] == [datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.timezone.utc),
            datetime.timedelta(1, 2, 3), decimal.Decimal("1.50"), fractions.Fraction(1, 3)]
        assert list(obj[5]) == ["a", "b"] and obj[6].maxlen == 5 and obj[7]["a"] == 2 and obj[8][9] == []
        assert obj[9] == uuid.UUID(int=5) and obj[10].name == "b" and obj[11].match("AA") and obj[12].args == ("x", 1)
        assert obj[13][1] == 2
        """,
    ),
    "instances_share_their_class": Case(
        """
        import types
        obj = [types.SimpleNamespace(a=i, b=[i]) for i in range(50)]
        """,
        "assert [(o.a, o.b) for o in obj] == [(i, [i]) for i in range(50)]",
    ),
    "plain_instances": Case(
        """
        import email.message, string
        obj = [string.Formatter() for _ in range(3)]
        for i, f in enumerate(obj): f.number, f.me = i, f
        """,
        "assert [o.number for o in obj] == [0, 1, 2] and all(o.me is o for o in obj)",
    ),
    "bound_method": Case("import decimal\nobj = decimal.Decimal(5).sqrt", "assert str(obj())[:5] == '2.236'"),
    "bound_method_of_python_object": Case(
        "import string\nobj = string.Template('$a').substitute", "assert obj(a=1) == '1'"
    ),
    "bound_classmethod": Case(
        "import datetime\nobj = datetime.date.fromisoformat", "assert obj('2020-01-02').day == 2"
    ),
    "modules": Case(
        "import os.path, json.decoder\nobj = [os.path, json.decoder, json]",
        "import os.path, json.decoder\nassert obj == [os.path, json.decoder, json]",
    ),
    "deep_list": Case(
        """
        obj = []
        for _ in range(100_000): obj = [obj]
        """,
        """
        depth = 0
        while obj: obj, depth = obj[0], depth + 1
        assert depth == 100_000
        """,
    ),
    "deep_mixed": Case(
        """
        obj = None
        for i in range(30_000): obj = ({"k": [obj]},)
        """,
        """
        depth = 0
        while obj: obj, depth = obj[0]["k"][0], depth + 1
        assert depth == 30_000
        """,
    ),
    "named_tuple_of_library": Case(
        "import urllib.parse\nobj = urllib.parse.urlsplit('http://h/p')", "assert obj.netloc == 'h'"
    ),
    "generic_alias": Case(
        "import typing\nobj = [list[int], typing.List[str], typing.Optional[int], typing.Callable[[int], str]]",
        "import typing\nassert obj == [list[int], typing.List[str], typing.Optional[int], typing.Callable[[int], str]]",
    ),
}
