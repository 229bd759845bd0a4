"""Functions that take an iterator of batches and give one: iterator functions, maps over partitions, and groups.

PySpark's own worker code runs them (``pyspark.worker.read_udfs``), over batches that lie in shared memory in place of
batches from a socket: what functions see, what becomes of their results, and what is said of mistakes is PySpark's by
construction. Here batches are taken and given.
"""

from __future__ import annotations

import base64
import json
import pickle
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rudf import _native
from rudf.worker.groups import columns_of_frames, in_groups, in_runs, starts_of
from rudf.worker.outputs import OUTPUTS
from rudf.worker.tables import convert_together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rudf.worker.outputs import Output

__all__ = ["run"]


def run(stream: Any, kind: int, functions: list[Any], spec: str, *, time_zone: str) -> None:
    """Run the functions of one session over all batches of one partition.

    Parameters
    ----------
    stream : rudf._native.BatchStream
        Where batches come from and results go to.
    kind : int
        PySpark's eval type.
    functions : list
        ``(chain, declared type, columns, names of the last columns)`` an output column.
    spec : str
        JSON. ``names`` and ``nullable`` of the columns; ``struct``: whether functions get them as one; ``conf``:
        Spark's confs; ``output``: ``struct`` where the result is one column of rows, ``aligned`` where it has as many
        rows as each batch, ``keyed`` where it has a row a group, to come with the group's keys, ``table`` or
        ``pickled`` where each row has any number of results, which come with columns of it. ``groups``, where functions
        take groups: the numbers of their ``keys`` and of the ``values`` that maps get, and then the last
        column marks the rows that begin a group. ``table``: what PySpark is told of a table function; the first
        ``keys`` columns come back before the results.
    time_zone : str
        The session's time zone.
    """
    import pyspark.worker

    told = json.loads(spec)
    confs = told["conf"]
    output = OUTPUTS[told["output"]](stream, _declared(functions, told), time_zone)
    if confs.get("spark.sql.execution.arrow.pyspark.validateSchema.enabled") == "true":
        output.operation = _CHECKED_BY_SPARK.get(kind)
    source = _source(told, kind)(stream, output, told, functions, kind)
    worker: Any = pyspark.worker
    runner_conf = worker.RunnerConf(confs)
    results = source.results(worker, functions, runner_conf)
    try:
        for batch in results:
            output.put(batch)
        output.flush()
    finally:
        if hasattr(results, "close"):
            results.close()


#: So many rows of arguments are made at once, where functions get pickled values.
_ROWS_MADE_TOGETHER = 256

#: Eval types of whose results Spark's JVM checks the schema, and what it calls them.
_CHECKED_BY_SPARK = {207: "SQL_MAP_ARROW_ITER_UDF"}

#: The eval type of ``mapInPandas``.
_MAP_IN_PANDAS = 205

#: Eval types whose functions get pandas objects, which they may write to.
_PANDAS_KINDS = {201, 202, 203, 204, 205, 206, 216, 217}

#: Eval types whose functions take whole groups, which are converted together.
_CONVERTED_TOGETHER = {201, 202, 203, 206, 252, 253}

#: Eval types whose functions see how a group is cut into batches.
_GROUP_ITERATOR_KINDS = {215, 216, 217, 254}


def _declared(functions: list[Any], told: dict[str, Any]) -> list[Any]:
    """Return the type of each function's results. That of a table function may be known only where it is called."""
    if "table" not in told:
        return [function[1] for function in functions]
    from pyspark.sql.types import _parse_datatype_json_string

    return [_parse_datatype_json_string(told["table"]["return_type"])]


def _source(told: dict[str, Any], kind: int) -> type[_Batches]:
    if "table" in told:
        return _PickledTable if told["output"] == "pickled" else _Table
    groups = told.get("groups")
    if groups is None:
        return _Frames if kind == _MAP_IN_PANDAS and told["names"] else _Batches
    if groups["frames"]:
        return _Windows
    if "cogroup" in groups:
        return _Cogroups
    return _MappedGroups if groups["values"] else _AggregatedGroups


class _Unpickled:
    """Stands for PySpark's serializer: functions have been unpickled already."""

    def _read_with_length(self, command: Any) -> Any:
        return command

    def loads(self, pickled: bytes) -> Any:
        return pickle.loads(pickled)


def _info(function: Any, columns: list[int], **more: Any) -> Any:
    """Describe a function as PySpark's reader of its socket does; `columns` are what PySpark is told of its columns."""
    chain, declared, _, names = function
    positional = len(columns) - len(names)
    return SimpleNamespace(
        udfs=[(link, declared) for link in chain],
        args=columns[:positional],
        kwargs=dict(zip(names, columns[positional:], strict=True)),
        result_id=None,
        **more,
    )


class _Batches:
    """The batches of a stream, as PySpark's code takes them."""

    def __init__(self, stream: Any, output: Output, told: dict[str, Any], functions: list[Any], kind: int) -> None:
        self._stream = stream
        self._output = output
        self._names, self._nullable = told["names"], told["nullable"]
        self._as_struct = told["struct"]
        self._kind = kind
        self._writable = kind in _PANDAS_KINDS

    def columns(self, function: Any) -> list[int]:
        """Return the numbers of a function's columns in the batches that it gets of."""
        columns: list[int] = function[2]
        return columns

    def offsets(self, function: Any) -> list[int]:
        """Return what PySpark is told of a function's columns."""
        return self.columns(function)

    def results(self, worker: Any, functions: list[Any], conf: Any) -> Iterator[pa.RecordBatch]:
        """Run the functions by PySpark's code (`worker` is its module) over all batches."""
        infos = [_info(function, self.offsets(function)) for function in functions]
        evaluate, *_ = worker.read_udfs(_Unpickled(), infos, self._kind, conf, worker.EvalConf({}))
        results: Iterator[pa.RecordBatch] = evaluate(0, self.feed())
        return results

    def feed(self) -> Iterator[Any]:
        """Yield what PySpark's code takes: batches as they come."""
        for columns, _ in self._received():
            yield self._batch(columns)

    def _take_arguments(self, functions: list[Any]) -> None:
        """Have batches of the functions' arguments alone, as PySpark names and orders them."""
        self._arguments = list(dict.fromkeys(column for function in functions for column in function[2]))
        self._nullable = [self._nullable[column] for column in self._arguments]
        self._names = [f"_{number}" for number in range(len(self._arguments))]

    def _received(self) -> Iterator[tuple[list[pa.Array], int]]:
        while True:
            if not self._stream.has_batch():
                self._output.flush()
            received = self._stream.next_batch()
            if received is None:
                return
            columns, rows = received
            self._output.expect(rows)
            yield ([_writable(column) for column in columns] if self._writable else columns), rows

    def _batch(self, columns: list[pa.Array]) -> pa.RecordBatch:
        fields = [
            pa.field(name, column.type, nullable)
            for name, column, nullable in zip(self._names, columns, self._nullable, strict=True)
        ]
        if not self._as_struct:
            return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
        return pa.RecordBatch.from_arrays([pa.StructArray.from_arrays(columns, fields=fields)], ["_0"])


class _Frames(_Batches):
    """Of ``mapInPandas``."""

    def results(self, worker: Any, functions: list[Any], conf: Any) -> Iterator[pa.RecordBatch]:
        from rudf.worker.conversion import Conversion
        from rudf.worker.pandas_maps import Frames, evaluate_frames

        info = _info(functions[0], self.columns(functions[0]))
        function, _, _, declared = worker.read_single_udf(_Unpickled(), info, self._kind, conf, 0)
        conversion = Conversion(conf)
        # What functions write to is copied where frames are made.
        self._writable = False
        batches = (columns for columns, _ in self._received())
        return evaluate_frames(batches, function, declared, Frames(self._names, conversion), conversion)


class _Table(_Batches):
    """Of a table function, which gets the rows' arguments, and whose results come with other columns of the rows."""

    def __init__(self, stream: Any, output: Output, told: dict[str, Any], functions: list[Any], kind: int) -> None:
        super().__init__(stream, output, told, functions, kind)
        self._told = told["table"]
        self._take_arguments(functions)

    def results(self, worker: Any, functions: list[Any], conf: Any) -> Iterator[pa.RecordBatch]:
        eval_conf = worker.EvalConf(self._eval_conf())
        evaluate, *_ = worker.read_udtf(_Unpickled(), self._table_info(functions[0]), self._kind, conf, eval_conf)
        convert_together(evaluate)
        results: Iterator[pa.RecordBatch] = evaluate(0, self.feed())
        return results

    def _table_info(self, function: Any) -> Any:
        """Describe the function as PySpark's reader of its socket does."""
        analyzed = self._told.get("analyzed")
        return _info(
            function,
            [self._arguments.index(column) for column in function[2]],
            handler=function[0][0],
            partition_child_indexes=self._told["partition_columns"],
            pickled_analyze_result=None if analyzed is None else base64.b64decode(analyzed),
            return_type=self._told["return_type"],
            name=self._told["name"],
        )

    def _eval_conf(self) -> dict[str, str]:
        """Return what PySpark's worker is told of the rows."""
        fields = [
            {"name": name, "type": json.loads(self._told["types"][column]), "nullable": True, "metadata": {}}
            for name, column in zip(self._names, self._arguments)
        ]
        told = {"input_type": json.dumps({"type": "struct", "fields": fields})}
        if self._told["tables"]:
            told["table_arg_offsets"] = ",".join(map(str, self._told["tables"]))
        return told

    def feed(self) -> Iterator[pa.RecordBatch]:
        """Yield the arguments of each batch."""
        for columns, rows in self._received():
            self._output.expect_rows(columns[: self._told["keys"]], rows)
            if self._arguments:
                yield self._batch([columns[column] for column in self._arguments])
            else:
                yield pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))


class _PickledTable(_Table):
    """The same of a function that PySpark gives pickled values to: rows of them, in place of batches."""

    def __init__(self, stream: Any, output: Output, told: dict[str, Any], functions: list[Any], kind: int) -> None:
        super().__init__(stream, output, told, functions, kind)
        types = [json.loads(self._told["types"][column]) for column in self._arguments]
        as_bytes = told["conf"].get("spark.sql.execution.pyspark.binaryAsBytes") != "false"
        self._rows = _native.RowMaker(json.dumps(types), told["conf"]["spark.sql.session.timeZone"], as_bytes)

    def feed(self) -> Iterator[Any]:
        for columns, rows in self._received():
            self._output.expect_rows(columns[: self._told["keys"]], rows)
            arguments = [columns[column] for column in self._arguments]
            for first in range(0, rows, _ROWS_MADE_TOGETHER):
                count = min(_ROWS_MADE_TOGETHER, rows - first)
                yield from self._rows.rows([column.slice(first, count) for column in arguments], count)


class _Groups(_Batches):
    """The same, a group at a time. The last column marks the rows that begin a group."""

    def __init__(self, stream: Any, output: Output, told: dict[str, Any], functions: list[Any], kind: int) -> None:
        super().__init__(stream, output, told, functions, kind)
        self._keys, self._values = told["groups"]["keys"], told["groups"]["values"]
        most = int(told["conf"].get("spark.sql.execution.arrow.maxRecordsPerBatch", 0))
        self._most_rows = most if most > 0 and kind in _GROUP_ITERATOR_KINDS else None

    def results(self, worker: Any, functions: list[Any], conf: Any) -> Iterator[pa.RecordBatch]:
        if self._kind not in _CONVERTED_TOGETHER:
            return super().results(worker, functions, conf)
        infos = [_info(function, self.columns(function)) for function in functions]
        read = [worker.read_single_udf(_Unpickled(), info, self._kind, conf, n) for n, info in enumerate(infos)]
        return self.evaluate(read, conf)

    def evaluate(self, functions: list[Any], conf: Any) -> Iterator[pa.RecordBatch]:
        """Run functions that are as PySpark has read them."""
        raise NotImplementedError

    def feed(self) -> Iterator[Any]:
        """Yield an iterator of batches a group."""
        return in_groups(self._marked(), self._most_rows)

    def _marked(self) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        for (*columns, marks), _ in self._received():
            starts = starts_of(marks)
            yield self._begun(columns, starts), starts

    def _begun(self, columns: list[pa.Array], starts: np.ndarray) -> pa.RecordBatch:
        """Make the batch that functions get of; groups begin in the rows `starts`."""
        return self._batch(columns)


class _MappedGroups(_Groups):
    """Of maps over groups."""

    def evaluate(self, functions: list[Any], conf: Any) -> Iterator[pa.RecordBatch]:
        from rudf.worker.conversion import Conversion
        from rudf.worker.pandas_groups import evaluate_maps

        runs = in_runs(self._marked())
        return evaluate_maps(runs, functions[0], self._keys, self._values, Conversion(conf))

    def offsets(self, function: Any) -> list[int]:
        return _key_and_value_offsets(self._keys, self._values)


def _key_and_value_offsets(keys: list[int], values: list[int]) -> list[int]:
    """Tell columns in PySpark's form: a length, how many are keys, the keys, the values."""
    return [1 + len(keys) + len(values), len(keys), *keys, *values]


class _Arguments(_Groups):
    """Of functions that get their arguments alone, as PySpark names and orders them."""

    def __init__(self, stream: Any, output: Output, told: dict[str, Any], functions: list[Any], kind: int) -> None:
        super().__init__(stream, output, told, functions, kind)
        self._take_arguments(functions)

    def columns(self, function: Any) -> list[int]:
        return [self._arguments.index(column) for column in function[2]]

    def _begun(self, columns: list[pa.Array], starts: np.ndarray) -> pa.RecordBatch:
        return self._batch([columns[column] for column in self._arguments])


class _AggregatedGroups(_Arguments):
    """Of aggregates, whose results come with the keys."""

    def _begun(self, columns: list[pa.Array], starts: np.ndarray) -> pa.RecordBatch:
        self._output.expect_groups([columns[key].take(pa.array(starts)) for key in self._keys], len(starts))
        return super()._begun(columns, starts)

    def evaluate(self, functions: list[Any], conf: Any) -> Iterator[pa.RecordBatch]:
        from rudf.worker.aggregates import evaluate_aggregates

        return evaluate_aggregates(in_runs(self._marked()), functions, conf, of_series=self._kind in _PANDAS_KINDS)


class _Windows(_Arguments):
    """Of aggregates over windows."""

    def __init__(self, stream: Any, output: Output, told: dict[str, Any], functions: list[Any], kind: int) -> None:
        super().__init__(stream, output, told, functions, kind)
        self._frames = told["groups"]["frames"]
        self._frame_columns = columns_of_frames(self._frames)
        # PySpark has two columns before these for each of the frames that are bounded.
        moving = [frame for frame in self._frames if "lower" in frame or "upper" in frame]
        behind = 2 * sum(frame not in moving[:number] for number, frame in enumerate(moving))
        self._names = [f"_{behind + number}" for number in range(len(self._arguments))]

    def evaluate(self, functions: list[Any], conf: Any) -> Iterator[pa.RecordBatch]:
        from rudf.worker.aggregates import evaluate_windows

        of_series = self._kind in _PANDAS_KINDS
        runs = in_runs(self._marked())
        return evaluate_windows(runs, functions, self._frames, self._frame_columns, conf, of_series=of_series)

    def _begun(self, columns: list[pa.Array], starts: np.ndarray) -> pa.RecordBatch:
        batch = super()._begun(columns, starts)
        for column in self._frame_columns:
            batch = batch.append_column(f"frames {column}", columns[column])
        # The last of them marks rows of another order than the one before.
        return batch.append_column("orders", columns[-1])


class _Cogroups(_Groups):
    """Pairs of groups. The column before the last tells the rows of the right, which come after those of the left."""

    def __init__(self, stream: Any, output: Output, told: dict[str, Any], functions: list[Any], kind: int) -> None:
        super().__init__(stream, output, told, functions, kind)
        other = told["groups"]["cogroup"]
        self._split = 1 + max(self._values)
        self._other_keys, self._other_values = other["keys"], other["values"]
        self._names, self._nullable = [*self._names, ""], [*self._nullable, False]

    def evaluate(self, functions: list[Any], conf: Any) -> Iterator[pa.RecordBatch]:
        from rudf.worker.conversion import Conversion
        from rudf.worker.pandas_groups import evaluate_cogroups

        marks = self._split + 1 + max(self._other_values)
        left = list(range(self._split)), self._keys, self._values
        right = list(range(self._split, marks)), self._other_keys, self._other_values
        return evaluate_cogroups(in_runs(self._marked()), functions[0], left, right, Conversion(conf))

    def offsets(self, function: Any) -> list[int]:
        return _key_and_value_offsets(self._keys, self._values) + _key_and_value_offsets(
            self._other_keys, self._other_values
        )

    def feed(self) -> Iterator[Any]:
        for group in super().feed():
            lefts, rights = [], []
            for batch in group:
                side = batch.column(batch.num_columns - 1)
                of_left = batch.num_rows - side.true_count
                left, right = batch.slice(0, of_left), batch.slice(of_left)
                lefts.append(left.select(range(self._split)))
                rights.append(right.select(range(self._split, batch.num_columns - 1)))
            yield _not_only_empty(lefts), _not_only_empty(rights)


def _not_only_empty(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Leave out empty batches, but one where there are no others: its columns are needed."""
    return [batch for batch in batches if batch.num_rows] or batches[:1]


def _writable(array: pa.Array) -> pa.Array:
    """Copy numbers that pandas would take as they lie: functions may write to a Series, and the batch is Spark's."""
    kind = array.type
    if array.null_count or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return array
    values = array.to_numpy()
    buffer = pa.allocate_buffer(values.nbytes)
    np.frombuffer(buffer, values.dtype)[:] = values
    return pa.Array.from_buffers(kind, len(array), [None, buffer], 0)
