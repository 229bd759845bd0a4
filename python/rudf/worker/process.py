"""A worker process, from the moment it has been forked off until it ends."""

from __future__ import annotations

import _thread
import contextlib
import decimal
import faulthandler
import fcntl
import gc
import locale
import os
import resource
import signal
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from rudf import _native
from rudf.worker import services

if TYPE_CHECKING:
    from collections.abc import Callable

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


#: Every limit of a process, by its number.
_LIMITS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})

#: Timers whose signals end a process that does not wait for them.
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)

#: Lowest number of the copies of the standard descriptors, out of the way as the fork server's socket is.
_HIGH = 64


def _limits() -> list[tuple[int, int]]:
    return [resource.getrlimit(limit) for limit in _LIMITS]


def _set_limits(limits: list[tuple[int, int]]) -> None:
    for limit, old in zip(_LIMITS, limits, strict=True):
        if resource.getrlimit(limit) != old:
            resource.setrlimit(limit, old)


def _digits() -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Return how the limit of digits is told and set, where this Python has one."""
    return (
        getattr(sys, "get_int_max_str_digits", lambda: None),
        getattr(sys, "set_int_max_str_digits", lambda digits: None),
    )


#: What is set for a whole process or its thread: how it is told, and how it is set. Some cannot be made as they were
#: without rights that few processes have: a limit that was lowered, a lower priority.
_SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (_limits, _set_limits),
    (lambda: os.getpriority(os.PRIO_PROCESS, 0), lambda old: os.setpriority(os.PRIO_PROCESS, 0, old)),
    (lambda: os.sched_getaffinity(0), lambda old: os.sched_setaffinity(0, old)),
    (lambda: locale.setlocale(locale.LC_ALL), lambda old: locale.setlocale(locale.LC_ALL, old)),
    (lambda: (time.tzname, time.timezone), lambda old: time.tzset()),
    (sys.gettrace, sys.settrace),
    (sys.getprofile, sys.setprofile),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (sys.getswitchinterval, sys.setswitchinterval),
    _digits(),
    (gc.isenabled, lambda old: gc.enable() if old else gc.disable()),
    (gc.get_threshold, lambda old: gc.set_threshold(*old)),
)


def _file(descriptor: int) -> tuple[int, int] | None:
    """Tell which file a descriptor is of; None where it is closed."""
    try:
        told = os.fstat(descriptor)
    except OSError:
        return None
    return told.st_dev, told.st_ino


class _Surroundings:
    """What functions may change of their process, and the next session has to find as it was."""

    def __init__(self, report: int) -> None:
        self._report = report
        self._standard = [(n, _file(n), fcntl.fcntl(n, fcntl.F_DUPFD_CLOEXEC, _HIGH)) for n in range(3)]
        self._mask = os.umask(0)
        os.umask(self._mask)
        self._settings = [told() for told, _ in _SETTINGS]
        self._decimal = decimal.getcontext().copy()
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
            # The C library keeps what it has read of the time zone's variable.
            time.tzset()
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
        for timer in _TIMERS:
            signal.setitimer(timer, 0)
        for descriptor, file, copy in self._standard:
            if _file(descriptor) != file:
                os.dup2(copy, descriptor)
        self._restore_settings()
        self.hear_of_faults()

    def _restore_settings(self) -> None:
        os.umask(self._mask)
        for (told, put), old in zip(_SETTINGS, self._settings, strict=True):
            if told() != old:
                put(old)
        decimal.setcontext(self._decimal.copy())
        # Whatever else there may be by that name has no such function.
        seterr = getattr(sys.modules.get("numpy"), "seterr", None)
        if seterr is not None:
            seterr(divide="warn", over="warn", under="ignore", invalid="warn")

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
