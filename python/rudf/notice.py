"""Says, once for each Spark application, that functions run on stock PySpark, and how to change that."""

from __future__ import annotations

import sys
import warnings
import weakref
from typing import Any

from rudf.session import PLUGIN, has_plugin, jar_path, running_context

__all__ = ["frames_of_rudf", "warn_without_plugin"]

#: Packages whose calls are not the user's.
_OURS = {"rudf", "pyspark"}
_checked: weakref.WeakSet[Any] = weakref.WeakSet()


def warn_without_plugin() -> None:
    """Warn at the first use of a function in an application that runs without rudf's plugin."""
    context = running_context()
    if context is None or context in _checked:
        return
    _checked.add(context)
    if not has_plugin(context):
        warnings.warn(_reason(), RuntimeWarning, stacklevel=frames_of_rudf())


def _reason() -> str:
    try:
        jar = jar_path()
    except FileNotFoundError as error:
        return f"functions of @rudf run on stock PySpark, which is slower: {error}"
    return (
        "functions of @rudf run on stock PySpark, which is slower: this Spark application was started without the "
        f"plugin {PLUGIN}. Build the session with rudf.configure(SparkSession.builder) before any other is built; "
        f"a job that spark-submit starts needs --jars {jar} --conf spark.plugins={PLUGIN}"
    )


def frames_of_rudf() -> int:
    """Count the calls up to the user's, so that the warning names the user's line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in _OURS:
        level, frame = level + 1, frame.f_back
    return level
