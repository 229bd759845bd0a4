"""PySpark's Arrow types, whichever release of PySpark is beside the functions."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["arrow_type"]


def arrow_type(declared_type: Any, time_zone: str) -> Any:
    """Return the Arrow type of a Spark type; timestamps carry ``time_zone`` (up to PySpark 4.1: UTC)."""
    from pyspark.sql.pandas.types import to_arrow_type

    if "timezone" in inspect.signature(to_arrow_type).parameters:
        return to_arrow_type(declared_type, timezone=time_zone)
    return to_arrow_type(declared_type)
