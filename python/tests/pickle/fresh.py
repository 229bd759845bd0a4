"""Loads pickles in a fresh interpreter that has nothing but the standard library."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import Any

_CHILD = """
import base64, json, pickle, sys
for line in sys.stdin:
    case = json.loads(line)
    try:
        value = pickle.loads(base64.b64decode(case["pickle"]))
        answer = {"result": repr(eval(case["use"], {"value": value}))}
    except BaseException as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
assert not any(name.split(".")[0] in {"rudf", "cloudpickle", "pyspark"} for name in sys.modules)
"""


class FreshInterpreter:
    """An interpreter started with ``-I -S``: neither rudf nor cloudpickle can be imported in it."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def use(self, pickled: bytes, expression: str = "value") -> str:
        """Load a pickle there and return the ``repr`` of an expression over ``value``."""
        assert self._child.stdin is not None and self._child.stdout is not None
        case = {"pickle": base64.b64encode(pickled).decode(), "use": expression}
        self._child.stdin.write(json.dumps(case) + "\n")
        self._child.stdin.flush()
        answer: dict[str, Any] = json.loads(self._child.stdout.readline())
        if "error" in answer:
            raise AssertionError(answer["error"])
        return str(answer["result"])

    def close(self) -> None:
        """End it; fails where a pickle made it import what it must not need."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        assert self._child.wait() == 0
