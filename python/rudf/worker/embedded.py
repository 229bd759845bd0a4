"""Prepares an interpreter that lives inside another process, such as a Spark executor's JVM."""

from __future__ import annotations

import sys
import warnings
from typing import Any

__all__ = ["prepare"]


def prepare(*, python_path: list[str], executable: str) -> None:
    """Make this interpreter behave like the ``python`` that it stands for.

    Parameters
    ----------
    python_path : list of str
        Directories and archives to import from behind those that are there already.
    executable : str
        The environment's own ``python``; child processes are started with it and not with the host process's binary.
    """
    sys.path.extend(entry for entry in python_path if entry not in sys.path)
    sys.executable = executable
    if not getattr(sys, "argv", None):
        sys.argv = [""]
    _keep_the_hosts_signal_handlers()
    import multiprocessing

    multiprocessing.set_executable(executable)


def _keep_the_hosts_signal_handlers() -> None:
    """Turn ``faulthandler.enable`` into a warning: the JVM needs its own handler of SIGSEGV to work at all."""
    import faulthandler

    def enable(*_args: Any, **_kwargs: Any) -> None:
        warnings.warn(
            "faulthandler.enable() does nothing in an embedded interpreter: the host process handles these signals",
            RuntimeWarning,
            stacklevel=2,
        )

    faulthandler.enable = enable
