"""Functions as people write them: decorators, closures, generators, globals of every use."""

from __future__ import annotations

from fresh import Case

CASES: dict[str, Case] = {
    "functools_on_methods": Case(
        """
        import functools
        class C:
            calls = 0
            def __init__(self, k=1): self.k = k
            @functools.cache
            def cached(self, x): C.calls += 1; return x + self.k
            @staticmethod
            @functools.lru_cache(maxsize=None)
            def static(x): return x * 2
            @classmethod
            @functools.lru_cache
            def klass(cls, x): return cls, x
            @functools.cached_property
            def lazy(self): return [self.k]
            @functools.singledispatchmethod
            @classmethod
            def kind(cls, x): return 'any'
            @kind.register
            @classmethod
            def _(cls, x: int): return 'int'
            @functools.singledispatchmethod
            @staticmethod
            def st(x): return 'any'
            @st.register(str)
            @staticmethod
            def _(x): return 'str'
            def add(self, a, b=0, *, c=0): return self.k + a + b + c
            add1 = functools.partialmethod(add, 1, c=100)
            @property
            @functools.lru_cache
            def cp(self): return object()
        obj = C(5), C
        """,
        """
        c, C = obj
        assert c.cached(1) == 6 and c.cached(1) == 6 and C.calls == 1 and C.static(4) == 8 and C.klass(1) == (C, 1)
        assert c.lazy == [5] and c.lazy is c.lazy and C.kind(1) == 'int' and c.kind('') == 'any' and C.st('') == 'str' and C.st(1) == 'any'
        assert c.add1(1) == 107 and c.cp is c.cp and C.static.cache_info().hits == 0 and C.cached.__wrapped__(c, 1) == 6
        """,
    ),
    "functools_objects": Case(
        """
        import functools, operator
        def f(a, b, c=0): 'doc of f'; return a, b, c
        p = functools.partial(functools.partial(f, 1), c=3)
        p.note = 'n'
        @functools.total_ordering
        class V:
            def __init__(self, v): self.v = v
            def __eq__(self, o): return self.v == o.v
            def __lt__(self, o): return self.v < o.v
        @functools.wraps(f)
        def g(*a, **k): return f(*a, **k)
        @functools.lru_cache(maxsize=2)
        def fact(n): return n * fact(n - 1) if n else 1
        obj = p, V, g, fact, operator.itemgetter(1), operator.attrgetter('v'), operator.methodcaller('upper'), functools.partial(print, sep='')
        """,
        """
        import inspect
        p, V, g, fact, ig, ag, mc, pp = obj
        assert p(2) == (1, 2, 3) and p.note == 'n' and V(1) <= V(2)
        assert g(1, 2) == (1, 2, 0) and g.__wrapped__.__doc__ == 'doc of f' and str(inspect.signature(g)) == '(a, b, c=0)'
        assert fact(10) == 3628800 and fact.cache_info().maxsize == 2 and ig('abc') == 'b' and ag(V(3)) == 3 and mc('a') == 'A'
        """,
    ),
    "decorators": Case(
        """
        import functools, contextlib
        def repeat(times):
            def decorate(f):
                @functools.wraps(f)
                def inner(*a, **k): return [f(*a, **k) for _ in range(times)]
                inner.times = times
                return inner
            return decorate
        class Counted:
            def __init__(self, f): functools.update_wrapper(self, f); self.f, self.n = f, 0
            def __call__(self, *a): self.n += 1; return self.f(*a)
            def __get__(self, i, o): return self if i is None else functools.partial(self, i)
        @repeat(2)
        def twice(x): return x
        @Counted
        def counted(x): return x + 1
        class C:
            @Counted
            def m(self, x): return self, x
            @repeat(3)
            def r(self): return 1
        @contextlib.contextmanager
        def managed(x):
            yield x
        class Manager(contextlib.ContextDecorator):
            def __enter__(self): return self
            def __exit__(self, *a): return True
        @Manager()
        def swallowed(): raise ValueError
        obj = twice, counted, C, managed, swallowed
        """,
        """
        twice, counted, C, managed, swallowed = obj
        assert twice(1) == [1, 1] and twice.times == 2 and twice.__wrapped__(4) == 4 and counted(1) == 2 and counted.n == 1
        c = C()
        assert c.m(2) == (c, 2) and c.r() == [1, 1, 1] and counted.__name__ == 'counted' and swallowed() is None
        with managed(5) as five: assert five == 5
        """,
    ),
    "closures_of_many_kinds": Case(
        """
        def outer():
            x = 1
            def inc():
                nonlocal x
                x += 1
                return x
            def get(): return x
            def nested():
                y = 10
                def deep():
                    nonlocal x, y
                    x += 1; y += 1
                    return x + y
                return deep, lambda: y
            fs = [lambda i=i: (i, x) for i in range(3)]
            late = [lambda: i for i in range(3)]
            gen = lambda: (x + j for j in range(2))
            class K:
                def up(self): return inc()
                z = x
            return inc, get, nested(), fs, late, gen, K
        obj = outer()
        """,
        """
        inc, get, (deep, y), fs, late, gen, K = obj
        assert inc() == 2 and get() == 2 and deep() == 3 + 11 and y() == 11 and get() == 3
        assert [f() for f in fs] == [(0, 3), (1, 3), (2, 3)] and [f() for f in late] == [2, 2, 2] and list(gen()) == [3, 4]
        assert K().up() == 4 and get() == 4 and K.z == 1
        assert inc.__closure__[0] is get.__closure__[0]
        """,
    ),
    "cells_and_globals_shared_with_instances": Case(
        """
        registry = {}
        def register(name):
            def decorate(f):
                registry[name] = f
                return f
            return decorate
        @register('a')
        def a(): return registry
        @register('b')
        def b(): return a()
        obj = b, registry
        """,
        "b, registry = obj\nassert b() is registry and registry['b'] is b and registry['a']() is registry",
    ),
    "async_kinds": Case(
        """
        import asyncio, contextlib
        async def gen(n):
            for i in range(n):
                yield i
                await asyncio.sleep(0)
        class Iter:
            def __init__(self, n): self.n = n
            def __aiter__(self): return self
            async def __anext__(self):
                if self.n == 0: raise StopAsyncIteration
                self.n -= 1
                return self.n
        class Ctx:
            async def __aenter__(self): return 'in'
            async def __aexit__(self, *a): return False
        @contextlib.asynccontextmanager
        async def ctx(): yield 'cm'
        async def obj():
            async with Ctx() as a, ctx() as b:
                return a, b, [i async for i in gen(3)], [i async for i in Iter(2)], await asyncio.gather(*(co(i) for i in range(2)))
        async def co(i): return i * 2
        """,
        "import asyncio\nassert asyncio.run(obj()) == ('in', 'cm', [0, 1, 2], [1, 0], [0, 2])",
    ),
    "generators_of_many_kinds": Case(
        """
        def chain(*its):
            for it in its: yield from it
        def echo():
            got = yield
            while got: got = yield got * 2
        def ctx():
            try: yield 1
            finally: log.append('closed')
        log = []
        obj = lambda: (list(chain([1], (x for x in [2]))), echo, ctx, log)
        """,
        """
        a, echo, ctx, log = obj()
        e = echo(); next(e)
        assert a == [1, 2] and e.send(4) == 8
        g = ctx(); next(g); g.close()
        assert log == ['closed']
        """,
    ),
    "code_of_every_statement": Case(
        """
        import asyncio
        G = 0
        def obj(n, /, a=1, *rest, k, **kw):
            global G
            G += n
            assert n, 'none'
            total = 0
            for i in range(n):
                if i == 1: continue
                if i > 3: break
                total += i
            else: total = -1
            while total > 100: total -= 1
            try: {}['x']
            except (KeyError, IndexError) as e: err = type(e).__name__
            finally: total += 1
            with open('/dev/null') as f: pass
            (first, *mid), last = (rest or (0,)), [*rest, a][-1]
            d = {**kw, 'k': k}
            s = {x for x in mid} | {y * 2 for y in rest}
            text = f'{n!r:>4}|{a:.2f}|{k=}'
            if (m := len(text)) > 3: total += m
            del err
            match d:
                case {'k': int(v), **others}: kind = ('int', v, others)
                case _: kind = None
            fn = lambda q=total, *z: (q, z, n)
            sl = list(range(10))[1:-1:2]
            cmp = 1 < n <= 5 != 6
            t: int = 3
            return total, first, mid, last, d, s, text, kind, fn(), sl, cmp, t, G, (yield_() if False else not n), n @ M if False else ~n
        """,
        """
        out = obj(3, 2.5, 7, 8, k=4, z=9)
        assert out[1:5] == (7, [8], 2.5, {'z': 9, 'k': 4}) and out[5] == {8, 14, 16} and out[6] == '   3|2.50|k=4'
        assert out[7] == ('int', 4, {'z': 9}) and out[9] == [1, 3, 5, 7] and out[10] is True and out[12] == 3 and out[14] == -4
        """,
    ),
    "global_names_of_every_use": Case(
        """
        import math, os.path, collections.abc as cabc
        from functools import reduce as red
        A, B, C, D, E, F = 1, 2, 3, 4, 5, [6]
        class K: attr = A
        def obj():
            global D, Z
            D = 40
            Z = 1
            def inner():
                def deepest(): return B
                return deepest(), [C for _ in range(1)], {E: 1}
            F.append(7)
            class L(K):
                x = A
                def g(self): return F
            return inner(), D, L().g(), L.attr, L.x, math.floor(1.5), os.path.join('a', 'b'), red(lambda a, b: a + b, [1, 2]), isinstance([], cabc.Sized), (lambda v=A: v + B)()
        """,
        "assert obj() == ((2, [3], {5: 1}), 40, [6, 7], 1, 1, 1, 'a/b', 3, True, 3)",
    ),
    "functions_changed_by_hand": Case(
        """
        import types
        def base(a, b=1, *, c=2): return a, b, c, X
        X = 'x'
        renamed = types.FunctionType(base.__code__, {'X': 'other', '__name__': 'm'}, 'renamed', (9,))
        renamed.__kwdefaults__ = {'c': 8}
        coded = types.FunctionType(base.__code__.replace(co_name='coded', co_firstlineno=99), globals(), 'coded', (1,))
        coded.__kwdefaults__ = base.__kwdefaults__
        def annotated(x: int) -> str: ...
        annotated.__annotations__['y'] = annotated
        def hasdict(): ...
        hasdict.__dict__.update(a=1, me=hasdict)
        bound = types.MethodType(base, [1])
        obj = renamed, coded, annotated, hasdict, bound, eval('lambda: X')
        """,
        """
        renamed, coded, annotated, hasdict, bound, ev = obj
        assert renamed(1) == (1, 9, 8, 'other') and renamed.__name__ == 'renamed' and coded(1) == (1, 1, 2, 'x') and coded.__code__.co_firstlineno == 99
        assert annotated.__annotations__['y'] is annotated and hasdict.me is hasdict and bound() == ([1], 1, 2, 'x') and ev() == 'x'
        """,
    ),
    "builtin_names_shadowed": Case(
        """
        def len(x): return 'mine'
        print = None
        def obj(x): return len(x), print, sum([1])
        """,
        "assert obj([]) == ('mine', None, 1)",
    ),
    "submodules_by_many_routes": Case(
        """
        import xml.dom.minidom, email.mime.text, importlib.util as iu, concurrent.futures.thread, logging.handlers, os
        import urllib.request as req
        P = email
        class C:
            def f(self): return xml.dom.minidom.parseString('<a/>').documentElement.tagName
            @staticmethod
            def g(): return [email.mime.text.MIMEText('x').get_payload() for _ in range(1)]
            h = lambda self: (lambda: P.mime.text.MIMEText)()
            def i(self): return logging.handlers.QueueHandler
        def obj(): return C, iu.find_spec, concurrent.futures.thread.ThreadPoolExecutor, req.Request, os.path.sep
        """,
        "C = obj()[0]\nassert C().f() == 'a' and C.g() == ['x'] and C().h() and C().i()",
    ),
    "defaults_with_everything": Case(
        """
        import enum
        class E(enum.Enum): A = 1
        class K:
            def __init__(self): self.f = obj
        def obj(a=E.A, b=[1], c={'k': (1, 2)}, *, d=lambda: 5, e=None, f=E): return a, b, c, d(), e, f
        obj.__kwdefaults__['e'] = K()
        """,
        "a, b, c, d, e, f = obj()\nassert a is f.A and b == [1] and d == 5 and e.f is obj",
    ),
    "function_over_numbers_and_text_with_docs": Case(
        """
        class obj:
            'with a doc'
            def f(self):
                'doc of f'
            f.__name__ = 'g'
        """,
        "assert obj.f.__doc__ == 'doc of f' and obj.f.__name__ == 'g' and obj.__doc__ == 'with a doc'",
    ),
    "import_star_and_relative_names": Case(
        """
        from math import *
        def obj(x): return sqrt(x) + pi - pi
        """,
        "assert obj(4) == 2",
    ),
    "partial_of_everything": Case(
        """
        import functools
        class C:
            def m(self, x): return x
            def __call__(self, x): return x + 1
        c = C()
        obj = [functools.partial(c.m, 1), functools.partial(C, ), functools.partial(c, 1), functools.partial(int, base=2), functools.partial(lambda *a, **k: (a, k), 1, z=2)]
        """,
        "a, b, c, d, e = obj\nassert a() == 1 and b().m(2) == 2 and c() == 2 and d('11') == 3 and e(3) == ((1, 3), {'z': 2})",
    ),
}
