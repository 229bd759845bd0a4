"""The same source gives the same bytes in every process: whatever the hash seed, the directory, the order of imports."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import cases_classes
import cases_functions
import cases_idioms_classes
import cases_idioms_corners
import cases_idioms_functions
import cases_idioms_members
import cases_idioms_typing
import cases_idioms_values
import cases_newer
import cases_odd
import cases_values
import pytest
from fresh import Case

CASES: dict[str, Case] = {
    **cases_functions.CASES,
    **cases_classes.CASES,
    **cases_values.CASES,
    **cases_newer.CASES,
    **cases_odd.CASES,
    **cases_idioms_classes.CASES,
    **cases_idioms_corners.CASES,
    **cases_idioms_functions.CASES,
    **cases_idioms_members.CASES,
    **cases_idioms_typing.CASES,
    **cases_idioms_values.CASES,
}

#: Has a temporary file, with a name of its own in every process.
del CASES["logger_and_files"]

#: Sets of every kind of element that has an order of its own, and what takes its order from sets.
CASES["sets_of_values"] = Case(
    """
    import collections, dataclasses, datetime, decimal, enum, pathlib, uuid
    class Color(enum.Enum): RED = [1]; GREEN = "x"; BLUE = 3
    class Bits(enum.Flag): A = 1; B = 2
    Pair = collections.namedtuple("Pair", "x y")
    @dataclasses.dataclass(frozen=True)
    class Frozen: a: str; b: tuple
    def f(): pass
    def g(): pass
    words = [f"w{i}" for i in range(40)]
    obj = [
        set(words), {w.encode() for w in words}, {datetime.date.fromordinal(i + 1) for i in range(40)}, set(Color),
        {datetime.datetime(2020, 1, 1 + i, tzinfo=datetime.timezone(datetime.timedelta(hours=i % 5))) for i in range(28)},
        {decimal.Decimal(w[1:]) for w in words}, {uuid.UUID(int=i * 7919) for i in range(40)}, {Bits.A, Bits.B, Bits.A | Bits.B},
        {pathlib.PurePosixPath(w) for w in words}, {Pair(w, (w, 1)) for w in words}, {Frozen(w, (w,)) for w in words},
        {frozenset([w, w + "x", frozenset([w])]) for w in words}, {int, str, Color, Pair, f, g, len}, {1j, 2j, 3.5, None, ..., True},
        {1 << (70 + i) for i in range(40)}, {1, "a", None, b"x", (1, "q"), frozenset(["k", "l"]), Color.RED, int}, {"\\ud800", "a"},
    ]
    """,
    "assert len(obj) == 17",
)
CASES["constants_that_are_sets"] = Case(
    """
    def obj(x):
        def inner(y): return y in {"p", "q", "r", ("s", b"t", 1.5), None}
        return x in {"alpha", "beta", "gamma"} or inner(x)
    """,
    "assert obj('beta') and obj('q')",
)
CASES["attributes_set_in_methods"] = Case(
    """
    class obj:
        def __init__(self): self.alpha = self.beta = self.gamma = self.delta = self.epsilon = 1
    """,
    "assert obj().alpha == 1",
)

#: Pickles each case in a process of its own, so that none sees the classes of another, and answers with the bytes.
SENDER = """
import os, pickle, sys, textwrap
order, *path = sys.argv[1:]
sys.path[1:1] = path
if order == "backwards":
    import xml.etree.ElementTree, concurrent.futures, uuid, decimal, email.message, datetime, fractions, dataclasses, enum
    import zipfile, http.client, asyncio
import rudf.pickle
results = {}
for name, source in pickle.load(sys.stdin.buffer):
    reader, writer = os.pipe()
    if os.fork() == 0:
        space = {"__name__": "__main__"}
        try:
            exec(compile(textwrap.dedent(source), os.path.join(os.getcwd(), "job.py"), "exec", dont_inherit=True), space)
            answer = rudf.pickle.dumps(space["obj"])
        except Exception as error: answer = repr(error)
        with open(writer, "wb") as pipe: pickle.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe: results[name] = pickle.load(pipe)
    os.wait()
sys.stdout.buffer.write(pickle.dumps(results))
"""


def send(folder: Path, seed: str, order: str) -> dict[str, bytes]:
    """The bytes of every case, from a process that was started in a folder with a hash seed."""
    folder.mkdir()
    script = folder / "job.py"
    script.write_text(SENDER)
    names = list(CASES.items()) if order == "forwards" else list(CASES.items())[::-1]
    done = subprocess.run(
        [sys.executable, str(script), order, *(path for path in sys.path if path)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONHASHSEED": seed},
        input=pickle.dumps([(name, case.source) for name, case in names]),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


@cache
def outputs() -> list[dict[str, bytes]]:
    """What processes that differ in everything but the source write."""
    with TemporaryDirectory() as root:
        return [
            send(Path(root, "first"), "1", "forwards"),
            send(Path(root, "another place"), "2", "backwards"),
            send(Path(root, "third"), "random", "forwards"),
        ]


@pytest.mark.parametrize("name", CASES)
def test_bytes_are_those_of_any_other_process(name: str) -> None:
    written = [output[name] for output in outputs()]
    assert all(isinstance(payload, bytes) for payload in written), written[0]
    assert written[0] == written[1] == written[2]


def test_no_payload_names_the_directory() -> None:
    for name, payload in outputs()[0].items():
        assert b"/first" not in payload and os.fsencode(sys.prefix) not in payload, name


def test_a_file_is_named_as_seen_from_where_it_was_found() -> None:
    with TemporaryDirectory() as root:
        package = Path(root, "package", "inner")
        package.mkdir(parents=True)
        (package / "part.py").write_text("def outer():\n    return lambda: 1 / 0\n")
        code = (
            "import sys; sys.path[:0] = sys.argv[1:]; from package.inner.part import outer; from rudf import pickle;"
            "sys.stdout.buffer.write(pickle.dumps(outer()))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, root, *(path for path in sys.path if path)], capture_output=True, check=True
        )
    assert pickle.loads(done.stdout).__code__.co_filename == "package/inner/part.py"
