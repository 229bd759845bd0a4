"""Classes as people write them: metaclasses, abstract bases, slots, descriptors, attributes that get in the way."""

from __future__ import annotations

from fresh import Case

CASES: dict[str, Case] = {
    "metaclass_with_prepare_and_order": Case(
        """
        import collections
        class Ordered(type):
            @classmethod
            def __prepare__(meta, name, bases): return collections.OrderedDict()
            def __new__(meta, name, bases, namespace):
                cls = super().__new__(meta, name, bases, dict(namespace))
                cls.order = [n for n in namespace if not n.startswith("__")]
                return cls
        class obj(metaclass=Ordered):
            b = 1
            a = 2
        """,
        "assert obj.order == ['b', 'a']\nclass S(obj): z = 1; y = 2\nassert S.order == ['z', 'y']",
    ),
    "metaclass_registry": Case(
        """
        class Plugin(type):
            registry = {}
            def __init__(cls, name, bases, ns):
                super().__init__(name, bases, ns)
                Plugin.registry[name] = cls
        class Base(metaclass=Plugin): pass
        class Csv(Base): pass
        obj = lambda name: Plugin.registry[name]
        """,
        "assert obj('Csv').__bases__ == (obj('Base'),) and len(type(obj('Base')).registry) == 2",
    ),
    "metaclass_instancecheck_len_iter_contains": Case(
        """
        class M(type):
            def __instancecheck__(cls, x): return x == 5
            def __subclasscheck__(cls, c): return c is int
            def __len__(cls): return 0
            def __bool__(cls): return False
            def __iter__(cls): return iter("ab")
            def __contains__(cls, x): return x == "q"
            def __getattr__(cls, name): return name.upper()
            def __getitem__(cls, k): return k
            def __eq__(cls, other): return False
            def __hash__(cls): return 3
        class obj(metaclass=M): x = 1
        """,
        "assert isinstance(5, obj) and issubclass(int, obj) and len(obj) == 0 and list(obj) == ['a', 'b']"
        " and 'q' in obj and obj.nothing == 'NOTHING' and obj[4] == 4 and obj.x == 1 and obj != obj and hash(obj) == 3",
    ),
    "metaclass_getattribute": Case(
        """
        class M(type):
            def __getattribute__(cls, name):
                if name == "secret": raise AttributeError(name)
                return super().__getattribute__(name)
        class obj(metaclass=M):
            secret = 1
            open = 2
        """,
        "assert obj.open == 2 and not hasattr(obj, 'secret') and type.__getattribute__(obj, 'secret') == 1",
    ),
    "metaclass_dir_mro": Case(
        """
        class M(type):
            def mro(cls):
                order = super().mro()
                return [order[0], Extra, *order[1:]] if order[0].__name__ == 'obj' else order
        class Extra:
            def extra(self): return 'extra'
        class obj(metaclass=M):
            def own(self): return 'own'
        """,
        "assert obj().extra() == 'extra' and [c.__name__ for c in obj.__mro__] == ['obj', 'Extra', 'object']",
    ),
    "metaclass_of_metaclass": Case(
        """
        class MM(type):
            def tell(cls): return "meta " + cls.__name__
        class M(type, metaclass=MM):
            def tell(cls): return "class " + cls.__name__
        class obj(metaclass=M): pass
        """,
        "assert obj.tell() == 'class obj' and type(type(obj)).tell(type(obj)) == 'meta M'",
    ),
    "abc_with_metaclass_of_its_own": Case(
        """
        import abc
        class M(abc.ABCMeta):
            def __new__(m, name, bases, ns, **kw):
                cls = super().__new__(m, name, bases, ns)
                cls.kw = kw
                return cls
            def __init__(cls, name, bases, ns, **kw): super().__init__(name, bases, ns)
        class A(metaclass=M, flavour=1):
            @abc.abstractmethod
            def f(self): ...
        class obj(A, flavour=2):
            def f(self): return super().f()
        """,
        """
        assert obj.kw == {'flavour': 2} and obj().f() is None and obj.__base__.kw == {'flavour': 1}
        try: obj.__base__()
        except TypeError: pass
        else: raise AssertionError
        """,
    ),
    "abstract_properties": Case(
        """
        import abc
        class A(abc.ABC):
            @property
            @abc.abstractmethod
            def p(self): 'doc of p'
            @p.setter
            @abc.abstractmethod
            def p(self, v): ...
            @staticmethod
            @abc.abstractmethod
            def s(): ...
        class obj(A):
            _p = 1
            @property
            def p(self): return self._p
            @p.setter
            def p(self, v): self._p = v
            @p.deleter
            def p(self): del self._p
            @staticmethod
            def s(): return 's'
        """,
        """
        o = obj(); o.p = 5
        assert o.p == 5 and o.s() == 's'
        del o.p
        assert o.p == 1
        A = obj.__base__
        assert A.p.__isabstractmethod__ and A.p.__doc__ == 'doc of p' and A.__abstractmethods__ == {'p', 's'}
        """,
    ),
    "abc_virtual_subclasses_of_both_kinds": Case(
        """
        import abc, collections.abc
        class Mine: pass
        class S(abc.ABC):
            @classmethod
            def __subclasshook__(cls, c):
                return True if cls is S and hasattr(c, 'quack') else NotImplemented
        S.register(int)
        S.register(Mine)
        @collections.abc.Sized.register
        class Counted: pass
        class M(collections.abc.Mapping):
            def __getitem__(self, k): return k
            def __iter__(self): return iter('ab')
            def __len__(self): return 2
        obj = S, Mine, M
        """,
        """
        S, Mine, M = obj
        class D:
            quack = 1
        assert issubclass(int, S) and issubclass(Mine, S) and issubclass(D, S) and not issubclass(str, S)
        assert dict(M()) == {'a': 'a', 'b': 'b'} and 'a' in M() and M().get('zz') == 'zz'
        """,
    ),
    "new_attributes_after_the_definition": Case(
        """
        class obj:
            def f(self): return 'old'
        def g(self): return 'new' + __name__
        obj.f = g
        obj.extra = [1]
        obj.__doc__ = 'changed'
        obj.__name__ = 'Renamed'
        obj.__qualname__ = 'Outer.Renamed'
        obj.__module__ = 'elsewhere'
        """,
        "assert obj().f() == 'new__main__' and obj.extra == [1] and obj.__doc__ == 'changed' and obj.__name__ == 'Renamed'"
        " and obj.__qualname__ == 'Outer.Renamed' and obj.__module__ == 'elsewhere'",
    ),
    "super_in_every_kind_of_method": Case(
        """
        class A:
            def m(self): return ['A.m']
            @classmethod
            def c(cls): return ['A.c', cls.__name__]
            @staticmethod
            def s(): return ['A.s']
            @property
            def p(self): return ['A.p']
            def __init__(self): self.log = ['A']
            def __getattr__(self, name):
                if name.startswith('dyn'): return name
                raise AttributeError(name)
        class B(A):
            def m(self): return super().m() + ['B.m']
            @classmethod
            def c(cls): return super().c() + ['B.c']
            @staticmethod
            def s(): return super(B, B).s() + ['B.s']
            @property
            def p(self): return super().p + ['B.p']
            def __init__(self):
                super().__init__()
                self.log.append('B')
            def comp(self): return [super(B, self).m() for _ in range(1)]
            def cell(self): return __class__
            def lam(self): return (lambda: super(B, self).m())()
        class C(A):
            def m(self): return super().m() + ['C.m']
        class obj(B, C):
            def m(self): return super().m() + ['D.m']
        """,
        """
        o = obj()
        assert o.m() == ['A.m', 'C.m', 'B.m', 'D.m'] and obj.c() == ['A.c', 'obj', 'B.c'] and o.s() == ['A.s', 'B.s']
        assert o.p == ['A.p', 'B.p'] and o.log == ['A', 'B'] and o.comp() == [['A.m', 'C.m']] and o.lam() == ['A.m', 'C.m']
        assert o.cell() is obj.__bases__[0] and o.dynx == 'dynx' and not hasattr(o, 'other')
        """,
    ),
    "nested_classes_three_deep": Case(
        """
        class obj:
            class Mid:
                class Inner:
                    def up(self): return obj.Mid
                value = Inner()
            items = [Mid, Mid.Inner]
        """,
        "assert obj.Mid.value.up() is obj.Mid and obj.items == [obj.Mid, obj.Mid.Inner]"
        " and obj.Mid.Inner.__qualname__ == 'obj.Mid.Inner'",
    ),
    "local_class_with_closures_and_globals": Case(
        """
        SCALE = 3
        def make(offset, log):
            class Local:
                cached = offset * 2
                def f(self, x): return x * SCALE + offset
                def note(self, x): log.append(x); return len(log)
                def sibling(self): return helper(1)
            def helper(y): return Local, y, offset
            return Local, log
        obj = make(10, [])
        """,
        "L, log = obj\nassert L().f(2) == 16 and L.cached == 20 and L().note('a') == 1 and log == ['a'] and L().sibling() == (L, 1, 10)",
    ),
    "slots_of_many_forms": Case(
        """
        import dataclasses
        class A: __slots__ = ()
        class B(A): __slots__ = ('x', '__dict__')
        class C(A): __slots__ = ['y', '__weakref__']
        class D(C):
            __slots__ = {'z': 'about z'}
            def __init__(self): self.y = self.z = 0
        class E(D):
            __slots__ = ('__hidden',)
            def set(self, v): self.__hidden = v; return self
            def get(self): return self.__hidden
        class I(int): __slots__ = ()
        class T(tuple): __slots__ = ()
        class P(list): __slots__ = ('k', '__dict__')
        b = B(); b.x = 1; b.free = 2
        obj = b, D(), E().set([1]), I(7), T((1, 2)), P([3])
        """,
        """
        import weakref
        b, d, e, i, t, p = obj
        assert b.x == 1 and b.free == 2 and (d.y, d.z) == (0, 0) and e.get() == [1] and e._E__hidden == [1]
        assert i == 7 and t == (1, 2) and p == [3] and type(d).z.__doc__ is None or True
        for o in (d, e, i, t):
            try: o.nothing = 1
            except AttributeError: pass
            else: raise AssertionError(o)
        weakref.ref(d); weakref.ref(e)
        assert not hasattr(d, '__dict__') and type(d).__slots__ == {'z': 'about z'}
        import inspect
        assert inspect.getdoc(type(d).z) == 'about z'
        """,
    ),
    "slots_filled_partly_and_getstate": Case(
        """
        class A:
            __slots__ = ('a', 'b')
        class S:
            __slots__ = ('a',)
            def __getstate__(self): return (self.a,)
            def __setstate__(self, s): self.a = s[0] + 1
        x = A(); x.a = 1
        s = S(); s.a = 1
        obj = x, s
        """,
        "x, s = obj\nassert x.a == 1 and not hasattr(x, 'b') and s.a == 2",
    ),
    "singledispatch_with_classes_that_travel": Case(
        """
        import functools, abc
        class A: pass
        class B(A): pass
        class I(abc.ABC): pass
        I.register(str)
        @functools.singledispatch
        def obj(x): return 'object'
        @obj.register
        def _(x: A): return 'A'
        @obj.register(I)
        def _(x): return 'I'
        obj.classes = A, B
        """,
        "A, B = obj.classes\nassert obj(A()) == obj(B()) == 'A' and obj('') == 'I' and obj(1) == 'object'"
        " and obj.dispatch(B)(0) == 'A' and set(obj.registry) >= {object, A}",
    ),
    "descriptors": Case(
        """
        class Positive:
            def __set_name__(self, owner, name): self.owner, self.name = owner, '_' + name
            def __get__(self, i, owner=None): return self if i is None else getattr(i, self.name)
            def __set__(self, i, v):
                if v <= 0: raise ValueError(v)
                setattr(i, self.name, v)
            def __delete__(self, i): delattr(i, self.name)
        class classproperty:
            def __init__(self, f): self.f = f
            def __get__(self, i, owner): return self.f(owner)
        class obj:
            x = Positive()
            y = Positive()
            @classproperty
            def label(cls): return cls.__name__
            def __init__(self, x): self.x = x
        """,
        """
        o = obj(3)
        assert o.x == 3 and obj.x.owner is obj and obj.y.name == '_y' and obj.label == 'obj' and isinstance(vars(obj)['label'].f, type(lambda: 0))
        try: o.x = -1
        except ValueError: pass
        else: raise AssertionError
        del o.x
        assert not hasattr(o, 'x')
        """,
    ),
    "classes_with_special_methods": Case(
        """
        class V:
            def __init__(self, x): self.x = x
            def __eq__(self, o): return isinstance(o, V) and self.x == o.x
            def __hash__(self): return hash(self.x)
            def __add__(self, o): return V(self.x + o.x)
            __radd__ = __add__
            def __repr__(self): return f'V({self.x})'
            def __len__(self): return self.x
            def __getitem__(self, i): return self.x * i
            def __iter__(self): return iter([self.x])
            def __contains__(self, y): return y == self.x
            def __call__(self, y): return self.x + y
            def __enter__(self): return self
            def __exit__(self, *a): return True
            def __bool__(self): return self.x > 0
            def __index__(self): return self.x
            def __format__(self, spec): return spec + str(self.x)
            def __getattr__(self, n):
                if n.startswith('__'): raise AttributeError(n)
                return n
            def __setattr__(self, n, v): object.__setattr__(self, n, v)
            def __delattr__(self, n): raise TypeError
            def __class_getitem__(cls, k): return k
            def __del__(self): pass
            def __sizeof__(self): return 1
            def __dir__(self): return ['d']
            def __copy__(self): return self
            __slots__ = ('x', '__dict__')
        obj = {V(1): [V(2)], 'set': {V(3)}, 'c': V}
        """,
        """
        V = obj['c']
        assert obj[V(1)] == [V(2)] and obj['set'] == {V(3)} and V(1) + V(2) == V(3) and repr(V(1)) == 'V(1)' and len(V(4)) == 4
        assert V(2)[3] == 6 and list(V(1)) == [1] and 1 in V(1) and V(1)(2) == 3 and not V(0) and [1, 2][V(1)] == 2 and f'{V(1):q}' == 'q1'
        assert V(1).some == 'some' and V[5] == 5 and dir(V(1)) == ['d']
        """,
    ),
    "attribute_hooks_that_get_in_the_way": Case(
        """
        class Proxy:
            def __init__(self, target): object.__setattr__(self, '_target', target)
            def __getattr__(self, name): return getattr(object.__getattribute__(self, '_target'), name)
            def __setattr__(self, name, value): setattr(self._target, name, value)
        class Strict:
            x = 1
            def __setattr__(self, n, v): raise AttributeError(n)
        class AttrDict(dict):
            __getattr__ = dict.__getitem__
            __setattr__ = dict.__setitem__
        class Default:
            def __getattr__(self, name): return None if not name.startswith('__') else super().__getattribute__(name)
        s = Strict(); s.__dict__['y'] = 2
        obj = s, Default(), Proxy
        """,
        "s, d, Proxy = obj\nassert s.x == 1 and s.y == 2 and d.anything is None and Proxy([1]).append",
    ),
    "inherits_from_library_classes": Case(
        """
        import collections, threading, json, argparse, abc, io, queue, contextlib, html.parser, ast, unittest, random
        class D(collections.OrderedDict):
            def __init__(self, *a): super().__init__(*a); self.n = 1
        class DD(collections.defaultdict): pass
        class U(collections.UserDict):
            def __getitem__(self, k): return super().__getitem__(k.lower())
        class C(collections.Counter): pass
        class Q(collections.deque): extra = 1
        class E(json.JSONEncoder):
            def default(self, o): return str(o)
        class V(ast.NodeVisitor):
            def visit_Name(self, node): return node.id
        class Err(io.UnsupportedOperation): pass
        class P(html.parser.HTMLParser):
            def handle_data(self, d): self.got = d
        class R(random.Random): pass
        class T(unittest.TestCase):
            def runTest(self): self.assertTrue(True)
        obj = D({'a': 1}), DD(list, {1: [2]}), U(a=1), C('ab'), Q([1], 2), E, V, Err('x'), P(), R(3), T
        """,
        """
        d, dd, u, c, q, E, V, err, p, r, T = obj
        assert d.n == 1 and d['a'] == 1 and dd[1] == [2] and dd[5] == [] and u['A'] == 1 and c['a'] == 1 and q.maxlen == 2 and q.extra == 1
        import json, ast, unittest
        assert json.dumps({'a': {1j}.pop()}, cls=E) == '{"a": "1j"}' and V().visit(ast.parse('abc', mode='eval').body) == 'abc' and err.args == ('x',)
        p.feed('<a>hi</a>'); assert p.got == 'hi'
        assert unittest.TextTestRunner(stream=open('/dev/null', 'w')).run(T()).wasSuccessful()
        """,
    ),
    "properties_kinds": Case(
        """
        class loud(property): kind = 'loud'
        class obj:
            def _get(self): return self.__dict__.get('v', 0)
            def _set(self, v): self.v2 = v
            p = property(_get, _set, None, 'the doc')
            only_set = property(None, _set)
            q = loud(_get)
            @property
            def r(self): 'r doc'; return 1
            r2 = r.getter(lambda self: 2)
        """,
        """
        o = obj(); o.p = 4; o.only_set = 5
        assert o.p == 0 and o.v2 == 5 and obj.p.__doc__ == 'the doc' and obj.q.kind == 'loud' and o.r == 1 and o.r2 == 2
        assert obj.p.fdel is None and obj.only_set.fget is None and obj.r.__doc__ == 'r doc'
        try: o.only_set
        except AttributeError: pass
        else: raise AssertionError
        """,
    ),
    "method_kinds": Case(
        """
        class C:
            def plain(self): return self
            @classmethod
            def klass(cls): return cls
            @staticmethod
            def static(): return 1
        c = C()
        class D(C): pass
        obj = dict(bound=c.plain, unbound=C.plain, klass=C.klass, inst=c.klass, sub=D.klass, static=C.static, raw=C.__dict__['klass'], raws=C.__dict__['static'], sup=super(D, D()).plain, c=c, C=C, D=D, call=c.plain.__func__, new=object.__new__, init=C.__init__)
        """,
        """
        o = obj
        assert o['bound']() is o['c'] and o['unbound'](3) == 3 and o['klass']() is o['C'] and o['inst']() is o['C'] and o['sub']() is o['D']
        assert o['static']() == 1 and type(o['raw']) is classmethod and type(o['raws']) is staticmethod and isinstance(o['sup'](), o['D'])
        assert o['bound'].__func__ is o['C'].plain and o['raw'].__func__ is o['klass'].__func__
        """,
    ),
    "set_name_with_owner_and_init_subclass": Case(
        """
        class Field:
            made = 0
            def __init__(self): Field.made += 1
            def __set_name__(self, owner, name):
                self.name = name
                owner.__dict__.get('fields', []).append(name) if 'fields' in owner.__dict__ else None
        class Model:
            models = []
            def __init_subclass__(cls, /, table=None, **kw):
                super().__init_subclass__(**kw)
                cls.table = table or cls.__name__.lower()
                cls.names = [k for k, v in vars(cls).items() if isinstance(v, Field)]
                Model.models.append(cls.__name__)
        class User(Model):
            fields = []
            id = Field()
            name = Field()
        class Order(User, table='orders'):
            total = Field()
        obj = Order, Model, Field
        """,
        """
        Order, Model, Field = obj
        assert Order.table == 'orders' and Order.__base__.table == 'user' and Order.names == ['total'] and Order.__base__.names == ['id', 'name']
        assert Model.models == ['User', 'Order'] and Field.made == 3 and Order.fields == ['id', 'name'] and Order.id.name == 'id'
        class New(Order, table='n'): x = Field()
        assert New.names == ['x'] and Model.models == ['User', 'Order', 'New'] and New.x.name == 'x'
        """,
    ),
    "class_attribute_is_a_module_or_library_object": Case(
        """
        import json, math, threading, logging
        class obj:
            codec = json
            floor = math.floor
            err = ValueError
            dumps = staticmethod(json.dumps)
            local = int
        """,
        "assert obj.codec.dumps([1]) == '[1]' and obj.floor(1.5) == 1 and obj.err is ValueError and obj.dumps(1) == '1' and obj.local is int",
    ),
    "class_whose_name_hides_another": Case(
        """
        class A: v = 1
        first = A
        class A: v = 2
        obj = first, A, first(), A()
        """,
        "a, b, x, y = obj\nassert (a.v, b.v, x.v, y.v) == (1, 2, 1, 2) and a is not b and type(x) is a and type(y) is b",
    ),
    "classes_that_differ_only_in_defaults_or_docs": Case(
        """
        def make(d):
            class C:
                def f(self, x=d): return x
            return C
        def doc(text):
            class C: __doc__ = text
            return C
        obj = make(1), make(2), make('a'), make((1, 2)), doc('x'), doc('y')
        """,
        "a, b, c, d, x, y = obj\nassert [k().f() for k in (a, b, c, d)] == [1, 2, 'a', (1, 2)] and x.__doc__ == 'x' and y.__doc__ == 'y'",
    ),
    "type_call_of_three_arguments": Case(
        """
        obj = type('Dyn', (dict,), {'x': 1, 'f': lambda self: self.x, '__slots__': ()})
        """,
        "assert obj({'a': 1}).f() == 1 and obj.__name__ == 'Dyn' and not hasattr(obj(), '__dict__')",
    ),
    "types_new_class_with_resolve_bases": Case(
        """
        import types, typing
        T = typing.TypeVar('T')
        class Entry:
            def __mro_entries__(self, bases): return (list,)
        class obj(Entry()): pass
        made = types.new_class('made', (typing.Generic[T],), {}, lambda ns: ns.update(a=1))
        obj.made = made
        """,
        "assert issubclass(obj, list) and obj([1]) == [1] and obj.made.a == 1 and type(obj.__orig_bases__[0]).__name__ == 'Entry'",
    ),
    "name_mangling": Case(
        """
        class Base:
            __secret = 1
            def get(self): return self.__secret
            def __hidden(self): return 'h'
            def call(self): return self.__hidden()
        class obj(Base):
            __secret = 2
            def own(self): return self.__secret
        """,
        "assert obj().get() == 1 and obj().own() == 2 and obj().call() == 'h'",
    ),
    "recursion_between_functions_and_classes": Case(
        """
        def is_even(n): return True if n == 0 else is_odd(n - 1)
        def is_odd(n): return False if n == 0 else is_even(n - 1)
        class A:
            def b(self): return B()
        class B:
            def a(self): return A()
        obj = is_even, A
        """,
        "e, A = obj\nassert e(10) and type(A().b().a()) is A and e.__globals__ is A.b.__globals__",
    ),
    "instances_as_keys_in_what_their_class_leads_to": Case(
        """
        class Point:
            def __init__(self, x): self.x = x
            def _key(self): return self.x
            @property
            def key(self): return self._key()
            def __hash__(self): return hash(self.key)
            def __eq__(self, other): return self.key == other.key
            def label(self): return NAMES[self]
            @classmethod
            def all(cls): return ALL
        Point.origin_names = {Point(0): 'origin'}
        NAMES = {Point(1): 'one', Point(2): 'two'}
        ALL = {Point(1), Point(1), Point(2)}
        obj = Point
        """,
        """
        assert obj(1).label() == 'one' and obj.origin_names[obj(0)] == 'origin' and obj(2) in obj.all() and len(obj.all()) == 2
        """,
    ),
}
