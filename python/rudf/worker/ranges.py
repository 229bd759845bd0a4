"""Frames of the rows whose order is at most so far from that of the row, as Spark finds their bounds.

Spark goes through a group once: both ends of a frame only move on. It compares a row's order with the bound of another,
which it computes only where there is a row to compare with. So a bound that cannot be computed, because the value
is too close to the end of its type, may go unnoticed.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

__all__ = ["BoundOverflow", "distant_bounds"]


class BoundOverflow(Exception):
    """A bound is needed that cannot be computed. Spark's JVM fails with its own error for that.

    The message is JSON: the ``column`` that should tell the bound, and the ``value`` that it lies at a distance of.
    """


def distant_bounds(frame: dict[str, Any], columns: dict[int, pa.Array], rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each row of a group, where its frame begins and where it ends (the first row behind it).

    Parameters
    ----------
    frame : dict
        ``lower`` and ``upper``: missing where there is no bound. ``columns``: the numbers of the column of the
        ``order``, and of those that tell where the ``lower`` and the ``upper`` bound lie; where a bound has none, it
        lies at the row's own order. Also ``descending`` and ``nulls_last``, how the order sorts.
    columns : dict
        The columns of the group, by number. A bound is null where the order is, or where it cannot be computed.
    rows : int
        Rows of the group.
    """
    told = frame["columns"]
    sides = [side for side in ("lower", "upper") if side in told]
    arrays = {side: columns[told[side]] for side in sides}
    order = _Order(columns[told["order"]], list(arrays.values()), told["descending"], told["nulls_last"])
    lacking = {side: order.lacks(array) for side, array in arrays.items()}
    ends = np.full(rows, rows, np.int64)
    if "upper" in frame:
        ends = np.maximum.accumulate(order.places(arrays.get("upper"), "right", lacking.get("upper")))
    begins = np.zeros(rows, np.int64)
    if "lower" in frame:
        reached = np.minimum(order.places(arrays.get("lower"), "left", lacking.get("lower")), ends)
        begins = np.maximum.accumulate(reached)
    for side in sides:
        _check(side, frame, columns, lacking[side], begins, ends)
    return begins, ends


def _check(
    side: str,
    frame: dict[str, Any],
    columns: dict[int, pa.Array],
    lacking: np.ndarray | None,
    begins: np.ndarray,
    ends: np.ndarray,
) -> None:
    """Fail where Spark would have computed a bound that cannot be."""
    if lacking is None:
        return
    begun, ended = (np.concatenate(([0], bounds[:-1])) for bounds in (begins, ends))
    if "upper" not in frame:
        wanted = begun < len(ends)
    elif side == "upper":
        wanted = ended < len(ends)
    else:
        wanted = (begun < ended) | (ended < ends)
    failing = np.flatnonzero(lacking & wanted)
    if len(failing):
        told = frame["columns"]
        value = columns[told["order"]][int(failing[0])]
        number = value.cast(pa.int32()).cast(pa.int64()) if pa.types.is_date32(value.type) else value.cast(pa.int64())
        raise BoundOverflow(json.dumps({"column": told[side], "value": number.as_py()}))


class _Order:
    """The values that a group is sorted by, as numbers that sort upwards."""

    def __init__(self, values: pa.Array, bounds: list[pa.Array], descending: bool, nulls_last: bool) -> None:
        self._descending = descending
        self._wide = any(pa.types.is_decimal(one.type) and one.type.precision > _LONG_DIGITS for one in bounds)
        self._nulls = _nulls(values)
        count = 0 if self._nulls is None else int(self._nulls.sum())
        rows = len(values)
        self._null_rows = (rows - count, rows) if nulls_last else (0, count)
        self._first = 0 if nulls_last else count
        self._keys = self._numbers(values)
        self._sorted = self._keys[self._first : self._first + rows - count]

    def _numbers(self, values: pa.Array) -> np.ndarray:
        numbers = _sortable(values, self._wide)
        reversed_numbers: np.ndarray = ~numbers
        return reversed_numbers if self._descending else numbers

    def lacks(self, bounds: pa.Array) -> np.ndarray | None:
        """Return which rows have an order and no bound; None where there are none such."""
        nulls = _nulls(bounds)
        if nulls is None:
            return None
        lacking = nulls if self._nulls is None else nulls & ~self._nulls
        return lacking if lacking.any() else None

    def places(self, bounds: pa.Array | None, side: Any, lacking: np.ndarray | None) -> np.ndarray:
        """Return how many rows lie before each bound (``left``), or up to it (``right``); 0 where a bound lacks."""
        keys = self._keys if bounds is None else self._numbers(bounds)
        places = np.searchsorted(self._sorted, keys, side) + self._first
        if self._nulls is not None:
            places[self._nulls] = self._null_rows[0 if side == "left" else 1]
        if lacking is not None:
            places[lacking] = 0
        return places


#: Decimals of so many digits fit into 64 bits.
_LONG_DIGITS = 18


def _nulls(array: pa.Array) -> np.ndarray | None:
    return array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None


def _sortable(array: pa.Array, wide: bool) -> np.ndarray:
    """Return a number for each value, which sort as Spark sorts these; anything for nulls."""
    kind = array.type
    if pa.types.is_decimal(kind):
        halves = _values(array, np.dtype(np.int64), 2).reshape(-1, 2)
        if not wide:
            return halves[:, 0]
        numbers: np.ndarray = (halves[:, 1].astype(object) << 64) | halves[:, 0].view(np.uint64).astype(object)
        return numbers
    if pa.types.is_floating(kind):
        return _sortable_floats(_values(array, np.dtype(kind.to_pandas_dtype()), 1))
    return _values(array, np.dtype(f"i{kind.bit_width // 8}"), 1).astype(np.int64, copy=False)


def _values(array: pa.Array, dtype: np.dtype, width: int) -> np.ndarray:
    values = array.buffers()[1]
    if values is None or not len(array):
        return np.empty(0, dtype)
    return np.frombuffer(values, dtype)[width * array.offset : width * (array.offset + len(array))]


def _sortable_floats(values: np.ndarray) -> np.ndarray:
    """As integers of 64 bits: -0.0 is 0.0, and NaN, whatever its bits, is larger than all."""
    values = values.astype(np.float64) + 0.0
    values[np.isnan(values)] = np.nan
    bits = values.view(np.int64)
    return bits ^ ((bits >> 63) & np.int64(0x7FFF_FFFF_FFFF_FFFF))
