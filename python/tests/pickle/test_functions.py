"""Functions travel by value and work in an interpreter that has only the standard library."""

from __future__ import annotations

import decimal
import json
import math
import os.path
import types
from pathlib import Path
from typing import Any

import pytest
from fresh import FreshInterpreter

from rudf.pickle import dumps

MODULE = """
import math, os.path, collections, xml.dom.minidom, logging
import xml

factor = 3
names = ["a", "b"]
_helper_calls = []

def helper(x):
    return x * factor

def uses_globals(x):
    return helper(x) + len(names)

def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n != 0 and even(n - 1)

def factorial(n):
    return 1 if n < 2 else n * factorial(n - 1)

def nested(x):
    def inner(y):
        return math.floor(y) + factor
    return inner(x)

def class_body(x):
    class Local:
        value = factor
    return Local.value + x

def comprehension(n):
    return [factor * i for i in range(n)]

def defaults(a, b=2, *rest, c=names, **more):
    return (a, b, rest, c, more)

def documented(x: int, y: "str" = "z") -> float:
    "What it says."
    return 1.0

def generator(n):
    for i in range(n):
        yield i * factor

async def coroutine(x):
    return x + factor

def sets_global(x):
    global counter
    counter = x
    return counter

def submodule_as_attribute():
    return xml.dom.minidom.parseString("<a/>").documentElement.tagName

def imports_inside(x):
    import fractions
    return str(fractions.Fraction(x, 2))

def logs():
    return logging.getLogger(__name__).name

def make_closure(a, b):
    def inner(x):
        return a * x + b
    return inner

def make_recursive_closure():
    def down(n):
        return [] if n == 0 else [n] + down(n - 1)
    return down

def make_counter():
    count = 0
    def increment():
        nonlocal count
        count += 1
        return count
    def read():
        return count
    return increment, read

def make_empty_cell():
    def inner():
        return missing
    if False:
        missing = 1
    return inner

def many_globals():
    return GLOBALS_SUM

lambda_one = lambda x: x + factor
"""


@pytest.fixture(scope="module")
def m() -> Any:
    """A module like a user's ``__main__``: nobody else can import it."""
    module = types.ModuleType("__main__")
    exec(compile(MODULE, "/home/user/job.py", "exec", dont_inherit=True), module.__dict__)
    return types.SimpleNamespace(**module.__dict__)


@pytest.mark.parametrize(
    ("name", "use", "expected"),
    [
        ("lambda_one", "value(1)", 4),
        ("uses_globals", "value(2)", 8),
        ("even", "value(10), value(7)", (True, False)),
        ("factorial", "value(10)", 3628800),
        ("nested", "value(2.5)", 5),
        ("class_body", "value(1)", 4),
        ("comprehension", "value(3)", [0, 3, 6]),
        ("defaults", "value(1), value(1, 3, 4, d=5)", ((1, 2, (), ["a", "b"], {}), (1, 3, (4,), ["a", "b"], {"d": 5}))),
        ("documented", "value.__doc__, value.__annotations__, value.__module__, value.__qualname__",
         ("What it says.", {"x": int, "y": "str", "return": float}, "__main__", "documented")),
        ("generator", "list(value(3))", [0, 3, 6]),
        ("sets_global", "value(5), value.__globals__['counter']", (5, 5)),
        ("submodule_as_attribute", "value()", "a"),
        ("imports_inside", "value(3)", "3/2"),
        ("logs", "value()", "__main__"),
    ],
)
def test_a_function_works_at_the_receiver(m: Any, fresh: FreshInterpreter, name: str, use: str, expected: Any) -> None:
    assert fresh.use(dumps(getattr(m, name)), use) == repr(expected)


def test_a_coroutine_function_works(m: Any, fresh: FreshInterpreter) -> None:
    assert fresh.use(dumps(m.coroutine), "__import__('asyncio').run(value(1))") == "4"


def test_a_closure_keeps_its_values(m: Any, fresh: FreshInterpreter) -> None:
    assert fresh.use(dumps(m.make_closure(2, 3)), "value(10)") == "23"
    assert fresh.use(dumps(m.make_recursive_closure()), "value(3)") == "[3, 2, 1]"


def test_closures_that_share_a_variable_share_it_at_the_receiver(m: Any, fresh: FreshInterpreter) -> None:
    assert fresh.use(dumps(m.make_counter()), "(value[0](), value[0](), value[1]())") == "(1, 2, 2)"


def test_an_empty_cell_stays_empty(m: Any, fresh: FreshInterpreter) -> None:
    pickled = dumps(m.make_empty_cell())
    with pytest.raises(AssertionError, match="NameError"):
        fresh.use(pickled, "value()")


def test_functions_of_one_pickle_share_their_globals(m: Any, fresh: FreshInterpreter) -> None:
    use = "value[0].__globals__ is value[1].__globals__, value[0](2)"
    assert fresh.use(dumps([m.uses_globals, m.helper]), use) == "(True, 8)"
    assert fresh.use(dumps([m.uses_globals, m.helper]), "value[0].__globals__['helper'] is value[1]") == "True"


def test_only_the_globals_that_are_used_travel(m: Any, fresh: FreshInterpreter) -> None:
    use = "sorted(k for k in value.__globals__ if not k.startswith('__'))"
    assert fresh.use(dumps(m.lambda_one), use) == repr(["factor"])


def test_attributes_of_a_function_travel(m: Any, fresh: FreshInterpreter) -> None:
    function = m.make_closure(1, 1)
    function.note = {"a": [1]}
    function.itself = function
    assert fresh.use(dumps(function), "value.note, value.itself is value") == "({'a': [1]}, True)"


def test_importable_functions_go_by_reference(fresh: FreshInterpreter) -> None:
    for value in (json.dumps, math.sqrt, len, os.path.join, dict.fromkeys, str.upper, decimal.Decimal, Path):
        assert len(dumps(value)) < 100
    assert fresh.use(dumps([json.dumps, math.sqrt, len]), "value[0]([1]), value[1](4), value[2]('ab')") == "('[1]', 2.0, 2)"
    assert fresh.use(dumps("abc".upper), "value()") == "'ABC'"


def test_code_goes_the_same_whatever_its_reference_counts_are(m: Any) -> None:
    first = dumps(m.uses_globals)
    kept = [m.uses_globals.__code__.co_consts, m.uses_globals.__code__.co_names, m.uses_globals.__code__] * 5
    assert dumps(m.uses_globals) == first
    assert kept


def test_a_function_of_this_module_pickled_from_a_child_of_main(fresh: FreshInterpreter) -> None:
    def local(x: int) -> int:
        return x + 1

    assert fresh.use(dumps(local), "value(1)") == "2"


def test_a_hundred_thousand_globals_are_found_behind_extended_arguments(fresh: FreshInterpreter) -> None:
    count = 70_000
    source = "def f():\n    s = 0\n" + "".join(f"    s += g{i}\n" for i in range(0, count, 7)) + "    return s\n"
    scope: dict[str, Any] = {f"g{i}": 1 for i in range(count)} | {"__name__": "__main__"}
    exec(source, scope)
    assert fresh.use(dumps(scope["f"]), "value()") == str(len(range(0, count, 7)))
