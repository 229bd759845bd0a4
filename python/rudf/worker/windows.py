"""Aggregates over windows, of pandas objects and of pyarrow arrays.

PySpark finds bounds and converts results a group at a time, and takes the bounds of each row out of arrays. Here bounds
are found for all groups of a run, and results are converted together where that makes no difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from rudf.worker.groups import combined, frame_bounds, starts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rudf.worker.conversion import Conversion
    from rudf.worker.groups import Run

__all__ = ["evaluate_windows"]


class _Windows(Protocol):
    """How functions of one kind get their arguments, and what becomes of what they return."""

    def columns(self, batch: pa.RecordBatch) -> Callable[[Iterable[int], int, int], list[Any]]:
        """Return what gives some columns of the group between two rows of a batch."""

    def sliced(self, column: Any) -> Any:
        """Return what gives a slice of a column, as ``[begin:end]``; frames share memory, as in PySpark."""

    def put(self, number: int, values: list[Any]) -> None:
        """Take what a function returned for a group: one value, or as many as the group has rows."""

    def batch(self, is_moving: list[bool], lengths: list[int]) -> pa.RecordBatch:
        """Convert all values that have been put since the last time, to as many rows as the groups have."""


def evaluate_windows(
    runs: Iterable[Run],
    functions: list[Any],
    frames: list[dict[str, Any]],
    frame_columns: list[int],
    conf: Any,
    *,
    of_series: bool,
) -> Iterator[pa.RecordBatch]:
    """Run aggregates over windows.

    `functions` are as PySpark reads them, ``(function, columns, keywords, type)`` each, with the numbers of the
    arguments alone; `frames` are those of :func:`rudf.worker.groups.frame_bounds`. The last column marks the rows that
    have another order than the one before; those before it are the `frame_columns`, which frames know by these
    numbers. `conf` is PySpark's ``RunnerConf``; `of_series` tells whether the functions take Series or arrays.
    """
    from rudf.worker.conversion import Conversion

    windows = _SeriesWindows(functions, Conversion(conf)) if of_series else _ArrayWindows(functions, conf)
    is_moving = ["lower" in frame or "upper" in frame for frame in frames]
    behind = 1 + len(frame_columns)
    for batch, groups in runs:
        arguments = batch.num_columns - behind
        columns = windows.columns(batch)
        orders = starts_of(batch.column(batch.num_columns - 1)) if any(is_moving) else np.empty(0, np.int64)
        of_frames = {number: batch.column(arguments + place) for place, number in enumerate(frame_columns)}
        bounds = [
            [bound.tolist() for bound in frame_bounds(frame, groups, orders, of_frames)] if moves else None
            for frame, moves in zip(frames, is_moving)
        ]
        for begin, end in groups:
            # All functions get the same objects, as in PySpark.
            group = columns(range(arguments), begin, end)
            for number, (call, positions, keywords, _) in enumerate(functions):
                bound = bounds[number]
                if bound is None:
                    named = {name: group[column] for name, column in keywords.items()}
                    windows.put(number, [call(*[group[column] for column in positions], **named)])
                else:
                    slices = {name: windows.sliced(group[column]) for name, column in keywords.items()}
                    places = map(slice, bound[0][begin:end], bound[1][begin:end])
                    windows.put(number, _moving(call, [windows.sliced(group[c]) for c in positions], slices, places))
        yield windows.batch(is_moving, [end - begin for begin, end in groups])


def _moving(call: Any, arguments: list[Any], named: dict[str, Any], places: Iterable[slice]) -> list[Any]:
    """Call a function for the frame of each row."""
    if not named:
        return [call(*[one[place] for one in arguments]) for place in places]
    return [
        call(*[one[place] for one in arguments], **{name: one[place] for name, one in named.items()})
        for place in places
    ]


def _names(functions: list[Any]) -> list[str]:
    return [f"_{number}" for number in range(len(functions))]


class _SeriesWindows(_Windows):
    """Of functions of Series."""

    def __init__(self, functions: list[Any], conversion: Conversion) -> None:
        from rudf.worker.pandas_groups import Scalars

        self._conversion = conversion
        self._names = _names(functions)
        self._results = [Scalars(name, function[3], conversion) for name, function in zip(self._names, functions)]

    def columns(self, batch: pa.RecordBatch) -> Callable[[Iterable[int], int, int], list[Any]]:
        from rudf.worker.pandas_groups import Columns

        return Columns(batch, self._conversion).series

    def sliced(self, column: Any) -> Any:
        return column.iloc

    def put(self, number: int, values: list[Any]) -> None:
        self._results[number].put(values)

    def batch(self, is_moving: list[bool], lengths: list[int]) -> pa.RecordBatch:
        of_row = pa.array(np.repeat(np.arange(len(lengths)), lengths))
        made = [values.array() for values in self._results]
        return pa.RecordBatch.from_arrays(
            [array if moves else array.take(of_row) for array, moves in zip(made, is_moving)], self._names
        )


class _ArrayWindows(_Windows):
    """Of functions of arrays."""

    #: Types of values of which an array of many has the type of an array of one.
    _PLAIN = frozenset({float, int, bool, str, bytes})

    def __init__(self, functions: list[Any], conf: Any) -> None:
        from pyspark.sql.pandas.types import to_arrow_schema
        from pyspark.sql.types import StructField, StructType

        self._names = _names(functions)
        fields = [StructField(name, function[3]) for name, function in zip(self._names, functions)]
        self._schema = to_arrow_schema(StructType(fields), timezone="UTC", prefers_large_types=conf.use_large_var_types)
        self._values: list[list[list[Any]]] = [[] for _ in functions]

    def columns(self, batch: pa.RecordBatch) -> Callable[[Iterable[int], int, int], list[Any]]:
        return lambda numbers, begin, end: [batch.column(number).slice(begin, end - begin) for number in numbers]

    def sliced(self, column: Any) -> Any:
        return column

    def put(self, number: int, values: list[Any]) -> None:
        self._values[number].append(values)

    def batch(self, is_moving: list[bool], lengths: list[int]) -> pa.RecordBatch:
        columns, self._values = self._values, [[] for _ in self._values]
        flat = [[value for values in groups for value in values] for groups in columns]
        if len(lengths) > 1 and all(map(self._are_alike, flat)):
            try:
                return self._together(flat, is_moving, lengths)
            except Exception:
                # Met again below, by the group that it is of, with PySpark's message.
                pass
        return combined([self._alone(group, is_moving, rows) for *group, rows in zip(*columns, lengths)])

    def _are_alike(self, values: list[Any]) -> bool:
        """Tell whether all values have one type, whatever group they are of."""
        kinds = set(map(type, values))
        if len(kinds) > 1:
            return False
        kind = kinds.pop() if kinds else float
        return kind in self._PLAIN or (issubclass(kind, pa.Scalar) and len({value.type for value in values}) == 1)

    def _together(self, flat: list[list[Any]], is_moving: list[bool], lengths: list[int]) -> pa.RecordBatch:
        of_row = pa.array(np.repeat(np.arange(len(lengths)), lengths))
        arrays = map(pa.array, flat)
        return self._enforced([array if moves else array.take(of_row) for array, moves in zip(arrays, is_moving)])

    def _alone(self, group: list[list[Any]], is_moving: list[bool], rows: int) -> pa.RecordBatch:
        return self._enforced(
            [pa.array(values) if moves else pa.repeat(values[0], rows) for values, moves in zip(group, is_moving)]
        )

    def _enforced(self, arrays: list[pa.Array]) -> pa.RecordBatch:
        from pyspark.sql.conversion import ArrowBatchTransformer

        return ArrowBatchTransformer.enforce_schema(pa.RecordBatch.from_arrays(arrays, self._names), self._schema)
