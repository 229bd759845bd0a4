"""Services of PySpark's that only its own workers have: such queries are left to Spark, say why, and give the answers.

Writes for each `true`, or what was wrong. usage: spark-submit services_left.py RESULTS.json
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import SparkSession

from rudf import rudf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    from pyspark.sql import DataFrame

spark = SparkSession.builder.getOrCreate()
context = spark.sparkContext
context.setLogLevel("WARN")
results: dict[str, Any] = {}
ids = spark.range(0, 10, 1, 2)


@rudf("bigint")
def one_more(v):
    return v + 1


def plan_of(frame: DataFrame) -> str:
    return str(frame._jdf.queryExecution().executedPlan().toString())


def answers(frame: DataFrame) -> bool:
    return sorted(row[0] for row in frame.collect()) == list(range(1, 11))


def left(name: str, why: str | None, frame: Callable[[], DataFrame], **confs: str) -> None:
    """Note whether a query is left to Spark for a reason, or taken where there is none."""
    confs = {key.replace("_", "."): value for key, value in confs.items()}
    for key, value in confs.items():
        spark.conf.set(key, value)
    try:
        plan = plan_of(frame())
        told = "RudfEval" in plan if why is None else "rudf: left to Spark because" in plan and why in plan
        results[name] = (told and answers(frame())) or f"wrong answers, or a wrong plan: {plan}"
    except Exception as error:
        results[name] = f"{type(error).__name__}: {error}"
    finally:
        for key in confs:
            spark.conf.unset(key)


for profiler in ("perf", "memory"):
    left(
        f"profiler: {profiler}",
        "a profiler is on",
        lambda: ids.select(one_more("id")),
        **{"spark_sql_pyspark_udf_profiler": profiler},
    )
profiled = spark._profiler_collector._perf_profile_results
results["the profiler has results"] = bool(profiled) or "none"
if spark.version >= "4.1":
    left(
        "worker logging",
        "worker logging is on",
        lambda: ids.select(one_more("id")),
        **{"spark_sql_pyspark_worker_logging_enabled": "true"},
    )
    left(
        "stacks at intervals",
        "workers are to write down where they are",
        lambda: ids.select(one_more("id")),
        **{"spark_sql_execution_pyspark_udf_tracebackDumpIntervalSeconds": "60"},
    )


def ended_when_idle() -> Any:
    """PySpark's confs for workers that are silent for long."""

    @rudf("bigint")
    def silent(v):
        import time

        time.sleep(60)

    confs = {"idleTimeoutSeconds": "1", "killOnIdleTimeout": "true", "faulthandler.enabled": "true"}
    for key, value in confs.items():
        spark.conf.set(f"spark.sql.execution.pyspark.udf.{key}", value)
    try:
        ids.select(silent("id")).collect()
        return "it was not ended"
    except Exception as error:
        return all(text in str(error) for text in ("`silent` ran for longer than 1 s", "in silent")) or str(error)
    finally:
        for key in confs:
            spark.conf.unset(f"spark.sql.execution.pyspark.udf.{key}")


def other_python() -> Any:
    """Functions of two environments in one application."""
    ours = Path(sys.prefix)
    other = Path(sys.argv[1]).resolve().parent / "other"
    (other / "bin").mkdir(parents=True)
    (other / "bin/python").symlink_to(os.path.realpath(sys.executable))
    shutil.copy(ours / "pyvenv.cfg", other)
    (other / "lib").symlink_to(ours / "lib")
    prefix = rudf(lambda v: sys.prefix, "string")
    here = ids.select(prefix("id")).first()[0]
    before, context.pythonExec = context.pythonExec, str(other / "bin/python")
    try:
        there = rudf(lambda v: sys.prefix, "string")
        frame = ids.select(there("id"))
        told = frame.first()[0], "RudfEval" in plan_of(frame)
        both = plan_of(ids.select(there("id"), prefix("id")))
    finally:
        context.pythonExec = before
    again = ids.select(prefix("id")).first()[0]
    so = told == (str(other), True) and here == again != str(other) and "want different Pythons" in both
    return so or f"{here}, {told}, {again}: {both}"


if spark.version >= "4.1":
    results["ended when idle"] = ended_when_idle()
if Path(sys.prefix, "pyvenv.cfg").exists() and not os.environ["PYSPARK_PYTHON"].startswith("."):
    results["two Pythons"] = other_python()
ones = context.broadcast([1] * 100_000)
left("broadcast variable", None, lambda: ids.select(rudf(lambda v: v + ones.value[v], "bigint")("id")))
left("no broadcast variable", None, lambda: ids.select(one_more("id")))


def through(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    from pyspark import BarrierTaskContext

    BarrierTaskContext.get().barrier()
    yield from frames


barrier = ids.select(one_more("id").alias("v")).mapInPandas(through, "v bigint", barrier=True)
try:
    results["barrier stage"] = answers(barrier) or "wrong answers"
except Exception as error:
    results["barrier stage"] = f"{type(error).__name__}: {error}"


@rudf("string")
def python(_):
    return sys.executable


results["python"] = ids.select(python("id")).first()[0]
with open(sys.argv[1], "w") as file:
    json.dump(results, file, indent=1)
spark.stop()
