"""With the jar, `configure` is all it takes: the plan has rudf's operator, also under SQL and in a second session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rudf
from rudf.session import jar_path

JOB = Path(__file__).parent / "job_with_jar.py"

try:
    JAR = jar_path()
except FileNotFoundError:
    pytest.skip("the jar has not been built", allow_module_level=True)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    package = str(Path(rudf.__file__).parent.parent)
    python = {"PYTHONPATH": package, "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    variables = os.environ | python
    return subprocess.run(command, capture_output=True, text=True, env=variables, timeout=300)


def _submit(*arguments: str) -> list[str]:
    import pyspark

    return [str(Path(pyspark.__file__).parent / "bin" / "spark-submit"), *arguments, str(JOB)]


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, str(JOB)],
        _submit("--jars", str(JAR), "--conf", "spark.plugins=org.rudf.spark.RudfPlugin"),
        _submit("--jars", str(JAR)),
    ],
    ids=["python", "spark-submit", "spark-submit without the plugin's conf"],
)
def test_rudf_runs_the_functions(command: list[str], tmp_path: Path) -> None:
    done = _run([*command, str(tmp_path / "report")])
    assert done.returncode == 0, done.stdout + done.stderr
    for name, (plan, rows) in json.loads((tmp_path / "report").read_text()).items():
        assert "RudfEval" in plan, name
        assert rows == [0, 2, 4], name


def test_spark_submit_without_the_jar_gets_the_notice() -> None:
    done = _run([*_submit(), os.devnull])
    assert done.returncode != 0, "the job turns the warning into an error"
    # spark-submit sends both streams of the job to its own output.
    assert f"--jars {JAR} --conf spark.plugins=org.rudf.spark.RudfPlugin" in done.stdout
