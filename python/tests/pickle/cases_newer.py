"""What only newer Pythons have: the syntax of PEP 695 and 696, and what came with it."""

from __future__ import annotations

import sys

from fresh import Case

CASES: dict[str, Case] = {}

if sys.version_info >= (3, 11):
    CASES["type_variable_tuple"] = Case(
        """
        import typing
        Ts = typing.TypeVarTuple("Ts")
        class obj(typing.Generic[*Ts]): pass
        """,
        "assert obj[int, str]",
    )

if sys.version_info >= (3, 12):
    CASES["generic_function"] = Case(
        "def obj[T: int](x: T) -> T: return x",
        """
        (T,) = obj.__type_params__
        assert obj(1) == 1 and T.__name__ == "T" and T.__bound__ is int and obj.__annotations__["x"] is T
        """,
    )
    CASES["generic_class"] = Case(
        """
        class Box[T]:
            def __init__(self, v: T): self.v = v
            def get[U](self, u: U) -> T: return self.v
        obj = Box[int](3)
        """,
        "assert obj.get(1) == 3 and type(obj).__parameters__ == type(obj).__type_params__",
    )
    CASES["type_alias"] = Case(
        "type X = list[int]\nobj = X", "assert obj.__name__ == 'X' and obj.__value__ == list[int]"
    )
    CASES["type_alias_in_an_annotation"] = Case(
        "type X[T] = list[T]\ndef obj(a: X[int]): return a", "assert obj(1) == 1"
    )

if sys.version_info >= (3, 13):
    CASES["type_variable_with_default"] = Case(
        "import typing\nobj = typing.TypeVar('T', default=int)", "assert obj.__default__ is int"
    )
    CASES["dataclass_that_is_copied"] = Case(
        """
        import dataclasses
        @dataclasses.dataclass
        class P:
            a: int = 1
        obj = P()
        """,
        "import copy\nassert copy.replace(obj, a=2).a == 2",
    )
