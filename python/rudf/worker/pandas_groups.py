"""Functions of pandas objects over groups, with one conversion for many groups.

PySpark makes Series of the columns of each group, and Arrow arrays of its results, which takes about a millisecond a
group however short it is. Here PySpark's own code converts whole batches, of which groups get slices, and results of
several groups put together. Where that could make a difference, groups are converted one by one, as in PySpark: columns
of a type whose dtype depends on whether there are nulls, results of different dtypes, and what cannot be converted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.types import is_object_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rudf.worker.conversion import Conversion
    from rudf.worker.groups import Run

__all__ = ["Columns", "Scalars", "evaluate_cogroups", "evaluate_maps"]

#: Results of several groups are converted together: up to so many rows, or of so many bytes of input.
_MOST_ROWS, _MOST_BYTES = 1 << 15, 4 << 20

#: Slices share memory with the batch, and what is written to one stays its own: by themselves from pandas 3 on.
_COPY_ON_WRITE = int(pd.__version__.split(".")[0]) >= 3


class Columns:
    """The columns of a run as pandas objects, a group at a time."""

    def __init__(self, batch: pa.RecordBatch, conversion: Conversion) -> None:
        self._batch = batch
        self._conversion = conversion
        self._series: dict[int, pd.Series | None] = {}
        self._frames: dict[tuple[int, ...], pd.DataFrame | None] = {}

    def series(self, columns: Iterable[int], begin: int, end: int) -> list[pd.Series]:
        """Return some columns of one group."""
        return [self._one(column, begin, end) for column in columns]

    def _one(self, column: int, begin: int, end: int) -> pd.Series:
        whole = self._whole(column)
        if whole is None:
            return self._conversion.series_of(self._batch.select([column]).slice(begin, end - begin))[0]
        return _slice(whole, begin, end)

    def _whole(self, column: int) -> pd.Series | None:
        """Return the column of all groups; None where they have to be converted one by one."""
        if column not in self._series:
            array = self._batch.column(column)
            whole = array.null_count == 0 or _has_one_dtype(array.type)
            self._series[column] = self._conversion.series_of(self._batch.select([column]))[0] if whole else None
        return self._series[column]

    def frame(self, columns: tuple[int, ...], begin: int, end: int) -> pd.DataFrame:
        """Return some columns of one group as a DataFrame."""
        if columns not in self._frames:
            series = [self._whole(column) for column in columns]
            # In one block a dtype, of which slices are copied faster than of a block a column.
            self._frames[columns] = None if any(one is None for one in series) else pd.concat(series, axis=1)
        frame = self._frames[columns]
        if frame is None:
            return pd.concat(self.series(columns, begin, end), axis=1)
        return _slice(frame, begin, end)

    def first(self, columns: Iterable[int], begin: int, end: int) -> tuple[Any, ...]:
        """Return the values of a group's first row."""
        return tuple(self._first(column, begin, end) for column in columns)

    def _first(self, column: int, begin: int, end: int) -> Any:
        whole = self._whole(column)
        return self._one(column, begin, end).iloc[0] if whole is None else whole.iloc[begin]


def _slice(whole: Any, begin: int, end: int) -> Any:
    """Take the rows of one group, numbered from 0."""
    if begin == 0 and end == len(whole):
        return whole if _COPY_ON_WRITE else whole.copy()
    part = whole.iloc[begin:end]
    if not _COPY_ON_WRITE:
        part = part.copy()
    part.index = pd.RangeIndex(end - begin)
    return part


def _has_one_dtype(kind: pa.DataType) -> bool:
    """Tell whether Series of a type have the same dtype with nulls and without."""
    types = pa.types
    checks = (types.is_floating, types.is_string, types.is_binary, types.is_date, types.is_timestamp, types.is_decimal)
    return any(check(kind) for check in checks)


class _FrameResults:
    """DataFrames that functions return, on their way to record batches."""

    def __init__(self, declared: Any, conversion: Conversion) -> None:
        from pyspark.sql.types import BinaryType, DateType, StringType, TimestampType

        self._declared = declared
        self._conversion = conversion
        self._names = pd.Index(declared.names)
        #: Columns whose values are converted each by itself even if their dtype is object.
        by_value = (StringType, BinaryType, DateType, TimestampType)
        self._of_objects = [isinstance(field.dataType, by_value) for field in declared.fields]
        self._waiting: list[pd.DataFrame] = []
        self._dtypes: list[Any] = []
        self._rows = 0
        self._bytes = 0.0

    def put(self, result: Any, cost: float) -> Iterator[pa.RecordBatch]:
        """Take one result; `cost` is how many bytes of input it was made of."""
        if type(result) is not pd.DataFrame or not result.columns.equals(self._names):
            self._conversion.verify(result, self._declared)
            yield from self.flush()
            yield self._convert(result)
            return
        dtypes = result.dtypes.tolist()
        if dtypes != self._dtypes:
            yield from self.flush()
            self._dtypes = dtypes
        self._waiting.append(result)
        self._rows += len(result)
        self._bytes += cost
        if self._rows >= _MOST_ROWS or self._bytes >= _MOST_BYTES or not self._may_wait(dtypes):
            yield from self.flush()

    def _may_wait(self, dtypes: list[Any]) -> bool:
        return all(by_value or not is_object_dtype(dtype) for dtype, by_value in zip(dtypes, self._of_objects))

    def flush(self) -> Iterator[pa.RecordBatch]:
        """Convert what waits."""
        frames, self._waiting, self._rows, self._bytes = self._waiting, [], 0, 0.0
        if len(frames) > 1:
            try:
                together = self._convert(pd.concat(frames, ignore_index=True))
            except Exception:
                # Met again below, by the group that it is of, with PySpark's message.
                pass
            else:
                frames = []
                yield together
        for frame in frames:
            yield self._convert(frame)

    def _convert(self, frame: pd.DataFrame) -> pa.RecordBatch:
        return self._conversion.struct_of(frame, self._declared)


def evaluate_maps(
    runs: Iterable[Run], function: Any, keys: list[int], values: list[int], conversion: Conversion
) -> Iterator[pa.RecordBatch]:
    """Run a function of ``applyInPandas``; `function` is as PySpark reads it."""
    call, _, declared, arguments = function
    results = _FrameResults(declared, conversion)
    columns = tuple(values)
    for batch, bounds in runs:
        run = Columns(batch, conversion)
        cost = batch.nbytes / len(bounds)
        for begin, end in bounds:
            group = run.frame(columns, begin, end)
            result = call(group) if arguments == 1 else call(run.first(keys, begin, end), group)
            del group
            yield from results.put(result, cost)
            del result
    yield from results.flush()


#: Columns of one side, and which of these are its keys and its values.
Side = tuple[list[int], list[int], list[int]]


def evaluate_cogroups(
    runs: Iterable[Run], function: Any, left: Side, right: Side, conversion: Conversion
) -> Iterator[pa.RecordBatch]:
    """Run a function of two groups. The last column tells the rows of the right."""
    call, _, declared, arguments = function
    results = _FrameResults(declared, conversion)
    for batch, bounds in runs:
        of_right = batch.column(batch.num_columns - 1).to_numpy(zero_copy_only=False)
        sides = [
            Columns(batch.select(columns).filter(pa.array(mask)), conversion)
            for (columns, _, _), mask in ((left, ~of_right), (right, of_right))
        ]
        # How many rows of the right there are before each row.
        before = np.concatenate([[0], np.cumsum(of_right)])
        cost = batch.nbytes / len(bounds)
        for begin, end in bounds:
            places = (begin - before[begin], end - before[end]), (before[begin], before[end])
            frames = [
                side.frame(tuple(values), first, last)
                for side, (_, _, values), (first, last) in zip(sides, (left, right), places)
            ]
            if arguments == 2:
                result = call(*frames)
            else:
                which = 0 if not frames[0].empty else 1
                _, keys, _ = (left, right)[which]
                result = call(sides[which].first(keys, *places[which]), *frames)
            del frames
            yield from results.put(result, cost)
            del result
    yield from results.flush()


class Scalars:
    """The values that one function returns, on their way to an array: a list of them for each group."""

    #: Types of values of which a Series of many has the dtype of a Series of one.
    _PLAIN = frozenset({float, int, bool, str, np.float64, np.float32, np.int64, np.int32, np.bool_})

    def __init__(self, name: str, declared: Any, conversion: Conversion) -> None:
        from pyspark.sql.types import StructField, StructType

        self._schema = StructType([StructField(name, declared)])
        self._conversion = conversion
        self._groups: list[list[Any]] = []
        self._kind: type | None = None
        self._is_plain = True

    def put(self, values: list[Any]) -> None:
        """Take the values of one group."""
        self._groups.append(values)
        if self._is_plain:
            kind = self._kind or (type(values[0]) if values else None)
            self._kind = kind
            self._is_plain = (kind is None or kind in self._PLAIN) and all(type(value) is kind for value in values)

    def array(self) -> pa.Array:
        """Convert all values that have been put since the last time."""
        groups, self._groups, is_plain, self._is_plain, self._kind = self._groups, [], self._is_plain, True, None
        if is_plain and len(groups) > 1:
            try:
                return self._convert([value for values in groups for value in values])
            except Exception:
                # Met again below, by the group that it is of, with PySpark's message.
                pass
        return pa.concat_arrays([self._convert(values) for values in groups])

    def _convert(self, values: list[Any]) -> pa.Array:
        return self._conversion.batch_of([pd.Series(values)], self._schema).column(0)
