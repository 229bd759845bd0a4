"""What classes, functions and values can be made of beyond the usual: each case was found by asking what could go wrong."""

from __future__ import annotations

import sys

from fresh import Case

CASES: dict[str, Case] = {}

CASES["class_property_class"] = Case(
    """
    class obj:
        __class__ = property(lambda self: int)
        x=1
    """,
    """
    assert obj().__class__ is int and type(obj()) is obj
    """,
)

CASES["class_name_attr"] = Case(
    """
    class obj:
        __name__ = property(lambda self: 'n')
        __mro__ = 5
        __flags__ = 3
    """,
    """
    assert obj().__name__=='n' and obj().__flags__==3 and obj.__name__=='obj'
    """,
)

CASES["setstate_class"] = Case(
    """
    class obj:
        def __init__(self): self.v=1
        def __setstate__(self, s): self.v=s['v']+10
        def __getstate__(self): return {'v':self.v}
    """,
    """
    import pickle; o=obj(); assert o.v==1; assert obj.__setstate__
    """,
)

CASES["setstate_inherited"] = Case(
    """
    class B:
        def __setstate__(self, s): raise RuntimeError('no')
    class obj(B):
        y=2
    """,
    """
    assert obj.y==2
    """,
)

CASES["setstate_metaclass"] = Case(
    """
    class M(type):
        def __setstate__(cls, s): raise RuntimeError
        def __setattr__(cls, n, v): raise RuntimeError(n)
    class obj(metaclass=M):
        y=2
        def f(self): return self.y
    """,
    """
    assert obj.y==2 and obj().f()==2 and type(obj).__name__=='M'
    """,
)

CASES["prepare"] = Case(
    """
    class D(dict): pass
    class M(type):
        @classmethod
        def __prepare__(m, name, bases, **kw): return {'added': kw}
        def __new__(m, name, bases, ns, **kw): return super().__new__(m,name,bases,dict(ns))
        def __init__(c, name, bases, ns, **kw): super().__init__(name,bases,ns)
    class obj(metaclass=M, tag=1): pass
    """,
    """
    assert obj.added=={'tag':1}
    """,
)

CASES["dc_kwonly"] = Case(
    """
    import dataclasses, typing
    @dataclasses.dataclass(kw_only=True, frozen=True, order=True, slots=True)
    class obj:
        a: int = 1
        b: dataclasses.InitVar[int] = 3
        c: typing.ClassVar[int] = 9
        d: list = dataclasses.field(default_factory=list, repr=False)
        _: dataclasses.KW_ONLY
        e: int = dataclasses.field(default=2, metadata={'k':1})
        def __post_init__(self, b): object.__setattr__(self,'d',[b])
    """,
    """
    import dataclasses
    o=obj(a=2,b=5); assert o.d==[5]
    @dataclasses.dataclass(kw_only=True, frozen=True)
    class Sub(obj):
        z: int = 3
    assert Sub(z=1).d==[3] and [f.name for f in dataclasses.fields(Sub)]==['a','d','e','z']
    assert dataclasses.fields(obj)[2].metadata['k']==1
    try: o.a=3
    except dataclasses.FrozenInstanceError: pass
    else: raise AssertionError
    assert not hasattr(o,'__dict__')
    import copy; assert dataclasses.replace(o,a=5,b=1).a==5
    """,
)

CASES["private_slots"] = Case(
    """
    class obj:
        __slots__=('__x','y','__weakref__')
        def __init__(self): self.__x=1; self.y=2
        def get(self): return self.__x
    """,
    """
    import weakref; o=obj(); assert o.get()==1; weakref.ref(o); assert not hasattr(o,'__dict__')
    """,
)

CASES["dc_weakref"] = Case(
    """
    import dataclasses
    @dataclasses.dataclass(slots=True)
    class obj:
        a: int
    """,
    """
    assert obj(1)==obj(1) and not hasattr(obj(1),'__dict__')
    """,
)

CASES["flags"] = Case(
    """
    import enum
    class F(enum.Flag, **({'boundary': enum.KEEP} if hasattr(enum, 'KEEP') else {})):
        A=1; B=2; C=4; AB=3
        def nice(self): return self.name
    class I(enum.IntFlag):
        A=1; B=2
    class S(str, enum.Enum):
        X='x'; Y='y'; ALIAS='x'
    class P(enum.Enum):
        EARTH=(1,2)
        MARS=(3,4)
        def __init__(self,a,b): self.a=a; self.b=b
        @property
        def sum(self): return self.a+self.b
    class N(int, enum.Enum):
        def __new__(cls, v, label):
            o=int.__new__(cls,v); o._value_=v; o.label=label; return o
        A=(1,'a'); B=(2,'b')
    class G(enum.Enum):
        @staticmethod
        def _generate_next_value_(name,start,count,last): return name.lower()
        ONE=enum.auto(); TWO=enum.auto()
        @classmethod
        def _missing_(cls, v): return cls.ONE
    obj=[F,I,S,P,N,G, F.A|F.C, I.A|I.B]
    """,
    """
    F,I,S,P,N,G,fa,ia=obj
    assert fa == F.A|F.C and fa is F(5) and F.AB is F.A|F.B
    assert ia is I(3) and S('x') is S.X and S.ALIAS is S.X and 'ALIAS' in S.__members__ and S.X=='x'
    assert P.EARTH.sum==3 and P((3,4)) is P.MARS
    assert N.A.label=='a' and N(2) is N.B and N.B==2
    assert G.ONE.value=='one' and G('zzz') is G.ONE and F.A.nice()=='A'
    import enum
    assert not hasattr(enum, 'KEEP') or F(16).value == 16
    """,
)

CASES["singledispatch"] = Case(
    """
    import functools
    @functools.singledispatch
    def obj(x): return 'o'
    @obj.register
    def _(x: int): return 'i'
    @obj.register(list)
    def _(x): return 'l'
    class K:
        @functools.singledispatchmethod
        def m(self, x): return 'o'
        @m.register
        def _(self, x: int): return 'i'
        @functools.cached_property
        def c(self): return 5
        pm=functools.partialmethod(lambda self,a,b:(a,b), 1)
        @functools.lru_cache(maxsize=3)
        def l(self): return 7
        @functools.cache
        def n(): return 1
    obj=(obj,K)
    """,
    """
    f,K=obj
    assert f(1)=='i' and f([])=='l' and f(1.5)=='o'
    @f.register(str)
    def _(x): return 's'
    assert f('x')=='s'
    k=K(); assert k.m(1)=='i' and k.m('')=='o' and k.c==5 and k.c==5 and k.pm(2)==(1,2) and k.l()==7 and K.l.cache_parameters()['maxsize']==3
    """,
)

CASES["contextvar"] = Case(
    """
    import contextvars
    v=contextvars.ContextVar('v', default=3)
    def f(): return v.get()
    obj=f
    """,
    """
    assert obj()==3
    """,
)

CASES["loggers"] = Case(
    """
    import logging
    log=logging.getLogger('a.b'); root=logging.getLogger()
    def obj(): return log, root, logging
    """,
    """
    import logging; a,b,c=obj(); assert a is logging.getLogger('a.b') and b is logging.getLogger()
    """,
)

CASES["views"] = Case(
    """
    import types, weakref
    m=memoryview(bytearray(b'abcdef'))[1:4]; r=memoryview(b'xyz')
    import array
    a=memoryview(array.array('d',[1.0,2.0]))
    s=memoryview(b'abcdef')[::2]
    p=types.MappingProxyType({'a':1})
    class K: pass
    k=K(); w=weakref.ref(k)
    obj=[m,r,a,s,p,k,w]
    """,
    """
    m,r,a,s,p,k,w=obj; assert bytes(m)==b'bcd' and not m.readonly and r.readonly and a[1]==2.0 and bytes(s)==b'ace' and p['a']==1 and w() is k
    """,
)

CASES["type_param_generic"] = Case(
    """
    import typing
    T=typing.TypeVar('T', bound='int'); P=typing.ParamSpec('P')
    class B(typing.Generic[T]):
        def f(self, x: T) -> T: return x
    class obj(B[int], typing.Protocol if False else object): pass
    def g(f: typing.Callable[P, T]) -> typing.Callable[P, T]: return f
    obj=(obj,B,g,T,P,B[int],typing.List[T],list[T],T|None if hasattr(T,'__or__') else None)
    """,
    """
    import typing
    o,B,g,T,P,BI,LT,lT,u=obj
    assert o.__orig_bases__[0]==B[int] and B.__parameters__==(T,) and typing.get_type_hints(B.f)['x'] is T and BI.__origin__ is B and LT.__args__==(T,)
    """,
)

CASES["protocols"] = Case(
    """
    import typing
    @typing.runtime_checkable
    class Pr(typing.Protocol):
        def f(self): ...
    class TD(typing.TypedDict, total=False):
        a: int
    class NT(typing.NamedTuple):
        a: int
        b: str = 'x'
        def d(self): return self.a*2
    class obj(NT):
        pass
    obj=(Pr,TD,NT,obj)
    """,
    """
    Pr,TD,NT,S=obj
    class K:
        def f(self): pass
    assert isinstance(K(),Pr) and not isinstance(3,Pr) and TD(a=1)=={'a':1} and TD.__total__ is False and NT(3).d()==6 and NT(1)==(1,'x') and S(2).d()==4 and NT._field_defaults=={'b':'x'} and repr(NT(1))=="NT(a=1, b='x')"
    """,
)

CASES["abc_reg"] = Case(
    """
    import abc
    class A(abc.ABC):
        @property
        @abc.abstractmethod
        def p(self): ...
        @classmethod
        def __subclasshook__(cls, c): return NotImplemented
    class V: pass
    A.register(V); A.register(tuple)
    class B(A):
        p=3
    obj=(A,V,B)
    """,
    """
    A,V,B=obj
    assert issubclass(V,A) and isinstance((),A) and B().p==3 and not issubclass(list,A)
    try: A()
    except TypeError: pass
    else: raise AssertionError
    """,
)

CASES["coros"] = Case(
    """
    import asyncio
    async def c(x):
        await asyncio.sleep(0); return x
    async def ag():
        for i in range(3): yield i
    async def obj(): return await c(3), [i async for i in ag()]
    """,
    """
    import asyncio; assert asyncio.run(obj())==(3,[0,1,2])
    """,
)

CASES["text_handle"] = Case(
    """
    import tempfile, os
    f=open(os.path.join(tempfile.gettempdir(), 'rudf-text-handle'),'w+'); f.write('hello\\nworld'); f.flush(); f.seek(0); f.readline()
    obj=[f]
    """,
    """
    assert obj[0].read()=='world'
    """,
)

CASES["exc"] = Case(
    """
    class E(ValueError):
        def __init__(self, a, *, b=1): super().__init__(a); self.b=b
    e=E(1,b=2); e.__cause__=KeyError('k')
    try: e.add_note('n')
    except AttributeError: pass
    try:
        g=ExceptionGroup('g',[e, E(3)])
    except NameError: g=None
    obj=[e,g]
    """,
    """
    e,g=obj; assert e.b==2 and e.args==(1,) and repr(e.__cause__)=="KeyError('k')"; assert getattr(e,'__notes__',['n'])==['n']
    """,
)

CASES["descr_order"] = Case(
    """
    class D:
        def __set_name__(self, o, n):
            self.n=n; o.log=getattr(o,'log',())+(n,)
        def __get__(self, i, o): return self if i is None else (i, self.n)[1]
    class obj:
        a=D(); b=D()
    """,
    """
    assert obj.log==('a','b') and obj().b=='b'
    """,
)

CASES["classgetitem"] = Case(
    """
    class obj:
        def __class_getitem__(cls, k): return (cls,k)
        def __init_subclass__(cls, **k): super().__init_subclass__(**k); cls.made=True
        __hash__=None
        def __eq__(self, o): return True
        __match_args__=('a',)
        def __del__(self): pass
    """,
    """
    assert obj[3]==(obj,3)
    class S(obj): pass
    assert S.made and obj.__hash__ is None
    """,
)

CASES["multi_inherit"] = Case(
    """
    class A: __slots__=('a',)
    class B: pass
    class C(A,B): __slots__=('c',)
    class D(C): pass
    obj=D
    """,
    """
    o=obj(); o.a=1; o.c=2; o.z=3; assert [c.__name__ for c in obj.__mro__]==['D','C','A','B','object']
    """,
)

CASES["meta_call"] = Case(
    """
    class Singleton(type):
        _i={}
        def __call__(cls,*a):
            if cls not in cls._i: cls._i[cls]=super().__call__(*a)
            return cls._i[cls]
    class obj(metaclass=Singleton):
        pass
    inst=obj()
    """,
    """
    assert obj() is obj()
    """,
)

CASES["meta_hash"] = Case(
    """
    class M(type):
        __hash__=None
        def __eq__(c,o): return True
    class obj(metaclass=M): x=1
    """,
    """
    assert obj.x==1
    """,
)

CASES["module_level_recursion"] = Case(
    """
    class Node:
        registry={}
        def __init__(self): Node.registry[id(self)]=self
        def me(self): return Node
    def make(): return Node()
    Node.make=staticmethod(make)
    obj=Node
    """,
    """
    assert obj.make().me() is obj
    """,
)

CASES["enum_with_an_abstract_base"] = Case(
    """
    import abc, enum
    class Meta(abc.ABCMeta, enum.EnumMeta): pass
    class Shape(abc.ABC):
        @abc.abstractmethod
        def area(self): ...
    class Square(Shape, enum.Enum, metaclass=Meta):
        SMALL = 1
        LARGE = 2
        def area(self): return self.value ** 2
    class Duck: pass
    Square.register(Duck)
    obj = Square, Square.LARGE, Shape, Duck
    """,
    """
    Square, large, Shape, Duck = obj
    assert Square.LARGE is large is Square(2) and large.area() == 4 and issubclass(Square, Shape)
    assert isinstance(Duck(), Square) and Square.__abstractmethods__ == frozenset()
    """,
)
CASES["abstract_metaclass_above_another"] = Case(
    """
    import abc
    made = []
    class Registering(type):
        def __new__(meta, name, bases, namespace, *, tag):
            made.append(name)
            return super().__new__(meta, name, bases, namespace)
        def __init__(cls, name, bases, namespace, *, tag): cls.tag = tag
    class Meta(abc.ABCMeta, Registering): pass
    class obj(metaclass=Meta, tag=1):
        made = made
        @abc.abstractmethod
        def f(self): ...
    """,
    """
    assert obj.made == ['obj'] and obj.tag == 1 and obj.__abstractmethods__ == {'f'} and not issubclass(int, obj)
    try: obj()
    except TypeError: pass
    else: raise AssertionError
    """,
)
CASES["descriptors_that_want_other_arguments"] = Case(
    """
    import functools
    class classproperty(property):
        def __init__(self, function): super().__init__(function); self.function = function
        def __get__(self, instance, owner): return self.function(owner)
    class tagged(classmethod):
        def __init__(self, function, tag): super().__init__(function); self.tag = tag
    class counted(staticmethod):
        __slots__ = ('count',)
        def __new__(cls, function, count): return super().__new__(cls, function)
        def __init__(self, function, count): super().__init__(function); self.count = count
    class expiring(functools.cached_property):
        def __init__(self, function, *, seconds): super().__init__(function); self.seconds = seconds
    class obj:
        name = classproperty(lambda cls: cls.__name__)
        make = tagged(lambda cls: cls(), 't')
        four = counted(lambda: 4, [9])
        value = expiring(lambda self: [1], seconds=5)
    """,
    """
    parts = vars(obj)
    assert obj.name == 'obj' and type(obj.make()) is obj and parts['make'].tag == 't'
    assert obj.four() == 4 and parts['four'].count == [9]
    o = obj()
    assert o.value is o.value and parts['value'].seconds == 5 and parts['value'].attrname == 'value'
    """,
)
CASES["attributes_of_class_and_static_methods"] = Case(
    """
    class obj:
        @classmethod
        def c(cls): 'about c'
        c.route = ['/c']
        @staticmethod
        def s(): 'about s'
        s.self = s
    """,
    """
    c, s = vars(obj)['c'], vars(obj)['s']
    assert c.route == ['/c'] and s.self is s and c.__doc__ == 'about c' and s.__name__ == 's'
    """,
)
CASES["views_show_their_dictionary"] = Case(
    """
    import collections, types
    class Own(dict):
        def keys(self): return ['none']
    plain, ordered, own = {1: 2}, collections.OrderedDict(a=1), Own(z=1)
    obj = [(d, k, d.values(), d.items()) for d, k in
           ((plain, plain.keys()), (ordered, ordered.keys()), (own, dict.keys(own)))], types.MappingProxyType(plain)
    """,
    """
    views, proxy = obj
    for mapping, keys, values, items in views:
        mapping['new'] = 5
        assert 'new' in keys and 5 in values and ('new', 5) in items and len(keys) == 2
    assert proxy['new'] == 5
    """,
)
CASES["views_in_their_own_dictionary"] = Case(
    """
    import types
    d = {}
    d['keys'], d['values'], d['proxy'] = d.keys(), d.values(), types.MappingProxyType(d)
    obj = d['keys'], d
    """,
    """
    keys, d = obj
    assert d['keys'] is keys and list(keys) == ['keys', 'values', 'proxy'] and list(d['values'])[2]['proxy'] is d['proxy']
    """,
)
CASES["memory_views_of_other_formats"] = Case(
    """
    import array, ctypes
    obj = (memoryview(array.array('i')), memoryview(bytes(8)).cast('h', [2, 2])[0:0], memoryview(b'').cast('c'),
           memoryview((ctypes.c_int * 3)(1, 2, 3)), memoryview(array.array('d', [1.5])).cast('B').cast('d', []))
    """,
    """
    ints, rows, chars, numbers, scalar = obj
    assert (len(ints), ints.format, rows.shape, rows.format, chars.format) == (0, 'i', (0, 2), 'h', 'c')
    assert numbers.tolist() == [1, 2, 3] and not numbers.readonly and scalar.ndim == 0 and scalar.tolist() == 1.5
    """,
)
CASES["weak_proxies"] = Case(
    """
    import weakref
    class Node:
        def __init__(self, parent=None):
            self.parent, self.children = parent and weakref.proxy(parent), []
        def add(self): self.children.append(Node(self)); return self
        def __call__(self): return self
    obj = Node().add().add()
    other = Node()
    obj.pair = weakref.proxy(other), other
    """,
    """
    import gc, weakref
    assert obj.pair[0] is obj.pair[1]
    first, second = obj.children
    assert first.parent is second.parent and weakref.getweakrefs(obj) == [first.parent] and first.parent() is obj
    del obj
    gc.collect()
    try: first.parent.children
    except ReferenceError: pass
    else: raise AssertionError
    """,
)
CASES["submodule_of_a_package_that_is_a_default"] = Case(
    """
    import xml.dom.minidom, concurrent.futures
    def f(package=xml): return package.dom.minidom.parseString('<a/>').documentElement.tagName
    def g(*, package=concurrent): return package.futures.Future
    obj = f, g
    """,
    "f, g = obj\nassert f() == 'a' and g().__name__ == 'Future'",
)

if sys.version_info >= (3, 11):
    CASES["tvt"] = Case(
        """
        import typing
        Ts=typing.TypeVarTuple('Ts')
        class A(typing.Generic[typing.Unpack[Ts]]): pass
        def f(*a: typing.Unpack[Ts]): return a
        obj=(A,f,Ts,A[int,str])
        """,
        """
        A,f,Ts,a=obj; assert a.__args__==(int,str) and f(1)==(1,) and A.__parameters__==(Ts,)
        """,
    )

if sys.version_info >= (3, 12):
    CASES["pep695"] = Case(
        """
        class A[T: int, *Ts, **P]:
            x: T
            def m[U](self, u: U) -> U: return u
        def f[T: (int,str) ](x: T) -> T: return x
        type L[T] = list[T] | None
        @__import__('dataclasses').dataclass
        class D[T]:
            a: T
        class S(A[int, str, [int]]): pass
        obj=(A,f,L,D,S)
        """,
        """
        A,f,L,D,S=obj
        assert [t.__name__ for t in A.__type_params__]==['T','Ts','P'] and A.__type_params__[0].__bound__ is int and f(1)==1 and f.__type_params__[0].__constraints__==(int,str)
        assert L.__value__==(list[L.__type_params__[0]]|None) and D[int](3)==D(3) and A().m(2)==2 and S.__orig_bases__
        """,
    )

if sys.version_info >= (3, 13):
    CASES["tvdefault"] = Case(
        """
        class A[T = int]: pass
        obj=A
        """,
        """
        assert obj.__type_params__[0].__default__ is int
        """,
    )
