"""Types of the extension module, which is written in Rust (``rust/python``)."""

from collections.abc import Sequence
from typing import Any

__version__: str

def dumps(object: Any, protocol: int | None = None) -> bytes:
    """Pickle an object by value; see :func:`rudf.pickle.dumps`."""

def session_message(document: str, blobs: bytes) -> bytes:
    """Encode a session message from its JSON document and the pickled functions."""

def held_batches() -> int:
    """Return how many batches are still referred to by arrays."""

class Session:
    """A session of UDFs, opened from an encoded session message."""

    def __new__(cls, message: bytes) -> Session: ...
    def evaluate(self, columns: Sequence[Any], rows: int) -> list[Any]:
        """Run the functions over pyarrow arrays, all of ``rows`` values."""
