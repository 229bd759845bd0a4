"""How long a query waits for Python, how tasks share a machine, and what a worker takes: rudf and PySpark in one run.

- *warm*: a query over one row in a session that has run it before; the wait is what it takes over the same query without
  a Python function;
- *first*: the same in a session that has just been started, with and without a function in sessions of their own;
- *two tasks*: rows a second of a row function with two tasks at once over those of one task alone; without Spark, of two
  Python processes, which is what the machine's cores give. On two cores one task alone has the other core for the JVM's
  part of the work, so it is also measured with *one core* for one task;
- *memory*: resident and proportional set size of the process that runs the function.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "jobs"))

from rudf import rudf
from side_by_side import run, runs_in_rudf, start_session, stock_udf

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame, SparkSession


def row_function(v: int) -> int:
    """Compute on one number."""
    return v + 1


def busy_row_function(v: int) -> int:
    """Work on one number for a microsecond or so."""
    for _ in range(20):
        v ^= v >> 3
    return v


def arrow_function(v: pa.Array) -> pa.Array:
    """Compute on a column."""
    import pyarrow.compute as pc

    return pc.add(v, 1)


def pandas_function(v: pd.Series) -> pd.Series:
    """Compute on a Series."""
    return v + 1


FUNCTIONS: list[Callable[..., Any]] = [row_function, arrow_function, pandas_function]


def of_process(v: int) -> str:
    """Tell, in the last row, the memory of the process that runs this, in MiB."""
    sizes: dict[str, float] = {}
    if v != 19_999:
        return ""
    with open("/proc/self/smaps_rollup") as file:
        for line in file:
            name, _, rest = line.partition(":")
            if name in ("Rss", "Pss"):
                sizes[name] = int(rest.split()[0]) / 1024
    return json.dumps(sizes)


def sides(function: Any, return_type: str = "bigint") -> dict[str, Any]:
    ours = rudf(function, return_type)
    return {"rudf": ours, "pyspark": stock_udf(ours)}


def warm(spark: SparkSession, repeats: int) -> list[dict[str, Any]]:
    """Median wait of warm queries over one row, which take turns."""
    results = []
    one = spark.createDataFrame([(1,)], "id bigint").repartition(1).cache()
    one.count()
    for function in FUNCTIONS:
        udfs = sides(function)
        assert runs_in_rudf(one.select(udfs["rudf"]("id")))
        queries = {name: (lambda udf=udf: one.select(udf("id"))) for name, udf in udfs.items()}
        queries["none"] = lambda: one.selectExpr("id + 1")
        times: dict[str, list[float]] = {name: [] for name in queries}
        for repeat in range(repeats + 5):
            for name, query in queries.items():
                start = time.perf_counter()
                query().collect()
                if repeat >= 5:
                    times[name].append(time.perf_counter() - start)
        none = times["none"]
        # Each against the query without a function of the same round: a machine with other work is not the same for long.
        wait = {
            name: statistics.median(with_udf - without for with_udf, without in zip(times[name], none, strict=True))
            * 1000
            for name in udfs
        }
        results.append(
            {"case": f"warm, {function.__name__}", "unit": "ms", "none": statistics.median(none) * 1000}
            | wait
            | {"ratio": wait["rudf"] / wait["pyspark"]}
        )
    return results


def first_alone(side: str) -> None:
    """In a process of its own: start Spark, and time its first query."""
    spark = start_session("first", "local[2]")
    frame = spark.range(0, 1000, 1, 2)
    start = time.perf_counter()
    column = "id + 1" if side == "none" else sides(row_function)[side]("id")
    (frame.selectExpr(column) if side == "none" else frame.select(column)).collect()
    print(time.perf_counter() - start)
    spark.stop()


def first(repeats: int) -> dict[str, Any]:
    """Wait of the first query of fresh sessions, medians."""
    times: dict[str, list[float]] = {"none": [], "rudf": [], "pyspark": []}
    for _ in range(repeats):
        for side, seconds in times.items():
            command = [sys.executable, __file__, "--first", side]
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            seconds.append(float(told.strip().splitlines()[-1]))
    median = {name: statistics.median(seconds) for name, seconds in times.items()}
    wait = {name: median[name] - median["none"] for name in ("rudf", "pyspark")}
    return (
        {"case": "first, row_function", "unit": "s", "none": median["none"]}
        | wait
        | {"ratio": wait["rudf"] / wait["pyspark"]}
    )


#: Computes as `busy_row_function` does, without Spark, and prints how long that took.
ALONE = """
import sys, time
start = time.perf_counter()
for v in range(int(sys.argv[1])):
    for _ in range(20):
        v ^= v >> 3
print(time.perf_counter() - start)
"""


def alone(processes: int, rows: int) -> float:
    """Seconds that Python processes take at once for so many rows each."""
    command = [sys.executable, "-c", ALONE, str(rows)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return max(float(process.communicate()[0]) for process in started)


def descendants() -> list[int]:
    """Return the processes that this one has started, and those that they have, itself included."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [os.getpid()]
    for parent in found:
        found += [process for process, of in parents.items() if of == parent]
    return found


def run_on(cores: set[int]) -> None:
    """Have every thread of these processes run on these cores alone; what they start then does so too."""
    for process in descendants():
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{process}/task"):
                os.sched_setaffinity(int(thread), cores)


def tasks_at_once(spark: SparkSession, rows: int, repeats: int) -> list[dict[str, Any]]:
    """Rows a second of two tasks at once over those of one, where each has as many rows."""
    udfs = sides(busy_row_function)
    every = os.sched_getaffinity(0)
    times: dict[tuple[str, str], list[float]] = {}
    for repeat in range(repeats + 1):
        for case, tasks, cores in (("one", 1, every), ("on one core", 1, {min(every)}), ("two", 2, every)):
            run_on(cores)
            measured = {"none": alone(tasks, rows)}
            for name, udf in udfs.items():
                run_on(cores)
                measured[name] = run(spark.range(0, rows * tasks, 1, tasks).select(udf("id")))
            if repeat:
                for name, seconds in measured.items():
                    times.setdefault((name, case), []).append(seconds)
    run_on(every)
    median = {key: statistics.median(seconds) for key, seconds in times.items()}
    return [
        {"case": f"two tasks over one{where}", "unit": "x"}
        | {name: 2 * median[name, case] / median[name, "two"] for name in ("none", *udfs)}
        for case, where in (("one", ""), ("on one core", ", a core each"))
    ]


def memory(spark: SparkSession) -> list[dict[str, Any]]:
    """Memory of workers that have run a batch of a function, at the last of several queries."""
    results = []
    for size in ("Rss", "Pss"):
        told = {}
        for name, udf in sides(of_process, "string").items():
            frame: DataFrame = spark.range(0, 20_000, 1, 1).select(udf("id").alias("v"))
            for _ in range(3):
                rows = frame.collect()
            told[name] = json.loads(rows[-1].v)[size]
        results.append({"case": f"memory ({size})", "unit": "MiB"} | told | {"ratio": told["rudf"] / told["pyspark"]})
    return results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=30, help="warm queries; the others run a tenth as often")
    parser.add_argument(
        "--rows", type=int, default=4_000_000, help="rows of each task; what a query costs by itself must not count"
    )
    parser.add_argument("--only", help="warm, first, tasks or memory")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--first", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first:
        first_alone(options.first)
        return
    few = max(options.repeats // 10, 1)
    results: list[dict[str, Any]] = []
    wanted = lambda part: options.only in (None, part)  # noqa: E731
    if wanted("first"):
        results.append(first(few))
    spark = start_session("latency", "local[2]")
    spark.conf.set("spark.rudf.worker", "process")
    if wanted("warm"):
        results += warm(spark, options.repeats)
    if wanted("tasks"):
        results += tasks_at_once(spark, options.rows, few)
    if wanted("memory"):
        results += memory(spark)
    version = spark.version
    spark.stop()
    print(
        f"Spark {version}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; waits are over the query without a function"
    )
    print(f"{'case':<32}{'unit':>5}{'none':>9}{'PySpark':>10}{'rudf':>10}{'rudf/PySpark':>14}")
    for result in results:
        none, ratio = (f"{result[key]:.2f}" if key in result else "" for key in ("none", "ratio"))
        print(
            f"{result['case']:<32}{result['unit']:>5}{none:>9}{result['pyspark']:>10.2f}{result['rudf']:>10.2f}{ratio:>14}"
        )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
