"""Bounds of frames at a distance are those that Spark's own way through a group finds, row by row."""

from __future__ import annotations

import datetime
import decimal
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudf.worker.groups import columns_of_frames, frame_bounds
from rudf.worker.ranges import BoundOverflow, distant_bounds

ORDER, LOWER, UPPER = 3, 5, 6
#: A bound that cannot be computed.
LACKING = "lacking"


class Reference:
    """Spark's frames, which compare a row's order with the bounds of another."""

    def __init__(self, order: list[Any], descending: bool, nulls_last: bool) -> None:
        self._order, self._descending, self._nulls_last = order, descending, nulls_last

    def _compare(self, row: int, bound: Any) -> int:
        if bound is LACKING:
            raise OverflowError
        value = self._order[row]
        if value is None or bound is None:
            smaller = 1 if self._nulls_last else -1
            return 0 if value is bound else smaller if value is None else -smaller
        found = (value > bound) - (value < bound)
        return -found if self._descending else found

    def bounds(self, lower: list[Any] | None, upper: list[Any] | None) -> list[tuple[int, int]]:
        found, begin, end, rows = [], 0, 0, len(self._order)
        for row in range(rows):
            if upper is None:
                end = rows
                while lower is not None and begin < rows and self._compare(begin, lower[row]) < 0:
                    begin += 1
            else:
                while lower is not None and begin < end and self._compare(begin, lower[row]) < 0:
                    begin += 1
                while end < rows and self._compare(end, upper[row]) <= 0:
                    if lower is not None and self._compare(end, lower[row]) < 0:
                        begin += 1
                    end += 1
            found.append((begin, end))
        return found


def bounds(
    order: pa.Array, lower: pa.Array | None, upper: pa.Array | None, descending: bool = False, nulls_last: bool = False
) -> list[tuple[int, int]]:
    columns = {"order": ORDER, "descending": descending, "nulls_last": nulls_last}
    frame = {"rows": False, "columns": columns}
    arrays = {ORDER: order}
    for side, number, bound in (("lower", LOWER, lower), ("upper", UPPER, upper)):
        if bound is not None:
            frame[side], columns[side], arrays[number] = 0, number, bound
    begins, ends = frame_bounds(frame, [(0, len(order))], np.array([0]), arrays)
    return list(zip(begins.tolist(), ends.tolist()))


VALUES = st.one_of(st.none(), st.integers(-4, 4))
BOUNDS = st.one_of(st.integers(-6, 6), st.just(LACKING))


@settings(deadline=None, max_examples=300)
@given(st.data(), st.lists(VALUES, min_size=1, max_size=12), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_bounds_are_sparks_whatever_they_are(
    data: st.DataObject, values: list[Any], descending: bool, nulls_last: bool, has_lower: bool, has_upper: bool
) -> None:
    some = sorted((v for v in values if v is not None), reverse=descending)
    nulls = [None] * (len(values) - len(some))
    order = some + nulls if nulls_last else nulls + some
    lower, upper = (
        [None if v is None else data.draw(BOUNDS) for v in order] if has else None for has in (has_lower, has_upper)
    )
    try:
        expected: Any = Reference(order, descending, nulls_last).bounds(lower, upper)
    except OverflowError:
        expected = BoundOverflow
    arrays = [
        None if one is None else pa.array([None if v is LACKING else v for v in one], pa.int64())
        for one in (lower, upper)
    ]
    # Part of a longer column, as groups are.
    whole = pa.array([9, *order], pa.int64()).slice(1)
    if expected is BoundOverflow:
        with pytest.raises(BoundOverflow):
            bounds(whole, *arrays, descending, nulls_last)
    else:
        assert bounds(whole, *arrays, descending, nulls_last) == expected


DAY = datetime.date(2020, 2, 28)
MOMENT = datetime.datetime(2020, 2, 28)


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.date32(), pa.timestamp("us", "UTC"),
        pa.timestamp("us"), pa.duration("us"), pa.decimal128(18, 2), pa.decimal128(38, 2),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("descending", [False, True])
def test_values_of_all_types_sort(kind: pa.DataType, descending: bool) -> None:
    def column(values: list[int | None]) -> pa.Array:
        if pa.types.is_date32(kind):
            return pa.array([None if v is None else DAY + datetime.timedelta(v) for v in values], kind)
        if pa.types.is_timestamp(kind):
            return pa.array([None if v is None else MOMENT + datetime.timedelta(v) for v in values], kind)
        if pa.types.is_duration(kind):
            return pa.array([None if v is None else datetime.timedelta(v) for v in values], kind)
        if pa.types.is_decimal(kind):
            return pa.array([None if v is None else decimal.Decimal(v) for v in values], kind)
        return pa.array(values, kind)

    order = [None, -3, -1, 0, 2, 2, 5]
    sign = -1 if descending else 1
    order = [None if v is None else sign * v for v in order]
    lower, upper = ([None if v is None else v + sign * d for v in order] for d in (-2, 1))
    found = bounds(column(order), column(lower), column(upper), descending)
    assert found == [(0, 1), (1, 2), (1, 4), (2, 4), (3, 6), (3, 6), (6, 7)]


def test_floats_sort_as_sparks_do() -> None:
    nan, infinity = float("nan"), float("inf")
    other_nan = np.array([0xFFF8_0000_0000_0001], np.uint64).view(np.float64)[0]
    order = pa.array([-infinity, -1.0, -0.0, 0.0, 1.0, infinity, nan, other_nan])
    assert bounds(order, order, order) == [(0, 1), (1, 2), (2, 4), (2, 4), (4, 5), (5, 6), (6, 8), (6, 8)]


def test_a_bound_that_is_needed_and_lacks_is_told_with_the_value() -> None:
    order, upper = pa.array([DAY, DAY], pa.date32()), pa.array([None, None], pa.date32())
    frame = {"rows": False, "upper": 0, "columns": {"order": 0, "upper": 7, "descending": False, "nulls_last": False}}
    with pytest.raises(BoundOverflow) as raised:
        distant_bounds(frame, {0: order, 7: upper}, 2)
    assert json.loads(str(raised.value)) == {"column": 7, "value": (DAY - datetime.date(1970, 1, 1)).days}


def test_columns_that_frames_name_are_collected_once() -> None:
    frames = [{"rows": True}, {"columns": {"order": 4, "lower": 6}}, {"columns": {"order": 4, "lower": 6, "upper": 5}}]
    assert columns_of_frames(frames) == [4, 6, 5]
