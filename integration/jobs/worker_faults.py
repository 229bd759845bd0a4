"""Faults of worker processes, each caused on purpose: told in words, or survived by Spark's retry, and nothing is left.

Writes for each fault `true`, or what was wrong. usage: spark-submit worker_faults.py RESULTS.json SCRATCH_DIRECTORY
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from faults import Faults, descriptors, families, is_running, segments, told, until
from rudf import rudf

target, scratch = sys.argv[1:3]
spark = SparkSession.builder.getOrCreate()
spark.sparkContext.setLogLevel("OFF")
on_executors = not spark.sparkContext.master.startswith("local[")
faults = Faults(spark)
fault, works, seen = faults.cause, faults.works, faults.seen
ids = spark.range(0, 20, 1, 2)


@rudf("bigint")
def fine(value):
    return value + 1


def once(name: str) -> str:
    """Path of a file that the first task makes that asks for it, so that a retry fares better."""
    return os.path.join(scratch, name)


@rudf("bigint")
def segfault(value):
    import ctypes

    return ctypes.string_at(0)


@rudf("bigint")
def leaves(value):
    os._exit(3)


fault(
    "segmentation fault",
    lambda: told(lambda: ids.select(segfault("id")), "`segfault`", "signal 11", "batch 0", "in segfault"),
)
fault("os._exit", lambda: told(lambda: ids.select(leaves("id")), "`leaves`", "exit code 3", "batch 0"))

killed = once("killed")


@rudf("bigint")
def killed_once(value):
    if value == 15:
        try:
            os.close(os.open(killed, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return value
        os.kill(os.getpid(), signal.SIGKILL)
    return value


fault(
    "killed in mid-batch, and tried again",
    lambda: ids.select(killed_once("id").alias("v")).agg(F.sum("v")).first()[0] == 190,
)


def sleeps_too_long() -> Any:
    @rudf("bigint")
    def sleeper(value):
        time.sleep(60)

    spark.conf.set("spark.rudf.timeout", "1")
    try:
        return told(lambda: ids.select(sleeper("id")), "`sleeper`", "spark.rudf.timeout", "batch 0", "in sleeper")
    finally:
        spark.conf.unset("spark.rudf.timeout")


fault("too long", sleeps_too_long)


@rudf("bigint", timeout=1)
def sleeps_in_row_three(value):
    time.sleep(60 * (value % 10 == 3))
    return value


fault(
    "too long for its own timeout",
    lambda: told(
        lambda: ids.select(sleeps_in_row_three("id")),
        "`sleeps_in_row_three` ran for longer than 1 s",
        "batch 0 of the partition, row 3",
        "its timeout",
        "in sleeps_in_row_three",
    ),
)


def kept() -> Any:
    import re
    import subprocess

    @rudf("bigint")
    def crashes(value):
        import ctypes

        return ctypes.string_at(0) if value % 10 == 7 else value

    @rudf("bigint")
    def divides(value):
        return 1 // (value % 10 - 7)

    def crashes_in_frame(frames):
        for frame in frames:
            yield frame.assign(id=[crashes.func(value) for value in frame["id"]])

    def divides_in_group(frame):
        return frame.assign(id=[divides.func(value) for value in frame["id"]])

    queries = [
        (lambda: ids.select(crashes("id")), "in crashes"),
        (lambda: ids.select(divides("id")), "ZeroDivisionError"),
        (lambda: ids.mapInPandas(crashes_in_frame, "id bigint"), "in crashes"),
        (lambda: ids.groupBy("id").applyInPandas(divides_in_group, "id bigint"), "ZeroDivisionError"),
    ]
    spark.conf.set("spark.rudf.crash.keep", os.path.join(scratch, "kept"))
    # Of streams the last batches are kept: those before them need not be there.
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "3")
    try:
        for query, expected in queries:
            try:
                query().collect()
                return "it did not fail"
            except Exception as error:
                file = re.search(r"rudf replay ([^\s\]]+)", str(error))
                if file is None:
                    return f"no file in: {error}"
            again = subprocess.run([sys.executable, "-m", "rudf", "replay", file[1]], capture_output=True, text=True)
            if again.returncode == 0 or expected not in again.stderr:
                return f"replayed: {again}"
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
        spark.conf.unset("spark.rudf.crash.keep")
    return True


fault("kept, and run again", kept)


def loads_for_ever() -> Any:
    note = once("loads")

    class Endless:
        def __reduce__(self) -> Any:
            return eval, ("__import__('time').sleep(300) or open(path, 'w')", {"path": note})

    endless = Endless()

    @rudf("bigint")
    def never_loaded(value):
        return endless

    thread = threading.Thread(target=lambda: told(lambda: ids.select(never_loaded("id"))))
    thread.start()
    time.sleep(3)
    start = time.time()
    spark.sparkContext.cancelAllJobs()
    thread.join(30)
    return (not thread.is_alive() and time.time() - start < 15) or "it could not be cancelled"


fault("cancelled while a function is loaded", loads_for_ever)


@rudf("bigint")
def untidy(value):
    """Change whatever can be changed of a process, and leave it so."""
    os.chdir("/")
    os.environ["CHANGED"] = "yes"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("x" * 10_000)
    sys.stdout = None
    return value


@rudf("string")
def surroundings(value):
    return (
        f"{os.getcwd() != '/'} {'CHANGED' in os.environ} {signal.getsignal(signal.SIGTERM).name} {sys.stdout is None}"
    )


def changes_are_undone() -> Any:
    if spark.range(0, 800, 1, 4).select(untidy("id").alias("v")).agg(F.sum("v")).first()[0] != 319600:
        return "wrong"
    seen = {row.s for row in spark.range(0, 8, 1, 4).select(surroundings("id").alias("s")).collect()}
    return seen == {"True False SIG_DFL False"} or seen


fault("a flood of output, signal handlers, directory, environment", changes_are_undone)


@rudf("bigint")
def closes_everything(value):
    os.closerange(3, 4096)
    return value


fault(
    "closes every descriptor",
    lambda: told(lambda: ids.select(closes_everything("id")), "`closes_everything`", "close descriptors"),
)


@rudf("bigint")
def forks(value):
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    return child


@rudf("bigint")
def starts_threads(value):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    return os.getpid()


def left_behind() -> Any:
    children = [row.v for row in spark.range(0, 4, 1, 2).select(forks("id").alias("v")).collect()]
    workers = {row.v for row in spark.range(0, 4, 1, 2).select(starts_threads("id").alias("v")).collect()}
    if workers & {process for process, _, _ in seen(16)}:
        return "a worker with threads was used again"
    return until(lambda: not any(map(is_running, [*children, *workers]))) or "they live on"


fault("forks and threads", left_behind)

if spark.version >= "4.1":

    @rudf("bigint")
    def over_freed_memory(value: pa.Array) -> pa.Array:
        import ctypes

        libc = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_void_p
        address = libc.mmap(None, ctypes.c_size_t(4096), 3, 0x22, -1, ctypes.c_long(0))
        buffer = pa.foreign_buffer(address, 4096)
        libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(4096))
        return pa.Array.from_buffers(pa.int64(), len(value), [None, buffer])

    fault(
        "an array over freed memory",
        lambda: told(lambda: ids.select(over_freed_memory("id")), "`over_freed_memory`", "signal 11"),
    )


def many_batches() -> Any:
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "10")
    try:
        executors = faults.executors()
        before = descriptors(executors)
        total = spark.range(0, 100_000, 1, 1).select(fine("id").alias("v")).agg(F.sum("v")).first()[0]
        after = descriptors(executors)
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    return (total == 5000050000 and after < before + 100) or f"{total}; {before} descriptors became {after}"


fault("ten thousand batches in one task", many_batches)


def sixty_four() -> Any:
    total = spark.range(0, 6400, 1, 64).select(fine("id").alias("v")).agg(F.sum("v")).first()[0]
    return total == 20483200 or total


fault("sixty-four tasks", sixty_four)


def server_killed() -> Any:
    before = {server for _, server, _ in seen()}
    if on_executors and len(before) < 1:
        return "no server"
    for server in before:
        os.kill(server, signal.SIGKILL)
    if not works():
        return "wrong after the server was killed"
    return not before & {server for _, server, _ in seen()} or "the same server"


fault("fork server killed", server_killed)


def cancelled(with_interrupts: bool) -> Any:
    """Cancel jobs whose functions never end, with or without an interrupt of the task's thread."""
    before = segments(faults.executors())
    for attempt in range(3):
        note = once(f"cancelled-{with_interrupts}-{attempt}")

        @rudf("bigint")
        def endless(value):
            with open(note, "a") as file:
                file.write(f"{os.getpid()}\n")
            while True:
                pass

        def run() -> None:
            spark.sparkContext.setJobGroup("endless", "never ends", interruptOnCancel=with_interrupts)
            told(lambda: spark.range(0, 100_000, 1, 2).select(endless("id")))

        thread = threading.Thread(target=run)
        thread.start()
        if not until(lambda: os.path.exists(note)):
            return "it did not start"
        time.sleep(1)
        workers = [int(line) for line in Path(note).read_text().split()]
        start = time.time()
        spark.sparkContext.cancelAllJobs()
        if not until(lambda: not any(map(is_running, workers))):
            return "a worker lives on"
        thread.join(30)
        if time.time() - start > 10:
            return "it took long"
    # Two workers that wait may have segments, but not those of all that were cancelled.
    after = segments(faults.executors())
    return after <= before + 6 or f"{before} segments became {after}"


for with_interrupts in (False, True):
    fault(f"cancelled, {with_interrupts=}", lambda: cancelled(with_interrupts))


@rudf("boolean")
def keep(value: pa.Array) -> pa.Array:
    import builtins

    store = builtins.__dict__.setdefault("_kept_by_test", [])
    store.append((value, value.to_pylist()))
    return pa.array([all(array.to_pylist() == copy for array, copy in store)] * len(value))


def arrays_kept() -> Any:
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "10")
    try:
        for _ in range(3):
            rows = spark.range(0, 2000, 1, 20).select(keep("id").alias("same")).where("not same").count()
            if rows:
                return f"{rows} rows saw an array that had changed"
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    return True


if spark.version >= "4.1":
    fault("arrays kept over batches and tasks", arrays_kept)


def short_tasks() -> Any:
    executors = faults.executors()
    before = descriptors(executors)
    tasks = int(os.environ.get("RUDF_SHORT_TASKS", "1000"))
    wanted = tasks * (2 * tasks + 1)
    if spark.range(0, 2 * tasks, 1, tasks).select(fine("id").alias("v")).agg(F.sum("v")).first()[0] != wanted:
        return "wrong"
    after, workers = descriptors(executors), len(seen(64))
    return (after < before + 100 and workers <= 4) or f"{before} descriptors became {after}; {workers} workers"


fault("many short tasks", short_tasks)


def limit() -> Any:
    return spark.range(0, 10_000_000, 1, 4).select(fine("id")).limit(3).count() == 3


fault("a limit", limit)


def executor_killed() -> Any:
    note = once("executor")

    @rudf("bigint")
    def kills(value):
        server = os.getppid()
        with open(f"/proc/{server}/stat") as file:
            executor = int(file.read().rsplit(") ", 1)[1].split()[1])
        try:
            descriptor = os.open(note, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return value
        os.write(descriptor, f"{os.getpid()} {server} {executor}".encode())
        os.kill(executor, signal.SIGKILL)
        time.sleep(60)

    total = ids.select(kills("id").alias("v")).agg(F.sum("v")).first()[0]
    if total != 190:
        return f"the sum is {total}"
    gone = [int(number) for number in Path(note).read_text().split()]
    return until(lambda: not any(map(is_running, gone)), 5) or "processes outlive their executor"


if on_executors:
    fault("executor killed in mid-batch", executor_killed)

# One kind of each family, with the worst that a function does.


def segfaults() -> None:
    import ctypes

    ctypes.string_at(0)


def never_returns() -> None:
    with open(once("families"), "a") as file:
        file.write(f"{os.getpid()}\n")
    while True:
        pass


def raises() -> None:
    raise ValueError("not this one")


def killed_for(family: str) -> Any:
    note = once(f"killed-{family}")

    def act() -> None:
        try:
            os.close(os.open(note, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    rows = families(spark, act)[family]().collect()
    return (os.path.exists(note) and len(rows) == 20) or f"{rows}"


def timed_out(family: str) -> Any:
    spark.conf.set("spark.rudf.timeout", "1")
    try:
        return told(families(spark, never_returns)[family], "`doomed`", "spark.rudf.timeout", "in never_returns")
    finally:
        spark.conf.unset("spark.rudf.timeout")


def cancelled_in(family: str) -> Any:
    note = Path(once("families"))
    note.unlink(missing_ok=True)
    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(told(families(spark, never_returns)[family], "cancelled")))
    thread.start()
    if not until(note.exists):
        return "it did not start"
    start = time.time()
    spark.sparkContext.cancelAllJobs()
    thread.join(20)
    workers = [int(line) for line in note.read_text().split()]
    if not until(lambda: not any(map(is_running, workers)), 5):
        return "a worker lives on"
    return outcome[0] if outcome and time.time() - start < 10 else "it could not be cancelled"


#: What a fault does, and what is told of it.
WORST: dict[str, tuple[Any, tuple[str, ...]]] = {
    "segmentation fault": (segfaults, ("signal 11", "in segfaults")),
    "os._exit": (lambda: os._exit(3), ("exit code 3",)),
    "sys.exit": (lambda: sys.exit(4), ("SystemExit: 4",)),
    "exception": (raises, ("ValueError: not this one", "in raises")),
}
if spark.version >= "4.3":
    for family in families(spark, raises):
        fault(f"killed in a {family}, and tried again", lambda f=family: killed_for(f))
        if on_executors:
            # The others do not depend on where it is.
            continue
        for name, (act, words) in WORST.items():
            doomed = families(spark, act)[family]
            fault(f"{name} in a {family}", lambda f=doomed, w=words: told(f, "`doomed`", *w))
        fault(f"too long in a {family}", lambda f=family: timed_out(f))
        fault(f"cancelled in a {family}", lambda f=family: cancelled_in(f))

everything = {number for entry in seen(16) for number in entry[:2]}
spark.stop()
faults.results["nothing is left"] = (
    until(lambda: not any(map(is_running, everything))) or "processes outlive the application"
)
with open(target, "w") as file:
    json.dump(faults.results, file, indent=1)
