"""What cannot be pickled is refused with a sentence that leads to it."""

from __future__ import annotations

import pickle
import threading

import pytest
from fresh import build

from rudf import pickle as rudf_pickle


def refusal(source: str) -> str:
    """The message of the error that pickling a case raises."""
    with pytest.raises(pickle.PicklingError) as caught:
        rudf_pickle.dumps(build(source))
    return str(caught.value)


def test_message_holds_the_path_the_place_and_a_hint() -> None:
    message = refusal(
        """
        import threading, types
        def outer():
            cfg = {"db": types.SimpleNamespace(pool=[1, types.SimpleNamespace(lock=threading.Lock())])}
            def score(x): return cfg
            return score
        obj = outer()
        obj.__qualname__ = "score"
        """
    )
    assert message.startswith(
        "cannot pickle '_thread.lock' object: at score → closure 'cfg' → ['db'] → .pool → [1] → .lock; "
        "defined in job.py, line 5. Hint: "
    )


def test_path_goes_through_globals_and_functions() -> None:
    message = refusal(
        """
        import threading
        LOCK = threading.Lock()
        def helper(): return LOCK
        def obj(): return helper()
        """
    )
    assert "at obj → global 'helper' → global 'LOCK'; defined in job.py, line 4" in message


def test_path_names_a_function_in_a_container() -> None:
    message = refusal(
        """
        import threading
        LOCK = threading.Lock()
        def score(x): return LOCK
        obj = (score, "double")
        """
    )
    assert "at tuple → [0] → score → global 'LOCK'; defined in job.py, line 4" in message


def test_path_names_defaults_attributes_and_elements() -> None:
    lock = "__import__('threading').Lock()"
    assert "obj → defaults → [0]" in refusal(f"def obj(x={lock}): pass")
    assert "obj → .extra" in refusal(f"def obj(): pass\nobj.extra = {lock}")
    assert "set → element" in refusal(f"obj = {{{lock}}}")
    assert "at partial" in refusal(f"import functools\nobj = functools.partial(print, {lock})")


def test_path_goes_through_the_arguments_of_a_partial() -> None:
    message = refusal("import functools, threading\nobj = functools.partial(print, 1, [threading.Lock()], end='')")
    assert "at partial → [1] → [1] → [0]" in message


def test_a_view_that_cannot_be_made_again_is_refused() -> None:
    message = refusal("import ctypes\nobj = [memoryview((ctypes.c_int.__ctype_be__ * 3)())]")
    assert message.startswith("cannot pickle a memoryview of the format '>i': ") and message.endswith(": at list → [0]")


def test_spark_context_is_refused_with_path_and_hint() -> None:
    pytest.importorskip("pyspark")
    message = refusal(
        """
        from pyspark import SparkContext
        context = SparkContext.__new__(SparkContext)
        def obj(x): return context
        """
    )
    assert "at obj → global 'context'; defined in job.py, line 4. Hint: a Spark session or context" in message


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("threading.Lock()", "create the lock where it is used"),
        ("queue.Queue()", "a queue.Queue keeps locks, which belong to one process: make it inside the function"),
        ("threading.local()", "data of a thread belongs to one process"),
        ("concurrent.futures.ThreadPoolExecutor(1)", "queues connect threads of one process"),
        ("socket.socket()", "open the connection inside the function"),
        ("sqlite3.connect(':memory:')", "open the connection inside the function"),
        ("open('/dev/null', 'wb')", "open the file inside the function"),
        ("open('/dev/null', 'w')", "open the file inside the function"),
        ("tempfile.NamedTemporaryFile()", "open the file inside the function"),
        ("(i for i in range(3))", "a running generator has no picklable state"),
        ("sys._getframe()", "frames belong to a running process"),
        ("contextvars.copy_context()", "the values of context variables belong to one process"),
    ],
)
def test_objects_of_one_process_have_hints_of_their_own(value: str, hint: str) -> None:
    imports = "import threading, queue, concurrent.futures, socket, sqlite3, tempfile, sys, contextvars"
    message = refusal(f"{imports}\nvalue = {value}\ndef obj(): return value")
    assert "at obj → global 'value'" in message
    assert f"defined in job.py, line 3. Hint: {hint}" in message


@pytest.mark.parametrize(
    ("path", "name", "hint"),
    [
        ("pyspark.sql.classic.dataframe", "DataFrame", "a DataFrame lives on the driver only"),
        ("pyspark.sql.classic.column", "Column", "a Column stands for values that Spark computes"),
        ("pyspark.sql.session", "SparkSession", "a Spark session or context lives on the driver only"),
        ("pyspark.sql.readwriter", "DataFrameReader", "a Spark session or context lives on the driver only"),
        ("pyspark", "RDD", "an RDD lives on the driver only"),
    ],
)
def test_objects_of_spark_have_hints_of_their_own(path: str, name: str, hint: str) -> None:
    pytest.importorskip("pyspark")
    message = refusal(
        f"""
        import threading
        from {path} import {name}
        value = object.__new__({name})
        value.__dict__.update(_sc=threading.Lock(), _jc=threading.Lock())
        def obj(): return value
        """
    )
    assert "at obj → global 'value'" in message
    assert f". Hint: {hint}" in message


def test_refusals_in_words_of_libraries_get_the_path() -> None:
    class Handle:
        def __reduce__(self) -> str:
            raise TypeError("no default __reduce__ due to non-trivial __cinit__")

    with pytest.raises(pickle.PicklingError, match=r"non-trivial __cinit__: at list → \[0\]"):
        rudf_pickle.dumps([Handle()])


def test_exception_of_user_code_has_the_path_as_a_note() -> None:
    class Rude:
        def __reduce__(self) -> str:
            raise ZeroDivisionError("rude")

    with pytest.raises(ZeroDivisionError) as caught:
        rudf_pickle.dumps({"a": Rude()})
    assert caught.value.__notes__ == ["while pickling dict → ['a']"]


def test_exception_of_user_code_is_raised_as_it_is() -> None:
    class Rude:
        def __reduce__(self) -> str:
            raise ZeroDivisionError("rude")

    with pytest.raises(ZeroDivisionError, match="rude"):
        rudf_pickle.dumps([Rude()])


@pytest.mark.parametrize(
    "result", [5, (), (1,), (1, ()), (print, 1), (print, (), None, 5), (print,) * 7, "no.such.name"]
)
def test_rubbish_from_reduce_is_refused(result: object) -> None:
    class Rubbish:
        def __reduce__(self) -> object:
            return result

    with pytest.raises(pickle.PicklingError):
        rudf_pickle.dumps(Rubbish())


def test_object_that_reduces_to_itself_is_refused() -> None:
    class Endless:
        def __reduce__(self) -> tuple[object, tuple[object]]:
            return (list, (self,))

    with pytest.raises(pickle.PicklingError, match="excessively deep recursion"):
        rudf_pickle.dumps(Endless())


def test_list_that_changes_meanwhile_is_no_crash() -> None:
    items: list[object] = []

    class Mutator:
        def __init__(self, change: str) -> None:
            self.change = change

        def __reduce__(self) -> tuple[object, tuple[int]]:
            exec(self.change, {"items": items})
            return (int, (1,))

    for change in ("items.clear()", "items.extend([1] * 3000)", "items.append(2)"):
        for len_ in (1, 2, 1000):
            items[:] = [Mutator(change)] + [0] * (len_ - 1)
            assert isinstance(pickle.loads(rudf_pickle.dumps(items)), list)


def test_dict_that_changes_size_meanwhile_is_refused() -> None:
    mapping: dict[object, object] = {}

    class Mutator:
        def __reduce__(self) -> tuple[object, tuple[()]]:
            mapping[len(mapping)] = 0
            return (int, ())

    mapping.update({"a": Mutator(), "b": 1})
    with pytest.raises(RuntimeError, match="changed size"):
        rudf_pickle.dumps(mapping)


def test_reduce_may_pickle_again() -> None:
    class Nested:
        def __reduce__(self) -> tuple[object, tuple[bytes]]:
            return (pickle.loads, (rudf_pickle.dumps([1, 2]),))

    assert pickle.loads(rudf_pickle.dumps([Nested(), Nested()])) == [[1, 2], [1, 2]]


def test_many_threads_pickle_at_once() -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for number in range(200):
                assert pickle.loads(rudf_pickle.dumps(lambda x, n=number: x + n))(1) == number + 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("protocol", [0, 1, 6])
def test_unknown_protocol_is_refused(protocol: int) -> None:
    with pytest.raises(ValueError, match="between 2 and 5"):
        rudf_pickle.dumps(1, protocol)
