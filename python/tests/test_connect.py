"""Functions in plans of Spark Connect go through rudf's pickler, and run in rudf where the server has the plugin."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("grpc")

import pyspark

from rudf.session import PLUGIN, jar_path

JOB = Path(__file__).parent / "job_over_connect.py"
PYTHON = {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}


def outcomes(server: str, report: Path) -> dict[str, tuple[str, list[int]]]:
    """Run the job against a server; return the plan and the rows of each function."""
    # The server is on this machine, whatever there is between it and others.
    variables = os.environ | PYTHON | {"no_proxy": "localhost,127.0.0.1,::1"}
    command = [sys.executable, str(JOB), server, str(report)]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(report.read_text())
    for name, (is_ours, rows, _) in told.items():
        assert is_ours, name
        assert rows == ([12, 24] if name == "udtf" else [11, 12, 13]), name
    return {name: (plan, rows) for name, (_, rows, plan) in told.items()}


def test_workers_that_know_nothing_of_rudf_run_what_it_has_pickled(tmp_path: Path) -> None:
    for name, (plan, _) in outcomes("local[2]", tmp_path / "report").items():
        assert "Rudf" not in plan, name


@pytest.fixture
def server_with_plugin(tmp_path: Path) -> Iterator[str]:
    with closing(socket.socket()) as taken:
        taken.bind(("localhost", 0))
        port = taken.getsockname()[1]
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    options = ["--jars", str(jar_path()), "--class", "org.apache.spark.sql.connect.service.SparkConnectServer"]
    confs = {"spark.plugins": PLUGIN, "spark.ui.enabled": "false", "spark.connect.grpc.binding.port": str(port)}
    for key, value in confs.items():
        options += ["--conf", f"{key}={value}"]
    command = [str(submit), "--master", "local[2]", *options, "spark-internal"]
    with open(tmp_path / "server.log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | PYTHON, cwd=tmp_path)
    try:
        for _ in range(600):
            assert server.poll() is None, (tmp_path / "server.log").read_text()
            with closing(socket.socket()) as asked:
                if asked.connect_ex(("localhost", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"sc://localhost:{port}"
    finally:
        server.terminate()
        server.wait(60)


def test_a_server_with_the_plugin_runs_them_in_rudf(server_with_plugin: str, tmp_path: Path) -> None:
    plans = outcomes(server_with_plugin, tmp_path / "report")
    assert plans.pop("SQL")
    for name, (plan, _) in plans.items():
        assert "Rudf" in plan, (name, plan)
