"""The fork server: a Python process with one thread that imports once and forks warm workers on request.

The JVM side starts it as ``python -c BOOTSTRAP DIRECTORY``, with its end of the control socket as standard input. What
goes through the socket is described in ``rust/segment/src/control.rs``.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import importlib.util
import json
import os
import signal
import sys
import sysconfig

from rudf import _native

__all__ = ["main"]

#: What workers need, most wanted first. Whatever cannot be imported here fails in the function that wants it.
_PRELOADED = (
    "pyspark.sql.types",
    "numpy",
    "pyarrow",
    "rudf.worker.coercion",
    "pandas",
    "numpy.random",
    "pyarrow.compute",
    "rudf.worker.vectorized",
    "pyspark.sql.pandas.types",
    "pyspark.worker",
    "rudf.worker.streams",
)

#: What every worker needs; with a small limit of memory (in MiB) they import the rest where a function wants it.
_ALWAYS, _SMALL = _PRELOADED[:1], 512

#: What a server that starts itself again tells itself: modules that are not to be imported here, because importing them
#: has started threads, and the workers that it has forked.
_SKIPPED, _WORKERS = "RUDF_FORK_SERVER_SKIPS", "RUDF_FORK_SERVER_WORKERS"

#: pyarrow's allocator starts a thread that gives memory back in the background, unless it is told not to.
_JEMALLOC, _NO_THREAD = "JE_ARROW_MALLOC_CONF", "background_thread:false"

#: The lowest number of the control socket: out of the way of programs that close small descriptors one by one.
_HIGH = 64


def main() -> None:
    """Serve until the JVM side is gone; in each worker, run it to its end."""
    control = _take_control_socket()
    # Ctrl-C in a terminal is for the driver.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The names are for this process alone; workers and what they start do not see them.
    skipped, workers = (os.environ.pop(name, "") for name in (_SKIPPED, _WORKERS))
    server = _native.ForkServer(control, [tuple(pair) for pair in json.loads(workers or "[]")])
    server.hello(json.dumps(_about()))
    try:
        for name in _preloaded():
            if name not in skipped.split(","):
                _preload(name)
                if len(os.listdir("/proc/self/task")) > 1:
                    _start_again(f"{skipped},{name}", server.workers(), control)
            # A query that is waiting already does not wait for the other imports.
            _run_if_worker(server.serve(False))
        gc.collect()
        # Workers share these objects' pages: the collector does not write to them.
        gc.freeze()
        _run_if_worker(server.serve(True))
    except EOFError:
        os._exit(0)


def _preloaded() -> tuple[str, ...]:
    """Tell what to import here: what is mapped counts towards the limit of each worker, whether it is used or not."""
    megabytes = int(os.environ.get("PYSPARK_EXECUTOR_MEMORY_MB", "-1"))
    return _ALWAYS if 0 < megabytes < _SMALL else _PRELOADED


def _take_control_socket() -> int:
    """Move the socket from standard input to a descriptor that nothing inherits, and close what else came along."""
    control = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    # As in PySpark's workers, what functions print goes to the executor's log.
    os.dup2(2, 1)
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number > 2 and number != control:
            # Sockets and files of the JVM's that it has not marked: workers must not keep its ports open.
            # The listed directory itself is closed already.
            with contextlib.suppress(OSError):
                os.close(number)
    return control


def _about() -> dict[str, object]:
    return {
        "executable": sys.executable,
        "implementation": sys.implementation.name,
        "version": "{}.{}.{}".format(*sys.version_info[:3]),
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "packages": {name: _is_there(name) for name in ("numpy", "pandas", "pyarrow", "pyspark")},
    }


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _preload(name: str) -> None:
    before = os.environ.get(_JEMALLOC)
    os.environ[_JEMALLOC] = _NO_THREAD if before is None else f"{before},{_NO_THREAD}"
    # The function that needs it meets the same error, and the user sees it.
    with contextlib.suppress(Exception):
        importlib.import_module(name)
    if before is None:
        del os.environ[_JEMALLOC]
    else:
        os.environ[_JEMALLOC] = before


def _start_again(skipped: str, workers: list[tuple[int, int]], control: int) -> None:
    """Replace this process: one with several threads cannot be forked safely, and threads cannot be undone.

    Workers that have been forked already go on: they are this process's children, before and after.
    """
    os.environ[_SKIPPED] = skipped
    os.environ[_WORKERS] = json.dumps(workers)
    os.dup2(control, 0)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _run_if_worker(worker: tuple[int, int] | None) -> None:
    if worker is not None:
        from rudf.worker import process

        process.run(*worker)
