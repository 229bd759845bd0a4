"""Pickles random graphs and programs for as long as it is told to, and compares with the standard library.

``python fuzz.py SECONDS [SEED]``: a failure names the seed that brings it back. Where the standard pickler refuses, this one
may do as it likes but not crash; every tenth object holds something that misbehaves while it is pickled.
"""

from __future__ import annotations

import faulthandler
import gc
import io
import pickle
import pickletools
import random
import sys
import time
from typing import Any

import random_objects

from rudf import pickle as rudf_pickle


class Misbehaving:
    """Changes what holds it, pickles, collects garbage or raises while it is pickled."""

    def __init__(self, chooser: random.Random, holders: list[Any]) -> None:
        self.chooser, self.holders = chooser, holders

    def __reduce__(self) -> Any:
        holder = self.chooser.choice(self.holders)
        deed = self.chooser.randrange(7)
        if deed == 0:
            gc.collect()
        elif deed == 1:
            raise ZeroDivisionError("misbehaving")
        elif deed == 2 and hasattr(holder, "clear"):
            holder.clear()
        elif deed == 3 and hasattr(holder, "__dict__"):
            holder.__dict__.clear()
        elif deed == 4 and isinstance(holder, (list, bytearray)):
            holder.extend(range(100))
        elif deed == 5:
            rudf_pickle.dumps([lambda: holder])
        elif deed == 6:
            return self.chooser.choice([5, (), (1,), (int, 5), (int, (), None, 5), "nowhere", (int, (), [], iter("ab"))])
        return int, ()


def misbehave(chooser: random.Random) -> None:
    """Pickle a graph that holds misbehaving objects: any exception will do."""
    choose = chooser.randrange
    obj = [random_objects.graph(choose) for _ in range(3)]
    holders = [part for part in gc.get_referents(*obj, obj) if not isinstance(part, type)] or [obj]
    misbehaving = Misbehaving(chooser, holders)
    obj.insert(choose(4), misbehaving)
    for holder in holders:
        if isinstance(holder, list):
            holder.insert(0, misbehaving)
        elif isinstance(holder, dict) and all(isinstance(key, str) for key in holder):
            holder["misbehaving"] = misbehaving
    try:
        payload = rudf_pickle.dumps(obj, choose(4) + 2)
    except (ZeroDivisionError, pickle.PicklingError, RuntimeError, TypeError, AttributeError, BufferError):
        return
    for _ in pickletools.genops(payload):
        pass


def compare(chooser: random.Random) -> None:
    """Pickle a graph with both picklers."""
    choose = chooser.randrange
    obj, protocol = random_objects.graph(choose), choose(4) + 2
    theirs = random_objects.shape(pickle.loads(pickle.dumps(obj, protocol)))
    file = io.BytesIO()
    rudf_pickle.Pickler(file, protocol).dump(obj)
    for payload in (rudf_pickle.dumps(obj, protocol), file.getvalue()):
        assert random_objects.shape(pickle.loads(payload)) == theirs


def run_program(chooser: random.Random) -> None:
    """Pickle a program's function, and call what comes back."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(random_objects.program(chooser.randrange), "/fuzz/job.py", "exec", dont_inherit=True), space)
    payload = rudf_pickle.dumps(space["obj"], chooser.randrange(4) + 2)
    assert repr([pickle.loads(payload)(x) for x in range(3)]) == repr([space["obj"](x) for x in range(3)])


def main(seconds: float, seed: int | None = None) -> None:
    """Run until the time is over, or one seed."""
    faulthandler.enable()
    number = random.randrange(2**40) if seed is None else seed
    end, count = time.monotonic() + seconds, 0
    while count == 0 or (seed is None and time.monotonic() < end):
        chooser = random.Random(number)
        # A crash leaves this line as the last one.
        print(f"\rseed {number}", end="", file=sys.stderr, flush=True)
        (misbehave, compare, compare, run_program)[chooser.randrange(4)](chooser)
        number += 1
        count += 1
    print(f"\n{count} objects, no failure")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
