"""CPython's own tests of its picklers, run against this one where the interpreter has its ``test`` package.

Debian's Pythons come without that package; pyenv's and those built from source have it. Run as a script, this prints
how many of the tests this pickler passes and how many the standard one does.
"""

from __future__ import annotations

import collections
import pickle
import sys
import unittest
from typing import Any

import pytest

from rudf import pickle as rudf_pickle

pickletester = pytest.importorskip("test.pickletester")
test_pickle = pytest.importorskip("test.test_pickle")

#: What the suite asks for and this pickler does not do on purpose, by the name of the test.
NOT_OURS = {
    "test_c_methods": "the suite wants static methods refused; they go by value here",
    "test_py_methods": "the suite wants static and class methods refused; they go by value here",
    "test_default_dispatch_table": "a pickler has a dispatch_table from the start, as cloudpickle's",
    "test_framed_write_sizes_with_delayed_writer": "a pickle is one write to its file, whatever its size",
    "test_local_lookup_error": "local functions go by value",
    **dict.fromkeys(
        ["test_protocol0_is_ascii_only", "test_bad_getattr", "test_float_format"]
        + [f"test_global_ext{width}" for width in (1, 2, 4)],
        "asks for what protocols 0 and 1 write",
    ),
}


class OurPickler(rudf_pickle.Pickler):
    """Writes protocol 2 where the suite asks for 0 or 1."""

    def __init__(self, file: Any, protocol: int | None = None, *arguments: Any, **options: Any) -> None:
        super().__init__(file, since_2(protocol), *arguments, **options)


class TheirPickler(pickle.Pickler):
    """The standard pickler, with the same protocols."""

    def __init__(self, file: Any, protocol: int | None = None, *arguments: Any, **options: Any) -> None:
        super().__init__(file, since_2(protocol), *arguments, **options)


def since_2(protocol: int | None) -> int | None:
    """The protocol to write where the suite asks for this one."""
    return max(protocol, 2) if protocol is not None and protocol >= 0 else protocol


def suite_of(module: Any, pickler: type) -> dict[str, type]:
    """The suite's classes for a module with ``dumps`` and a class of picklers."""

    def dump(obj: Any, file: Any, protocol: int | None = None, **options: Any) -> None:
        module.dump(obj, file, since_2(protocol), **options)

    def dumps(obj: Any, protocol: int | None = None, **options: Any) -> bytes:
        return module.dumps(obj, since_2(protocol), **options)

    mixins = pickletester.AbstractCustomPicklerClass, pickler
    reader = {"unpickler": pickle.Unpickler}
    objects = {"pickler_class": pickler, "unpickler_class": pickle.Unpickler}
    functions = {"dump": staticmethod(dump), "dumps": staticmethod(dumps)}
    loaders = {"load": staticmethod(pickle.load), "loads": staticmethod(pickle.loads)}
    chained = {"get_dispatch_table": lambda _: collections.ChainMap({}, pickle.dispatch_table)}
    copied = {"get_dispatch_table": lambda _: pickle.dispatch_table.copy()}
    kinds: dict[str, tuple[type, dict[str, Any]]] = {
        "InMemory": (
            pickletester.AbstractPickleTests,
            {
                "dumps": lambda _, *arguments, **options: dumps(*arguments, **options),
                "loads": lambda _, data, **options: pickle.loads(data, **options),
                "test_framed_write_sizes_with_delayed_writer": None,
            },
        ),
        "WithPickler": (test_pickle.PyPicklerTests, {"pickler": pickler, **reader}),
        "Module": (
            pickletester.AbstractPickleModuleTests,
            {"Pickler": pickler, "Unpickler": pickle.Unpickler, **functions, **loaders},
        ),
        "PersistentIds": (test_pickle.PyPersPicklerTests, {"pickler": pickler, **reader}),
        "Identities": (test_pickle.PyIdPersPicklerTests, {"pickler": pickler, **reader}),
        "Objects": (pickletester.AbstractPicklerUnpicklerObjectTests, objects),
        "DispatchTable": (pickletester.AbstractDispatchTableTests, {**objects, **copied}),
        "ChainedDispatchTable": (pickletester.AbstractDispatchTableTests, {**objects, **chained}),
        "Hooks": (pickletester.AbstractHookTests, {"pickler_class": type("Custom", mixins, {})}),
    }
    return {
        name: type(name, (base, unittest.TestCase), {**members, "__module__": __name__})
        for name, (base, members) in kinds.items()
    }


def named_tests(module: Any, pickler: type) -> dict[str, unittest.TestCase]:
    """The tests by their names."""
    return {
        f"{name}.{test}": case(test)
        for name, case in suite_of(module, pickler).items()
        for test in unittest.defaultTestLoader.getTestCaseNames(case)
    }


TESTS = named_tests(rudf_pickle, OurPickler)


@pytest.mark.parametrize("name", TESTS)
def test_of_cpython_passes(name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The suite writes files where it is run.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pickletester, "protocols", range(2, 6))
    reason = NOT_OURS.get(name.partition(".")[2])
    result = unittest.TestResult()
    TESTS[name].run(result)
    failures = [text for _, text in result.failures + result.errors]
    if reason is not None:
        pytest.skip(reason)
    if result.skipped:
        pytest.skip(result.skipped[0][1])
    assert result.testsRun == 1 and not failures, "\n".join(failures)


def score(module: Any, pickler: type) -> tuple[int, int, list[str]]:
    """How many tests pass, how many there are, and the names of those that do not."""
    failed = []
    tests = named_tests(module, pickler)
    for name, test in tests.items():
        result = unittest.TestResult()
        test.run(result)
        if not result.wasSuccessful():
            failed.append(name)
    return len(tests) - len(failed), len(tests), failed


if __name__ == "__main__":
    pickletester.protocols = range(2, 6)
    for title, module, pickler in (("rudf", rudf_pickle, OurPickler), ("pickle", pickle, TheirPickler)):
        passed, total, failed = score(module, pickler)
        print(f"{sys.version.split()[0]} {title}: {passed} of {total}", *failed, sep="\n  ")
