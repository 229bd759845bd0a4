"""Results of streams on their way to the JVM: put together to batches, and given the declared types."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import Any

import numpy as np
import pyarrow as pa

from rudf.worker.services import pickle_results
from rudf.worker.spark_types import arrow_type
from rudf.worker.tables import Together

__all__ = ["OUTPUTS", "ArrowTypeMismatch", "Output"]

#: Small batches of results are put together: up to so many rows or bytes, and no longer than so many seconds.
_ENOUGH_ROWS, _ENOUGH_BYTES, _ENOUGH_SECONDS = 4096, 4 << 20, 0.05

#: So many results of pickled values are in one pickle.
_PICKLED_TOGETHER = 100


class ArrowTypeMismatch(Exception):
    """Results are of other types than declared. Spark's JVM finds that in PySpark, and says it here too.

    The message is JSON: ``operation``, ``declared`` and ``actual`` types; or ``method``, by which a declared column
    cannot be read; or ``length``, where there are fewer columns.
    """


class Output:
    """Results on their way to the JVM: as columns, each of its declared type."""

    #: What Spark calls the operation whose results it checks.
    operation: str | None = None

    def __init__(self, stream: Any, declared: list[Any], time_zone: str) -> None:
        self._stream = stream
        self._declared = declared
        self._types = [arrow_type(one, time_zone) for one in declared]
        self._waiting: list[list[pa.Array]] = []
        self._rows = self._bytes = 0
        self._since = 0.0
        self._schema: pa.Schema | None = None

    def expect(self, rows: int) -> None:
        """Learn that a batch of so many rows has been taken."""

    def expect_groups(self, keys: list[pa.Array], groups: int) -> None:
        """Learn the keys of groups that begin in a batch that has been taken."""

    def expect_rows(self, columns: list[pa.Array], rows: int) -> None:
        """Learn the columns of a batch that come back beside the results of its rows."""

    def put(self, batch: pa.RecordBatch) -> None:
        """Take one batch of results."""
        self._check_schema(batch)
        columns = self._columns(batch)
        if batch.num_rows:
            self._append(columns, batch.num_rows)

    def _check_schema(self, batch: pa.RecordBatch) -> None:
        if self._schema is None:
            self._schema = batch.schema
        elif not self._schema.equals(batch.schema):
            # What PySpark's writer of the stream says.
            raise pa.ArrowInvalid("Tried to write record batch with different schema")

    def _columns(self, batch: pa.RecordBatch) -> list[pa.Array]:
        return _fitted(batch.columns, self._types)

    def _append(self, columns: list[pa.Array], rows: int, size: int | None = None) -> None:
        self._hold(columns, rows, sum(column.nbytes for column in columns) if size is None else size)
        self._flush_if_enough()

    def _hold(self, columns: list[pa.Array], rows: int, size: int) -> None:
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(columns)
        self._rows += rows
        self._bytes += size

    def _flush_if_enough(self) -> None:
        if self._waiting and (
            self._rows >= _ENOUGH_ROWS
            or self._bytes >= _ENOUGH_BYTES
            or time.monotonic() - self._since > _ENOUGH_SECONDS
        ):
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        if self._waiting:
            rows, columns = self._rows, self._take()
            self._stream.send(columns, rows)

    def _take(self) -> list[pa.Array]:
        waiting, self._waiting, self._rows, self._bytes = self._waiting, [], 0, 0
        if len(waiting) == 1:
            return waiting[0]
        return [pa.concat_arrays(parts) for parts in zip(*waiting, strict=True)]


class _StructOutput(Output):
    """Results of maps: rows of a declared struct, which the JVM takes apart."""

    def _columns(self, batch: pa.RecordBatch) -> list[pa.Array]:
        (struct,) = batch.columns
        if self.operation is not None and not struct.type.equals(self._checked):
            self._check(struct.type)
        fields = list(self._types[0])
        if not batch.num_rows:
            return []
        columns = _readable(struct.flatten(), fields, self._declared[0])
        return [pa.StructArray.from_arrays(columns, fields=[pa.field(field.name, field.type) for field in fields])]

    #: A type that has been found right.
    _checked: pa.DataType | None = None

    def _check(self, kind: pa.DataType) -> None:
        from pyspark.sql.pandas.types import from_arrow_type

        actual, declared = from_arrow_type(kind), self._declared[0]
        if not _fits(actual.jsonValue(), declared.jsonValue()):
            told = {"operation": self.operation, "declared": [declared.jsonValue()], "actual": [actual.jsonValue()]}
            raise ArrowTypeMismatch(json.dumps(told))
        self._checked = kind


class _AlignedOutput(Output):
    """Results of iterator functions: for each batch taken one of as many rows, however the function cut them."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._expected: deque[int] = deque()

    def expect(self, rows: int) -> None:
        self._expected.append(rows)

    def _append(self, columns: list[pa.Array], rows: int, size: int | None = None) -> None:
        self._waiting.append(columns)
        self._rows += rows
        self.flush()

    def flush(self) -> None:
        while self._expected and self._rows >= self._expected[0]:
            wanted, rows = self._expected.popleft(), self._rows
            columns = self._take()
            if rows > wanted:
                self._waiting, self._rows = [[column.slice(wanted) for column in columns]], rows - wanted
                columns = [column.slice(0, wanted) for column in columns]
            self._stream.send(columns, wanted)


class _KeyedOutput(Output):
    """Results of aggregates: a row a group, with the group's keys before it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._keys: deque[tuple[list[pa.Array], int]] = deque()

    def expect_groups(self, keys: list[pa.Array], groups: int) -> None:
        if groups:
            self._keys.append((keys, groups))

    def flush(self) -> None:
        if self._waiting:
            rows, columns = self._rows, self._take()
            self._stream.send(self._next_keys(rows) + columns, rows)

    def _next_keys(self, rows: int) -> list[pa.Array]:
        parts = []
        while rows:
            keys, known = self._keys.popleft()
            if known > rows:
                self._keys.appendleft(([key.slice(rows) for key in keys], known - rows))
                keys, known = [key.slice(0, rows) for key in keys], rows
            parts.append(keys)
            rows -= known
        return parts[0] if len(parts) == 1 else [pa.concat_arrays(chunks) for chunks in zip(*parts)]


class _TableOutput(_StructOutput):
    """Results of table functions: rows of a struct, after other columns of the row that they are results of.

    One batch of results after another belongs to one row after another; what comes after the last row, as ``terminate``
    gives it, belongs to the last.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        #: Columns of batches, how many rows they have, and how many of these have had their results.
        self._rows_of: deque[tuple[list[pa.Array], int]] = deque()
        self._done = 0
        #: Of the results that wait: columns of a batch, rows of it, and how many results belong to each of the rows.
        self._beside: list[tuple[list[pa.Array], list[int], list[int]]] = []

    def expect_rows(self, columns: list[pa.Array], rows: int) -> None:
        if rows:
            self._rows_of.append((columns, rows))

    def put(self, batch: Any) -> None:
        """Take the results of one row, or of several."""
        counts, batches = batch if isinstance(batch, Together) else ([batch.num_rows], [batch])
        self._note_results(counts)
        for one in batches:
            self._check_schema(one)
            # Converted when many have come together: most rows have few results.
            if one.num_rows:
                self._hold(one.columns, one.num_rows, one.get_total_buffer_size())
        self._flush_if_enough()

    def _note_results(self, counts: list[int]) -> None:
        """Have the columns of the next rows beside so many results each."""
        place = 0
        while place < len(counts):
            columns, first, number = self._next_rows(len(counts) - place)
            if not self._beside or self._beside[-1][0] is not columns:
                self._beside.append((columns, [], []))
            _, rows, results = self._beside[-1]
            rows.extend(range(first, first + number))
            results.extend(counts[place : place + number])
            place += number

    def _next_rows(self, most: int) -> tuple[list[pa.Array], int, int]:
        """Return columns of a batch, which of its rows come next, and how many of them."""
        while len(self._rows_of) > 1 and self._done == self._rows_of[0][1]:
            self._rows_of.popleft()
            self._done = 0
        if not self._rows_of:
            return [], 0, 1
        columns, rows = self._rows_of[0]
        if self._done == rows:
            return columns, rows - 1, 1
        first, number = self._done, min(most, rows - self._done)
        self._done += number
        return columns, first, number

    def flush(self) -> None:
        if self._waiting:
            rows = self._rows
            self._stream.send(self._take_beside() + self._take_results(), rows)

    def _take_beside(self) -> list[pa.Array]:
        beside, self._beside = self._beside, []
        parts = []
        for columns, rows, counts in beside:
            index = pa.array(np.repeat(rows, counts))
            parts.append([column.take(index) for column in columns])
        return [pa.concat_arrays(chunks) for chunks in zip(*parts, strict=True)]

    def _take_results(self) -> list[pa.Array]:
        return self._columns(pa.RecordBatch.from_arrays(self._take(), schema=self._schema))


class _PickledOutput(_TableOutput):
    """The same of functions whose results Spark's JVM makes values of: a column of pickled lists of rows.

    Each list stands in the row of its first result, and the rows of the others are null.
    """

    def __init__(self, stream: Any, declared: list[Any], time_zone: str) -> None:
        # No Arrow array is made of them, and not every type that Spark makes values of is one of Arrow's.
        super().__init__(stream, [], time_zone)
        self._counts: list[int] = []
        self._results: list[Any] = []

    def put(self, batch: Any) -> None:
        """Take the results of one row."""
        if not self._counts:
            self._since = time.monotonic()
        self._counts.append(len(batch))
        self._results += batch
        if len(self._results) >= _ENOUGH_ROWS or time.monotonic() - self._since > _ENOUGH_SECONDS:
            self.flush()

    def flush(self) -> None:
        counts, self._counts = self._counts, []
        self._note_results(counts)
        if self._results:
            rows = len(self._results)
            self._stream.send([*self._take_beside(), self._take_pickles()], rows)

    def _take_pickles(self) -> pa.Array:
        results, self._results = self._results, []
        pickles: list[bytes | None] = [None] * len(results)
        for first in range(0, len(results), _PICKLED_TOGETHER):
            pickles[first] = pickle_results(results[first : first + _PICKLED_TOGETHER])
        return pa.array(pickles, pa.binary())


#: How results go to the JVM, by the name that a session is told.
OUTPUTS = {
    "struct": _StructOutput,
    "aligned": _AlignedOutput,
    "keyed": _KeyedOutput,
    "table": _TableOutput,
    "pickled": _PickledOutput,
}


def _fitted(columns: list[pa.Array], types: list[pa.DataType]) -> list[pa.Array]:
    """Give columns the Arrow types that batches have: sizes of offsets and time zones may differ from those."""
    return [column if column.type == kind else column.cast(kind) for column, kind in zip(columns, types, strict=True)]


def _fits(found: Any, wanted: Any) -> bool:
    """Tell whether a type, in Spark's JSON, may stand for another: what is not to be null must not allow it."""
    if not isinstance(wanted, dict) or not isinstance(found, dict):
        return bool(found == wanted)
    if found.get("type") != wanted.get("type"):
        return False
    if wanted["type"] == "struct":
        pairs = list(zip(found["fields"], wanted["fields"]))
        return len(found["fields"]) == len(wanted["fields"]) and all(
            one["name"] == other["name"]
            and (other["nullable"] or not one["nullable"])
            and _fits(one["type"], other["type"])
            for one, other in pairs
        )
    allowed = [("containsNull", "elementType"), ("valueContainsNull", "valueType")]
    return all(wanted[flag] or not found[flag] for flag, _ in allowed if flag in wanted) and all(
        _fits(found[part], wanted[part]) for part in ("elementType", "keyType", "valueType") if part in wanted
    )


#: How Spark reads a column of a type: what is read alike is taken for one another.
_GETTERS = {
    "boolean": "getBoolean", "byte": "getByte", "short": "getShort", "integer": "getInt", "date": "getInt",
    "long": "getLong", "timestamp": "getLong", "timestamp_ntz": "getLong", "daytimeinterval": "getLong",
    "float": "getFloat", "double": "getDouble",
    "string": "getUTF8String", "binary": "getBinary", "decimal": "getDecimal", "array": "getArray", "map": "getMap",
    "struct": "getStruct",
}  # fmt: skip


def _getter(kind: Any) -> str:
    name = kind.typeName()
    return "getLong" if name.startswith("time") else _GETTERS.get(name, name)


def _readable(columns: list[pa.Array], fields: list[pa.Field], declared: Any) -> list[pa.Array]:
    """Give columns their declared types by position, as Spark's JVM reads them where it checks no schema."""
    if len(columns) < len(fields):
        raise ArrowTypeMismatch(json.dumps({"length": len(columns)}))
    return [
        column if column.type == field.type else _read_as(column, field.type, spark_field.dataType)
        for column, field, spark_field in zip(columns, fields, declared.fields)
    ]


def _read_as(column: pa.Array, target: pa.DataType, declared: Any) -> pa.Array:
    from pyspark.sql.pandas.types import from_arrow_type

    # Spark does not read what is null by its type.
    if column.null_count == len(column) or pa.types.is_null(target):
        return pa.nulls(len(column), target)
    found = from_arrow_type(column.type)
    getter = _getter(declared)
    if getter != _getter(found):
        raise ArrowTypeMismatch(json.dumps({"method": getter}))
    return column.view(target) if getter in ("getInt", "getLong") else column.cast(target)
