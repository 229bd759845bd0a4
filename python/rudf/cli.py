"""The command ``rudf``: what a shell needs to know to start Spark with rudf."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from rudf._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def _jar(_: argparse.Namespace) -> str:
    from rudf.session import jar_path

    return str(jar_path())


def _conf(_: argparse.Namespace) -> str:
    from rudf.session import plugin_conf

    return "\n".join(f"{key}={value}" for key, value in plugin_conf().items())


def _version(_: argparse.Namespace) -> str:
    return __version__


_COMMANDS = {
    "jar": (_jar, "print the path of the bridge jar"),
    "conf": (_conf, "print the confs that put rudf into a Spark application, as key=value lines"),
    "version": (_version, "print the version"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rudf", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (run, text) in _COMMANDS.items():
        commands.add_parser(name, help=text, description=text).set_defaults(run=run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    try:
        sys.stdout.write(parsed.run(parsed) + "\n")
    except FileNotFoundError as error:
        sys.stderr.write(f"rudf: {error}\n")
        return 1
    return 0
