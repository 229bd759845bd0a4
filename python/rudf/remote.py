"""Functions of ``@rudf`` in plans of Spark Connect: the client pickles and seals them, the server runs them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pyspark.sql.connect.column import Column
from pyspark.sql.connect.expressions import PythonUDF
from pyspark.sql.connect.udf import UserDefinedFunction

if TYPE_CHECKING:
    from rudf.udf import RudfFunction

__all__ = ["column"]


def column(function: RudfFunction, *args: Any, **kwargs: Any) -> Any:
    """Apply a function to columns of a client's plan."""
    described = UserDefinedFunction(
        function.func,
        returnType=function.returnType,
        name=function._name,
        evalType=function.evalType,
        deterministic=function.deterministic,
    )
    expression = described._build_common_inline_user_defined_function(*args, **kwargs)
    expression._function = _Sealed(function)
    return Column(expression)


class _Sealed(PythonUDF):
    """What PySpark's client sends of a function, with rudf's pickle in place of its own."""

    def __init__(self, function: RudfFunction) -> None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        super().__init__(function.returnType, function.evalType, function.func, version)
        self._rudf = function

    def to_plan(self, session: Any) -> Any:
        """Describe the function to the server."""
        plan = super().to_plan(session)
        plan.command = self._rudf.command()
        return plan
