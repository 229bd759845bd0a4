"""PySpark's daemon with what its workers would import one by one: queries that fail take a second less.

For ``spark.python.daemon.module``; the folder has to be on the ``PYTHONPATH``.
"""

import pandas  # noqa: F401
import pyarrow  # noqa: F401
import pyspark.sql.conversion
import pyspark.sql.pandas.serializers
import pyspark.worker  # noqa: F401
from pyspark.daemon import manager

if __name__ == "__main__":
    manager()
