"""Puts rudf into a Spark session: the jar and the plugin, beside the jars and plugins that are there already."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rudf._version import __version__

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["INSTALL_CONF", "PLUGIN", "configure", "has_plugin", "jar_path", "plugin_conf", "running_context"]

#: Whether PySpark is to pickle through rudf: see :func:`rudf.pickle.install`.
INSTALL_CONF = "spark.rudf.pickle.install"
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
        raise FileNotFoundError(
            f"this installation of rudf has no jar at {path}: "
            "install rudf from a wheel, or run `make build` in its clone"
        )
    return path


def plugin_conf() -> dict[str, str]:
    """Return the confs that put rudf into a Spark application.

    Raises
    ------
    FileNotFoundError
        Where the package was installed without its jar.
    """
    return {"spark.jars": str(jar_path()), "spark.plugins": PLUGIN}


def configure(builder: SparkSession.Builder) -> SparkSession.Builder:
    """Add the jar and the plugin to a session that is about to be built.

    A session with ``spark.rudf.pickle.install=true`` has all of PySpark pickle through rudf from then on, as
    :func:`rudf.pickle.install` does.

    Where the jar and the plugin cannot be added (the package has no jar, or Spark has started without it) functions run
    on stock PySpark, and the first use of one says why. A client of Spark Connect adds neither: its server has them, or
    runs functions as stock PySpark does.

    Parameters
    ----------
    builder : pyspark.sql.SparkSession.Builder
        ``spark.jars`` and ``spark.plugins`` that it or ``spark-defaults.conf`` has already are kept.

    Returns
    -------
    pyspark.sql.SparkSession.Builder
        The same builder.

    Examples
    --------
    >>> from pyspark.sql import SparkSession
    >>> import rudf
    >>> spark = rudf.configure(SparkSession.builder).getOrCreate()  # doctest: +SKIP
    """
    from pyspark.sql.utils import is_remote

    _take_over_when_built(builder)
    if "spark.remote" in builder._options or is_remote():
        return builder
    if _jvm_started():
        return _configure_started(builder)
    try:
        added = plugin_conf()
    except FileNotFoundError:
        return builder
    defaults = _spark_defaults()
    for key, value in added.items():
        _append(builder, key, value, defaults.get(key, ""))
    return builder


def _take_over_when_built(builder: SparkSession.Builder) -> None:
    """Have the builder look at the confs of the pickler once it has a session, wherever they were set."""
    own = vars(builder)
    if "getOrCreate" in own:
        return
    build = builder.getOrCreate

    def get_or_create() -> SparkSession:
        session = build()
        if str(session.conf.get(INSTALL_CONF, "false")).strip().lower() == "true":
            from rudf import pickle

            pickle.install()
        if running_context() is None:  # A server's session: asking it at each function would cost a call.
            from rudf import sizes

            sizes.set_warn_bytes(session.conf.get(sizes.WARN_CONF, None))
        return session

    own["getOrCreate"] = get_or_create


def _configure_started(builder: SparkSession.Builder) -> SparkSession.Builder:
    """Add the plugin where Spark's JVM runs already and had the jar when it started.

    A jar that comes later (``spark.jars`` of a session) reaches the executors, and never the class path of the driver,
    which is where a plugin is looked for.
    """
    from pyspark import SparkConf, SparkContext

    if running_context() is not None:
        return builder
    SparkContext._ensure_initialized()
    if _driver_knows_plugin(SparkContext._jvm):
        _append(builder, "spark.plugins", PLUGIN, SparkConf().get("spark.plugins", "") or "")
    return builder


def _append(builder: SparkSession.Builder, key: str, value: str, default: str) -> None:
    """Add an entry to a conf that is a list with commas between."""
    entries = [entry.strip() for entry in str(builder._options.get(key, default)).split(",") if entry.strip()]
    if value not in entries:
        entries.append(value)
    builder.config(key, ",".join(entries))


def _jvm_started() -> bool:
    """Tell whether Spark's JVM runs: spark-submit starts it before the job, and it outlives ``spark.stop()``."""
    from pyspark import SparkContext

    return SparkContext._gateway is not None or "PYSPARK_GATEWAY_PORT" in os.environ


def _driver_knows_plugin(jvm: Any) -> bool:
    from py4j.protocol import Py4JJavaError

    try:
        jvm.org.apache.spark.util.Utils.classForName(PLUGIN, False, False)
    except Py4JJavaError:
        return False
    return True


def _spark_defaults() -> dict[str, str]:
    """Read ``spark-defaults.conf``, which a conf of the session would otherwise replace."""
    home = os.environ.get("SPARK_HOME")
    folder = os.environ.get("SPARK_CONF_DIR") or (os.path.join(home, "conf") if home else None)
    if folder is None:
        return {}
    try:
        lines = Path(folder, "spark-defaults.conf").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.replace("=", " ", 1).split(None, 1) for line in lines if line.strip() and not line.startswith("#"))
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}


def running_context() -> Any:
    """Return the SparkContext of this process, or None."""
    try:
        from pyspark import SparkContext
    except ImportError:  # PySpark's client for Spark Connect has none.
        return None
    return SparkContext._active_spark_context


def has_plugin(context: Any) -> bool:
    """Tell whether a Spark application was started with rudf's plugin."""
    plugins = context.getConf().get("spark.plugins") or ""
    return PLUGIN in [entry.strip() for entry in plugins.split(",")]
