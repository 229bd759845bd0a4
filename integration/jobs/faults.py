"""What jobs share that cause faults on purpose: each fault has to be told or survived, and the next query has to work."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from rudf import rudf

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame, SparkSession


def is_running(process: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


def descendants(process: int) -> set[int]:
    """Return the processes below one."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rsplit(") ", 1)[1].split()[1])
        except OSError:
            pass
    found, new = set(), {process}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def until(so: Callable[[], bool], seconds: float = 20) -> bool:
    """Wait for something, and tell whether it came."""
    end = time.time() + seconds
    while not so() and time.time() < end:
        time.sleep(0.1)
    return so()


def descriptors(executors: set[int]) -> int:
    """Files that executors have open."""
    return sum(len(os.listdir(f"/proc/{executor}/fd")) for executor in executors)


def segments(executors: set[int]) -> int:
    """Segments of batches that executors have mapped."""
    return sum(Path(f"/proc/{executor}/maps").read_text().count("memfd:rudf-batch") for executor in executors)


def told(frame: Callable[[], DataFrame], *expected: str) -> Any:
    """Run a query that has to fail with certain words."""
    try:
        frame().collect()
    except Exception as error:
        missing = [text for text in expected if text not in str(error)]
        return True if not missing else f"{missing} is not in: {error}"
    return "it did not fail"


class Faults:
    """Faults of one application, and what came of them: for each `true`, or what was wrong."""

    def __init__(self, spark: SparkSession) -> None:
        self.spark = spark
        self.results: dict[str, Any] = {}

    def cause(self, name: str, cause: Callable[[], Any]) -> None:
        """Note whether a fault was what it should be, and whether the next query works."""
        try:
            outcome = cause()
        except Exception as error:
            outcome = f"{type(error)}: {error}"
        try:
            self.results[name] = outcome if outcome is not True else self.works() or "the next query is wrong"
        except Exception as error:
            self.results[name] = f"the next query failed: {error}"
        # Tells how far it came where a fault hangs.
        print(f"{name}: {str(self.results[name])[:200]}", flush=True)

    def works(self) -> bool:
        """Run a query in worker processes."""

        @rudf("bigint")
        def fine(value):
            return value + 1

        frame = self.spark.range(0, 100, 1, 4).select(fine("id").alias("v"))
        assert "worker=process" in frame._jdf.queryExecution().executedPlan().toString()
        return bool(frame.agg(F.sum("v")).first()[0] == 5050)

    def seen(self, tasks: int = 8) -> set[tuple[int, ...]]:
        """Workers, servers and executors that ran tasks."""

        @rudf("string")
        def processes(value):
            server = os.getppid()
            with open(f"/proc/{server}/stat") as file:
                executor = file.read().rsplit(") ", 1)[1].split()[1]
            return f"{os.getpid()} {server} {executor}"

        rows = self.spark.range(0, tasks, 1, tasks).select(processes("id").alias("p")).distinct().collect()
        return {tuple(map(int, row.p.split())) for row in rows}

    def executors(self) -> set[int]:
        """Processes of executors."""
        return {executor for *_, executor in self.seen(16)}
