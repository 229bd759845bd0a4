"""Runs a batch again that ``spark.rudf.crash.keep`` has kept, with its functions, in this Python.

The file is written by ``rust/eval/src/keep.rs``, which describes it.
"""

from __future__ import annotations

import base64
import faulthandler
import json
import os
import struct
import sys
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ReplayError", "ReplayFailure", "replay"]


class ReplayError(ValueError):
    """The file cannot be run here."""


class ReplayFailure(Exception):
    """What a function raised when it was run again."""


def replay(path: str) -> str:
    """Run the functions of a kept batch over it.

    Parameters
    ----------
    path : str
        The file that the failure of the task named.

    Returns
    -------
    str
        That nothing failed.

    Raises
    ------
    ReplayFailure
        Where a function fails, with its traceback. One that crashes takes this process along: Python's stack goes to
        standard error first. One that takes longer than its timeout ends this process in the same way.
    ReplayError
        Where the file is none that was kept, or wants another Python.
    """
    from rudf import _native

    batches, kept = _read(path)
    document, blobs = _session(kept)
    with tempfile.TemporaryDirectory(prefix="rudf-replay-") as directory:
        _restore(document, kept, directory)
        faulthandler.enable(file=2)
        limit = _limit(document)
        names = ", ".join(f"`{function['name']}`" for function in document["functions"])
        first = int(kept["rudf.batch"])
        which = f"batch {first}" if len(batches) == 1 else f"batches {first} to {first + len(batches) - 1}"
        rows = sum(batch.num_rows for batch in batches)
        sys.stderr.write(f"rudf: {names} over {which} of the partition, {rows} rows\n")
        try:
            session = _native.Session(_native.session_message(json.dumps(document), blobs))
            if limit is not None:
                faulthandler.dump_traceback_later(limit * len(batches), exit=True, file=2)
            if session.is_stream:
                session.run_stream(_Stream(batches))
            else:
                for batch in batches:
                    session.evaluate(batch.columns, batch.num_rows)
        except ValueError as error:
            raise _translated(error) from None
        finally:
            faulthandler.cancel_dump_traceback_later()
    return f"{names}: no failure"


class _Stream:
    """Gives batches to functions over iterators, and takes their results."""

    def __init__(self, batches: list[pa.RecordBatch]) -> None:
        self._batches = iter(batches)
        #: How many batches have been taken.
        self.taken = 0

    def has_batch(self) -> bool:
        """Tell whether a batch is here: all are."""
        return True

    def next_batch(self) -> tuple[list[Any], int] | None:
        """Return the columns of the next batch, and its number of rows; None where there is none."""
        batch = next(self._batches, None)
        if batch is None:
            return None
        self.taken += 1
        return batch.columns, batch.num_rows

    def send(self, columns: list[Any], rows: int) -> None:
        """Take results, which nobody wants."""


def _read(path: str) -> tuple[list[pa.RecordBatch], dict[str, str]]:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ReplayError(f"a kept batch is read with pyarrow, which this Python lacks ({error})") from error
    try:
        with pa.OSFile(path) as file:
            reader = pa.ipc.open_file(file)
            batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    except pa.ArrowInvalid as error:
        raise ReplayError(f"{path} is no Arrow file: {error}") from error
    metadata = {key.decode(): value.decode() for key, value in (reader.schema.metadata or {}).items()}
    if "rudf.session" not in metadata:
        raise ReplayError(f"{path} holds no functions: spark.rudf.crash.keep has not written it")
    return batches, metadata


def _session(kept: dict[str, str]) -> tuple[dict[str, Any], bytes]:
    message = base64.b64decode(kept["rudf.session"])
    (length,) = struct.unpack_from("<I", message)
    document = json.loads(message[4 : 4 + length])
    return document, message[4 + length :]


def _restore(document: dict[str, Any], kept: dict[str, str], directory: str) -> None:
    """Put what the executor had at its place into ``directory``, and leave out what is not to be had."""
    document.pop("keep", None)
    document["python_path"] = [entry for entry in document.get("python_path", ()) if os.path.exists(entry)]
    broadcasts = []
    for number, executors in document.get("broadcasts", ()):
        path = executors
        encoded = kept.get(f"rudf.broadcast.{number}")
        if encoded is not None:
            path = os.path.join(directory, f"broadcast-{number}")
            with open(path, "wb") as file:
                file.write(base64.b64decode(encoded))
        elif not os.path.exists(path):
            raise ReplayError(f"the value of broadcast variable {number} was too large to be kept, and {path} is gone")
        broadcasts.append((number, path))
    document["broadcasts"] = broadcasts


def _limit(document: dict[str, Any]) -> float | None:
    """Return the time of all functions together; none where one has no limit."""
    limits = [function.get("timeout_seconds", document.get("timeout_seconds", 0)) for function in document["functions"]]
    return sum(limits) if limits and all(limits) else None


def _translated(error: ValueError) -> Exception:
    """Return the session's own error: its arguments are a kind, of which 1 is a failure of the function, and a text."""
    if len(error.args) != 2:
        return ReplayError(str(error))
    kind, text = error.args
    return ReplayFailure(text.rstrip()) if kind == 1 else ReplayError(text)
