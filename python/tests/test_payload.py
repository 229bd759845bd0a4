"""A sealed function is a pickle for everybody, and changed bytes are noticed."""

from __future__ import annotations

import json
import pickle
import struct
import sys

import pytest

import rudf
from rudf.payload import MAGIC, PayloadError, seal, unseal

PICKLED = pickle.dumps((len, "int"), 5)


def test_a_sealed_function_loads_with_the_standard_library() -> None:
    assert pickle.loads(seal(PICKLED, "f")) == (len, "int")


def test_the_seal_tells_name_versions_and_pickle() -> None:
    payload = unseal(seal(PICKLED, "größe"))
    assert payload is not None
    assert payload.pickled == PICKLED
    assert payload.name == "größe"
    assert payload.version == rudf.__version__
    assert payload.python == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_a_command_of_another_pickler_has_no_seal() -> None:
    assert unseal(PICKLED) is None
    assert unseal(b"") is None


def test_every_changed_byte_is_noticed() -> None:
    sealed = seal(PICKLED, "f")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        try:
            payload = unseal(bytes(changed))
        except PayloadError:
            continue
        # The magic itself, or a letter of what the checksum does not cover: never the function.
        assert payload is None or payload.pickled == PICKLED


def test_a_cut_seal_is_an_error() -> None:
    with pytest.raises(PayloadError, match="cut off"):
        unseal(MAGIC)
    with pytest.raises(PayloadError, match="cut off"):
        unseal(struct.pack("<I", 10_000) + MAGIC)


@pytest.mark.parametrize("document", [b"{", b"[]", b"{}", json.dumps({"name": "f"}).encode(), b"\xff\xfe"])
def test_a_seal_that_cannot_be_read_is_an_error(document: bytes) -> None:
    with pytest.raises(PayloadError, match="cannot be read"):
        unseal(PICKLED + document + struct.pack("<I", len(document)) + MAGIC)
