"""Libraries that run on cloudpickle, run on rudf.pickle in its place; each is tried where it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

#: A package named cloudpickle, for the process and its children.
IN_PLACE = """
from rudf.pickle import *
from rudf.pickle import list_registry_pickle_by_value
from . import cloudpickle
"""

CODE = """
import enum, functools
class Color(enum.Enum):
    RED = 1
    def __init__(self, number): self.half = number / 2
class Base:
    def __init_subclass__(cls, *, tag, **rest): cls.tag = tag
class Model(Base, tag="m"):
    __slots__ = ("factor",)
    def __init__(self, factor): self.factor = factor
    def score(self, x): return x * self.factor, Color.RED, self.tag
@functools.lru_cache
def cached(x): return x + 1
def work(x, model=Model(3)):
    return model.score(cached(x)), os.getpid(), "_rudf" in vars(__import__("copyreg"))
def check(results):
    assert [result[0] for result in results] == [((x + 1) * 3, Color.RED, "m") for x in range(8)], results
    assert os.getpid() not in [result[1] for result in results]
    # The class came in a pickle of rudf.
    assert all(result[2] for result in results), results
"""


def run(source: str, folder: Path) -> None:
    """Run a script whose cloudpickle is rudf's."""
    package = folder / "cloudpickle"
    package.mkdir()
    (package / "__init__.py").write_text(IN_PLACE)
    (package / "cloudpickle.py").write_text("from rudf.pickle import *\n")
    script = folder / "job.py"
    # Spawned processes run the script again, as another module.
    body = textwrap.indent(CODE + textwrap.dedent(source), "    ")
    script.write_text(f"import os, sys\nimport cloudpickle\nif __name__ == '__main__':\n{body}")
    path = os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_loky_runs_work_in_processes(tmp_path: Path) -> None:
    pytest.importorskip("loky")
    source = """
    import loky
    executor = loky.get_reusable_executor(max_workers=2)
    check(list(executor.map(work, range(8))))
    wrapped = loky.wrap_non_picklable_objects(lambda x: work(x))
    check(list(executor.map(wrapped, range(8))))
    from loky.backend.reduction import get_loky_pickler
    assert get_loky_pickler().__mro__[1].__module__ == "rudf.pickle", get_loky_pickler().__mro__
    """
    run(source, tmp_path)


def test_joblib_runs_work_in_processes(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    source = """
    import joblib
    from joblib.externals.loky import set_loky_pickler
    set_loky_pickler("rudf.pickle")
    check(joblib.Parallel(n_jobs=2)(joblib.delayed(work)(x) for x in range(8)))
    import numpy
    large = numpy.ones(2_000_000)
    sums = joblib.Parallel(n_jobs=2, max_nbytes="1M")(joblib.delayed(lambda a, i: (type(a).__name__, a.sum() + i))(large, i) for i in range(2))
    assert sums == [("memmap", 2_000_000), ("memmap", 2_000_001)], sums
    """
    run(source, tmp_path)


def test_distributed_runs_work_in_processes(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    source = """
    import distributed
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, distributed.Client(cluster) as client:
        check(client.gather(client.map(work, range(8))))
        import numpy
        data = client.submit(lambda n: numpy.arange(n), 1000)
        assert client.submit(lambda a: lambda: a.sum(), data).result()() == 499500
    """
    run(source, tmp_path)
