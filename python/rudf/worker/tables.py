"""Table functions over Arrow, with one conversion for the results of many rows.

PySpark makes a table of what a function gives for one row, which takes some thirty microseconds however little it is.
Here its own code (the functions inside of ``pyspark.worker.read_udtf``) checks and converts, but what many rows gave at
once. Where that could make a difference, or fails, rows are converted one by one, as in PySpark.
"""

from __future__ import annotations

import datetime
import decimal
import itertools
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pyspark.sql.types import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

__all__ = ["Together", "convert_together"]

#: Results are converted when there are so many, or so many bytes of them as far as the last ones tell, or after so many
#: seconds. How many bytes the first ones have nobody knows.
_ENOUGH_ROWS, _ENOUGH_BYTES, _ENOUGH_SECONDS, _FIRST_ROWS = 4096, 4 << 20, 0.05, 64

#: Types of values that nobody can change while they wait.
_PLAIN = frozenset(
    {type(None), bool, int, float, str, bytes, decimal.Decimal, datetime.date, datetime.datetime, datetime.time}
    | {datetime.timedelta, np.float64, np.float32, np.int64, np.int32, np.bool_}
)  # fmt: skip


class Together(NamedTuple):
    """What a function gave for rows that follow one another."""

    #: How many results each of the rows has.
    counts: list[int]
    #: The results of all of them, a column of structs each.
    batches: list[pa.RecordBatch]


def convert_together(evaluate: Callable[..., Any]) -> None:
    """Have the function that PySpark made of a table function convert the results of many rows at once.

    It then gives :class:`Together` in place of a record batch a row. Nothing is changed where PySpark's code has no
    such parts, as for functions of record batches, or by the legacy conversion of pandas.
    """
    rows = _enclosed(evaluate).get("evaluate_rows")
    convert = rows and _enclosed(rows.cell_contents).get("convert_rows_to_arrow")
    check = convert and _enclosed(convert.cell_contents).get("check_return_value")
    if rows and convert and check:
        rows.cell_contents = _Rows(rows.cell_contents, convert.cell_contents, check.cell_contents)


def _enclosed(function: Any) -> dict[str, Any]:
    """Return the cells of a function's closure, by name."""
    code = getattr(function, "__code__", None)
    return dict(zip(code.co_freevars, function.__closure__ or ())) if code is not None else {}


class _Rows:
    """Calls a method for each row, in place of PySpark's ``evaluate_rows``.

    Parameters
    ----------
    one_by_one, convert, check : callable
        PySpark's own: the one that this stands for, what makes record batches of results, what checks them.
    """

    def __init__(
        self,
        one_by_one: Callable[..., Iterator[pa.RecordBatch]],
        convert: Callable[[Any, str], list[pa.RecordBatch]],
        check: Callable[[Any, str], Iterator[Any]],
    ) -> None:
        self._one_by_one = one_by_one
        self._convert = convert
        self._check = check
        self._most_rows = _FIRST_ROWS
        self._waiting: list[list[Any]] = []
        self._number = 0

    def __call__(self, method: Callable[..., Any], *arguments: list[Any], num_rows: int = 1) -> Iterator[Together]:
        from pyspark.sql.udtf import SkipRestOfInputTableException

        name = method.__name__
        since = time.monotonic()
        for row in zip(*arguments) if arguments else itertools.repeat((), num_rows):
            failure: Exception | None = None
            try:
                returned = method(*row)
            except SkipRestOfInputTableException:
                yield from self._converted(name)
                raise
            except Exception as error:
                failure = error
            if failure is not None:
                yield from self._converted(name)
                yield from self._failed(name, failure)
            try:
                results = list(self._check(returned, name))
            except SkipRestOfInputTableException:
                yield from self._converted(name)
                raise
            waiting = _unchangeable(results)
            if waiting is None:
                yield from self._converted(name)
                yield self._together([results], name)
                continue
            self._waiting.append(waiting)
            self._number += len(waiting)
            if (
                self._number >= self._most_rows
                or len(self._waiting) >= _ENOUGH_ROWS
                or time.monotonic() - since > _ENOUGH_SECONDS
            ):
                yield from self._converted(name)
                since = time.monotonic()
        yield from self._converted(name)

    def _failed(self, name: str, error: Exception) -> Iterator[Together]:
        """Raise what PySpark makes of a function's error."""

        def method() -> None:
            raise error

        method.__name__ = name
        for batch in self._one_by_one(method):
            yield Together([batch.num_rows], [batch])

    def _converted(self, name: str) -> Iterator[Together]:
        """Convert what waits."""
        waiting, self._waiting, self._number = self._waiting, [], 0
        if not waiting:
            return
        try:
            together = self._together(waiting, name)
        except Exception:
            # Met again below, by the row that it is of, with PySpark's message.
            for results in waiting:
                yield self._together([results], name)
        else:
            size = sum(batch.nbytes for batch in together.batches)
            rows = sum(together.counts)
            self._most_rows = min(_ENOUGH_ROWS, max(1, _ENOUGH_BYTES * rows // max(1, size))) if rows else _ENOUGH_ROWS
            yield together

    def _together(self, waiting: list[list[Any]], name: str) -> Together:
        from pyspark.sql.conversion import ArrowBatchTransformer

        counts = [len(results) for results in waiting]
        batches = self._convert([row for results in waiting for row in results], name)
        if 0 in counts and any(counts):
            # PySpark makes a batch of what has no rows too. Its schema is part of the stream.
            batches = [*self._convert([], name), *batches] if not counts[0] else [*batches, *self._convert([], name)]
        return Together(counts, [ArrowBatchTransformer.wrap_struct(batch) for batch in batches])


class _MayChange(Exception):
    """A value is of a type that the function might change while the value waits."""


def _unchangeable(results: list[Any]) -> list[Any] | None:
    """Return results that stay as they are whatever the function does next; None where nobody knows."""
    if all(type(row) is tuple and _PLAIN.issuperset(map(type, row)) for row in results):
        return results
    try:
        return [_copy(row) for row in results]
    except (_MayChange, RecursionError):
        return None


def _copy(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is tuple or kind is Row:
        return tuple(map(_copy, value))
    if kind is list:
        return list(map(_copy, value))
    if kind is dict:
        return dict(zip(map(_copy, value), map(_copy, value.values())))
    raise _MayChange
