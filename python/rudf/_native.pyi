"""Types of the extension module, which is written in Rust (``rust/python``)."""

from collections.abc import Callable, Sequence
from pickle import PickleBuffer
from typing import Any

__version__: str

def pickle_dumps(
    obj: Any,
    protocol: int | None = None,
    buffer_callback: Callable[[PickleBuffer], Any] | None = None,
    by_value: list[str] = ...,
    for_pyspark: bool = False,
) -> bytes: ...
def pickle_explain(obj: Any, protocol: int | None = None, by_value: list[str] = ...) -> tuple[int, tuple[Any, ...]]: ...
def pickle_set_reducers(
    always: dict[type, Callable[[Any], Any]],
    subclasses: dict[type, Callable[[Any], Any]],
    unnamed: dict[type, Callable[[Any], Any]],
) -> None: ...
def pickle_code_globals(code: Any) -> dict[str, None]: ...
def pickle_reference(obj: Any, name: str | None = None, by_value: list[str] = ...) -> tuple[Any, str] | None: ...
def pickle_module_of(obj: Any, name: str) -> str | None: ...

class PickleMemo:
    def __init__(self) -> None: ...
    def clear(self) -> None: ...
    def copy(self) -> dict[int, tuple[int, Any]]: ...
    def restore(self, entries: dict[int, tuple[int, Any]]) -> None: ...
    def dump(
        self,
        obj: Any,
        protocol: int,
        fix_imports: bool,
        buffer_callback: Callable[[PickleBuffer], Any] | None,
        by_value: list[str],
        hooks: tuple[Any, Any, Any],
    ) -> bytes: ...

def session_message(document: str, blobs: bytes) -> bytes:
    """Encode a session message from its JSON document and the pickled functions."""

def held_batches() -> int:
    """Return how many batches are still referred to by arrays."""

class Session:
    """A session of UDFs, opened from an encoded session message."""

    def __new__(cls, message: bytes) -> Session: ...
    def evaluate(self, columns: Sequence[Any], rows: int) -> list[Any]:
        """Run the functions over pyarrow arrays, all of ``rows`` values."""

    @property
    def is_stream(self) -> bool:
        """Whether the functions take an iterator of batches."""

    def run_stream(self, batches: Any) -> None:
        """Run the functions over batches that something like the ``BatchStream`` of a worker gives."""

class RowMaker:
    """Makes rows of the columns of batches: tuples of the values that PySpark's pickled functions get."""

    def __new__(cls, types: str, time_zone: str, binary_as_bytes: bool) -> RowMaker: ...
    def rows(self, columns: Sequence[Any], rows: int) -> list[tuple[Any, ...]]:
        """Make rows of pyarrow arrays of ``rows`` values, whose Spark types are ``types``, a JSON list."""

class ForkServer:
    """Forks workers for the JVM side at the other end of a socket."""

    def __new__(cls, control: int, workers: list[tuple[int, int]]) -> ForkServer: ...
    def workers(self) -> list[tuple[int, int]]:
        """Return number and process of each worker that has not been seen to end."""

    def hello(self, about: str) -> None:
        """Tell the JVM side that requests are taken, and what Python this is."""

    def serve(self, wait: bool) -> tuple[int, int] | None:
        """Serve the requests that are there, or for ever; returns in a worker, with its socket and its report."""

def worker_main(socket: int, report: int) -> None:
    """Run the sessions that come through a control socket, until the other side hangs up."""

def note_function(index: int) -> None:
    """Note in this worker's report which function of its session is running."""

def string_array(values: list[Any]) -> Any | None:
    """Make a ``pyarrow.StringArray`` of strings and nulls (None, NaN); None where there is anything else."""
