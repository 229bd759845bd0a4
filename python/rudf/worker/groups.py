"""Groups of rows out of batches that hold as many groups as fit, or parts of one.

Rows come sorted by their keys; a column of booleans marks those that begin a group.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rudf.worker.ranges import distant_bounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Run", "columns_of_frames", "combined", "frame_bounds", "in_groups", "in_runs", "starts_of"]


#: A record batch of whole groups, and where each of them begins and ends.
Run = tuple[pa.RecordBatch, list[tuple[int, int]]]


def starts_of(marks: pa.Array) -> np.ndarray:
    """Return the numbers of the rows that begin a group."""
    return np.flatnonzero(marks.to_numpy(zero_copy_only=False))


def in_groups(
    batches: Iterable[tuple[pa.RecordBatch, np.ndarray]], most_rows: int | None
) -> Iterator[Iterator[pa.RecordBatch]]:
    """Yield one iterator of record batches a group, in order.

    What a consumer leaves of a group is skipped when it asks for the next one.

    Parameters
    ----------
    batches : iterable of (pyarrow.RecordBatch, numpy.ndarray)
        Batches, and the rows of each that begin a group. The first row of the first batch does.
    most_rows : int or None
        All batches of a group but the last are to have so many rows; None where they may end anywhere.
    """
    pieces = _Pieces(batches)
    while pieces.ahead is not None:
        group = pieces.of_one_group()
        if most_rows is not None:
            group = _cut(group, most_rows)
        yield group
        for _ in group:
            pass


def in_runs(
    batches: Iterable[tuple[pa.RecordBatch, np.ndarray]],
) -> Iterator[Run]:
    """Yield record batches of whole groups, with where each group begins and ends (the row behind its last).

    Groups that lie in one of the batches stay there; one that goes on in the next is put together and comes alone.
    """
    unfinished: list[pa.RecordBatch] = []
    for batch, starts in batches:
        if not len(starts):
            unfinished.append(batch)
            continue
        first, last = int(starts[0]), int(starts[-1])
        if first:
            unfinished.append(batch.slice(0, first))
        if unfinished:
            whole = combined(unfinished)
            yield whole, [(0, whole.num_rows)]
        if last > first:
            bounds = (starts - first).tolist()
            yield batch.slice(first, last - first), list(itertools.pairwise(bounds))
        unfinished = [batch.slice(last)]
    if unfinished:
        whole = combined(unfinished)
        yield whole, [(0, whole.num_rows)]


class _Pieces:
    """The parts of batches that belong to one group each."""

    def __init__(self, batches: Iterable[tuple[pa.RecordBatch, np.ndarray]]) -> None:
        self._pieces = self._cut(batches)
        #: Whether the next part begins a group, and the part; None at the end.
        self.ahead: tuple[bool, pa.RecordBatch] | None = next(self._pieces, None)

    @staticmethod
    def _cut(batches: Iterable[tuple[pa.RecordBatch, np.ndarray]]) -> Iterator[tuple[bool, pa.RecordBatch]]:
        for batch, starts in batches:
            ends = [*starts.tolist(), batch.num_rows]
            if ends[0]:
                yield False, batch.slice(0, ends[0])
            for start, end in itertools.pairwise(ends):
                yield True, batch.slice(start, end - start)

    def of_one_group(self) -> Iterator[pa.RecordBatch]:
        begins = False
        while self.ahead is not None and not begins:
            yield self.ahead[1]
            self.ahead = next(self._pieces, None)
            begins = self.ahead is not None and self.ahead[0]


def _cut(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Put batches together and cut them anew, to so many rows each."""
    waiting: list[pa.RecordBatch] = []
    length = 0
    for batch in batches:
        waiting.append(batch)
        length += batch.num_rows
        while length >= rows:
            whole = combined(waiting)
            yield whole.slice(0, rows)
            waiting, length = [whole.slice(rows)], length - rows
    if length:
        yield combined(waiting)


def combined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Put batches of one schema together."""
    if len(batches) == 1:
        return batches[0]
    return pa.RecordBatch.from_arrays(
        [pa.concat_arrays(parts) for parts in zip(*(batch.columns for batch in batches))], schema=batches[0].schema
    )


#: Of each row, where its frame begins and where it ends (the first row behind it), counted from the row's group.
FrameBounds = tuple[np.ndarray, np.ndarray]


def frame_bounds(
    frame: dict[str, Any],
    groups: list[tuple[int, int]],
    orders: np.ndarray,
    columns: dict[int, pa.Array] | None = None,
) -> FrameBounds:
    """Return the bounds of all rows' frames in groups that follow one another.

    Parameters
    ----------
    frame : dict
        ``lower`` and ``upper``: distances from the row, or missing where there is no bound. They are distances in
        ``rows`` where that is true; else they are 0, and stand for all rows of the same order, or, where there are
        ``columns``, for what :func:`rudf.worker.ranges.distant_bounds` says.
    groups : list of (int, int)
        Where each group begins and ends.
    orders : numpy.ndarray
        The rows that have another order than the one before; each group's first is one of them.
    columns : dict, optional
        Columns that frames name, by number.
    """
    if "columns" in frame:
        of_groups = [
            distant_bounds(
                frame, {n: column.slice(begin, end - begin) for n, column in (columns or {}).items()}, end - begin
            )
            for begin, end in groups
        ]
        return np.concatenate([begins for begins, _ in of_groups]), np.concatenate([ends for _, ends in of_groups])
    edges = np.array(groups)
    group_begins, group_ends = (np.repeat(edge, edges[:, 1] - edges[:, 0]) for edge in edges.T)
    rows = int(edges[-1, 1])
    if frame["rows"]:
        first = last = np.arange(rows)
    else:
        of_row = np.searchsorted(orders, np.arange(rows), side="right") - 1
        first, last = orders[of_row], np.append(orders[1:], rows)[of_row] - 1
    begins = group_begins if frame.get("lower") is None else first + frame["lower"]
    ends = group_ends if frame.get("upper") is None else last + frame["upper"] + 1
    begins, ends = (np.clip(bound, group_begins, group_ends) for bound in (begins, ends))
    return begins - group_begins, np.maximum(begins, ends) - group_begins


def columns_of_frames(frames: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of the columns that frames name, without repetitions."""
    named = (
        frame["columns"].get(name) for frame in frames if "columns" in frame for name in ("order", "lower", "upper")
    )
    return list(dict.fromkeys(column for column in named if column is not None))
