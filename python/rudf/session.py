"""Puts rudf into a Spark session: the jar, the plugin, and a warning where they are missing."""

from __future__ import annotations

import warnings
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rudf._version import __version__

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["PLUGIN", "configure", "jar_path", "plugin_conf", "warn_without_jar"]

PLUGIN = "org.rudf.spark.RudfPlugin"
_JAR = f"rudf-spark_2.13-{__version__}.jar"


def jar_path() -> Path:
    """Return the path of the bridge jar that came with this package.

    Raises
    ------
    FileNotFoundError
        Where the package was installed without it.
    """
    path = Path(__file__).resolve().parent / "jars" / _JAR
    if not path.is_file():
        raise FileNotFoundError(f"this installation of rudf has no jar at {path}: install a wheel, or run `make build`")
    return path


def plugin_conf() -> dict[str, str]:
    """Return the confs that put rudf into a Spark application."""
    return {"spark.jars": str(jar_path()), "spark.plugins": PLUGIN}


def configure(builder: SparkSession.Builder) -> SparkSession.Builder:
    """Add the jar and the plugin to a session that is about to be built.

    Parameters
    ----------
    builder : pyspark.sql.SparkSession.Builder
        ``spark.jars`` and ``spark.plugins`` that it has already are kept.

    Returns
    -------
    pyspark.sql.SparkSession.Builder
        The same builder.
    """
    if _running_context() is not None and not _has_plugin(_running_context()):
        warnings.warn(
            "a Spark application runs in this process already, and a jar and a plugin can only be added to a new one: "
            "stop it first (spark.stop()), or start it with the confs that `rudf conf` prints",
            RuntimeWarning,
            stacklevel=2,
        )
    for key, value in plugin_conf().items():
        present = [entry for entry in str(builder._options.get(key, "")).split(",") if entry]
        if value not in present:
            builder.config(key, ",".join([*present, value]))
    return builder


def _running_context() -> Any:
    from pyspark import SparkContext

    return SparkContext._active_spark_context


def _has_plugin(context: Any) -> bool:
    return PLUGIN in (context.getConf().get("spark.plugins") or "")


_warned: weakref.WeakSet[Any] = weakref.WeakSet()


def warn_without_jar() -> None:
    """Say, once for each Spark application, that functions run on stock PySpark because the plugin is missing."""
    context = _running_context()
    if context is None or context in _warned:
        return
    _warned.add(context)
    if not _has_plugin(context):
        warnings.warn(
            f"rudf's functions run on stock PySpark: spark.plugins does not name {PLUGIN}. Build the session with "
            "rudf.configure(SparkSession.builder), or pass to spark-submit what `rudf conf` prints",
            RuntimeWarning,
            stacklevel=4,
        )
