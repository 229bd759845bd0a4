"""Loads pickles in a fresh interpreter that has the standard library and nothing else, and uses what comes out."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
from dataclasses import dataclass

from rudf import pickle as rudf_pickle

#: Runs in ``python -I -S``: no site-packages, no environment, no rudf.
CHILD = """
import pickle, sys, traceback
cases = pickle.load(sys.stdin.buffer)
results = {}
for name, payload, check in cases:
    try:
        space = {"obj": pickle.loads(payload), "payload": payload}
        exec(check, space)
        results[name] = None
    except BaseException:
        results[name] = traceback.format_exc()
assert not {"rudf", "cloudpickle"} & set(sys.modules)
sys.stdout.buffer.write(pickle.dumps(results))
"""


@dataclass(frozen=True)
class Case:
    """One thing to pickle and how to see that it works.

    Attributes
    ----------
    source
        Run as the module ``__main__`` of the sender; leaves the value in ``obj``.
    check
        Run in the fresh interpreter with the loaded ``obj``; asserts what must hold.
    """

    source: str
    check: str


def build(source: str) -> object:
    """Run a case's source as ``__main__`` would and return its ``obj``."""
    space: dict[str, object] = {"__name__": "__main__"}
    exec(compile(textwrap.dedent(source), "/home/someone/job.py", "exec", dont_inherit=True), space)
    return space["obj"]


def load_fresh(payloads: list[tuple[str, bytes, str]], *, executable: str = sys.executable) -> dict[str, str | None]:
    """Load and check each ``(name, payload, check)`` in one fresh interpreter; the traceback of each that fails."""
    done = subprocess.run(
        [executable, "-I", "-S", "-c", CHILD],
        input=pickle.dumps(payloads, protocol=4),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


def run_cases(cases: dict[str, Case], protocol: int | None = None) -> dict[str, str | None]:
    """Pickle every case here, load and use all of them in one fresh interpreter."""
    results: dict[str, str | None] = {}
    payloads = []
    for name, case in cases.items():
        try:
            payloads.append((name, rudf_pickle.dumps(build(case.source), protocol), textwrap.dedent(case.check)))
        except Exception as error:
            results[name] = f"dumps: {type(error).__name__}: {error}"
    results.update(load_fresh(payloads))
    return results
