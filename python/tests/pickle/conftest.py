from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fresh import FreshInterpreter


@pytest.fixture(scope="session")
def fresh() -> Iterator[FreshInterpreter]:
    interpreter = FreshInterpreter()
    yield interpreter
    interpreter.close()
