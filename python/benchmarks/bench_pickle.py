"""Pickling by value, rudf beside cloudpickle in one run: time to write, time to read, size.

Usage: ``python bench_pickle.py [--json FILE] [--rounds N] [NAME ...]``

Each figure is the best of several rounds, in microseconds; ratios are cloudpickle / rudf (more is better), but for bytes,
which are rudf / cloudpickle. "cold" is the first pickle of freshly compiled code: the median of several compilations.
"first" is the first load in a fresh interpreter, with all that it imports: the median of several processes.
"""

from __future__ import annotations

import argparse
import datetime
import fractions
import functools
import gc
import json
import math
import pickle
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle

from rudf import pickle as rudf_pickle

#: Source of each payload of code: leaves it in ``obj``.
CODE = {
    "lambda": "obj = lambda x: x + 1",
    "closure, 3 cells": """
        def outer(a, b, c):
            def inner(x): return a * x + len(b) + c
            return inner
        obj = outer(2, "text", 3.5)
        """,
    "function, 10 globals": """
        A0, A1, A2, A3, A4, A5, A6, A7, A8, A9 = range(10)
        def obj(x):
            return x + A0 + A1 + A2 + A3 + A4 + A5 + A6 + A7 + A8 + A9
        """,
    "function using packages": """
        import json, numpy as np, pandas as pd
        def obj(s):
            return pd.Series(np.log1p(np.asarray(s))).to_json(), json.dumps({})
        """,
    "recursive function": "def obj(n): return 1 if n < 2 else n * obj(n - 1)",
    "class, 20 methods": "class obj:\n"
    + "\n".join(
        f"    def method_{i}(self, a, b={i}):\n        'doc {i}'\n        return self.x + a * b" for i in range(20)
    ),
    "dataclass": """
        import dataclasses
        @dataclasses.dataclass
        class obj:
            name: str
            value: float = 1.5
            tags: list = dataclasses.field(default_factory=list)
            def total(self): return self.value * len(self.tags)
        """,
    "enum": """
        import enum
        class obj(enum.Enum):
            RED = 1
            GREEN = 2
            BLUE = 3
            def lower(self): return self.name.lower()
        """,
    "100 functions, shared globals": """
        K = 3
        """
    + "".join(f"\n        def f{i}(x): return x * K + {i}" for i in range(100))
    + "\n        obj = ["
    + ", ".join(f"f{i}" for i in range(100))
    + "]",
    "list of 1000 lambdas": "obj = [eval('lambda x: x + %d' % i) for i in range(1000)]",
    "class hierarchy": """
        import abc
        class Base(abc.ABC):
            @abc.abstractmethod
            def area(self): ...
            def describe(self): return f"{type(self).__name__} {self.area()}"
        class Square(Base):
            __slots__ = ("side",)
            class Meta: unit = "m"
            def __init__(self, side): self.side = side
            def area(self): return self.side ** 2
            @property
            def double(self): return self.side * 2
        class Cube(Square):
            def area(self): return super().area() * 6
            @classmethod
            def unit(cls): return cls(1)
            @staticmethod
            def name(): return "cube"
        obj = Cube
        """,
}


def _build(source: str) -> Any:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(textwrap.dedent(source), "/job/job.py", "exec", dont_inherit=True), space)
    return space["obj"]


def _instances() -> list[Any]:
    cls = _build("class obj:\n    def __init__(self, i): self.number, self.name = i, str(i)")
    return [cls(i) for i in range(1000)]


def _array() -> Any:
    import numpy

    data = numpy.zeros(10_000_000 // 8)
    return lambda: data


#: Payloads of objects, made by a call.
OBJECTS: dict[str, Callable[[], Any]] = {
    "1000 instances of a class": _instances,
    "10 000 dates": lambda: [datetime.date(1990 + i % 30, 1 + i % 12, 1 + i % 28) for i in range(10_000)],
    "10 000 Fractions": lambda: [fractions.Fraction(i, 7) for i in range(10_000)],
}
PLAIN: dict[str, Callable[[], Any]] = {
    "1e5 ints, 1e4 strs + lambda": lambda: (list(range(100_000)), [f"string {i}" for i in range(10_000)], lambda x: x),
    "plain data": lambda: (list(range(100_000)), [f"string {i}" for i in range(10_000)]),
    "numpy 10 MB in a closure": _array,
}


def best(call: Callable[[], Any], rounds: int) -> float:
    """Microseconds of one call: the best of several rounds of at least 5 ms."""
    call()
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    number = max(1, int(0.005 / once))
    result = math.inf
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(number):
            call()
        result = min(result, (time.perf_counter() - start) / number)
    return result * 1e6


def cold(dumps: Callable[[Any], bytes], source: str, rounds: int) -> float:
    """Microseconds of the first pickle of freshly compiled code."""
    times = []
    for _ in range(rounds):
        obj = _build(source)
        start = time.perf_counter()
        dumps(obj)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


FIRST_LOAD = """
import pickle, sys, time
payload = sys.stdin.buffer.read()
start = time.perf_counter()
pickle.loads(payload)
print(time.perf_counter() - start)
"""


def first_loads(payloads: dict[str, bytes], rounds: int) -> dict[str, float]:
    """Microseconds of the first load of each payload in a fresh interpreter, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in payloads}
    for _ in range(rounds):
        for name, payload in payloads.items():
            done = subprocess.run([sys.executable, "-c", FIRST_LOAD], input=payload, capture_output=True, check=True)
            times[name].append(float(done.stdout))
    return {name: statistics.median(values) * 1e6 for name, values in times.items()}


def measure(obj: Any, source: str | None, rounds: int) -> dict[str, float]:
    """All figures of one payload, both sides."""
    theirs, ours = cloudpickle.dumps(obj), rudf_pickle.dumps(obj)
    row: dict[str, float] = {
        "cloudpickle dumps": best(lambda: cloudpickle.dumps(obj), rounds),
        "rudf dumps": best(lambda: rudf_pickle.dumps(obj), rounds),
        "cloudpickle loads": best(lambda: pickle.loads(theirs), rounds),
        "rudf loads": best(lambda: pickle.loads(ours), rounds),
        "cloudpickle bytes": len(theirs),
        "rudf bytes": len(ours),
    }
    if source is not None:
        row["cloudpickle cold"] = cold(cloudpickle.dumps, source, 15)
        row["rudf cold"] = cold(rudf_pickle.dumps, source, 15)
        firsts = first_loads({"cloudpickle first": theirs, "rudf first": ours}, 5)
        row.update(firsts)
    return row


def _ratio(row: dict[str, float], what: str) -> float:
    return row[f"cloudpickle {what}"] / row[f"rudf {what}"]


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("names", nargs="*", help="only these payloads")
    options = parser.parse_args()
    groups: dict[str, dict[str, tuple[Callable[[], Any], str | None]]] = {
        "code": {name: (functools.partial(_build, source), source) for name, source in CODE.items()},
        "objects": {name: (make, None) for name, make in OBJECTS.items()},
        "plain": {name: (make, None) for name, make in PLAIN.items()},
    }
    gc.disable()
    results: dict[str, dict[str, float]] = {}
    ratios: dict[str, dict[str, float]] = {}
    write = sys.stdout.write
    write(f"{'payload':32}{'cloudpickle':>12}{'rudf':>10}{'dumps':>8}{'cold':>8}{'loads':>8}{'first':>8}{'bytes':>8}\n")
    for group, payloads in groups.items():
        rows = []
        for name, (make, source) in payloads.items():
            if options.names and name not in options.names:
                continue
            row = results[name] = measure(make(), source, options.rounds)
            rows.append(row)
            whats = ("dumps", "cold", "loads", "first")
            cells = [f"{_ratio(row, what):.2f}" if f"rudf {what}" in row else "" for what in whats]
            size = row["rudf bytes"] / row["cloudpickle bytes"]
            write(f"{name:32}{row['cloudpickle dumps']:12.1f}{row['rudf dumps']:10.1f}")
            write("".join(f"{cell:>8}" for cell in cells) + f"{size:8.2f}\n")
            gc.collect()
        if len(rows) > 1:
            means = {
                what: statistics.geometric_mean(_ratio(row, what) for row in rows)
                for what in ("dumps", "cold", "loads", "first", "bytes")
                if f"rudf {what}" in rows[0]
            }
            means["bytes"] = 1 / means["bytes"]
            ratios[group] = means
            cells = [f"{means[what]:.2f}" if what in means else "" for what in (*whats, "bytes")]
            write(f"{'  geometric mean, ' + group:54}" + "".join(f"{cell:>8}" for cell in cells) + "\n")
    if options.json:
        options.json.write_text(json.dumps({"python": sys.version, "ratios": ratios, "payloads": results}, indent=2))


if __name__ == "__main__":
    main()
