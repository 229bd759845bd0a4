"""Classes by value: made once at the receiver, complete, and what they were at the sender."""

from fresh import Case

CASES = {
    "plain_class": Case(
        """
        class obj:
            'doc'
            x = [1]
            def get(self): return self.x
            @staticmethod
            def s(a): return a + 1
            @classmethod
            def c(cls): return cls
            @property
            def p(self):
                'pdoc'
                return 5
            @p.setter
            def p(self, v): self.v = v
        """,
        """
        o = obj()
        o.p = 9
        assert o.get() == [1] and obj.s(1) == 2 and obj.c() is obj and o.p == 5 and o.v == 9
        assert obj.__doc__ == "doc" and obj.p.__doc__ == "pdoc" and obj.__module__ == "__main__"
        assert obj.__name__ == "obj" and obj.get.__qualname__ == "obj.get"
        """,
    ),
    "instances": Case(
        """
        class C:
            def __init__(self, v): self.v = v
            def __eq__(self, other): return type(self) is type(other) and self.v == other.v
            __hash__ = None
        obj = [C(1), C([2]), C(C(3))]
        """,
        "assert obj[0] == type(obj[1])(1) and obj[2].v.v == 3 and type(obj[0]).__hash__ is None",
    ),
    "super_and_inheritance": Case(
        """
        class A:
            def f(self): return "A"
        class B(A):
            def f(self): return "B" + super().f()
        class obj(B):
            def f(self): return "C" + super().f() + __class__.__name__
        """,
        "assert obj().f() == 'CBAobj' and [c.__name__ for c in obj.__mro__] == ['obj', 'B', 'A', 'object']",
    ),
    "class_refers_to_itself": Case(
        """
        class obj:
            registry = {}
            def make(self): return obj()
        obj.me, obj.instance, obj.registry[obj] = obj, obj(), [obj]
        """,
        "assert obj.me is obj and type(obj().make()) is obj and obj.registry[obj] == [obj]"
        " and type(obj.instance) is obj",
    ),
    "nested_class": Case(
        """
        class obj:
            class Inner:
                def f(self): return obj
        """,
        "assert obj.Inner().f() is obj and obj.Inner.__qualname__ == 'obj.Inner'",
    ),
    "slots": Case(
        """
        class Base:
            __slots__ = ("a", "__private")
            def __init__(self): self.a, self.__private = 1, 2
            def get(self): return self.__private
        class C(Base): __slots__ = "single"
        class D(C): __slots__ = {"documented": "doc"}
        class W(D): __slots__ = ("__weakref__",)
        obj = W()
        obj.single, obj.documented = 3, 4
        """,
        """
        import weakref
        assert (obj.a, obj.get(), obj.single, obj.documented) == (1, 2, 3, 4)
        assert not hasattr(obj, "__dict__") and weakref.ref(obj)() is obj
        try: obj.other = 1
        except AttributeError: pass
        else: raise AssertionError
        """,
    ),
    "slots_from_an_iterator": Case(
        "class obj: __slots__ = iter(['x', 'y'])",
        "o = obj()\no.x = o.y = 1\nassert not hasattr(o, '__dict__')",
    ),
    "metaclass": Case(
        """
        made = []
        class Meta(type):
            def __new__(m, name, bases, ns, *, flag):
                made.append(name)
                cls = super().__new__(m, name, bases, ns)
                cls.flag = flag
                return cls
            def __init__(cls, name, bases, ns, *, flag): super().__init__(name, bases, ns)
            def __call__(cls, *a): return ("called", super().__call__(*a))
            @property
            def shout(cls): return cls.__name__.upper()
        class obj(metaclass=Meta, flag=7): pass
        """,
        "assert obj.flag == 7 and obj()[0] == 'called' and obj.shout == 'OBJ' and type(obj).__name__ == 'Meta'",
    ),
    "metaclass_protects_attributes": Case(
        """
        class Meta(type):
            def __setattr__(cls, name, value): raise TypeError("frozen")
        class obj(metaclass=Meta): x = 1
        """,
        "assert obj.x == 1\ntry: obj.x = 2\nexcept TypeError: pass\nelse: raise AssertionError",
    ),
    "init_subclass_with_keyword": Case(
        """
        class Base:
            seen = []
            def __init_subclass__(cls, *, tag, **kw):
                super().__init_subclass__(**kw)
                cls.tag = tag
                Base.seen.append(cls)
        class A(Base, tag="a"): pass
        class B(A, tag="b"): pass
        obj = Base, A, B
        """,
        """
        base, a, b = obj
        assert base.seen == [a, b] and (a.tag, b.tag) == ("a", "b")
        class C(b, tag="c"): pass
        assert base.seen == [a, b, C]
        """,
    ),
    "set_name_runs_once": Case(
        """
        class Field:
            def __set_name__(self, owner, name):
                self.names = getattr(self, "names", []) + [name]
            def __get__(self, instance, owner): return self if instance is None else self.names
        class obj:
            x = Field()
        """,
        "assert obj().x == ['x']",
    ),
    "abstract_base_class": Case(
        """
        import abc
        class Shape(abc.ABC):
            @abc.abstractmethod
            def area(self): ...
            @property
            @abc.abstractmethod
            def name(self): ...
            @classmethod
            @abc.abstractmethod
            def make(cls): ...
        class Square(Shape):
            name = "square"
            def area(self): return 4
            @classmethod
            def make(cls): return cls()
        class Duck: pass
        Shape.register(Duck)
        obj = Shape, Square, Duck
        """,
        """
        shape, square, duck = obj
        assert square.make().area() == 4 and issubclass(duck, shape) and isinstance(duck(), shape)
        assert shape.__abstractmethods__ == {"area", "name", "make"}
        try: shape()
        except TypeError: pass
        else: raise AssertionError
        """,
    ),
    "dataclass": Case(
        """
        import dataclasses
        from dataclasses import dataclass, field, KW_ONLY, InitVar
        from typing import ClassVar
        @dataclass(order=True, frozen=True)
        class Point:
            x: int
            tags: list = field(default_factory=list, compare=False, metadata={"unit": "m"})
            _: KW_ONLY
            z: "int" = 3
            count: ClassVar[int] = 0
            extra: InitVar[int] = 5
        obj = Point, Point(1, [2], z=4)
        """,
        """
        import dataclasses
        cls, p = obj
        assert p == cls(1, z=4) and cls(0) < cls(1) and repr(p).startswith("Point(x=1, tags=[2], z=4")
        assert [f.name for f in dataclasses.fields(cls)] == ["x", "tags", "z"]
        assert dataclasses.fields(cls)[0].default is dataclasses.MISSING
        assert dataclasses.fields(cls)[1].metadata["unit"] == "m"
        assert dataclasses.replace(p, x=7, extra=1).x == 7 and dataclasses.asdict(p) == {"x": 1, "tags": [2], "z": 4}
        @dataclasses.dataclass(frozen=True)
        class Sub(cls):
            w: int = 1
        assert Sub(1).w == 1 and Sub(1, z=2).z == 2
        """,
    ),
    "dataclass_with_slots": Case(
        """
        from dataclasses import dataclass
        @dataclass(slots=True)
        class P:
            a: int
            b: int = 2
        obj = P(1)
        """,
        "assert (obj.a, obj.b) == (1, 2) and not hasattr(obj, '__dict__') and type(obj)(1) == obj",
    ),
    "enum": Case(
        """
        import enum
        class Color(enum.Enum):
            RED = 1
            GREEN = [2]
            CRIMSON = 1
            def describe(self): return self.name.lower()
            @classmethod
            def default(cls): return cls.RED
        obj = Color, Color.RED, {Color.GREEN: Color.CRIMSON}
        """,
        """
        Color, red, mapping = obj
        assert Color(1) is red is Color["RED"] is Color.RED is Color.CRIMSON is mapping[Color.GREEN]
        assert Color([2]) is Color.GREEN and Color.GREEN.describe() == "green" and Color.default() is red
        assert list(Color) == [Color.RED, Color.GREEN] and "CRIMSON" in Color.__members__ and repr(red) == "<Color.RED: 1>"
        import pickle, copy
        assert copy.deepcopy(red) is red and isinstance(red, Color) and red in Color
        """,
    ),
    "enum_with_init_and_new": Case(
        """
        import enum
        class Planet(enum.Enum):
            EARTH = (5.9, 6.3)
            MARS = (0.6, 3.3)
            def __init__(self, mass, radius): self.mass, self.radius = mass, radius
        class Coord(bytes, enum.Enum):
            def __new__(cls, value, label):
                obj = bytes.__new__(cls, [value])
                obj._value_, obj.label = value, label
                return obj
            PX = (0, "P.X")
            PY = (1, "P.Y")
        obj = Planet, Coord
        """,
        """
        planet, coord = obj
        assert planet.EARTH.mass == 5.9 and planet((0.6, 3.3)) is planet.MARS
        assert coord(1) is coord.PY and coord.PY.label == "P.Y" and bytes(coord.PY) == b"\\x01"
        """,
    ),
    "enum_flags_int_str_auto": Case(
        """
        import enum
        class Perm(enum.Flag):
            R = enum.auto()
            W = enum.auto()
            RW = R | W
        class Number(enum.IntEnum):
            ONE = 1
            TWO = 2
        class Text(str, enum.Enum):
            A = "a"
        class Mask(enum.IntFlag):
            X = 1
            Y = 4
        obj = Perm, Number, Text, Mask, Perm.R | Perm.W, Mask.X | Mask.Y
        """,
        """
        Perm, Number, Text, Mask, both, mixed = obj
        assert Perm.R | Perm.W is Perm.RW is both and Perm.R in both and Perm(0) == Perm(0) and (~Perm.R) is Perm.W
        assert Number.TWO + 1 == 3 and Number(1) is Number.ONE and Text.A == "a" and Text("a") is Text.A
        assert mixed == 5 and Mask.X in mixed and Mask(5) is mixed and len(list(Number)) == 2
        """,
    ),
    "named_tuples": Case(
        """
        import collections, typing
        P = collections.namedtuple("P", "x y", defaults=[5])
        class Q(typing.NamedTuple):
            a: int
            b: str = "b"
            def twice(self): return self.a * 2
        obj = P(1), Q(3)
        """,
        """
        p, q = obj
        assert p == (1, 5) and p.x == 1 and p._replace(y=2) == (1, 2) and q.twice() == 6 and q.b == "b"
        assert type(q)._field_defaults == {"b": "b"} and repr(p) == "P(x=1, y=5)"
        """,
    ),
    "generics": Case(
        """
        import typing
        T = typing.TypeVar("T", bound=int)
        K = typing.TypeVar("K", str, bytes)
        class Box(typing.Generic[T]):
            def __init__(self, v: T): self.v = v
        class IntBox(Box[int]): pass
        class Proto(typing.Protocol):
            def f(self) -> int: ...
        obj = Box, IntBox, T, K, Proto, Box[int]
        """,
        """
        Box, IntBox, T, K, Proto, alias = obj
        assert Box.__parameters__ == (T,) and Box[int](3).v == 3 and IntBox.__orig_bases__ == (Box[int],)
        assert T.__bound__ is int and K.__constraints__ == (str, bytes) and alias == Box[int] and IntBox(1).v == 1
        assert Box.__init__.__annotations__["v"] is T and Proto._is_protocol
        """,
    ),
    "new_type_and_typed_dict": Case(
        """
        import typing
        UserId = typing.NewType("UserId", int)
        class TD(typing.TypedDict, total=False):
            a: int
        P = typing.ParamSpec("P")
        obj = UserId, TD, P
        """,
        """
        UserId, TD, P = obj
        assert UserId(5) == 5 and UserId.__name__ == "UserId" and TD(a=1) == {"a": 1} and TD.__total__ is False
        assert P.__name__ == "P"
        """,
    ),
    "functools_kinds": Case(
        """
        import functools
        calls = []
        @functools.lru_cache(maxsize=3, typed=True)
        def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
        class C:
            @functools.cached_property
            def expensive(self): return object()
            @functools.lru_cache
            def m(self): return 5
            def base(self, a, b): return a - b
            part = functools.partialmethod(base, b=1)
            @functools.singledispatchmethod
            def kind(self, x): return "other"
            @kind.register
            def _(self, x: int): return "int"
        @functools.singledispatch
        def show(x): return "object"
        @show.register(int)
        def _(x): return "int"
        @show.register(list)
        def _(x): return "list"
        obj = fib, C, show
        """,
        """
        fib, C, show = obj
        assert fib(20) == 6765 and fib.cache_parameters() == {"maxsize": 3, "typed": True} and fib.__name__ == "fib"
        c = C()
        assert c.expensive is c.expensive and c.m() == 5 and c.part(3) == 2 and c.kind(1) == "int" and c.kind("") == "other"
        assert show(1) == "int" and show([]) == "list" and show("") == "object"
        """,
    ),
    "descriptors_and_subclassed_property": Case(
        """
        class loud(property):
            def __get__(self, i, o=None): return self if i is None else super().__get__(i, o).upper()
        class Typed:
            def __init__(self, kind): self.kind = kind
            def __set_name__(self, owner, name): self.name = name
            def __get__(self, i, o): return self if i is None else i.__dict__[self.name]
            def __set__(self, i, v): i.__dict__[self.name] = self.kind(v)
        class sm(staticmethod): pass
        class cm(classmethod): pass
        class obj:
            n = Typed(int)
            @loud
            def word(self): return "w"
            @sm
            def s(): return 1
            @cm
            def c(cls): return cls
        """,
        """
        o = obj()
        o.n = "5"
        assert o.n == 5 and o.word == "W" and obj.s() == 1 and obj.c() is obj
        """,
    ),
    "class_in_function": Case(
        """
        def obj():
            class Local:
                def f(self): return 1
            return Local().f()
        """,
        "assert obj() == 1",
    ),
    "class_factory": Case(
        """
        def factory(n):
            class Made:
                def f(self): return n
            return Made
        obj = factory(1), factory(2), factory([3])
        """,
        "assert [c().f() for c in obj] == [1, 2, [3]] and obj[0] is not obj[1]",
    ),
    "exception_class": Case(
        """
        class MyError(ValueError):
            def __init__(self, a, b): super().__init__(a, b); self.b = b
        obj = MyError(1, 2)
        """,
        "assert obj.args == (1, 2) and obj.b == 2 and isinstance(obj, ValueError)",
    ),
    "subclasses_of_builtins": Case(
        """
        class L(list): pass
        class D(dict):
            def __missing__(self, k): return k
        class I(int): pass
        class S(str): pass
        l, d, i, s = L([1]), D(a=1), I(5), S("x")
        l.x = d.x = i.x = s.x = 1
        obj = [l, d, i, s]
        """,
        "l, d, i, s = obj\nassert l == [1] and d['q'] == 'q' and i + 1 == 6 and s == 'x' and l.x == d.x == i.x == s.x",
    ),
    "getstate_and_setstate": Case(
        """
        class C:
            def __init__(self): self.a, self.b = 1, lambda: 0
            def __getstate__(self): return {"a": self.a}
            def __setstate__(self, s): self.__dict__.update(s); self.b = "restored"
        class D(C): extra = 1
        obj = D()
        """,
        "assert obj.a == 1 and obj.b == 'restored' and obj.extra == 1",
    ),
    "getnewargs": Case(
        """
        class C:
            def __new__(cls, a, *, k=0):
                self = super().__new__(cls); self.seen = (a, k); return self
            def __getnewargs_ex__(self): return (1,), {"k": 2}
        class T(tuple):
            def __new__(cls, a, b): return super().__new__(cls, (a, b))
            def __getnewargs__(self): return tuple(self)
        obj = C(1), T(1, 2)
        """,
        "assert obj[0].seen == (1, 0) or obj[0].seen == (1, 2)\nassert obj[1] == (1, 2)",
    ),
    "bound_method_of_local_class": Case(
        """
        class C:
            def __init__(self): self.v, self.cb = 3, self.get
            def get(self): return self.v
            @classmethod
            def c(cls): return cls
        obj = C().get, C.c
        """,
        "assert obj[0]() == 3 and obj[1]() is type(obj[0].__self__) and obj[0].__self__.cb() == 3",
    ),
    "explicit_override_equal_to_base": Case(
        """
        class A: x = 1
        class obj(A): x = 1
        """,
        "assert obj.__dict__['x'] == 1",
    ),
    "class_with_dict_property": Case(
        """
        class obj:
            __slots__ = ()
            @property
            def __dict__(self): return {"made": "up"}
        """,
        "assert obj().__dict__ == {'made': 'up'}",
    ),
    "methods_share_globals_with_functions": Case(
        """
        N = 1
        def bump():
            global N
            N += 1
        class C:
            def read(self): return N
        obj = bump, C
        """,
        "bump, C = obj\nbump()\nassert C().read() == 2",
    ),
    "callable_instance": Case(
        """
        class Scorer:
            def __init__(self, k): self.k = k
            def __call__(self, x): return x * self.k
        obj = Scorer(3)
        """,
        "assert obj(5) == 15",
    ),
    "weak_collections_and_views": Case(
        """
        import weakref, types
        class C: pass
        keep = [C(), C()]
        obj = keep, weakref.WeakSet(keep), weakref.WeakValueDictionary({1: keep[0]}), {1: 2}.keys(), {1: 2}.values(), \\
            {1: 2}.items(), types.MappingProxyType({1: 2}), memoryview(b"abc")
        """,
        """
        keep, ws, wv, k, v, i, mp, mv = obj
        assert set(ws) == set(keep) and wv[1] is keep[0] and list(k) == [1] and list(v) == [2] and list(i) == [(1, 2)]
        assert mp[1] == 2 and type(mp).__name__ == "mappingproxy" and bytes(mv) == b"abc" and type(mv) is memoryview
        """,
    ),
    "logger_and_files": Case(
        """
        import logging, sys, os, tempfile
        f = tempfile.NamedTemporaryFile("w+", suffix=".txt"); f.write("hello"); f.flush()
        text = open(f.name); text.read(2)
        obj = logging.getLogger("a.b"), logging.getLogger(), sys.stdout if sys.stdout is sys.__stdout__ else None, text
        """,
        """
        import logging
        assert obj[0] is logging.getLogger("a.b") and obj[1] is logging.getLogger() and obj[3].read() == "llo"
        """,
    ),
}
