"""`configure` and the command `rudf` put the jar and the plugin beside what is there already."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import rudf
from rudf import cli, session


@pytest.fixture
def jar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A jar that is there, whether the project has been built or not."""
    path = tmp_path / "rudf.jar"
    path.touch()
    monkeypatch.setattr(session, "jar_path", lambda: path)
    monkeypatch.setattr(session, "_jvm_started", lambda: False)
    return path


@pytest.fixture
def no_jar(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that was installed without the jar."""
    monkeypatch.setattr(session, "_JAR", "no-such.jar")
    monkeypatch.setattr(session, "_jvm_started", lambda: False)


def test_configure_adds_jar_and_plugin(jar: Path) -> None:
    builder = SparkSession.Builder()
    assert rudf.configure(builder) is builder
    assert builder._options["spark.jars"] == str(jar)
    assert builder._options["spark.plugins"] == session.PLUGIN


def test_configure_keeps_what_the_builder_has_and_adds_once(jar: Path) -> None:
    builder = SparkSession.Builder().config("spark.jars", "a.jar, b.jar").config("spark.plugins", "x.Y")
    rudf.configure(rudf.configure(builder))
    assert builder._options["spark.jars"] == f"a.jar,b.jar,{jar}"
    assert builder._options["spark.plugins"] == f"x.Y,{session.PLUGIN}"


def test_configure_keeps_what_the_defaults_have(jar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spark-defaults.conf").write_text("# all jobs\nspark.plugins  x.Y\nspark.jars=a.jar\nspark.flag\n")
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    builder = rudf.configure(SparkSession.Builder())
    assert builder._options["spark.plugins"] == f"x.Y,{session.PLUGIN}"
    assert builder._options["spark.jars"] == f"a.jar,{jar}"


def test_configure_without_a_jar_leaves_the_builder_alone(no_jar: None) -> None:
    assert rudf.configure(SparkSession.Builder())._options == {}


def test_the_error_for_a_missing_jar_says_where_it_should_be(no_jar: None) -> None:
    with pytest.raises(FileNotFoundError, match=r"jars/no-such\.jar: install rudf from a wheel, or run `make build`"):
        rudf.jar_path()


def test_the_command_prints_jar_confs_and_version(jar: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["jar"]) == 0
    assert cli.main(["conf"]) == 0
    assert cli.main(["version"]) == 0
    printed = [str(jar), f"spark.jars={jar}", f"spark.plugins={session.PLUGIN}", rudf.__version__]
    assert capsys.readouterr().out.splitlines() == printed


def test_the_command_fails_without_a_jar(no_jar: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["jar"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("rudf: this installation of rudf has no jar")


def test_the_module_is_the_command() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(rudf.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-m", "rudf", "version"], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, rudf.__version__ + "\n")
    wrong = subprocess.run([sys.executable, "-m", "rudf", "fly"], capture_output=True, text=True, env=environment)
    assert wrong.returncode == 2
    assert "invalid choice: 'fly'" in wrong.stderr


def test_importing_rudf_starts_no_jvm_and_imports_no_vector_package() -> None:
    code = (
        "import sys\nfrom rudf import rudf\n"
        "@rudf\ndef f(x: float) -> float: return x\n"
        "from pyspark import SparkContext\n"
        "assert SparkContext._gateway is None\n"
        "assert 'rudf._native' not in sys.modules\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(rudf.__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
