"""Limits that workers and executors meet, and payloads that cannot be used: each told in words, or survived.

Writes for each fault `true`, or what was wrong. usage: spark-submit worker_limits.py RESULTS.json SCRATCH_DIRECTORY
The application's `spark.executor.pyspark.memory` is 2g for one core.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from faults import Faults, descriptors, is_running, told, until
from rudf import rudf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyspark.sql import DataFrame

target, scratch = sys.argv[1:3]
spark = SparkSession.builder.getOrCreate()
spark.sparkContext.setLogLevel("OFF")
faults = Faults(spark)
fault = faults.cause
ids = spark.range(0, 20, 1, 2)


def limited(limit: int, most: Callable[[int], int], body: Callable[[], Any]) -> Any:
    """Run something while executors have a limit of their processes, which follows from the files that they have open."""
    before = {executor: resource.prlimit(executor, limit) for executor in faults.executors()}
    for executor, (_, hard) in before.items():
        resource.prlimit(executor, limit, (most(descriptors({executor})), hard))
    try:
        return body()
    finally:
        for executor, old in before.items():
            resource.prlimit(executor, limit, old)


@rudf("bigint")
def greedy(value):
    return len(bytearray(4 << 30))


@rudf("bigint")
def greedy_in_arrow(value: pa.Array) -> pa.Array:
    pa.allocate_buffer(4 << 30)
    return value


@rudf("string")
def grows(value):
    return "x" * (1 << 20)


fault("memory limit of the worker", lambda: told(lambda: ids.select(greedy("id")), "MemoryError", "`greedy`", "row 0"))
if spark.version >= "4.1":
    fault(
        "memory limit of the worker, in pyarrow",
        lambda: told(lambda: ids.select(greedy_in_arrow("id")), "alloc", "`greedy_in_arrow`"),
    )
fault(
    "memory limit of the worker, met by results",
    lambda: told(lambda: spark.range(0, 4000, 1, 1).select(grows("id")), "`grows`"),
)


@rudf("bigint")
def same(value):
    return value


def large(function: Any) -> DataFrame:
    """One batch for a function, whose results, with those of others, are more than any segment that there is holds."""
    large.columns *= 2
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "1000000")
    others = [rudf(lambda v, n=n: v, "bigint")("id") for n in range(large.columns)]
    return spark.range(0, 1_000_000, 1, 1).select(function("id"), *others)


large.columns = 1


def refused_to_executor(limit: int, most: Callable[[int], int]) -> Any:
    return limited(limit, most, lambda: told(lambda: large(same), "cannot make shared memory"))


@rudf("bigint")
def limits_files(value):
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    return value


@rudf("bigint")
def limits_descriptors(value):
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    return value


fault("shared memory refused to an executor", lambda: refused_to_executor(resource.RLIMIT_FSIZE, lambda _: 1 << 20))
fault(
    "shared memory refused to a worker",
    lambda: told(lambda: large(limits_files), "`limits_files`", "File too large"),
)
fault(
    "descriptors refused to a worker",
    lambda: told(lambda: large(limits_descriptors), "`limits_descriptors`", "memfd_create"),
)


def no_descriptors_for_executor() -> Any:
    """Where no worker can be had, Spark's own path is taken, which needs descriptors too: it is told or survived."""
    outcome = limited(resource.RLIMIT_NOFILE, lambda used: used, lambda: told(lambda: large(same), "open files"))
    return outcome in (True, "it did not fail") or outcome


fault("descriptors refused to an executor", no_descriptors_for_executor)
spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")


def damaged(change: Callable[[bytes], bytes]) -> DataFrame:
    """Ship a function with other bytes than it was pickled to."""
    import pyspark.sql.udf as module

    wrap = module._wrap_function

    def wrap_damaged(context: Any, function: Any, return_type: Any = None) -> Any:
        whole = wrap(context, function, return_type)
        return context._jvm.SimplePythonFunction(
            bytearray(change(bytes(whole.command().toArray(context._jvm.scala.reflect.ClassTag.Byte())))),
            whole.envVars(), whole.pythonIncludes(), whole.pythonExec(), whole.pythonVer(), whole.broadcastVars(),
            whole.accumulator(),
        )  # fmt: skip

    module._wrap_function = wrap_damaged
    try:
        return ids.select(F.udf(lambda v: v + 1, "bigint")("id"))
    finally:
        module._wrap_function = wrap


def all_of(outcomes: dict[str, Any]) -> Any:
    """Put outcomes together: `True` where all are."""
    return {name: outcome for name, outcome in outcomes.items() if outcome is not True} or True


PAYLOADS: dict[str, tuple[Callable[[bytes], bytes], list[str]]] = {
    "no pickle": (lambda b: b"\xff" * len(b), ["UnpicklingError"]),
    "cut": (lambda b: b[: len(b) // 2], []),
    "nothing": (lambda b: b"", []),
    "crashes": (lambda b: b"cos\nabort\n(tR.", ["signal 6", "while its functions were loaded"]),
    "ends its worker": (lambda b: b"cos\n_exit\n(I7\ntR.", ["exit code 7", "while its functions were loaded"]),
    "something else": (lambda b: b"I7\n.", []),
}
fault(
    "damaged payloads",
    lambda: all_of(
        {name: told(lambda: damaged(change), "<lambda>", *words) for name, (change, words) in PAYLOADS.items()}
    ),
)


# Errors that are hard to tell.


class Untold(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def raising(error: Callable[[], BaseException]) -> DataFrame:
    def raises(value):
        raise error()

    return ids.select(rudf(raises, "bigint")("id"))


ERRORS: dict[str, Callable[[], BaseException]] = {
    **{kind.__name__: kind for kind in (KeyboardInterrupt, GeneratorExit, StopIteration, SystemExit, BaseException)},
    "Untold": Untold,
    "ValueError": lambda: ValueError("\ud800 x"),
    "ValueError: a": lambda: ValueError("a\0b"),
    "ValueError: xx": lambda: ValueError("x" * (8 << 20)),
}
fault(
    "exceptions of every kind",
    lambda: all_of({name: told(lambda: raising(error), name, "`raises`") for name, error in ERRORS.items()}),
)

# Functions that stop, or do what nobody should.


def stopped() -> Any:
    @rudf("bigint", timeout=1)
    def stops(value):
        os.kill(os.getpid(), signal.SIGSTOP)

    return told(lambda: ids.select(stops("id")), "`stops` ran for longer than 1 s", "batch 0")


fault("a worker that is stopped", stopped)


@rudf("bigint")
def overflows(value):
    import ctypes

    callback = ctypes.CFUNCTYPE(ctypes.c_int)
    depth: list[Any] = []

    def down() -> int:
        sys.setrecursionlimit(1 << 30)
        depth.append(callback(down))
        return depth[-1]()

    return callback(down)()


fault("a stack overflow in C", lambda: told(lambda: ids.select(overflows("id")), "`overflows`", "signal 11"))


@rudf("bigint")
def writes_everywhere(value):
    """Send words of no protocol through every socket there is."""
    import stat

    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                os.write(int(name), b"nonsense" * 8)
        except OSError:
            pass
    return value


fault(
    "words of no protocol",
    lambda: told(lambda: ids.select(writes_everywhere("id")), "`writes_everywhere`", "broke the protocol"),
)


@rudf("bigint")
def kills_server(value):
    mark = os.path.join(scratch, "server")
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return value
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


fault(
    "fork server killed in mid-batch, and tried again",
    lambda: ids.select(kills_server("id").alias("v")).agg(F.sum("v")).first()[0] == 190,
)


def stopped_server() -> Any:
    """A server that does not answer keeps nobody who has a worker already."""
    servers = {server for _, server, _ in faults.seen(16)}
    for server in servers:
        os.kill(server, signal.SIGSTOP)
    try:
        return faults.works()
    finally:
        for server in servers:
            os.kill(server, signal.SIGCONT)


fault("fork server stopped", stopped_server)


def read_by_a_thread() -> Any:
    """A thread feeds the program of a TRANSFORM, and is still at it when the task has had enough of what comes out."""

    @rudf("string")
    def slow(value):
        time.sleep(0.02 * (str(value).endswith("00")))
        return f"row {value}"

    before = faults.executors()
    for _ in range(3):
        spark.range(0, 2_000_000, 1, 2).select(slow(slow("id")).alias("s"), "id").createOrReplaceTempView("slow_rows")
        rows = (
            spark.sql("SELECT TRANSFORM(s, id) USING 'cat' AS (s STRING, id STRING) FROM slow_rows").limit(3).collect()
        )
        if len(rows) != 3 or not rows[0].s.startswith("row row"):
            return rows
    return faults.executors() == before or "an executor was lost"


fault("a reader that a task leaves behind", read_by_a_thread)

# Streams.


def in_stream(act: Callable[[int], None], **conf: str) -> DataFrame:
    def through(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for number, frame in enumerate(frames):
            act(number)
            yield frame

    return spark.range(0, 50_000, 1, 2).mapInPandas(through, "id bigint")


def leaves(number: int) -> None:
    if number == 1:
        os._exit(4)


def never_returns(number: int) -> None:
    while number == 1:
        pass


def raises(number: int) -> None:
    if number == 1:
        raise ValueError("not this one")


def forks(number: int) -> None:
    if number == 1:
        os.fork()


def stream_is_forked() -> Any:
    """The copy goes on in the middle of the function, and neither takes a batch nor gives a result."""
    rows = [row.id for row in in_stream(forks).collect()]
    return sorted(rows) == list(range(50_000)) or f"{len(rows)} rows"


def stream_is_cancelled() -> Any:
    import threading

    note = os.path.join(scratch, "stream")

    def waits(number: int) -> None:
        with open(note, "a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(120)

    thread = threading.Thread(target=lambda: told(lambda: in_stream(waits)))
    thread.start()
    if not until(lambda: os.path.exists(note)):
        return "it did not start"
    time.sleep(1)
    workers = [int(line) for line in Path(note).read_text().split()]
    spark.sparkContext.cancelAllJobs()
    thread.join(20)
    return until(lambda: not any(map(is_running, workers)), 5) or "a worker lives on"


def limit_below_a_stream() -> Any:
    """It leaves the function in the middle, and its worker is used again."""

    def processes(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            yield pd.DataFrame({"id": [os.getpid()] * len(frame)})

    rows = spark.range(0, 1_000_000, 1, 2).mapInPandas(processes, "id bigint").limit(3).collect()
    worker = rows[0].id
    return until(lambda: worker in {one for one, *_ in faults.seen(16)}) or "its worker is not used again"


def reads_ahead() -> Any:
    """Columns that pass by wait in files where there is no memory for them."""

    def all_first(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        yield from [batch + 1 for batch in batches]

    function = F.pandas_udf(all_first, "bigint", F.PandasUDFType.SCALAR_ITER)
    spark.conf.set("spark.rudf.bytesInFlight", "1m")
    try:
        rows = spark.range(0, 300_000, 1, 1).selectExpr("id", "concat('row ', id) as s")
        frame = rows.select("id", "s", function("id").alias("v"))
        return frame.where("v = id + 1 and s = concat('row ', v - 1)").count() == 300_000 or "wrong rows"
    finally:
        spark.conf.unset("spark.rudf.bytesInFlight")


if spark.version >= "4.3":
    fault(
        "a stream whose worker leaves", lambda: told(lambda: in_stream(leaves), "`through`", "exit code 4", "batch 1")
    )
    fault("a stream that fails", lambda: told(lambda: in_stream(raises), "ValueError: not this one", "`through`"))
    spark.conf.set("spark.rudf.timeout", "2")
    fault(
        "a stream that takes too long",
        lambda: told(lambda: in_stream(never_returns), "`through`", "spark.rudf.timeout", "in never_returns"),
    )
    spark.conf.unset("spark.rudf.timeout")
    fault("a stream that forks", stream_is_forked)
    fault("a stream that is cancelled", stream_is_cancelled)
    fault("a limit below a stream", limit_below_a_stream)
    fault("functions that read ahead", reads_ahead)

workers = {worker for worker, *_ in faults.seen(64)}
faults.results["few workers"] = len(workers) <= 4 or f"{len(workers)} workers"
everything = {number for entry in faults.seen(16) for number in entry[:2]}
spark.stop()
faults.results["nothing is left"] = until(lambda: not any(map(is_running, everything))) or "processes outlive it"
with open(target, "w") as file:
    json.dump(faults.results, file, indent=1)
