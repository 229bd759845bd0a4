"""`rudf replay`: what it says of files that it cannot run. Files that it can are kept by tests of worker processes."""

from __future__ import annotations

import base64

import pyarrow as pa
import pytest
from pyspark.sql.types import LongType

from rudf import rudf
from rudf.cli import main
from rudf.payload import seal, unseal


def written(path, table):
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return str(path)


def test_a_file_that_is_not_there_or_none_that_was_kept_is_refused(tmp_path, capsys):
    other = tmp_path / "other"
    other.write_text("text")
    stranger = written(tmp_path / "stranger.arrow", pa.table({"x": [1]}))
    for path, why in [(str(tmp_path / "no"), "no"), (str(other), "no Arrow file"), (stranger, "holds no functions")]:
        assert main(["replay", path]) == 1
        assert why in capsys.readouterr().err


def test_a_session_of_another_build_is_refused(tmp_path, capsys):
    document = b'{"functions": [{"name": "f"}], "protocol": 0}'
    message = base64.b64encode(len(document).to_bytes(4, "little") + document)
    table = pa.table({"_0": [1]}).replace_schema_metadata({"rudf.session": message, "rudf.batch": "0"})
    assert main(["replay", written(tmp_path / "kept.arrow", table)]) == 1
    assert "rudf: " in capsys.readouterr().err


def test_a_timeout_travels_with_the_seal():
    assert unseal(seal(b"pickle.", "f", 2.5)).timeout == 2.5
    assert unseal(seal(b"pickle.", "f")).timeout is None


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), "5"])
def test_a_timeout_is_a_number_of_seconds(timeout):
    with pytest.raises(ValueError, match="number of seconds"):
        rudf(lambda v: v, "bigint", timeout=timeout)


def test_a_function_keeps_its_timeout_under_another_name():
    @rudf(LongType(), timeout=3)
    def limited(v):
        return v

    assert limited.timeout == 3
    assert limited._renamed("other").timeout == 3
