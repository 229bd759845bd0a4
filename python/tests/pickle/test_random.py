"""Random object graphs come back as the standard pickler brings them back; random programs work in a fresh interpreter."""

from __future__ import annotations

import pickle
import pickletools
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import random_objects
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rudf import pickle as rudf_pickle

#: Loads one program's ``obj`` after the other and says what it returns: ``python -I -S``, and for many programs.
CHILD = """
import pickle, sys
while True:
    try: payload = pickle.load(sys.stdin.buffer)
    except EOFError: break
    try: answer = repr([pickle.loads(payload)(x) for x in range(3)])
    except BaseException as error: answer = f"{type(error).__name__}: {error}"
    assert not {"rudf", "cloudpickle"} & set(sys.modules)
    pickle.dump(answer, sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""

#: Without shrinking, which would take minutes: the seed that is printed brings a failure back.
CALM = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
    print_blob=True,
)


def choices(data: st.DataObject) -> random_objects.Choose:
    """Have hypothesis choose."""
    return lambda bound: data.draw(st.integers(0, bound - 1)) if bound > 1 else 0


@CALM
@given(st.data(), st.sampled_from([2, 3, 4, 5]))
def test_graph_has_the_shape_that_the_standard_pickler_gives(data: st.DataObject, protocol: int) -> None:
    obj = random_objects.graph(choices(data))
    theirs = pickle.loads(pickle.dumps(obj, protocol))
    payload = rudf_pickle.dumps(obj, protocol)
    for loads in (pickle.loads, pickle._loads):  # type: ignore[attr-defined]
        assert random_objects.shape(loads(payload)) == random_objects.shape(theirs)
    *_, last = pickletools.genops(payload)
    assert last[0].name == "STOP" and last[2] == len(payload) - 1


@CALM
@given(st.data())
def test_out_of_band_and_pickler_give_the_same_graph(data: st.DataObject) -> None:
    obj = random_objects.graph(choices(data))
    buffers: list[Any] = []
    payload = rudf_pickle.dumps([obj, pickle.PickleBuffer(b"x" * 10)], buffer_callback=buffers.append)
    loaded = pickle.loads(payload, buffers=buffers)
    assert random_objects.shape(loaded[0]) == random_objects.shape(obj) and len(buffers) == 1


@pytest.fixture(scope="module")
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@CALM
@given(st.data(), st.sampled_from([2, 4, 5]))
def test_random_program_works_in_a_fresh_interpreter(
    child: subprocess.Popen[bytes], data: st.DataObject, protocol: int
) -> None:
    source = random_objects.program(choices(data))
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "/home/someone/job.py", "exec", dont_inherit=True), space)
    expected = repr([space["obj"](x) for x in range(3)])
    payload = rudf_pickle.dumps(space["obj"], protocol)
    assert child.stdin is not None and child.stdout is not None
    pickle.dump(payload, child.stdin)
    child.stdin.flush()
    assert pickle.load(child.stdout) == expected, source
    pickletools.dis(payload, out=_Nowhere())


class _Nowhere:
    """A text file that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)
