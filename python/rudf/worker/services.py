"""Spark's services in a worker: files, broadcast variables, and the commands that Spark ships."""

from __future__ import annotations

import importlib
import pickle
import sys
from typing import Any

__all__ = ["load_command", "set_up"]


def set_up(*, python_path: list[str], spark_files: str | None, broadcasts: list[tuple[int, str]]) -> None:
    """Make files and broadcast variables known to the functions of one session.

    Parameters
    ----------
    python_path : list of str
        What was added with ``addPyFile``; goes ahead of installed packages, as in PySpark's workers.
    spark_files : str or None
        Root directory of ``SparkFiles``.
    broadcasts : list of (int, str)
        Spark's id of each broadcast variable, and the file that holds its pickled value.
    """
    missing = [entry for entry in python_path if entry not in sys.path]
    if missing:
        sys.path[1:1] = missing
        importlib.invalidate_caches()
    if spark_files is not None and "pyspark" in sys.modules:
        _set_files_root(spark_files)
    if broadcasts:
        from pyspark.core.broadcast import Broadcast, _broadcastRegistry

        for number, path in broadcasts:
            if number not in _broadcastRegistry:
                _broadcastRegistry[number] = Broadcast(path=path)
    if spark_files is not None:
        _SPARK_FILES["root"] = spark_files


_SPARK_FILES: dict[str, str] = {}


def _set_files_root(root: str) -> None:
    from pyspark.core.files import SparkFiles

    SparkFiles._root_directory = root
    SparkFiles._is_running_on_worker = True


def load_command(command: bytes) -> tuple[Any, Any]:
    """Unpickle what Spark ships for one function: the function and its declared return type.

    A large command travels as a broadcast variable that holds the pickled pair.
    """
    loaded = pickle.loads(command)
    broadcast = getattr(sys.modules.get("pyspark.core.broadcast"), "Broadcast", None)
    if broadcast is not None and isinstance(loaded, broadcast):
        loaded = pickle.loads(loaded.value)
    if "root" in _SPARK_FILES and "pyspark" in sys.modules:
        _set_files_root(_SPARK_FILES["root"])
    function, return_type = loaded
    return function, return_type
