"""Corners of the language and of the standard library, each in a line or two."""

from __future__ import annotations

import sys

from fresh import Case

CASES: dict[str, Case] = {}

CASES["relative_import"] = Case("__package__='json'\ndef obj():\n    from . import decoder\n    from .encoder import JSONEncoder\n    return decoder.JSONDecoder, JSONEncoder","import json\nassert obj()==(json.JSONDecoder,json.JSONEncoder)")
CASES["file_and_name_globals"] = Case("__file__='/x/job.py'\n__doc__='d'\ndef obj(): return __file__, __name__, __doc__","assert obj()==('/x/job.py','__main__','d')")
CASES["deprecated_abstract"] = Case("""
import abc
class A(abc.ABC):
    @abc.abstractclassmethod
    def c(cls): ...
    @abc.abstractstaticmethod
    def s(): ...
    @abc.abstractproperty
    def p(self): ...
obj=A
""","assert obj.__abstractmethods__=={'c','s','p'} and obj.__dict__['p'].__isabstractmethod__")
CASES["getset"] = Case("import types,collections\nobj=[float.real, types.FunctionType.__code__, types.MemberDescriptorType, collections.deque.maxlen, type.__dict__['__dict__'] if False else int.__dict__['real'], types.CodeType.co_name]","import types\nassert obj[0] is float.real and obj[1].__get__(lambda:0) and obj[5] is types.CodeType.co_name")
CASES["odict_views"] = Case("import collections\nd=collections.OrderedDict(a=1,b=2)\nobj=[d.keys(),d.values(),d.items(),{1:2}.keys(),collections.defaultdict(int,{3:4}).items()]","import collections\nassert [type(v).__name__ for v in obj]==['odict_keys','odict_values','odict_items','dict_keys','dict_items'] and list(obj[0])==['a','b'] and list(obj[2])==[('a',1),('b',2)]")
CASES["raw_classmethod_function"] = Case("import datetime, collections, fractions, pathlib\nobj=[fractions.Fraction.from_float.__func__, datetime.date.today]","import fractions\nassert obj[0] is fractions.Fraction.from_float.__func__ and obj[0](fractions.Fraction,0.5)==fractions.Fraction(1,2)")
CASES["custom_builtins"] = Case("s={'__builtins__':{'len':lambda x:'mine'},'__name__':'__main__'}\nexec('def f(x): return len(x)',s)\nobj=s['f']","assert obj([1]) in ('mine',1)")
CASES["no_name_in_globals"] = Case("s={}\nexec('def f(x): return len(x)+K\\nK=2',s)\nobj=s['f']","assert obj([1])==3")
CASES["meta_with_reduce"] = Case("""
class M(type):
    def __reduce__(cls): return getattr, (cls, 'nothing')
class obj(metaclass=M): x=1
""","assert obj.x==1")
CASES["copyreg_metaclass"] = Case("""
import copyreg
class M(type): pass
class K(metaclass=M): x=1
copyreg.pickle(M, lambda c: (dict, ([('name', c.__name__)],)))
obj=[K]
""","assert obj==[{'name':'K'}]")
CASES["partial_subclass"] = Case("""
import functools
class P(functools.partial):
    extra=1
    def twice(self): return self(), self()
obj=P(lambda x: x+1, 2)
""","assert obj.twice()==(3,3) and obj.extra==1")
CASES["flag_composites"] = Case("""
import enum
class F(enum.Flag):
    A=1;B=2;C=4
    def __init__(self,*a): self.n=1
obj=[F.A|F.B, F(0), ~F.A, F, F.A|F.B|F.C, {F.A|F.B: 'ab'}]
""","a,z,n,F,al,d=obj\nassert a is F.A|F.B and n is F.B|F.C and F.A in a and not z and d[F.A|F.B]=='ab' and F.A.n==1")
CASES["enum_dict_values"] = Case("""
import enum
class E(enum.Enum):
    A={'x':1}
    B=['l']
    C=lambda s: 1
    def f(self): return self.value
obj=E
""","assert obj.A.f()=={'x':1} and obj.B.value==['l'] and obj.C(obj.A)==1 and obj(['l']) is obj.B")
CASES["enum_inheriting_methods_and_mixins"] = Case("""
import enum
class Base(str, enum.Enum):
    @classmethod
    def parse(cls, s): return cls(s.lower())
    def __str__(self): return self.value
    def __format__(self, spec): return 'F'+self.value
class Color(Base):
    RED='red'
    BLUE='blue'
obj=Color
""","assert obj.parse('RED') is obj.RED and str(obj.RED)=='red' and f'{obj.RED}'=='Fred' and obj.RED=='red' and isinstance(obj.RED,str) and obj.__base__.__name__=='Base'")
CASES["exception_with_slots_state"] = Case("""
class E(Exception):
    def __init__(self,msg): super().__init__(msg); self.extra=[1]
    def __getstate__(self): return {'extra':[2]}
e=E('m')
try: raise e
except E as x: obj=x
""","assert obj.args==('m',) and obj.extra==[2] or obj.extra==[1]; assert obj.__traceback__ is None")
CASES["cause_cycle"] = Case("a=ValueError('a'); b=KeyError('b'); a.__cause__=b; b.__cause__=a\nobj=a","assert obj.__cause__.__cause__ is obj")
CASES["oserror_subclass"] = Case("""
class MyIO(OSError):
    def __init__(self,*a,code=None): super().__init__(*a); self.code=code
obj=MyIO(2,'x',code=5)
""","assert obj.errno==2 and obj.code==5")
CASES["generic_alias_kinds"] = Case("""
import typing, collections.abc, types
T=typing.TypeVar('T')
class G(typing.Generic[T]): pass
obj=[G[int], list[T], dict[str,list[int]], typing.Callable[...,int], collections.abc.Callable[[int],str], int|str, typing.Literal['a'], typing.Annotated[int,{'k':1}], type[int], tuple[int,...], typing.ForwardRef('X'), typing.ClassVar[int], typing.Any, typing.Union[int,G[str]], G[G[int]]]
""","import typing\nassert obj[0].__origin__.__name__=='G' and obj[5]==int|str and obj[9]==tuple[int,...] and obj[10].__forward_arg__=='X' and obj[7].__metadata__==({'k':1},) and obj[12] is typing.Any and obj[14].__args__[0]==obj[0]")
CASES["closure_over_class_and_instance"] = Case("""
def outer():
    class A:
        n=0
        def __init__(self): A.n+=1
        def me(self): return A, a
    a=A()
    return lambda: (A,a,A().n)
obj=outer()
""","A,a,n=obj()\nassert type(a) is A and n==2 and a.me()==(A,a)")
CASES["lru_attr"] = Case("""
import functools
@functools.lru_cache(None)
def f(x): 'doc'; return x
f.tag='t'
f(1)
class K:
    cached=staticmethod(f)
obj=K, f
""","K,f=obj\nassert K.cached is f and f.tag=='t' and f.cache_info().currsize==0 and f.__doc__=='doc'")
CASES["dispatch_after_use"] = Case("""
import functools
@functools.singledispatch
def f(x): return 'o'
@f.register(int)
def _(x): return 'i'
f(1); f('x'); f(2.0)
obj=f
""","assert obj(True)=='i' and obj('')=='o'\nobj.register(str)(lambda x:'s')\nassert obj('')=='s'")
CASES["cached_property_used"] = Case("""
import functools
class K:
    @functools.cached_property
    def v(self): return [1]
k=K(); k.v.append(2)
obj=k
""","assert obj.v==[1,2] and type(obj)().v==[1]")
CASES["random_reduce_partial"] = Case("""
import operator, functools
class Lazy:
    def __reduce__(self): return functools.partial(operator.mul, 3), (4,)
obj=Lazy()
""","assert obj==12")
CASES["types_of_functions"] = Case("import types\nobj=[types.FunctionType,types.LambdaType,types.GeneratorType,types.CoroutineType,types.AsyncGeneratorType,types.CodeType,types.CellType,types.MethodType,types.BuiltinFunctionType,types.WrapperDescriptorType,types.MethodWrapperType,types.MethodDescriptorType,types.ClassMethodDescriptorType,types.ModuleType,types.TracebackType,types.FrameType,types.GetSetDescriptorType,types.MemberDescriptorType,types.MappingProxyType,types.SimpleNamespace,types.GenericAlias,types.UnionType,types.EllipsisType,types.NoneType,types.NotImplementedType,type({}.keys()),type(iter([]))]","import types\nassert obj[0] is types.FunctionType and obj[24] is types.NotImplementedType and obj[25] is type({}.keys()) and obj[26] is type(iter([]))")
CASES["abc_instance_of_generic"] = Case("""
import abc, typing, collections.abc
T=typing.TypeVar('T')
class Repo(abc.ABC, typing.Generic[T]):
    @abc.abstractmethod
    def get(self) -> T: ...
class IntRepo(Repo[int]):
    def get(self): return 1
class It(collections.abc.Iterator):
    def __init__(self): self.i=0
    def __next__(self):
        self.i+=1
        if self.i>3: raise StopIteration
        return self.i
obj=IntRepo(), It(), Repo
""","r,i,R=obj\nassert r.get()==1 and list(i)==[1,2,3] and isinstance(r,R)\ntry: R()\nexcept TypeError: pass\nelse: raise AssertionError")
CASES["class_decorators"] = Case("""
def add(**kw):
    def deco(cls):
        for k,v in kw.items(): setattr(cls,k,v)
        return cls
    return deco
def wrap(cls):
    class Wrapped(cls):
        inner=cls
        def __repr__(self): return 'W'+super().__repr__()
    Wrapped.__name__=cls.__name__; Wrapped.__qualname__=cls.__qualname__
    return Wrapped
registry={}
def register(cls): registry[cls.__name__]=cls; return cls
@register
@wrap
@add(a=1, f=lambda self: self.a)
class K:
    def __repr__(self): return 'K'
    def others(self): return registry
obj=K
""","assert repr(obj())=='WK' and obj().f()==1 and obj().others()['K'] is obj and obj.inner.__name__=='K' and obj.inner is not obj")
CASES["singleton_and_new"] = Case("""
class S:
    _inst=None
    def __new__(cls,*a):
        if cls._inst is None: cls._inst=super().__new__(cls)
        return cls._inst
    def __init__(self,*a): self.a=a
obj=[S(1),S(2)]
""","assert obj[0] is obj[1] and obj[0].a==(2,)")
CASES["async_in_class"] = Case("""
import asyncio
class Svc:
    async def __aenter__(self): return self
    async def __aexit__(self,*a): pass
    async def run(self): return [x async for x in self.gen()]
    async def gen(self):
        for i in range(2): yield i
    @staticmethod
    async def st(): return 1
obj=Svc
""","import asyncio\nasync def m():\n    async with obj() as s: return await s.run(), await s.st()\nassert asyncio.run(m())==([0,1],1)")
CASES["ns_with_callables"] = Case("import types\nn=types.SimpleNamespace(); n.f=lambda: n; n.self=n\nobj=n","assert obj.f() is obj.self is obj")
CASES["type_none_default"] = Case("def obj(t=type(None), e=..., n=NotImplemented): return t,e,n","assert obj()==(type(None),...,NotImplemented)")
CASES["walrus_comprehension_in_class"] = Case("""
K=3
class obj:
    xs=[i*K for i in range(3)]
    ys=[y for y in xs]
    d={k:v for k,v in zip('ab',xs)}
    def f(self): return [(lambda: i+K)() for i in self.xs]
""","assert obj.ys==[0,3,6] and obj().f()==[3,6,9] and obj.d=={'a':0,'b':3}")
CASES["class_body_in_function_with_comprehension"] = Case("""
K=3
def obj():
    class L:
        vals=[i*K for i in range(K)]
        f=lambda self: K
        class In:
            g=K
    return L.vals, L().f(), L.In.g
""","assert obj()==([0,3,6],3,3)")
CASES["try_star"] = Case("def obj():\n    try: raise ValueError(1)\n    except (ValueError, TypeError) as e: return e.args","assert obj()==(1,)")
CASES["del_global"] = Case("X=1\ndef obj():\n    global X\n    del X\n    try: return X\n    except NameError: return 'gone'","assert obj()=='gone'")
CASES["func_attr_cycle"] = Case("def f(): return f.cache\nf.cache={'self':f}\nf.list=[f]\nobj=f","assert obj()['self'] is obj and obj.list[0] is obj")
CASES["big_consts"] = Case("def obj(): return 10**30, 'é'*3, b'\\x00\\xff', (1,(2,(3,))), 1e300, -0.0, 1j, frozenset({1,2}), ..., None, True","assert obj()[0]==10**30 and obj()[7]==frozenset({1,2})")
CASES["deque_subclass_etc"] = Case("""
import collections
class D(collections.deque):
    def __init__(self,*a,tag=None): super().__init__(*a); self.tag=tag
class Dd(dict):
    def __init__(self,*a,tag=None): super().__init__(*a); self.tag=tag
class L(list):
    __slots__=('tag',)
d=D([1],tag='t'); dd=Dd({1:2},tag='u'); l=L([3]); l.tag='v'
obj=d,dd,l
""","d,dd,l=obj\nassert list(d)==[1] and d.tag=='t' and dd=={1:2} and dd.tag=='u' and l==[3] and l.tag=='v'")
CASES["int_str_subclass_attrs"] = Case("""
class I(int):
    def __new__(cls,v,u=''):
        s=super().__new__(cls,v); s.u=u; return s
class S(str):
    def __new__(cls,v): return super().__new__(cls,v.upper())
class F(float): pass
class B(bytes): pass
class T(tuple):
    def __new__(cls,*a): return super().__new__(cls,a)
class FS(frozenset): pass
obj=I(5,'kg'),S('a'),F(1.5),B(b'x'),T(1,2),FS([1])
""","i,s,f,b,t,fs=obj\nassert i==5 and i.u=='kg' and s=='A' and f==1.5 and b==b'x' and t==((1,2),) or t==(1,2); assert fs=={1} and type(fs).__name__=='FS'")
CASES["module_in_class_in_module"] = Case("""
import types
m=types.ModuleType('m'); sub=types.ModuleType('m.sub'); m.sub=sub
exec('class A:\\n    def f(self): return B\\nB=2', m.__dict__)
exec('def g(): return 1', sub.__dict__)
def obj(): return m.sub.g(), m.A().f(), m
""","a,b,m=obj()\nassert (a,b)==(1,2) and m.A.__module__=='m' and m.sub.__name__=='m.sub'")
CASES["signature_and_hints"] = Case("""
import inspect, typing
def obj(a: int, /, b: 'str'='x', *c: float, d: typing.List[int]=None, **e: bool) -> None: ...
obj.__signature__=inspect.signature(obj)
""","import inspect, typing\nassert str(inspect.signature(obj)).startswith('(a: int, /, b: ') and typing.get_type_hints(obj)['b'] is str")
CASES["nested_partial_method_descr"] = Case("""
import functools
class A:
    def f(self,x,*,y): return x,y
    g=functools.partialmethod(f,1,y=2)
    h=functools.partial(f,'self')
    @functools.wraps(f)
    def w(self): return self.f(3,y=4)
obj=A
""","a=obj()\nassert a.g()==(1,2) and a.w()==(3,4) and a.w.__wrapped__ is obj.f and obj.h(5,y=6)==(5,6)")
CASES["pickle_a_pickle_thing"] = Case("import pickle\nobj=[pickle.loads, pickle.Pickler, pickle.PickleError('x')]","import pickle\nassert obj[0] is pickle.loads and obj[2].args==('x',)")
CASES["zoneinfo_tz"] = Case("import datetime\nclass TZ(datetime.tzinfo):\n    def utcoffset(self,d): return datetime.timedelta(hours=1)\n    def dst(self,d): return datetime.timedelta(0)\n    def tzname(self,d): return 'TZ'\nobj=datetime.datetime(2020,1,1,tzinfo=TZ())","assert obj.utcoffset().seconds==3600 and obj.tzname()=='TZ'")

if sys.version_info>=(3,12):
    CASES["inline_comp_classbody"] = Case("class obj:\n    n=2\n    a=[x for x in range(2)]\n    b={x:y for x in 'a' for y in (1,)}\n    def f(self): return [self.n for self.q in [1]] if False else [x for x in self.a]","assert obj().f()==[0,1]")
    CASES["pep701"] = Case("def obj(x): return f\"{x!r:{'>'}{10}} {f'{x + 1}'}\"","assert obj(1)=='         1 2'")
if sys.version_info>=(3,13):
    CASES["firstlineno"] = Case("\n\nclass obj:\n    x=1\n    def f(self): self.y=1","assert obj.__firstlineno__==3 and obj.__static_attributes__==('y',)")
    CASES["locals_pep667"] = Case("def obj():\n    a=1\n    return locals()['a']","assert obj()==1")
