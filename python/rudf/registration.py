"""Lets ``spark.udf.register`` keep a function rudf's.

PySpark's ``register`` makes a new UDF of the Python function that it finds in the one it is given, and pickles it anew:
SQL would call a stock UDF. With this hook a function of ``@rudf`` is registered as it is, under its new name.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from pyspark.sql.udf import UDFRegistration

if TYPE_CHECKING:
    from rudf.udf import RudfFunction

__all__ = ["install"]


def install(kind: type[RudfFunction]) -> None:
    """Make ``spark.udf.register`` take functions of ``kind``; what it does with others stays as it was."""
    stock = UDFRegistration.register
    if getattr(stock, "_rudf", False):
        return

    @functools.wraps(stock)
    def register(self: UDFRegistration, name: str, f: Any, returnType: Any = None) -> Any:
        if not isinstance(f, kind) or returnType is not None:
            # With a return type beside that of the UDF, PySpark says what is wrong with it.
            return stock(self, name, f, returnType)
        renamed = f._renamed(name)
        self.sparkSession._jsparkSession.udf().registerPython(name, renamed._judf)
        return renamed

    register._rudf = True  # type: ignore[attr-defined]
    UDFRegistration.register = register  # type: ignore[method-assign]
