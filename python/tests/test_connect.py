"""Functions in plans of Spark Connect go through rudf's pickler, and run on workers that know nothing of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("grpc")

JOB = Path(__file__).parent / "job_over_connect.py"


def test_plans_hold_functions_that_rudf_has_pickled(tmp_path: Path) -> None:
    python = {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    # The server is on this machine, whatever there is between it and others.
    variables = os.environ | python | {"no_proxy": "localhost,127.0.0.1,::1"}
    command = [sys.executable, str(JOB), str(tmp_path / "report")]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report").read_text())
    assert report.pop("udtf") == [True, [12, 24]]
    assert set(report) == {"udf", "pandas_udf", "mapInPandas", "applyInPandas"}
    for name, outcome in report.items():
        assert outcome == [True, [11, 12, 13]], name
