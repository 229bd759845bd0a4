"""`install` has PySpark pickle through rudf: thread-safe, idempotent, reversible."""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("pyspark")

import pyspark
from pyspark import cloudpickle
from pyspark.serializers import CloudPickleSerializer, CPickleSerializer

from rudf import pickle as rudf_pickle

ORIGINALS = (cloudpickle.dumps, cloudpickle.dump, pyspark.Broadcast.dump)


def current() -> tuple[object, ...]:
    return cloudpickle.dumps, cloudpickle.dump, pyspark.Broadcast.dump


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    rudf_pickle.uninstall()
    assert current() == ORIGINALS
    assert not rudf_pickle.is_installed()


def by_rudf(payload: bytes) -> bool:
    """PySpark's own pickles name the helper that rebuilds the function."""
    return b"cloudpickle" not in payload


def test_serializers_of_pyspark_pickle_through_rudf_and_back() -> None:
    number = 5
    assert not by_rudf(CloudPickleSerializer().dumps(lambda x: x + number))
    rudf_pickle.install()
    rudf_pickle.install()
    for serializer in (CloudPickleSerializer(), CPickleSerializer()):
        payload = serializer.dumps(lambda x: x + number)
        assert by_rudf(payload)
        assert serializer.loads(payload)(1) == 6
    file = io.BytesIO()
    cloudpickle.dump(lambda x: x + number, file)
    assert by_rudf(file.getvalue())
    rudf_pickle.uninstall()
    rudf_pickle.uninstall()
    assert current() == ORIGINALS
    assert not by_rudf(CloudPickleSerializer().dumps(lambda x: x + number))


def test_blocks_nest_and_end_with_the_last() -> None:
    with rudf_pickle.installed():
        with rudf_pickle.installed():
            assert rudf_pickle.is_installed()
        assert rudf_pickle.is_installed()
        rudf_pickle.uninstall()
        assert rudf_pickle.is_installed()
    assert current() == ORIGINALS
    rudf_pickle.install()
    with rudf_pickle.installed():
        pass
    assert rudf_pickle.is_installed()


def test_block_ends_with_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), rudf_pickle.installed():
        raise ZeroDivisionError
    assert current() == ORIGINALS


def test_blocks_of_many_threads_do_not_disturb_each_other() -> None:
    failures: list[str] = []

    def work() -> None:
        for _ in range(200):
            with rudf_pickle.installed():
                if not by_rudf(CloudPickleSerializer().dumps(lambda: failures)):
                    failures.append("PySpark's own pickler was used inside of a block")

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert current() == ORIGINALS


def test_what_others_wrapped_since_stays_and_works(monkeypatch: pytest.MonkeyPatch) -> None:
    rudf_pickle.install()
    ours = cloudpickle.dumps
    calls = []

    def wrapper(obj: object, protocol: int | None = None) -> bytes:
        calls.append(obj)
        return ours(obj, protocol)

    cloudpickle.dumps = wrapper
    rudf_pickle.uninstall()
    assert cloudpickle.dumps is wrapper
    assert not by_rudf(CloudPickleSerializer().dumps(lambda: 1))
    rudf_pickle.install()
    assert by_rudf(CloudPickleSerializer().dumps(lambda: 1))
    assert len(calls) == 2
    cloudpickle.dumps = ours


def test_functions_that_hold_the_swapped_name_travel_under_the_name_that_workers_know() -> None:
    rudf_pickle.install()
    for function in (cloudpickle.dumps, cloudpickle.dump, pyspark.Broadcast.dump):
        payload = rudf_pickle.dumps(function)
        assert b"rudf" not in payload
        assert pickle.loads(payload) is function


def test_modules_registered_with_pyspark_go_by_value() -> None:
    import json.decoder

    with rudf_pickle.installed():
        cloudpickle.register_pickle_by_value(json)
        try:
            assert b"co_" in cloudpickle.dumps(json.decoder.JSONDecoder) or len(
                cloudpickle.dumps(json.decoder.JSONDecoder)
            ) > 1000
        finally:
            cloudpickle.unregister_pickle_by_value(json)
        assert len(cloudpickle.dumps(json.decoder.JSONDecoder)) < 100
    assert "json" not in rudf_pickle.list_registry_pickle_by_value()


def test_old_protocols_are_left_to_pyspark() -> None:
    with rudf_pickle.installed():
        assert pickle.loads(cloudpickle.dumps([1], 0)) == [1]


def test_refusals_keep_the_path_through_pysparks_wrapping() -> None:
    config = {"db": [threading.Lock()]}
    with (
        rudf_pickle.installed(),
        pytest.raises(pickle.PicklingError, match=r"^cannot pickle '_thread.lock' object: at .*→ closure 'config' → \['db'\] → \[0\]"),
    ):
        CloudPickleSerializer().dumps(lambda: config)


def test_exceptions_of_user_code_keep_the_path_through_pysparks_wrapping() -> None:
    class Rude:
        def __reduce__(self) -> str:
            raise ZeroDivisionError("rude")

    config = {"db": [Rude()]}
    with (
        rudf_pickle.installed(),
        pytest.raises(
            pickle.PicklingError,
            match=r"^Could not serialize object: ZeroDivisionError: rude: while pickling .* → closure 'config' → \['db'\] → \[0\]",
        ) as caught,
    ):
        CloudPickleSerializer().dumps(lambda: config)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_values_of_broadcasts_go_by_value(tmp_path: object) -> None:
    broadcast = pyspark.Broadcast.__new__(pyspark.Broadcast)
    file = io.BytesIO()
    file.close = lambda: None  # type: ignore[method-assign]
    value = {"f": lambda x: x + 1}
    with rudf_pickle.installed():
        broadcast.dump(value, file)
        assert pickle.loads(file.getvalue())["f"](1) == 2
        with pytest.raises(pickle.PicklingError, match=r"^Could not serialize broadcast: cannot pickle '_thread.lock'.*at list → \[0\]"):
            broadcast.dump([threading.Lock()], file)
    with pytest.raises(pickle.PicklingError):
        broadcast.dump(value, file)
