"""Python errors as the text that the driver shows."""

from __future__ import annotations

import os
import traceback
from types import TracebackType

__all__ = ["describe", "stop_iteration"]

_TRAVELS_WITH_FUNCTIONS = "rudf.arrays"
_OWN_DIRECTORY = os.path.dirname(os.path.abspath(__file__)) + os.sep


def describe(
    error: BaseException,
    *,
    name: str,
    batch: int | None,
    row: int | None,
    simplified: bool,
    hidden: bool,
    with_locals: bool,
) -> str:
    """Format an error as PySpark's worker does, followed by a line that names the function and the place.

    Parameters
    ----------
    error : BaseException
        What the function raised.
    name : str
        Name of the UDF.
    batch, row : int or None
        Batch of the partition and row of the batch, from 0; None where that is not known.
    simplified, hidden, with_locals : bool
        ``spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled``, ``...hideTraceback.enabled`` and
        ``...tracebackWithLocals.enabled``.
    """
    return _traceback(error, simplified=simplified, hidden=hidden, with_locals=with_locals) + _place(name, batch, row)


def _traceback(error: BaseException, *, simplified: bool, hidden: bool, with_locals: bool) -> str:
    if hidden:
        return "".join(traceback.format_exception_only(type(error), error))
    frames = error.__traceback__
    if simplified:
        users = _users_frames(frames)
        if users is not None:
            frames = users
            error.__cause__ = None
    formatted = traceback.TracebackException(type(error), error, frames, compact=True, capture_locals=with_locals)
    return "".join(formatted.format())


def _users_frames(frames: TracebackType | None) -> TracebackType | None:
    """Leave out the frames of rudf's own modules that lie above the user's code."""
    while frames is not None and _is_own(frames):
        frames = frames.tb_next
    return frames


def _is_own(frames: TracebackType) -> bool:
    """Tell whether the outermost frame is of a module here, or of the one that travels with functions."""
    frame = frames.tb_frame
    return (
        frame.f_code.co_filename.startswith(_OWN_DIRECTORY)
        or frame.f_globals.get("__name__") == _TRAVELS_WITH_FUNCTIONS
    )


def _place(name: str, batch: int | None, row: int | None) -> str:
    where = [f"in the function `{name}`"]
    if row is not None:
        where.append(f"row {row}")
    if batch is not None:
        where.append(f"batch {batch} of the partition")
    return f"[rudf: {', '.join(where)}]\n"


def stop_iteration(error: StopIteration) -> BaseException:
    """Return PySpark's error for a function that lets a ``StopIteration`` out."""
    try:
        from pyspark.errors import PySparkRuntimeError
    except ImportError:
        replacement: BaseException = RuntimeError(f"Caught StopIteration thrown from user's code: {error}")
    else:
        replacement = PySparkRuntimeError(errorClass="STOP_ITERATION_OCCURRED", messageParameters={"exc": str(error)})
    replacement.__context__ = error
    return replacement.with_traceback(error.__traceback__)
