"""Values of the standard library and objects that reduce themselves, as they stand in jobs."""

from __future__ import annotations

import sys

from fresh import Case

CASES: dict[str, Case] = {
    "exceptions_and_groups": Case(
        """
        class AppError(Exception):
            code = 7
            def __init__(self, message, *, detail=None):
                super().__init__(message)
                self.detail = detail
            def __str__(self): return f'{self.args[0]} ({self.detail})'
        class Needs(Exception):
            def __init__(self, a, b): super().__init__(f'{a}-{b}'); self.a, self.b = a, b
            def __reduce__(self): return type(self), (self.a, self.b)
        try:
            try: raise KeyError('inner')
            except KeyError as e: raise AppError('outer', detail=[1]) from e
        except AppError as e: first = e
        os_error = FileNotFoundError(2, 'No such file', '/x')
        unicode_error = UnicodeDecodeError('utf-8', b'abc', 1, 2, 'bad')
        stop = StopIteration(5)
        imported = ImportError('m', name='n', path='p')
        obj = first, Needs(1, 2), os_error, unicode_error, stop, imported, SystemExit(3), AttributeError('x')
        """,
        """
        first, needs, os_error, unicode_error, stop, imported, leave, attr = obj
        assert str(first) == 'outer ([1])' and first.code == 7 and repr(first.__cause__) == "KeyError('inner')" and first.__suppress_context__
        assert (needs.a, needs.b, needs.args) == (1, 2, ('1-2',)) and os_error.errno == 2 and os_error.filename == '/x'
        assert unicode_error.reason == 'bad' and stop.value == 5 and imported.name == 'n' and leave.code == 3
        try: raise first
        except type(first) as e: assert e.detail == [1]
        """,
    ),
    "values_of_the_standard_library": Case(
        """
        import array, collections, datetime, decimal, fractions, ipaddress, pathlib, random, re, string, types, uuid, zoneinfo, struct, itertools, statistics, textwrap, secrets, hashlib
        context = decimal.Context(prec=5, rounding=decimal.ROUND_UP)
        r = random.Random(5)
        obj = dict(
            context=context, dec=decimal.Decimal('NaN'), path=pathlib.Path('/a/b.c'), win=pathlib.PureWindowsPath('c:/x'),
            ip=ipaddress.ip_network('10.0.0.0/8'), rx=re.compile(r'(?P<n>a+)', re.I), ns=types.SimpleNamespace(a=1, b=[2]),
            arr=array.array('d', [1.5, 2.5]), proxy=types.MappingProxyType({'k': [1]}), deque=collections.deque([1, 2], maxlen=3),
            dd=collections.defaultdict(lambda: 'dflt', {1: 2}), counter=collections.Counter('aab'), od=collections.OrderedDict(b=1, a=2),
            chain=collections.ChainMap({'a': 1}, {'b': 2}), tz=datetime.timezone(datetime.timedelta(hours=2), 'X'),
            dt=datetime.datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc, fold=1), td=datetime.timedelta(1, 2, 3),
            time=datetime.time(1, 2), rng=r, st=struct.Struct('<ii'), sl=slice(1, None, 2), range=range(0, 10, 3), cplx=1+2j,
            fr=fractions.Fraction(2, 6), uid=uuid.UUID(int=7), tmpl=string.Template('$x'), userdict=collections.UserDict(a=1),
            userlist=collections.UserList([1]), ell=..., ni=NotImplemented, none=type(None), types=(type(...), types.FunctionType, types.NoneType),
            view=memoryview(b'abc'), ba=bytearray(b'xyz'), fs=frozenset([1, 'a']), count=itertools.product if False else itertools.count,
            nd=statistics.NormalDist(1, 2), tw=textwrap.TextWrapper(width=9), big=10**50, neg=-0.0, inf=float('inf'),
            meth=str.upper, bm='abc'.upper, cm=int.from_bytes, wrap=int.__add__, mw=(5).__add__, sm=bytes.maketrans, flag=re.I|re.M,
        )
        obj['expected'] = r.getstate()
        """,
        """
        import decimal, pathlib, ipaddress, types, collections, datetime, re
        o = obj
        assert o['context'].prec == 5 and o['context'].rounding == 'ROUND_UP' and o['dec'].is_nan() and o['path'].suffix == '.c' and o['win'].drive == 'c:'
        assert o['ip'].num_addresses == 2**24 and o['rx'].match('AA')['n'] == 'AA' and o['ns'] == types.SimpleNamespace(a=1, b=[2])
        assert list(o['arr']) == [1.5, 2.5] and o['proxy']['k'] == [1] and o['deque'].maxlen == 3 and o['dd']['zz'] == 'dflt'
        assert o['counter']['a'] == 2 and list(o['od']) == ['b', 'a'] and o['chain']['b'] == 2 and o['tz'].tzname(None) == 'X'
        assert o['dt'].year == 2020 and o['td'].days == 1 and o['time'].minute == 2 and o['rng'].getstate() == o['expected'] and o['st'].size == 8
        assert o['sl'] == slice(1, None, 2) and o['range'] == range(0, 10, 3) and o['cplx'] == 1+2j and o['tmpl'].substitute(x=1) == '1'
        assert o['userdict']['a'] == 1 and o['userlist'][0] == 1 and o['ell'] is ... and o['ni'] is NotImplemented and o['none'] is type(None)
        assert o['types'] == (type(...), types.FunctionType, types.NoneType) and bytes(o['view']) == b'abc' and o['nd'].mean == 1 and o['tw'].width == 9
        assert o['meth']('a') == 'A' and o['bm']() == 'ABC' and o['cm'](b'\\x01', 'big') == 1 and o['wrap'](1, 2) == 3 and o['mw'](1) == 6 and o['flag'] == re.I|re.M
        """,
    ),
    "iterators_in_the_middle": Case(
        """
        import itertools
        l = iter([1, 2, 3]); next(l)
        t = iter((1, 2)); d = iter({1: 2}); r = iter(range(5)); next(r)
        e = enumerate(['a', 'b']); next(e)
        z = zip([1, 2], 'ab'); m = map(str, [1, 2]); f = filter(None, [0, 1]); rv = reversed([1, 2])
        s = iter('abc'); next(s)
        obj = [l, t, d, r, e, z, m, f, rv, s]
        """,
        "assert [list(i) for i in obj] == [[2, 3], [1, 2], [1], [1, 2, 3, 4], [(1, 'b')], [(1, 'a'), (2, 'b')], ['1', '2'], [1], [2, 1], ['b', 'c']]",
    ),
    "objects_that_reduce_in_odd_ways": Case(
        """
        import copyreg
        class A:
            def __init__(self, v): self.v = v
            def __reduce_ex__(self, protocol): return _make_a, (self.v, protocol)
        def _make_a(v, p): a = A(v); a.p = p; return a
        class B:
            def __reduce__(self): return dict, (), None, None, iter([('k', self.__class__)])
        class L(list):
            def __reduce__(self): return L, (), {'attr': 1}, iter(self)
        class S:
            def __reduce__(self): return object.__new__, (S,), [1, 2], None, None, _set
        def _set(o, state): o.state = state
        class G(str):
            def __reduce__(self): return 'GLOBAL_G'
        GLOBAL_G = 1
        class N:
            def __new__(cls, *a, **k): o = super().__new__(cls); o.got = a, k; return o
            def __init__(self, *a, **k): pass
            def __getnewargs_ex__(self): return (1,), {'k': 2}
        class Cp: pass
        copyreg.pickle(Cp, lambda o: (_cp, (o.x,)))
        def _cp(x): o = Cp(); o.x = x + 1; return o
        c = Cp(); c.x = 1
        class D(dict):
            def __init__(self, *a): super().__init__(*a); self.log = []
            def __setitem__(self, k, v): self.__dict__.setdefault('log', []).append(k); super().__setitem__(k, v)
        class GS:
            def __getstate__(self): return None
        class Falsy:
            def __getstate__(self): return {}
            def __setstate__(self, s): self.called = s
        obj = A(1), B(), L([1, 2]), S(), N(5), c, D({'a': 1}), GS(), Falsy()
        """,
        """
        a, b, l, s, n, c, d, gs, falsy = obj
        assert a.v == 1 and a.p in (2, 3, 4, 5) and b['k'].__name__ == 'B' and l == [1, 2] and l.attr == 1 and s.state == [1, 2]
        assert n.got == ((5,), {}) and c.x == 2 and d == {'a': 1}
        """,
    ),
    "modules_made_at_run_time": Case(
        """
        import types, sys
        mod = types.ModuleType('plugin_not_on_disk', 'its doc')
        exec('''
        import math
        CONST = {'a': 1}
        class Klass:
            def area(self, r): return math.pi * r * helper()
        def helper(): return CONST['a']
        def bump(): CONST['a'] += 1
        '''.replace('\\n        ', '\\n'), mod.__dict__)
        mod.self = mod
        obj = lambda: mod
        """,
        """
        mod = obj()
        assert mod.__name__ == 'plugin_not_on_disk' and mod.__doc__ == 'its doc' and mod.self is mod
        assert int(mod.Klass().area(1)) == 3
        mod.bump()
        assert mod.helper() == 2 and mod.CONST == {'a': 2} and mod.helper.__globals__ is vars(mod)
        import sys
        assert 'plugin_not_on_disk' not in sys.modules
        """,
    ),
    "logging_objects": Case(
        """
        import logging
        log = logging.getLogger('app.part')
        class Job:
            log = logging.getLogger('app.job')
            def run(self): log.debug('x'); return self.log, log
        obj = Job(), logging.LoggerAdapter(log, {'k': 1}), logging.root
        """,
        "import logging\nj, a, root = obj\nassert j.run() == (logging.getLogger('app.job'), logging.getLogger('app.part')) and a.extra == {'k': 1} and root is logging.root",
    ),
    "weak_structures": Case(
        """
        import weakref
        class Node:
            def __init__(self, parent=None):
                self.parent = weakref.ref(parent) if parent else None
                self.children = weakref.WeakSet()
                self.kids = []
            def add(self):
                kid = Node(self); self.kids.append(kid); self.children.add(kid); return kid
        root = Node(); kid = root.add()
        table = weakref.WeakKeyDictionary({root: 'root'})
        values = weakref.WeakValueDictionary(kid=kid)
        obj = root, table, values
        """,
        "root, table, values = obj\nkid = root.kids[0]\nassert kid.parent() is root and set(root.children) == {kid} and table[root] == 'root' and values['kid'] is kid",
    ),
    "instances_in_cycles": Case(
        """
        class N:
            def __init__(self): self.me, self.items, self.map = self, [self], {'s': self}
        a, b = N(), N()
        a.other, b.other = b, a
        class H:
            def __init__(self): self.s = {self} if False else set()
            def __hash__(self): return 5
            def __eq__(self, o): return self is o
        h = H(); h.s.add(h); h.d = {h: h}
        t = ([],); t[0].append(t)
        obj = a, h, t
        """,
        "a, h, t = obj\nassert a.me is a.items[0] is a.map['s'] is a.other.other and h.s == {h} and h.d[h] is h and t[0][0] is t",
    ),
    "string_keys_and_names_of_every_kind": Case(
        """
        class obj:
            ünïcode = 1
            def naïve(self, größe=2): return größe
        setattr(obj, 'not an identifier', 5)
        setattr(obj, '', 6)
        inst = obj()
        inst.__dict__['1 2'] = 3
        obj.inst = inst
        """,
        "assert obj.ünïcode == 1 and obj().naïve() == 2 and getattr(obj, 'not an identifier') == 5 and getattr(obj, '') == 6 and obj.inst.__dict__['1 2'] == 3",
    ),
    "instance_dictionary_with_other_keys": Case(
        "class C: pass\nobj = C()\nobj.__dict__[1] = 'one'\nobj.__dict__[('t',)] = 2\nobj.a = 3",
        "assert obj.__dict__ == {1: 'one', ('t',): 2, 'a': 3}",
    ),
    "lambda_in_containers_of_every_kind": Case(
        """
        import collections, types
        f = lambda: 1
        obj = {'d': {1: f}, 't': (f,), 's': {f}, 'fs': frozenset([f]), 'dq': collections.deque([f]), 'dd': collections.defaultdict(lambda: f), 'ns': types.SimpleNamespace(f=f), 'od': collections.OrderedDict(f=f)}
        """,
        "f = obj['d'][1]\nassert obj['t'][0] is f and obj['s'] == {f} and obj['fs'] == {f} and obj['dq'][0] is f and obj['dd'][0] is f and obj['ns'].f is f and obj['od']['f'] is f and f() == 1",
    ),
    "context_variables_and_sentinels": Case(
        """
        import contextvars, enum
        var = contextvars.ContextVar('request', default={'k': 1})
        plain = contextvars.ContextVar('plain')
        class _Missing:
            _it = None
            def __new__(cls):
                if cls._it is None: cls._it = super().__new__(cls)
                return cls._it
            def __reduce__(self): return _Missing, ()
            def __repr__(self): return '<missing>'
        MISSING = _Missing()
        def obj(x=MISSING): return x is MISSING, var.get(), plain.get(7)
        """,
        "assert obj() == (True, {'k': 1}, 7)",
    ),
    "file_like_objects": Case(
        """
        import io
        s = io.StringIO('one\\ntwo'); s.readline()
        b = io.BytesIO(b'abc'); b.read(1)
        s2 = io.StringIO(newline=''); s2.write('x')
        obj = s, b, s2
        """,
        "s, b, s2 = obj\nassert s.read() == 'two' and b.read() == b'bc' and s2.getvalue() == 'x'",
    ),
    "memory_views": Case(
        """
        import array
        data = bytearray(b'0123456789')
        m = memoryview(data)
        obj = m[2:5], m[::2], m[::-1], m.cast('H'), m.cast('B', (2, 5)), memoryview(array.array('i', [1, 2, 3]))[1:], memoryview(b''), m.toreadonly(), memoryview(b'ab').cast('c')
        """,
        """
        a, b, c, d, e, f, g, h, i = obj
        assert bytes(a) == b'234' and bytes(b) == b'02468' and bytes(c) == b'9876543210' and d.format == 'H' and d.tobytes() == b'0123456789'
        assert e.shape == (2, 5) and e[1, 0] == 53 and f.tolist() == [2, 3] and f.format == 'i' and len(g) == 0 and h.readonly and not a.readonly and i[0] == b'a'
        """,
    ),
    "picklable_threads_less_objects": Case(
        """
        import threading
        class Lazy:
            def __init__(self): self.lock, self.v = threading.Lock(), 1
            def __getstate__(self): return {'v': self.v}
            def __setstate__(self, s): self.__dict__.update(s); self.lock = threading.Lock()
        obj = Lazy()
        """,
        "assert obj.v == 1 and obj.lock.acquire()",
    ),
}

if sys.version_info >= (3, 11):
    CASES["exception_groups"] = Case(
        """
        class Mine(ExceptionGroup):
            def derive(self, excs): return Mine(self.message, excs)
        class E(Exception): pass
        note = ValueError('v'); note.add_note('a note')
        obj = ExceptionGroup('g', [note, ExceptionGroup('h', [E(1)])]), Mine('m', [E(2)]), BaseExceptionGroup('b', [KeyboardInterrupt()])
        """,
        """
        g, m, b = obj
        assert g.exceptions[0].__notes__ == ['a note'] and g.exceptions[1].exceptions[0].args == (1,) and m.split(ValueError)[1].message == 'm'
        assert type(m.subgroup(lambda e: True)) is type(m) and type(b.exceptions[0]) is KeyboardInterrupt
        """,
    )
