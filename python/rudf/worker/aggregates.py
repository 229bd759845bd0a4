"""Aggregates of groups and over windows, of pandas objects and of pyarrow arrays.

PySpark makes arguments and converts results a group at a time, and takes the bounds of each row's frame out of arrays.
Here bounds are found for all groups of a run, and results are converted together where that makes no difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from rudf.worker.groups import combined, frame_bounds, starts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rudf.worker.conversion import Conversion
    from rudf.worker.groups import Run

__all__ = ["evaluate_aggregates", "evaluate_windows"]

#: Results of aggregates are converted when there are those of so many groups, or of so many rows: a scalar of pyarrow's
#: may hold the batch that it is of.
_ENOUGH_GROUPS, _ENOUGH_ROWS = 1024, 1 << 16


class _Aggregates(Protocol):
    """How functions of one kind get their arguments, and what becomes of what they return."""

    def columns(self, batch: pa.RecordBatch) -> Callable[[Iterable[int], int, int], list[Any]]:
        """Return what gives some columns of the group between two rows of a batch."""

    def slicer(self, column: Any) -> Callable[[slice], Any]:
        """Return what gives slices of a column; they share its memory, as in PySpark."""

    def put(self, number: int, values: list[Any]) -> None:
        """Take what a function returned for a group: one value, or as many as the group has rows."""

    def batch(self, lengths: list[int], repeated: list[bool]) -> pa.RecordBatch:
        """Convert all values that have been put since the last time, to as many rows as the groups have.

        `repeated` tells of which functions one value stands for all rows of a group.
        """


def _of_kind(functions: list[Any], conf: Any, of_series: bool) -> _Aggregates:
    from rudf.worker.conversion import Conversion

    return _SeriesAggregates(functions, Conversion(conf)) if of_series else _ArrayAggregates(functions, conf)


def evaluate_aggregates(
    runs: Iterable[Run], functions: list[Any], conf: Any, *, of_series: bool
) -> Iterator[pa.RecordBatch]:
    """Run aggregates of groups, each of which gives a row; the parameters are those of :func:`evaluate_windows`."""
    aggregates = _of_kind(functions, conf, of_series)
    waiting = rows = 0
    for batch, groups in runs:
        columns = aggregates.columns(batch)
        for begin, end in groups:
            # All functions get the same objects, as in PySpark.
            group = columns(range(batch.num_columns), begin, end)
            for number, (call, positions, keywords, _) in enumerate(functions):
                named = {name: group[column] for name, column in keywords.items()}
                aggregates.put(number, [call(*[group[column] for column in positions], **named)])
        waiting += len(groups)
        rows += batch.num_rows
        if waiting >= _ENOUGH_GROUPS or rows >= _ENOUGH_ROWS:
            yield aggregates.batch([1] * waiting, [False] * len(functions))
            waiting = rows = 0
    if waiting:
        yield aggregates.batch([1] * waiting, [False] * len(functions))


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
    aggregates = _of_kind(functions, conf, of_series)
    is_moving = ["lower" in frame or "upper" in frame for frame in frames]
    behind = 1 + len(frame_columns)
    for batch, groups in runs:
        arguments = batch.num_columns - behind
        columns = aggregates.columns(batch)
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
                    aggregates.put(number, [call(*[group[column] for column in positions], **named)])
                else:
                    slices = {name: aggregates.slicer(group[column]) for name, column in keywords.items()}
                    places = map(slice, bound[0][begin:end], bound[1][begin:end])
                    aggregates.put(
                        number, _moving(call, [aggregates.slicer(group[c]) for c in positions], slices, places)
                    )
        yield aggregates.batch([end - begin for begin, end in groups], [not moves for moves in is_moving])


def _moving(call: Any, arguments: list[Any], named: dict[str, Any], places: Iterable[slice]) -> list[Any]:
    """Call a function for the frame of each row."""
    if not named:
        return [call(*[slicer(place) for slicer in arguments]) for place in places]
    return [
        call(*[slicer(place) for slicer in arguments], **{name: slicer(place) for name, slicer in named.items()})
        for place in places
    ]


def _part_slicer(column: pd.Series) -> Callable[[slice], pd.Series]:
    """Return what ``iloc`` comes to in the end, in half of its time, but by parts of pandas that are no public ones."""
    take, make, name = column._mgr.get_slice, pd.Series._from_mgr, column.name

    def slice_of(place: slice) -> pd.Series:
        manager = take(place)
        part = make(manager, manager.axes)
        part._name = name
        return part

    return slice_of


def _slices_as_iloc(column: Any) -> bool:
    """Tell whether this release of pandas has those parts, and they do the same."""
    if type(column) is not pd.Series:
        return False
    try:
        one, other = _part_slicer(column)(slice(0, 2)), column.iloc[0:2]
        pd.testing.assert_series_equal(one, other, check_flags=True)
    except Exception:
        return False
    return type(one) is type(other) and type(one.index) is type(other.index) and one.attrs == other.attrs


def _repeated(arrays: Iterable[pa.Array], lengths: list[int], repeated: list[bool]) -> list[pa.Array]:
    """Repeat values of groups for each of their rows, in the arrays of which this is told."""
    if not any(repeated):
        return list(arrays)
    of_row = pa.array(np.repeat(np.arange(len(lengths)), lengths))
    return [array.take(of_row) if one else array for array, one in zip(arrays, repeated)]


def _names(functions: list[Any]) -> list[str]:
    return [f"_{number}" for number in range(len(functions))]


class _SeriesAggregates(_Aggregates):
    """Of functions of Series."""

    def __init__(self, functions: list[Any], conversion: Conversion) -> None:
        from rudf.worker.pandas_groups import Scalars

        self._conversion = conversion
        self._names = _names(functions)
        self._results = [Scalars(name, function[3], conversion) for name, function in zip(self._names, functions)]
        #: Of which dtypes slices are made by the parts of pandas that are no public ones.
        self._by_parts: dict[Any, bool] = {}

    def columns(self, batch: pa.RecordBatch) -> Callable[[Iterable[int], int, int], list[Any]]:
        from rudf.worker.pandas_groups import Columns

        return Columns(batch, self._conversion).series

    def slicer(self, column: Any) -> Callable[[slice], Any]:
        kind = getattr(column, "dtype", None)
        if kind not in self._by_parts:
            self._by_parts[kind] = _slices_as_iloc(column)
        slicer: Callable[[slice], Any] = _part_slicer(column) if self._by_parts[kind] else column.iloc.__getitem__
        return slicer

    def put(self, number: int, values: list[Any]) -> None:
        self._results[number].put(values)

    def batch(self, lengths: list[int], repeated: list[bool]) -> pa.RecordBatch:
        made = _repeated((values.array() for values in self._results), lengths, repeated)
        return pa.RecordBatch.from_arrays(made, self._names)


class _ArrayAggregates(_Aggregates):
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

    def slicer(self, column: Any) -> Callable[[slice], Any]:
        slicer: Callable[[slice], Any] = column.__getitem__
        return slicer

    def put(self, number: int, values: list[Any]) -> None:
        self._values[number].append(values)

    def batch(self, lengths: list[int], repeated: list[bool]) -> pa.RecordBatch:
        columns, self._values = self._values, [[] for _ in self._values]
        flat = [[value for values in groups for value in values] for groups in columns]
        if len(lengths) > 1 and all(map(self._are_alike, flat)):
            try:
                return self._enforced(_repeated(map(pa.array, flat), lengths, repeated))
            except Exception:
                # Met again below, by the group that it is of, with PySpark's message.
                pass
        return combined([self._alone(group, rows, repeated) for *group, rows in zip(*columns, lengths)])

    def _are_alike(self, values: list[Any]) -> bool:
        """Tell whether all values have one type, whatever group they are of."""
        kinds = set(map(type, values))
        if len(kinds) > 1:
            return False
        kind = kinds.pop() if kinds else float
        return kind in self._PLAIN or (issubclass(kind, pa.Scalar) and len({value.type for value in values}) == 1)

    def _alone(self, group: list[list[Any]], rows: int, repeated: list[bool]) -> pa.RecordBatch:
        return self._enforced(
            [pa.repeat(values[0], rows) if one else pa.array(values) for values, one in zip(group, repeated)]
        )

    def _enforced(self, arrays: list[pa.Array]) -> pa.RecordBatch:
        from pyspark.sql.conversion import ArrowBatchTransformer

        return ArrowBatchTransformer.enforce_schema(pa.RecordBatch.from_arrays(arrays, self._names), self._schema)
