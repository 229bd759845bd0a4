"""What functions have of PySpark beside their arguments: each query off and on, and both have to tell the same.

Writes for each service `true`, or what was wrong. usage: spark-submit services.py RESULTS.json SCRATCH_DIRECTORY
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark import SparkFiles, TaskContext
from pyspark.accumulators import AccumulatorParam
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from rudf import rudf
from rudf.udf import RudfFunction

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame

target, scratch = sys.argv[1:3]
spark = SparkSession.builder.getOrCreate()
context = spark.sparkContext
context.setLogLevel("OFF")
results: dict[str, Any] = {}
ids = spark.range(0, 100, 1, 3)


def same(name: str, ask: Callable[[], Any]) -> None:
    """Ask on Spark's own path and on rudf's."""
    told = {}
    for side in ("off", "on"):
        spark.conf.set("spark.rudf.enabled", str(side == "on").lower())
        try:
            told[side] = ask()
        except Exception as error:
            told[side] = f"{type(error).__name__}: {error}"
    results[name] = True if told["off"] == told["on"] else f"Spark: {told['off']!r}; rudf: {told['on']!r}"


def taken(frame: DataFrame) -> DataFrame:
    """Make sure that rudf runs a query where it is on."""
    plan = frame._jdf.queryExecution().executedPlan().toString()
    assert ("RudfEval" in plan) == (spark.conf.get("spark.rudf.enabled") == "true"), plan
    assert "worker=embedded" not in plan, plan
    return frame


def distinct(function: Any, column: str = "id") -> list[Any]:
    return sorted({tuple(row) for row in taken(ids.select(function(column))).collect()}, key=repr)


@rudf("string")
def told_by_context(_):
    task = TaskContext.get()
    told = (
        task.partitionId(),
        task.attemptNumber(),
        task.cpus(),
        str(task.cpuAmount()) if hasattr(task, "cpuAmount") else None,
        task.resources(),
        task.getLocalProperty("of.the.test"),
        task.getLocalProperty("spark.job.description"),
        type(task.stageId()).__name__,
        task.taskAttemptId() >= 0,
        type(task).__name__,
    )
    return repr(told)


def context_of_arrays(values: pa.Array) -> pa.Array:
    return pa.array([TaskContext.get().partitionId()] * len(values))


context.setLocalProperty("of.the.test", "ä")
same("task context", lambda: distinct(told_by_context))
same("task context of arrays", lambda: distinct(RudfFunction(context_of_arrays, "int", 250)))


def counting(param: Any = None, zero: Any = 0, add: Callable[[int], Any] = lambda v: 1, rows: DataFrame = ids) -> Any:
    """Add to an accumulator for each row, twice over, and return what arrived."""
    counted = context.accumulator(zero, param) if param is not None else context.accumulator(zero)

    @rudf("bigint")
    def count(v):
        counted.add(add(v))
        return v

    taken(rows.select(count("id"))).write.format("noop").mode("overwrite").save()
    first = counted.value
    taken(rows.select(count("id"))).write.format("noop").mode("overwrite").save()
    return first, counted.value


class Names(AccumulatorParam):
    """Collects sets."""

    def zero(self, value: set[str]) -> set[str]:
        """Return nothing collected."""
        return set()

    def addInPlace(self, one: set[str], other: set[str]) -> set[str]:
        """Return both together."""
        return one | other


same("accumulator", counting)
same("accumulator of floats", lambda: counting(zero=0.5, add=lambda v: v / 2))
same("accumulator of sets", lambda: tuple(map(sorted, counting(Names(), set(), lambda v: {f"n{v % 7}"}))))
same("accumulator over megabytes", lambda: tuple(map(len, counting(Names(), set(), lambda v: {str(v) * 1000}))))
same("accumulator over no rows", lambda: counting(rows=ids.where("id < 0")))
same("accumulator over columns", lambda: counting(rows=stored()))


def stored() -> DataFrame:
    path = f"{scratch}/ids.parquet"
    ids.write.mode("overwrite").parquet(path)
    return spark.read.parquet(path)


def module_with_accumulator() -> Any:
    """Reach an accumulator and the context through a module that was added: no name of theirs stands in the pickle."""
    import services_module

    services_module.counted = context.accumulator(0)
    services_module.counted.add(0)

    @rudf("int")
    def partition(_):
        import services_module

        return services_module.partition()

    return distinct(partition)


module = f"{scratch}/services_module.py"
with open(module, "w") as file:
    file.write("from pyspark import TaskContext\n\ndef partition():\n    return TaskContext.get().partitionId()\n")
context.addPyFile(module)
same("added module", module_with_accumulator)

with zipfile.ZipFile(f"{scratch}/zipped.zip", "w") as archive:
    archive.writestr("zipped_module/__init__.py", "value = 7\n")
context.addPyFile(f"{scratch}/zipped.zip")


@rudf("int")
def from_zip(_):
    import zipped_module

    return zipped_module.value


same("added zip", lambda: distinct(from_zip))

with open(f"{scratch}/words.txt", "w") as file:
    file.write("a b c")
context.addFile(f"{scratch}/words.txt")


@rudf("string")
def from_file(_):
    with open(SparkFiles.get("words.txt")) as words:
        return words.read() + str(os.path.isdir(SparkFiles.getRootDirectory()))


same("added file", lambda: distinct(from_file))
small = context.broadcast({"k": [1, 2, 3]})
large = context.broadcast(list(range(500_000)))
same("broadcast", lambda: distinct(rudf(lambda v: small.value["k"][v % 3] + large.value[-1], "bigint")))


def unpersisted() -> Any:
    gone = context.broadcast("here")
    function = rudf(lambda v: gone.value, "string")
    first = distinct(function)
    gone.unpersist(blocking=True)
    return first, distinct(function)


same("broadcast unpersisted", unpersisted)


@rudf("string")
def surroundings(_):
    import faulthandler
    import signal
    import threading

    names = ("PYTHONHASHSEED", "OMP_NUM_THREADS", "OF_THE_TEST")
    return repr(
        (
            {name: os.environ.get(name) for name in names},
            os.path.basename(sys.executable),
            sys.stdin.read(),
            os.readlink("/proc/self/fd/0"),
            threading.current_thread() is threading.main_thread(),
            os.getcwd() if context_is_local else os.path.basename(os.getcwd()) in ("0", "1"),
            hash("x") == fixed_hash,
            str(signal.getsignal(signal.SIGTERM)),
            sys.flags.dev_mode,
            faulthandler.is_enabled() or True,
        )
    )


context_is_local = context.master.startswith("local[")
fixed_hash = hash("x") if os.environ.get("PYTHONHASHSEED") == "0" else None
same("surroundings", lambda: distinct(surroundings))


@rudf("int")
def prints(v):
    print("to standard output", v)
    print("to standard error", v, file=sys.stderr)
    return 1


same("printing", lambda: distinct(prints))
same(
    "sums stay right",
    lambda: taken(ids.select(rudf(lambda v: v + 1, "bigint")("id").alias("v"))).agg(F.sum("v")).first()[0],
)
with open(target, "w") as file:
    json.dump(results, file, indent=1)
spark.stop()
