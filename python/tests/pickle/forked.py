"""Runs sources each in a process of its own, forked from one that has the pickler loaded: a crash is an outcome, too.

As a script it is that process: it reads ``[(name, source), ...]`` and answers ``{name: outcome}``. An outcome is ``ok``,
or the exception's type and message, or what ended the process.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

#: Seconds before a source counts as hanging; more where everything is slow.
PATIENCE = int(os.environ.get("RUDF_TEST_PATIENCE", "60"))


def outcomes(sources: dict[str, str], *, options: tuple[str, ...] = ()) -> dict[str, str]:
    """Run each source in a process of its own and say how it ended."""
    done = subprocess.run(
        [sys.executable, *options, __file__],
        input=pickle.dumps(sources),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


def run_here(source: str) -> str:
    """Run a source in this process."""
    try:
        exec(compile(source, "/home/someone/job.py", "exec", dont_inherit=True), {"__name__": "__main__"})
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:2000]}"
    return "ok"


def run_forked(source: str) -> str:
    """Run a source in a child of this process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        signal.alarm(PATIENCE)
        outcome = run_here(source)
        os.write(writer, outcome.encode(errors="backslashreplace"))
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        outcome = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "hangs" if number == signal.SIGALRM else f"crash: {signal.Signals(number).name}"
    return outcome or f"crash: exit status {os.WEXITSTATUS(status)}"


def main() -> None:
    """Answer standard input on standard output."""
    import rudf.pickle  # noqa: F401  (loaded once, before the forks)

    sources: dict[str, str] = pickle.load(sys.stdin.buffer)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    results = {name: run_forked(source) for name, source in sources.items()}
    sys.stdout.buffer.write(pickle.dumps(results))


if __name__ == "__main__":
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).parent]
    main()
