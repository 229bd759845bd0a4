"""What functions have of PySpark in a worker beside their arguments."""

from __future__ import annotations

import gc
import pickle
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.core import broadcast
from pyspark.core.broadcast import Broadcast

from rudf.worker import services

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Value:
    """Something that can be seen to go."""


@pytest.fixture(params=["process", "embedded"])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(services, "_kept", None)
    monkeypatch.setattr(broadcast, "_broadcastRegistry", {})
    if request.param == "process":
        services.keep_functions()
    yield request.param
    services.set_up(python_path=[], spark_files=None, broadcasts=[])


def variable(directory: Path, number: int) -> tuple[int, str]:
    """Write the file of a broadcast variable."""
    path = directory / str(number)
    path.write_bytes(pickle.dumps(Value()))
    return number, str(path)


def set_up(*broadcasts: tuple[int, str]) -> None:
    services.set_up(python_path=[], spark_files=None, broadcasts=list(broadcasts))


class Uses:
    """Pickled, a function that returns the value of a broadcast variable."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return getattr, (_Named(self.number), "load")


class _Named:
    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return broadcast._from_id, (self.number,)


def load(number: int) -> Broadcast[Any]:
    """Unpickle a function that uses a broadcast variable, use it, and return the variable."""
    function, _ = services.load_command(pickle.dumps((Uses(number), None)))
    used: Broadcast[Any] = function.__self__
    assert isinstance(used.value, Value)
    return used


def test_broadcast_variables_of_earlier_sessions_are_let_go(mode: str, tmp_path: Path) -> None:
    first, second = variable(tmp_path, 1), variable(tmp_path, 2)
    set_up(first)
    gone = weakref.ref(load(1).value)
    set_up(first, second)
    assert load(1).value is gone()
    load(2)
    if mode == "embedded":
        (tmp_path / "1").unlink()
    set_up(second)
    load(2)
    gc.collect()
    assert gone() is None
    set_up(variable(tmp_path, 1))
    load(1)


def test_a_broadcast_variable_that_was_fetched_anew_has_another_file(mode: str, tmp_path: Path) -> None:
    set_up((1, str(tmp_path / "gone")))
    set_up(variable(tmp_path, 1))
    load(1)
