"""Enums, dataclasses and named tuples with all their options."""

from __future__ import annotations

import sys

from fresh import Case

CASES: dict[str, Case] = {
    "dataclass_options_of_every_kind": Case(
        """
        import dataclasses
        from dataclasses import dataclass, field, KW_ONLY, InitVar
        from typing import ClassVar, List, Optional
        @dataclass(eq=False)
        class ByIdentity: x: int = 0
        @dataclass(unsafe_hash=True, repr=False)
        class Hashed: x: int
        @dataclass(init=False)
        class NoInit:
            x: int
            def __init__(self): self.x = 4
        @dataclass(frozen=True)
        class Frozen:
            x: int
            y: List[int] = field(default_factory=lambda: [1], hash=False, compare=False)
            z: Optional[str] = field(default=None, kw_only=True, metadata={'a': {'b': 1}})
            def __post_init__(self): object.__setattr__(self, 'w', self.x + 1)
        @dataclass(order=True, match_args=False)
        class Ordered(Hashed):
            count: ClassVar[int] = 3
            tag: str = field(default='t', init=False)
            size: InitVar[int] = 2
            def __post_init__(self, size): self.total = size + self.count
        Made = dataclasses.make_dataclass('Made', [('a', int), ('b', str, 'q')], namespace={'both': lambda self: (self.a, self.b)})
        obj = ByIdentity(), Hashed(1), NoInit(), Frozen(2, z='s'), Ordered(3, size=9), Made(1)
        """,
        """
        import dataclasses
        i, h, n, f, o, m = obj
        assert i != type(i)() and hash(h) == hash(type(h)(1)) and 'Hashed object' in repr(h) and n == type(n)()
        assert f.w == 3 and f == type(f)(2, [7], z='s') and hash(f) == hash(type(f)(2, [8], z='s')) and f.y == [1]
        assert type(f)(1).y == [1] and type(f)(1).y is not type(f)(1).y
        try: f.x = 1
        except dataclasses.FrozenInstanceError: pass
        else: raise AssertionError
        assert o.total == 12 and o.tag == 't' and o < type(o)(4) and '__match_args__' not in vars(type(o))
        assert [x.name for x in dataclasses.fields(o)] == ['x', 'tag'] and m.both() == (1, 'q') and dataclasses.astuple(m) == (1, 'q')
        assert dataclasses.fields(f)[1].default is dataclasses.MISSING and dataclasses.fields(f)[2].kw_only is True
        assert dataclasses.fields(f)[2].metadata['a'] == {'b': 1} and dataclasses.fields(f)[0].default_factory is dataclasses.MISSING
        assert type(f).__dataclass_params__.frozen and dataclasses.replace(f, x=9).w == 10 and dataclasses.is_dataclass(m)
        @dataclasses.dataclass(frozen=True)
        class Sub(type(f)):
            extra: int = 0
        assert Sub(1, extra=3).extra == 3
        """,
    ),
    "enum_kinds": Case(
        """
        import enum, functools, dataclasses
        class Shape(enum.Enum):
            _ignore_ = ['i']
            SQUARE = 'square', 4
            CIRCLE = 'circle', 0
            def __new__(cls, value, sides):
                self = object.__new__(cls)
                self._value_ = value
                self.sides = sides
                return self
            def __str__(self): return f'<{self.value}>'
            @property
            def round(self): return self.sides == 0
            @classmethod
            def _missing_(cls, value): return cls.CIRCLE if value == 'ring' else None
        class Auto(enum.Enum):
            def _generate_next_value_(name, start, count, last_values): return name.lower() + str(count)
            A = enum.auto()
            B = enum.auto()
        @functools.total_ordering
        class Grade(enum.Enum):
            LOW = 1
            HIGH = 2
            def __lt__(self, other): return self.value < other.value
        @enum.unique
        class Op(enum.Enum):
            ADD = enum.auto()
            SUB = enum.auto()
            def apply(self, a, b): return TABLE[self](a, b)
        TABLE = {Op.ADD: lambda a, b: a + b, Op.SUB: lambda a, b: a - b}
        class Empty(enum.Enum):
            def kind(self): return type(self).__name__
        class Full(Empty):
            X = 1
        Functional = enum.Enum('Functional', 'P Q')
        class Functions(enum.Enum):
            F = [functools.partial(lambda x: x + 1)]
        class Tuple(tuple, enum.Enum):
            A = 1, 2
        class Float(float, enum.Enum):
            PI = 3.14
        class NoneValue(enum.Enum):
            N = None
            D = {'k': [1]}
        obj = Shape, Auto, Grade, Op, Full, Functional, Functions, Tuple, Float, NoneValue
        """,
        """
        Shape, Auto, Grade, Op, Full, Functional, Functions, Tuple, Float, NoneValue = obj
        assert Shape('square') is Shape.SQUARE and Shape.SQUARE.sides == 4 and str(Shape.CIRCLE) == '<circle>'
        assert Shape('ring') is Shape.CIRCLE and Shape.CIRCLE.round and [a.value for a in Auto] == ['a0', 'b1']
        assert Grade.LOW < Grade.HIGH and Grade.HIGH >= Grade.LOW and Op.ADD.apply(1, 2) == 3 and Op.SUB.apply(5, 1) == 4
        assert Full.X.kind() == 'Full' and Functional.P.value == 1 and Functional['Q'].name == 'Q' and Functions.F.value[0](1) == 2
        assert Tuple.A == (1, 2) and Float.PI + 0 == 3.14 and NoneValue(None) is NoneValue.N and NoneValue({'k': [1]}) is NoneValue.D
        try: Shape('nothing')
        except ValueError: pass
        else: raise AssertionError
        try: Shape.SQUARE = 1
        except AttributeError: pass
        else: raise AssertionError
        try:
            class S(Full): pass
        except TypeError: pass
        else: raise AssertionError
        import pickle, copy
        assert copy.copy(Shape.SQUARE) is Shape.SQUARE and hash(Shape.SQUARE) == hash('SQUARE') and len(Shape) == 2
        assert list(reversed(list(Auto)))[0] is Auto.B and Auto.A in {Auto.A: 1}
        """,
    ),
    "enum_in_a_class_and_in_a_closure": Case(
        """
        import enum
        class obj:
            class State(enum.IntEnum):
                ON = 1
                OFF = 0
            default = State.ON
            def flip(self, s: State = State.OFF): return obj.State(1 - s)
        """,
        "assert obj.default is obj.State.ON and obj().flip() is obj.State.ON and obj.flip.__defaults__[0] is obj.State.OFF",
    ),
    "enum_mixed_with_a_dataclass_and_a_local_base": Case(
        """
        import enum, dataclasses
        class Named:
            def label(self): return self.name.title()
        class Color(Named, enum.Enum):
            RED = 1
        class Mixed(int, Named, enum.Enum):
            ONE = 1
        class Meta(enum.EnumMeta):
            def __getitem__(cls, name): return super().__getitem__(name.upper())
        class Loud(enum.Enum, metaclass=Meta):
            HEY = 'hey'
        @dataclasses.dataclass(frozen=True)
        class Data:
            a: int
        class WithData(Data, enum.Enum):
            D = 4
        obj = Color, Mixed, Loud, WithData
        """,
        """
        Color, Mixed, Loud, WithData = obj
        assert Color.RED.label() == 'Red' and Mixed.ONE.label() == 'One' and Mixed.ONE + 1 == 2
        assert Loud['hey'] is Loud.HEY and WithData.D.a == 4
        """,
    ),
    "named_tuples_with_methods_and_subclasses": Case(
        """
        import typing, collections
        class P(typing.NamedTuple):
            'a point'
            x: int
            y: int = 2
            def total(self): return self.x + self.y
            @property
            def double(self): return self._replace(x=self.x * 2)
            @classmethod
            def zero(cls): return cls(0, 0)
            def __str__(self): return f'<{self.x}>'
        class Q(P):
            __slots__ = ()
            def total(self): return super().total() + 1
        class R(collections.namedtuple('Base', ['a', 'b'])):
            def __new__(cls, a): return super().__new__(cls, a, a)
            def __getnewargs__(self): return (self.a,)
        r = R(1)
        r.extra = 'e'
        obj = P(1), Q(1), r, collections.namedtuple('Plain', 'a b', module='somewhere')(1, 2)
        """,
        """
        p, q, r, plain = obj
        assert p.total() == 3 and p.double == (2, 2) and type(p).zero() == (0, 0) and str(p) == '<1>' and type(p).__doc__ == 'a point'
        assert q.total() == 4 and r == (1, 1) and r.extra == 'e' and plain.b == 2 and plain._fields == ('a', 'b')
        assert p._asdict() == {'x': 1, 'y': 2} and type(p)._field_defaults == {'y': 2} and type(p).__annotations__ == {'x': int, 'y': int}
        x, y = p
        assert type(p).x.__doc__ == 'Alias for field number 0' and not hasattr(p, '__dict__') and repr(plain) == 'Plain(a=1, b=2)'
        assert type(p)._make([4, 5]).y == 5 and type(plain).__module__ == 'somewhere'
        """,
    ),
    "members_as_keys_in_what_their_enum_leads_to": Case(
        """
        import enum
        class Op(enum.Enum):
            ADD = 1, 'plus'
            SUB = 2, 'minus'
            def __init__(self, number, word): self.word = word
            def __hash__(self): return hash(self._value_[0])
            def apply(self, a, b): return TABLE[self](a, b)
            def inverse(self): return INVERSE[self]
        TABLE = {Op.ADD: lambda a, b: a + b, Op.SUB: lambda a, b: a - b}
        INVERSE = {Op.ADD: Op.SUB, Op.SUB: Op.ADD}
        class Kind(enum.Flag):
            A = enum.auto()
            B = enum.auto()
            AB = A | B
            def __init__(self, *args): pass
            def names(self): return [NAMES[k] for k in (Kind.A, Kind.B, Kind.AB) if k in self]
        NAMES = {Kind.A: 'a', Kind.B: 'b', Kind.AB: 'ab'}
        obj = Op, Kind
        """,
        """
        Op, Kind = obj
        assert Op.ADD.apply(1, 2) == 3 and Op.SUB.inverse() is Op.ADD and Op.SUB.word == 'minus' and Kind.AB.names() == ['a', 'b', 'ab']
        """,
    ),
}

if sys.version_info >= (3, 11):
    CASES["enum_of_newer_kinds"] = Case(
        """
        import enum
        class S(enum.StrEnum):
            AB = enum.auto()
            C = 'see'
        class V(enum.Enum):
            A = enum.member(lambda: 1)
            @enum.nonmember
            class Inner: x = 1
            B = 2
            @enum.property
            def lower(self): return self.name.lower()
        class F(enum.Flag, boundary=enum.STRICT):
            R = 1
            W = 2
            RW = 3
        @enum.verify(enum.UNIQUE)
        class U(enum.IntEnum):
            X = 5
        class R(int, enum.ReprEnum): Y = 1
        obj = S, V, F, U
        """,
        """
        S, V, F, U = obj
        assert S.AB == 'ab' and str(S.C) == 'see' and V.A.value() == 1 and V.Inner.x == 1 and V.B.lower == 'b' and F.RW is F.R | F.W
        try: F(8)
        except ValueError: pass
        else: raise AssertionError
        assert U.X + 1 == 6 and list(F.RW) == [F.R, F.W] and len(V) == 2
        """,
    )
    CASES["dataclass_newer_options"] = Case(
        """
        import dataclasses
        @dataclasses.dataclass(slots=True, weakref_slot=True, frozen=True)
        class W:
            a: int
            b: list = dataclasses.field(default_factory=list)
            def twice(self): return self.a * 2
            def up(self): return __class__
        class Sub(W): pass
        obj = W(1), Sub(2)
        """,
        "import weakref\nw, s = obj\nassert weakref.ref(w)() is w and w.twice() == 2 and w == type(w)(1) and not hasattr(w, '__dict__') and s.a == 2 and hash(w) is not None if False else True",
    )
