"""Spark's services in a worker: files, broadcast variables, and the commands that Spark ships."""

from __future__ import annotations

import base64
import decimal
import importlib
import json
import os
import pickle
import sys
from collections import OrderedDict
from typing import Any, NamedTuple

__all__ = ["finish", "forget_changed", "keep_functions", "load_command", "pickle_results", "set_up"]


def set_up(
    *,
    python_path: list[str],
    spark_files: str | None,
    broadcasts: list[tuple[int, str]],
    services: str = "{}",
) -> None:
    """Make files and broadcast variables known to the functions of one session.

    Parameters
    ----------
    python_path : list of str
        What was added with ``addPyFile``; goes ahead of installed packages, as in PySpark's workers.
    spark_files : str or None
        Root directory of ``SparkFiles``.
    broadcasts : list of (int, str)
        Spark's id of each broadcast variable, and the file that holds its pickled value.
    services : str
        JSON. ``task_context``: what ``TaskContext`` tells, by Spark's names; left out where this process serves several
        tasks at once, whose functions then do without.
    """
    missing = [entry for entry in python_path if entry not in sys.path]
    if missing:
        sys.path[1:1] = missing
        importlib.invalidate_caches()
    if spark_files is not None and "pyspark" in sys.modules:
        _set_files_root(spark_files)
    _set_broadcasts(dict(broadcasts))
    if spark_files is not None:
        _SPARK_FILES["root"] = spark_files
    task_context = json.loads(services).get("task_context")
    if task_context is not None:
        _set_task_context(task_context)
        _accumulators().clear()


#: Spark's ids of the broadcast variables that the session may use.
_broadcasts: frozenset[int] = frozenset()


def _set_broadcasts(files: dict[int, str]) -> None:
    """Make broadcast variables known, and let go of others, whose values may be large.

    A process that runs one task at a time keeps those of its session alone, as PySpark's workers do; an interpreter
    that runs several keeps those whose files there are, which are gone with what Spark keeps of the variable.
    """
    global _broadcasts
    _broadcasts = frozenset(files)
    if not files and "pyspark.core.broadcast" not in sys.modules:
        return
    from pyspark.core.broadcast import Broadcast, _broadcastRegistry

    others = [number for number in _broadcastRegistry if number not in files]
    gone = {n for n in others if _kept is not None or not os.path.exists(_broadcastRegistry[n]._path)}
    for number in gone:
        del _broadcastRegistry[number]
    if _kept:
        for command in [command for command, kept in _kept.items() if kept.broadcasts & gone]:
            del _kept[command]
    for number, path in files.items():
        if number not in _broadcastRegistry:
            _broadcastRegistry[number] = Broadcast(path=path)
        elif not hasattr(_broadcastRegistry[number], "_value"):
            # It may have been fetched anew.
            _broadcastRegistry[number]._path = path


def _set_task_context(told: dict[str, Any]) -> None:
    """Give functions the context of their task; releases of PySpark differ in what one has."""
    from pyspark.resource import ResourceInformation
    from pyspark.taskcontext import TaskContext

    resources = {
        name: ResourceInformation(resource["name"], resource["addresses"])
        for name, resource in told["resources"].items()
    }
    attributes = {
        **{name: told[name] for name in ("stageId", "partitionId", "attemptNumber", "taskAttemptId", "cpus")},
        "cpuAmount": decimal.Decimal(told["cpuAmount"]),
        "resources": resources,
        "localProperties": told["localProperties"],
    }
    context = object.__new__(TaskContext)
    for name, value in attributes.items():
        if hasattr(TaskContext, f"_{name}"):
            setattr(context, f"_{name}", value)
    TaskContext._setTaskContext(context)


def _accumulators() -> dict[int, Any]:
    from pyspark.accumulators import _accumulatorRegistry

    return _accumulatorRegistry


def finish() -> str:
    """Return what a session has to tell at its end, as JSON: ``accumulators``, each update pickled, in base64."""
    if not _accumulators():
        return "{}"
    from pyspark.serializers import CPickleSerializer

    dumps: Any = CPickleSerializer().dumps  # type: ignore[no-untyped-call]
    updates = [dumps((number, accumulator._value)) for number, accumulator in _accumulators().items()]
    return json.dumps({"accumulators": [base64.b64encode(update).decode() for update in updates]})


def pickle_results(results: list[Any]) -> bytes:
    """Pickle results of functions for Spark's JVM side, as PySpark's workers do, which know more than ``pickle``."""
    try:
        return pickle.dumps(results, pickle.HIGHEST_PROTOCOL)
    except Exception:
        from pyspark.serializers import CPickleSerializer

        pickled: bytes = CPickleSerializer().dumps(results)  # type: ignore[no-untyped-call]
        return pickled


_SPARK_FILES: dict[str, str] = {}


def _set_files_root(root: str) -> None:
    from pyspark.core.files import SparkFiles

    SparkFiles._root_directory = root
    SparkFiles._is_running_on_worker = True


class _Kept(NamedTuple):
    """A command that was unpickled."""

    loaded: tuple[Any, Any]
    #: Its pickle, made before it was called for the first time.
    pickled: bytes
    #: The broadcast variables that it may refer to.
    broadcasts: frozenset[int]


#: Commands that this process has unpickled, the one that was used last at the end; None where nothing is kept.
_kept: OrderedDict[bytes, _Kept] | None = None

#: Commands that the session uses.
_used: set[bytes] = set()

#: Functions that are kept, and the bytes of their pickles together. A larger one is unpickled for each task.
_MOST_KEPT, _MOST_KEPT_BYTES = 64, 64 << 20


def keep_functions() -> None:
    """Unpickle each function once in this process, whichever tasks and stages it is for.

    For processes that run one task at a time. A function that a task has left other than it was (its pickle tells: a
    counter in its globals, a generator of random numbers in its closure) is unpickled anew for the next task, so that
    every task sees what it would see in PySpark.
    """
    global _kept
    _kept = OrderedDict()


def load_command(command: bytes, reuse: bool = True) -> tuple[Any, Any]:
    """Return what Spark ships for one function: the function and its declared return type.

    Parameters
    ----------
    command : bytes
        The pickled pair.
    reuse : bool
        Whether a function that this process has unpickled before may be taken again.
    """
    if _kept is None or not reuse:
        return _unpickle(command)
    if command in _kept:
        _kept.move_to_end(command)
        _used.add(command)
        return _kept[command].loaded
    loaded = _unpickle(command)
    # An accumulator is made known to its session while the function is unpickled: that has to happen for each.
    pickled = None if _accumulators() else _pickled(loaded)
    if pickled is not None and len(command) + len(pickled) <= _MOST_KEPT_BYTES:
        _kept[command] = _Kept(loaded, pickled, _broadcasts)
        _used.add(command)
        while len(_kept) > _MOST_KEPT or _kept_bytes(_kept) > _MOST_KEPT_BYTES:
            _kept.popitem(last=False)
    return loaded


def forget_changed() -> None:
    """Let go of functions that the session has changed."""
    for command in _used if _kept else ():
        kept = _kept.get(command) if _kept else None
        if _kept and kept is not None and _pickled(kept.loaded) != kept.pickled:
            del _kept[command]
    _used.clear()


def _kept_bytes(kept: OrderedDict[bytes, _Kept]) -> int:
    return sum(len(command) + len(entry.pickled) for command, entry in kept.items())


def _pickled(loaded: tuple[Any, Any]) -> bytes | None:
    """Pickle a function as it is now; None where it cannot be pickled here."""
    from rudf.pickle import dumps

    broadcast = getattr(sys.modules.get("pyspark.core.broadcast"), "Broadcast", None)
    reduce = getattr(broadcast, "__reduce__", None)
    try:
        if broadcast is not None:
            # In a worker they refuse to be pickled. Their values are not for functions to change.
            broadcast.__reduce__ = lambda variable: (str, (str(variable._path),))
        return dumps(loaded)
    except Exception:
        return None
    finally:
        if broadcast is not None:
            broadcast.__reduce__ = reduce


def _unpickle(command: bytes) -> tuple[Any, Any]:
    """Unpickle a command; a large one travels as a broadcast variable that holds the pickled pair."""
    loaded = pickle.loads(command)
    broadcast = getattr(sys.modules.get("pyspark.core.broadcast"), "Broadcast", None)
    if broadcast is not None and isinstance(loaded, broadcast):
        loaded = pickle.loads(loaded.value)
    if isinstance(loaded, type):
        # Of a table function the class is all there is.
        loaded = loaded, None
    if "root" in _SPARK_FILES and "pyspark" in sys.modules:
        _set_files_root(_SPARK_FILES["root"])
    function, return_type = loaded
    return function, return_type
