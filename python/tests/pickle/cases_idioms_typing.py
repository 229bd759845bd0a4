"""Type variables, aliases, protocols and typed dictionaries, in annotations and on their own."""

from __future__ import annotations

import sys

from fresh import Case

CASES: dict[str, Case] = {
    "dataclass_generic_nested_and_recursive": Case(
        """
        from __future__ import annotations
        import dataclasses, typing
        T = typing.TypeVar('T')
        @dataclasses.dataclass
        class Node(typing.Generic[T]):
            value: T
            children: list[Node[T]] = dataclasses.field(default_factory=list)
            parent: Node[T] | None = dataclasses.field(default=None, repr=False, compare=False)
        root = Node(1)
        root.children.append(Node(2, parent=root))
        obj = root
        """,
        """
        import dataclasses
        assert obj.children[0].parent is obj and repr(obj) == 'Node(value=1, children=[Node(value=2, children=[])])'
        assert type(obj).__parameters__ and type(obj)[int](3).value == 3 and dataclasses.fields(obj)[0].type == 'T'
        """,
    ),
    "typing_constructs": Case(
        """
        import typing, collections.abc
        T = typing.TypeVar('T')
        K = typing.TypeVar('K', bound=typing.Hashable, covariant=True)
        P = typing.ParamSpec('P')
        class Stack(typing.Generic[T]):
            items: typing.List[T]
            def push(self, item: T) -> 'Stack[T]': return self
        class Pair(typing.Generic[T, K]): pass
        class IntPair(Pair[int, K]): pass
        @typing.runtime_checkable
        class Closes(typing.Protocol[T]):
            name: str
            def close(self, x: T) -> None: ...
        class TD(typing.TypedDict):
            a: typing.Required[int] if hasattr(typing, 'Required') else int
            b: 'typing.Optional[str]'
        class TDS(TD, total=False):
            c: float
        Alias = typing.Union[int, typing.List['Stack[int]'], None]
        UserId = typing.NewType('UserId', int)
        def f(x: typing.Annotated[int, 'meta', {'k': 1}], *a: P.args, **k: P.kwargs) -> typing.Literal['a', 1]: ...
        @typing.overload
        def g(x: int) -> int: ...
        def g(x): return x
        @typing.final
        class Final: x: typing.Final = 1
        def cb(f: collections.abc.Callable[[int], T], g: typing.Callable[typing.Concatenate[int, P], T]): ...
        obj = Stack, IntPair, Closes, TDS, Alias, UserId, f, g, Final, cb, Stack[int], typing.Optional[T], T, K, P
        """,
        """
        import typing
        Stack, IntPair, Closes, TDS, Alias, UserId, f, g, Final, cb, SI, OT, T, K, P = obj
        assert SI == Stack[int] and Stack.__annotations__['items'] == typing.List[T] and OT == typing.Optional[T]
        assert IntPair.__orig_bases__[0].__args__ == (int, K) and K.__covariant__ and K.__bound__ is typing.Hashable and IntPair.__parameters__ == (K,)
        class F:
            name = 'n'
            def close(self, x): pass
        assert isinstance(F(), Closes) and not isinstance(1, Closes) and TDS(a=1) == {'a': 1}
        import typing
        assert TDS.__required_keys__ == {'a', 'b'} and TDS.__optional_keys__ == {'c'} and TDS.__total__ is False
        assert type(None) in Alias.__args__ and UserId(3) == 3 and UserId.__supertype__ is int
        hints = typing.get_type_hints(f, include_extras=True)
        assert hints['x'].__metadata__ == ('meta', {'k': 1}) and hints['return'] == typing.Literal['a', 1] and hints['a'] == P.args
        assert g(1) == 1 and Final.x == 1 and cb.__annotations__['f'].__args__[1] is T
        class Sub(Stack[str]): pass
        assert Sub().push('a') is not None
        """,
    ),
    "typed_dict_of_a_base_that_travels": Case(
        """
        import typing
        T = typing.TypeVar('T')
        class Base(typing.TypedDict): a: int
        class obj(Base): b: str
        """,
        "assert set(obj.__annotations__) == {'a', 'b'} and obj(a=1, b='') == {'a': 1, 'b': ''} and obj.__total__",
    ),
    "init_subclass_of_generic_and_protocol": Case(
        """
        import typing
        T = typing.TypeVar('T')
        class Handler(typing.Generic[T]):
            seen = []
            def __init_subclass__(cls, **kw):
                super().__init_subclass__(**kw)
                cls.seen.append(cls.__name__)
        class IntHandler(Handler[int]): pass
        class P(typing.Protocol):
            def __call__(self, x: int) -> int: ...
        class Impl(P):
            def __call__(self, x): return x + 1
        obj = IntHandler, Handler, Impl
        """,
        "I, H, Impl = obj\nassert H.seen == ['IntHandler'] and Impl()(1) == 2 and I.__orig_bases__ == (H[int],)\nclass S(I): pass\nassert H.seen == ['IntHandler', 'S']",
    ),
}

if sys.version_info >= (3, 11):
    CASES["typing_newer"] = Case(
        """
        import typing
        class TD(typing.TypedDict, total=False):
            a: typing.Required[int]
            b: str
        Ts = typing.TypeVarTuple('Ts')
        T = typing.TypeVar('T')
        class GT(typing.TypedDict, typing.Generic[T]):
            v: T
        class GN(typing.NamedTuple, typing.Generic[T]):
            v: T
        def f(*args: *Ts) -> typing.Self: ...
        obj = TD, Ts, GT, GN, f, typing.Never, typing.assert_never
        """,
        """
        import typing
        TD, Ts, GT, GN, f, never, an = obj
        assert TD.__required_keys__ == {'a'} and GT[int].__args__ == (int,) and GN(3).v == 3 and GN[int](3) == (3,) and f.__annotations__['return'] is typing.Self and never is typing.Never
        """,
    )

if sys.version_info >= (3, 12):
    CASES["pep695_scopes"] = Case(
        """
        type Pair[A, B] = tuple[A, B]
        type Json = int | str | list[int]
        class Box[T: (int, str)]:
            type Mine = list[T]
            class Inner[U]:
                x: T
            def m[V](self, v: V) -> tuple[T, V]:
                def inner() -> T: ...
                return inner, v
        def f[**P, R](g) -> 'R':
            type Local = list[R]
            return Local
        def outer():
            type In[X] = dict[str, X]
            def g(a: In[int]): return In
            return g
        async def co[T](x: T) -> T: return x
        obj = Pair, Json, Box, f, outer(), co
        """,
        """
        Pair, Json, Box, f, g, co = obj
        assert Pair[int, str].__args__ == (int, str) and Pair.__value__ == tuple[Pair.__type_params__] and Json.__value__ == (int | str | list[int])
        (T,) = Box.__type_params__
        assert T.__constraints__ == (int, str) and Box.Mine.__value__ == list[T] and Box.Inner.__annotations__['x'] is T and Box().m(1)[1] == 1
        assert Box.m.__type_params__[0].__name__ == 'V' and f(1).__value__.__args__[0] is f.__type_params__[1] and g(1)[int].__origin__ is g(1) and g.__annotations__['a'].__args__ == (int,)
        """,
    )
    CASES["type_alias_recursive"] = Case(
        "type R = dict[str, R]\nobj = R",
        "assert obj.__name__ == 'R' and obj.__value__.__args__[1] is obj and obj.__value__.__origin__ is dict",
    )
    CASES["type_alias_recursive_generic_mutual"] = Case(
        """
        type Tree[T] = T | list[Tree[T]]
        type A = list[B] | None
        type B = dict[str, A]
        def obj(t: Tree[int], a: A) -> B: return Tree, A, B
        """,
        """
        Tree, A, B = obj(0, 0)
        assert Tree.__value__.__args__[1].__args__[0].__origin__ is Tree and Tree.__value__.__args__[0] is Tree.__type_params__[0]
        assert A.__value__.__args__[0].__args__[0] is B and B.__value__.__args__[1] is A and obj.__annotations__['return'] is B
        """,
    )
    CASES["type_alias_with_a_forward_name"] = Case(
        "type F = list[NotYet]\ndef obj(x: F): return F",
        "F = obj(1)\nassert F.__name__ == 'F'\ntry: F.__value__\nexcept NameError: pass\nelse: raise AssertionError",
    )
    CASES["type_parameter_with_a_recursive_bound"] = Case(
        """
        class Comparable[T: 'Comparable']: pass
        class Node[N: Node]: pass
        def f[S: (list[int], 'str')](x: S): ...
        obj = Comparable, Node, f
        """,
        "C, N, f = obj\nassert N.__type_params__[0].__bound__ is N and C.__type_params__[0].__bound__ == 'Comparable' and f.__type_params__[0].__constraints__[0] == list[int]",
    )
    CASES["override_and_buffer"] = Case(
        """
        import typing
        class A:
            @typing.override
            def f(self): return 1
            def __buffer__(self, flags): return memoryview(b'abc')
        obj = A()
        """,
        "assert bytes(obj) == b'abc' and obj.f.__override__",
    )

if sys.version_info >= (3, 13):
    CASES["newer_of_3_13"] = Case(
        """
        import typing, warnings, copy
        class TD(typing.TypedDict):
            a: typing.ReadOnly[int]
        @warnings.deprecated('old')
        class Old:
            x = 1
        @warnings.deprecated('old f')
        def old(): return 5
        class G[T = int, **P = [int]]: pass
        class H[*Ts = *tuple[int, str]]: pass
        obj = TD, Old, old, G, H
        """,
        """
        import warnings
        TD, Old, old, G, H = obj
        assert TD.__readonly_keys__ == {'a'} and Old.x == 1 and Old.__deprecated__ == 'old'
        with warnings.catch_warnings(record=True) as w:
            warnings.simplefilter('always')
            assert old() == 5 and Old()
        assert len(w) == 2 and G.__type_params__[0].__default__ is int and G.__type_params__[1].__default__ == [int] and H.__type_params__[0].has_default()
        """,
    )
