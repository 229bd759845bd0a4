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

from rudf._version import __version__
from rudf.session import configure, jar_path, plugin_conf
from rudf.udf import RudfFunction, rudf

__all__ = ["RudfFunction", "__version__", "configure", "jar_path", "plugin_conf", "rudf"]
