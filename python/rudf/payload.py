"""The seal behind a pickled function: tells rudf's Spark operators that a function is theirs.

A pickle ends with its STOP opcode and readers ignore what follows, so a stock PySpark worker runs a sealed function as
it is. Behind the pickle stand a JSON document, its length (32 bits, little-endian) and eight bytes of magic.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from dataclasses import dataclass

from rudf._version import __version__

__all__ = ["MAGIC", "Payload", "PayloadError", "seal", "unseal"]

MAGIC = b"RUDF\x01\r\n\x00"
_LENGTH = struct.Struct("<I")


class PayloadError(ValueError):
    """A sealed function whose bytes are not what was sealed."""


@dataclass(frozen=True)
class Payload:
    """What a sealed function says of itself."""

    #: The pickle, without the seal.
    pickled: bytes
    #: Name of the UDF.
    name: str
    #: ``major.minor`` of the Python that pickled it.
    python: str
    #: Version of rudf that sealed it.
    version: str
    #: Longest time for one batch, in seconds, where the function has one of its own.
    timeout: float | None = None


def seal(pickled: bytes, name: str, timeout: float | None = None) -> bytes:
    """Put a seal behind a pickle.

    Parameters
    ----------
    pickled : bytes
        A pickle, complete with its STOP opcode.
    name : str
        Name of the UDF.
    timeout : float, optional
        Longest time for one batch, in seconds.
    """
    sealed: dict[str, str | float] = {
        "rudf": __version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "name": name,
        "sha256": hashlib.sha256(pickled).hexdigest(),
    }
    if timeout is not None:
        sealed["timeout"] = timeout
    document = json.dumps(sealed).encode()
    return pickled + document + _LENGTH.pack(len(document)) + MAGIC


def unseal(command: bytes) -> Payload | None:
    """Read the seal of a command.

    Returns
    -------
    Payload or None
        None where the command carries no seal.

    Raises
    ------
    PayloadError
        Where it does, and the bytes were changed or cut since.
    """
    if not command.endswith(MAGIC):
        return None
    end = len(command) - len(MAGIC) - _LENGTH.size
    if end < 0:
        raise PayloadError("the payload is damaged: it is cut off")
    (length,) = _LENGTH.unpack_from(command, end)
    if length > end:
        raise PayloadError("the payload is damaged: its seal is cut off")
    try:
        document = json.loads(command[end - length : end])
        sealed = Payload(
            command[: end - length], document["name"], document["python"], document["rudf"], document.get("timeout")
        )
        expected = document["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise PayloadError(f"the payload is damaged: its seal cannot be read ({error})") from error
    if hashlib.sha256(sealed.pickled).hexdigest() != expected:
        raise PayloadError(f"the payload of `{sealed.name}` is damaged: its checksum does not match")
    return sealed
