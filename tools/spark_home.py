"""Prints the Spark distribution that comes with the installed PySpark."""

import importlib.util
import sys

spec = importlib.util.find_spec("pyspark")
if spec is None or not spec.submodule_search_locations:
    sys.exit("pyspark is not installed")
sys.stdout.write(next(iter(spec.submodule_search_locations)) + "\n")
