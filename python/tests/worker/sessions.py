"""Runs functions in sessions of the native module, without Spark."""

from __future__ import annotations

import json
import sys
from typing import Any

from pyspark.sql.types import DataType

from rudf import _native
from rudf.pickle import dumps


class UdfError(Exception):
    """What a session reports: ``kind`` is 1 for the function's own failures."""

    def __init__(self, kind: int, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


def open_session(
    function: Any,
    declared: DataType,
    inputs: list[str],
    kind: int = 101,
    names: list[str | None] | None = None,
    **settings: Any,
) -> Any:
    """Open a session for one function, or a chain of them, over columns of the Spark types ``inputs``."""
    chain = function if isinstance(function, list) else [function]
    blobs, ranges = b"", []
    for link in chain:
        blob = dumps((link, declared))
        ranges.append({"offset": len(blobs), "length": len(blob)})
        blobs += blob
    names = names or [None] * len(inputs)
    document = {
        "protocol": 4,
        "eval_type": kind,
        "inputs": inputs,
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "settings": settings,
        "functions": [
            {
                "name": getattr(chain[-1], "__name__", "f"),
                "result_type": declared.jsonValue(),
                "chain": ranges,
                "arguments": [{"column": i, "name": name} for i, name in enumerate(names)],
            }
        ],
    }
    return guarded(_native.Session, _native.session_message(json.dumps(document), blobs))


def evaluate(session: Any, columns: list[Any], rows: int | None = None) -> Any:
    """Run one batch and return the only result."""
    (result,) = guarded(session.evaluate, columns, len(columns[0]) if rows is None else rows)
    result.validate(full=True)
    return result


def guarded(call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except ValueError as error:
        if len(error.args) == 1 and isinstance(error.args[0], tuple):
            raise UdfError(*error.args[0]) from None
        if len(error.args) == 2:
            raise UdfError(*error.args) from None
        raise
