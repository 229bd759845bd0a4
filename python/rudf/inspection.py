"""Finds what ``rudf inspect`` is asked about: ``job.py:score``, ``package.module:Class.method``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["InspectionError", "find_object"]


class InspectionError(ValueError):
    """A target that names nothing, with a sentence that says why."""


def find_object(target: str) -> tuple[Any, list[str]]:
    """Import a module or run a file, and return what a dotted name in it leads to.

    What stands below ``if __name__ == "__main__"`` in a file does not run.

    Returns
    -------
    object, list of str
        The second holds the name of the module made of a file: as in a job, what it defines goes by value.

    Raises
    ------
    InspectionError
        Where there is no such thing, or running the file fails.
    """
    place, _, name = target.rpartition(":")
    if not place or not name:
        raise InspectionError(f"{target!r} is not FILE:NAME or MODULE:NAME, such as job.py:score")
    is_file = place.endswith(".py") or "/" in place
    try:
        found: Any = _run_file(Path(place)) if is_file else importlib.import_module(place)
    except InspectionError:
        raise
    except Exception as error:
        raise InspectionError(f"{place} cannot be imported: {type(error).__name__}: {error}") from error
    by_value = [found.__name__] if is_file else []
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise InspectionError(f"{place} has no {name!r}: {error}") from error
    return found, by_value


def _run_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InspectionError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InspectionError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
