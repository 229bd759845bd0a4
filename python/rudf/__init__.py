"""rudf: Python UDFs in Apache Spark, run on Arrow record batches inside the executor.

>>> from pyspark.sql import SparkSession
>>> import rudf
>>> spark = rudf.configure(SparkSession.builder).getOrCreate()  # doctest: +SKIP
>>> @rudf.rudf
... def double(x: float) -> float:
...     return x * 2
>>> df.select(double("price"))  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rudf._version import __version__

if TYPE_CHECKING:
    from rudf.plans import explain
    from rudf.session import configure, jar_path, plugin_conf
    from rudf.udf import RudfFunction, rudf

__all__ = ["RudfFunction", "__version__", "configure", "explain", "jar_path", "plugin_conf", "rudf"]

# Imported when they are first asked for: a worker imports `rudf.worker` and the pickler alone, and what is below needs
# PySpark, which takes longer to import than a worker should take to start.
_LAZY = {
    "RudfFunction": "rudf.udf",
    "rudf": "rudf.udf",
    "configure": "rudf.session",
    "explain": "rudf.plans",
    "jar_path": "rudf.session",
    "plugin_conf": "rudf.session",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'rudf' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
