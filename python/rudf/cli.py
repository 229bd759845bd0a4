"""The command ``rudf``: what a shell needs to know to start Spark with rudf, and a look into pickles."""

from __future__ import annotations

import argparse
import sys
from pickle import PicklingError
from typing import TYPE_CHECKING

from rudf._version import __version__
from rudf.inspection import InspectionError, find_object
from rudf.replay import ReplayError, ReplayFailure, replay

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def _jar(_: argparse.Namespace) -> str:
    from rudf.session import jar_path

    return str(jar_path())


def _conf(_: argparse.Namespace) -> str:
    from rudf.session import plugin_conf

    return "\n".join(f"{key}={value}" for key, value in plugin_conf().items())


def _inspect(arguments: argparse.Namespace) -> str:
    from rudf.pickle import explain

    obj, module = find_object(arguments.target)
    explanation = explain(obj, by_value=[*arguments.by_value, *module])
    return explanation.to_json(indent=2) if arguments.json else str(explanation)


def _inspect_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", metavar="FILE_OR_MODULE:NAME", help="such as job.py:score or package.module:Class.method"
    )
    parser.add_argument("--json", action="store_true", help="print the whole tree as JSON")
    by_value = "a module that is to go by value; may be repeated"
    parser.add_argument("--by-value", metavar="MODULE", action="append", default=[], help=by_value)


def _replay(arguments: argparse.Namespace) -> str:
    return replay(arguments.file)


def _replay_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="an Arrow file that spark.rudf.crash.keep has kept")


def _version(_: argparse.Namespace) -> str:
    return __version__


_COMMANDS = {
    "jar": (_jar, "print the path of the bridge jar"),
    "conf": (_conf, "print the confs that put rudf into a Spark application, as key=value lines"),
    "inspect": (_inspect, "show what goes into the pickle of a function or class, and how many bytes each part takes"),
    "replay": (_replay, "run a kept batch and its functions again, in this Python"),
    "version": (_version, "print the version"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rudf", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (run, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        if run is _inspect:
            _inspect_options(command)
        if run is _replay:
            _replay_options(command)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    try:
        sys.stdout.write(parsed.run(parsed) + "\n")
    except ReplayFailure as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    except (FileNotFoundError, InspectionError, PicklingError, ReplayError) as error:
        sys.stderr.write(f"rudf: {error}\n")
        return 1
    return 0
