"""A worker process, from the moment it has been forked off until it ends."""

from __future__ import annotations

import _thread
import contextlib
import faulthandler
import os
import resource
import signal
import sys
import traceback
from typing import NoReturn

from rudf import _native
from rudf.worker import services

__all__ = ["after_session", "run"]

#: Makes ``faulthandler`` write every thread's stack into the worker's report. The kernel never sends this signal and no
#: library uses it. ``rust/jvm/src/process/report.rs`` has the same.
_DUMP_SIGNAL = 16  # SIGSTKFLT, which Python names from 3.11 on

#: Exit code of a worker whose control socket fails; ``rust/jvm/src/process/report.rs`` has the same.
_LOST = 76

#: As in ``rudf_segment::control``.
_CLEAN, _LEFT_THREADS, _LEFT_CHILDREN, _LEFT_CHANGES = 0, 1, 2, 4


def run(socket: int, report: int) -> NoReturn:
    """Serve sessions until the JVM side hangs up.

    Parameters
    ----------
    socket, report : int
        Descriptors of the control socket, and of the file that is read when this process dies.
    """
    status = _LOST
    try:
        _set_up(report)
        _native.worker_main(socket, report)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        _flush()
        # Not the interpreter's own end: exit handlers of the fork server's imports are not this process's to run.
        os._exit(status)


class _Surroundings:
    """What functions may change of their process, and the next session has to find as it was."""

    def __init__(self, report: int) -> None:
        self._report = report
        self._directory = os.getcwd()
        self._environment = dict(os.environ)
        self._path = list(sys.path)
        self._streams = sys.stdin, sys.stdout, sys.stderr
        self._handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}

    def restore(self) -> None:
        """Make everything what it was, or raise what stands in the way."""
        os.chdir(self._directory)
        if dict(os.environ) != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)
        # What sessions put there themselves stays: functions that are kept may import from it.
        sys.path[:] = [*sys.path, *(entry for entry in self._path if entry not in sys.path)]
        sys.stdin, sys.stdout, sys.stderr = self._streams
        # They would not set their handlers again where they think that these are set.
        faulthandler.disable()
        faulthandler.unregister(_DUMP_SIGNAL)
        for number, handler in self._handlers.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.hear_of_faults()

    def hear_of_faults(self) -> None:
        """Make Python write its stack into the report when this process dies or is asked to."""
        faulthandler.cancel_dump_traceback_later()
        faulthandler.enable(file=self._report, all_threads=True)
        faulthandler.register(_DUMP_SIGNAL, file=self._report, all_threads=True, chain=False)


_surroundings: _Surroundings | None = None


def _set_up(report: int) -> None:
    global _surroundings
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _limit_memory()
    _seed()
    services.keep_functions()
    _surroundings = _Surroundings(report)
    _surroundings.hear_of_faults()


def _limit_memory() -> None:
    """Apply ``spark.executor.pyspark.memory``, which Spark divides among the tasks that run at once."""
    megabytes = int(os.environ.get("PYSPARK_EXECUTOR_MEMORY_MB", "-1"))
    if megabytes > 0:
        limit = megabytes << 20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _seed() -> None:
    """Give this process random numbers of its own: numpy's were seeded when the fork server imported it."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()


def after_session() -> int:
    """Finish what a session has left, and say whether this process can serve another."""
    _flush()
    state = _CLEAN
    try:
        services.forget_changed()
        if _surroundings is not None:
            _surroundings.restore()
    except Exception:
        traceback.print_exc()
        state |= _LEFT_CHANGES
    if _thread._count() > 0:
        state |= _LEFT_THREADS
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        state |= _LEFT_CHILDREN
    except ChildProcessError:
        pass  # there are none
    return state


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # The function may have closed or replaced it.
        with contextlib.suppress(Exception):
            stream.flush()
