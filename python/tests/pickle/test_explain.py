"""`explain` tells what goes into the bytes, with sizes that are those of the bytes."""

from __future__ import annotations

import json
import os
import textwrap
import types
import warnings
from collections.abc import Iterator
from pathlib import Path

import cases_classes
import cases_functions
import cases_newer
import cases_odd
import cases_values
import pytest
from fresh import Case, build

from rudf import cli, sizes
from rudf import pickle as rudf_pickle

CASES: dict[str, Case] = {**cases_functions.CASES, **cases_classes.CASES, **cases_values.CASES, **cases_newer.CASES, **cases_odd.CASES}

JOB = """
import json, os.path
TABLE = ["row %d" % number for number in range(1000)]
LIMIT = 10
def helper(x): return TABLE[x], json.dumps(x)
def outer():
    factor, names = 3, ["a" * 300]
    def score(x, start=(1, 2)):
        return helper(x), factor, names, LIMIT, os.path.join("a", str(start))
    return score
obj = outer()
"""


def parts(part: rudf_pickle.Part, path: str = "") -> Iterator[tuple[str, rudf_pickle.Part]]:
    """Every part with its path."""
    for inner in part.parts:
        here = f"{path} → {inner.label}".removeprefix(" → ")
        yield here, inner
        yield from parts(inner, here)


@pytest.mark.parametrize("name", CASES)
def test_sizes_are_those_of_the_bytes(name: str) -> None:
    obj = build(CASES[name].source)
    explanation = rudf_pickle.explain(obj)
    assert explanation.size == explanation.root.size == len(rudf_pickle.dumps(obj))
    for path, part in [("", explanation.root), *parts(explanation.root)]:
        inside = sum(inner.size for inner in part.parts) + part.others_size
        assert 0 <= inside <= part.size, path


def test_captured_variables_globals_and_modules_are_told_with_reasons() -> None:
    obj = build(JOB)
    found = dict(parts(rudf_pickle.explain(obj).root))
    assert found["global 'helper'"].how == "value"
    assert found["global 'helper'"].why == "__main__ is another module at the receiver"
    assert found["global 'helper' → global 'TABLE'"].type == "list"
    assert found["global 'helper' → global 'json'"].how == "reference"
    assert found["closure 'names'"].size > 300
    assert found["closure 'factor'"].type == "int"
    assert found["global 'LIMIT'"].size <= 10
    assert found["defaults → [0]"].type == "tuple"
    assert found["code"].type == "job.py, line 8"
    assert [path for path, _ in rudf_pickle.explain(obj).largest(2)] == [
        "global 'helper' → global 'TABLE'",
        "closure 'names'",
    ]


def test_large_value_takes_its_size() -> None:
    data = os.urandom(1_000_000)
    explanation = rudf_pickle.explain(lambda: data)
    (path, part) = explanation.largest(1)[0]
    assert (path, part.type) == ("closure 'data'", "bytes")
    assert 1_000_000 <= part.size < 1_000_100


def test_object_that_is_met_again_is_shared() -> None:
    value = ["x" * 1000]
    found = dict(parts(rudf_pickle.explain({"a": value, "b": [value]}).root))
    assert found["['a']"].how == "data"
    assert found["['b'] → [0]"].how == "shared"
    assert found["['b'] → [0]"].size < 10


def test_modules_by_value_are_told() -> None:
    import json.decoder

    explanation = rudf_pickle.explain(json.decoder.JSONDecoder, by_value=[json])
    assert (explanation.root.how, explanation.root.why) == ("value", "json.decoder is registered to go by value")
    assert rudf_pickle.explain(json.decoder.JSONDecoder).root.how == "reference"
    dynamic = types.ModuleType("made_here")
    assert rudf_pickle.explain(dynamic).root.how == "value"


def test_of_a_large_container_the_largest_parts_are_kept() -> None:
    explanation = rudf_pickle.explain(["x" * (number % 5) for number in range(5000)] + ["y" * 5000])
    root = explanation.root
    assert root.parts[0].label == "[5000]"
    assert root.others + len(root.parts) == 5001
    assert "more" in str(explanation)


def test_deep_objects_are_no_trouble() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert rudf_pickle.explain(deep).size == len(rudf_pickle.dumps(deep))


def test_text_and_json_tell_the_same() -> None:
    explanation = rudf_pickle.explain(build(JOB))
    lines = str(explanation).splitlines()
    assert lines[0].endswith("function outer.<locals>.score by value: __main__ is another module at the receiver")
    assert any("  global 'TABLE': list" in line for line in lines)
    document = json.loads(explanation.to_json())
    assert document["size"] == explanation.size
    assert document["root"]["parts"][0]["label"] == "global 'helper'"


def test_what_cannot_be_pickled_is_refused_as_in_dumps() -> None:
    import threading

    lock = threading.Lock()
    with pytest.raises(rudf_pickle.PicklingError, match="closure 'lock'"):
        rudf_pickle.explain(lambda: lock)


def test_inspect_shows_functions_of_files_and_modules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = tmp_path / "some_job.py"
    job.write_text(textwrap.dedent(JOB) + "\nif __name__ == '__main__': raise SystemExit('ran')\n")
    assert cli.main(["inspect", f"{job}:obj"]) == 0
    assert "global 'helper': function helper by value" in capsys.readouterr().out
    assert cli.main(["inspect", "--json", f"{job}:obj"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "outer.<locals>.score"
    assert cli.main(["inspect", "json:JSONEncoder.encode", "--by-value", "json"]) == 0
    assert "code: json/encoder.py" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_colon", "is not FILE:NAME or MODULE:NAME"),
        ("no_such_module:x", "cannot be imported: ModuleNotFoundError"),
        ("missing.py:x", "there is no file missing.py"),
        ("json:nothing.here", "json has no 'nothing.here'"),
    ],
)
def test_inspect_says_what_is_missing(target: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", target]) == 1
    assert message in capsys.readouterr().err


@pytest.fixture
def limit() -> Iterator[None]:
    sizes._warned.keys.clear()
    sizes.set_warn_bytes("2k")
    yield
    sizes.set_warn_bytes(None)


def test_large_function_is_warned_of_once_with_the_largest_parts(limit: None) -> None:
    obj = build(JOB)
    payload = rudf_pickle.dumps(obj)
    with pytest.warns(RuntimeWarning, match=r"`outer.<locals>.score` has [\d,]+ bytes.*global 'TABLE' \(list, ") as caught:
        sizes.check((obj, "string"), payload)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sizes.check((obj, "string"), payload)
        sizes.check((build(JOB), "string"), payload)


def test_small_functions_and_large_data_are_not_warned_of(limit: None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sizes.check(build("def obj(x): return x"), b"x" * 100)
        sizes.check([("row", 1)], b"x" * 10_000)
        sizes.check(("row", 1), b"x" * 10_000)
        sizes.set_warn_bytes(0)
        sizes.check(build(JOB), b"x" * 10_000_000)


@pytest.mark.parametrize(("text", "number"), [("1000", 1000), ("64k", 65536), ("1m", 1 << 20), ("2MB", 2 << 20), ("-1", -1)])
def test_limits_are_read_as_spark_reads_them(text: str, number: int) -> None:
    assert sizes._bytes(text) == number
    with pytest.raises(ValueError, match="number of bytes"):
        sizes._bytes(f"{text}x")
