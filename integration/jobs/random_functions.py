"""What the functions of random queries do: give back what they got, tell what they see, give something else, or fail."""

from __future__ import annotations

import decimal
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

# --- functions of single values


def same(*values: Any) -> Any:
    """Give back the first."""
    return values[0]


def last(*values: Any) -> Any:
    """Give back the last."""
    return values[-1]


def told(*values: Any) -> str:
    """Tell what they are."""
    return "; ".join(f"{type(v).__name__} {v!r}" for v in values)


def listed(*values: Any) -> list[Any]:
    """Give them in a list."""
    return [*values[:1], None]


def paired(*values: Any) -> tuple[Any, Any]:
    """Give the first twice."""
    return values[0], values[0]


def keyed(*values: Any) -> dict[str, Any]:
    """Give the first by a key."""
    return {"k": values[0]}


def fails(*values: Any) -> Any:
    """Fail where there is a null."""
    if values[0] is None:
        raise ValueError("nothing is null")
    return values[0]


class Constant:
    """A function that gives one value, whatever it gets."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, *values: Any) -> Any:
        return None if values[-1] is None else self.value


# --- functions of Series


def of_series(body: Any) -> Any:
    """Make one of Series of a function of single values."""

    def columns(*series: Any) -> Any:
        return pd.Series([body(*row) for row in zip(*map(cells, series))])

    return columns


def cells(series: Any) -> Any:
    """Give the values of a Series, or the rows of a frame."""
    return series.itertuples(index=False, name=None) if isinstance(series, pd.DataFrame) else series


def told_of_series(*series: Any) -> Any:
    """Tell what they are: of every column what the values are, of the first one the form too."""
    first = series[0]
    kinds = f"{list(first.columns)} {list(first.dtypes)}" if isinstance(first, pd.DataFrame) else f"{first.dtype}"
    form = f"{kinds} {list(first.index)[:2]} {len(first)}"
    return pd.Series([f"{form} {[(type(v).__name__, repr(v)) for v in row]}" for row in zip(*map(cells, series))])


def objects(*series: Any) -> Any:
    """Give them as objects."""
    return series[0].astype(object)


def reversed_series(*series: Any) -> Any:
    """Give them in another order, with their index."""
    return series[0].iloc[::-1]


def masked(*series: Any) -> Any:
    """Make every second one null."""
    return series[0].where([n % 2 == 0 for n in range(len(series[0]))])


def too_few(*series: Any) -> Any:
    """Give one less than there are."""
    return series[0].iloc[1:]


def as_list(*series: Any) -> Any:
    """Give a list in place of a Series."""
    return list(series[0])


def as_numpy(*series: Any) -> Any:
    """Give an array of NumPy's."""
    return series[0].to_numpy()


def as_texts(*series: Any) -> Any:
    """Give text, whatever the type."""
    return series[0].astype(str)


def categories(*series: Any) -> Any:
    """Give categories."""
    return series[0].astype("category")


def fails_for_series(*series: Any) -> Any:
    """Fail where there are nulls."""
    if len(series[0]) and series[0].isnull().to_numpy().any():
        raise ValueError("nothing is null")
    return series[0]


SERIES = (same, objects, reversed_series, masked, too_few, as_list, as_numpy, as_texts, categories, fails_for_series)

# --- functions of Arrow's arrays


def of_arrays(body: Any) -> Any:
    """Make one of arrays of a function of single values."""

    def columns(*arrays: Any) -> Any:
        return pa.array([body(*row) for row in zip(*(a.to_pylist() for a in arrays))])

    return columns


def told_of_arrays(*arrays: Any) -> Any:
    """Tell what they are."""
    form = f"{arrays[0].type} {arrays[0].null_count} {len(arrays[0])}"
    return pa.array([f"{form} {row!r}" for row in zip(*(a.to_pylist() for a in arrays))], pa.string())


def sliced(*arrays: Any) -> Any:
    """Give a slice of something longer."""
    return pa.concat_arrays([arrays[0], arrays[0]]).slice(len(arrays[0]))


def taken(*arrays: Any) -> Any:
    """Give them in another order."""
    return arrays[0].take(pa.array(range(len(arrays[0]) - 1, -1, -1), pa.int32()))


def dictionaries(*arrays: Any) -> Any:
    """Give a dictionary."""
    return arrays[0].dictionary_encode()


def chunks(*arrays: Any) -> Any:
    """Give chunks."""
    return pa.chunked_array([arrays[0].slice(0, 1), arrays[0].slice(1)])


def nulls(*arrays: Any) -> Any:
    """Give nulls."""
    return pa.nulls(len(arrays[0]), arrays[0].type)


def nulls_of_no_type(*arrays: Any) -> Any:
    """Give nulls without a type."""
    return pa.nulls(len(arrays[0]))


def shorter(*arrays: Any) -> Any:
    """Give one less than there are."""
    return arrays[0].slice(1)


def as_strings(*arrays: Any) -> Any:
    """Give text, where Arrow has a cast."""
    return pc.cast(arrays[0], pa.string())


def as_large(*arrays: Any) -> Any:
    """Give what has long offsets."""
    kind = arrays[0].type
    larger = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}.get(kind)
    if larger is None and pa.types.is_list(kind):
        larger = pa.large_list(kind.value_type)
    return arrays[0] if larger is None else arrays[0].cast(larger)


def fails_for_arrays(*arrays: Any) -> Any:
    """Fail where there are nulls."""
    if arrays[0].null_count:
        raise ValueError("nothing is null")
    return arrays[0]


ARRAYS = (same, sliced, taken, dictionaries, chunks, nulls, nulls_of_no_type, shorter, as_strings, as_large, fails_for_arrays)  # fmt: skip


# --- functions over iterators, of any of them


def iterated(function: Any) -> Any:
    """Make one that takes batches."""

    def batches(taken: Iterator[Any]) -> Iterator[Any]:
        for batch in taken:
            yield function(*batch) if isinstance(batch, tuple) else function(batch)

    return batches


def ahead(function: Any) -> Any:
    """Make one that takes all batches before it gives one."""

    def batches(taken: Iterator[Any]) -> Iterator[Any]:
        for batch in list(taken):
            yield function(*batch) if isinstance(batch, tuple) else function(batch)

    return batches


# --- functions of frames and tables


def told_of_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Tell what a frame is, in one column."""
    form = f"{list(frame.columns)} {list(map(str, frame.dtypes))} {list(frame.index)[:3]}"
    rows = frame.itertuples(index=False, name=None)
    return pd.DataFrame({"told": [f"{form} {[(type(v).__name__, repr(v)) for v in row]}" for row in rows]})


def told_of_table(table: Any) -> Any:
    """Tell what a table or a record batch is, in one column."""
    form = ", ".join(f"{field.name} {field.type} {field.nullable}" for field in table.schema)
    rows = [f"{form} {row!r}" for row in zip(*(column.to_pylist() for column in table.columns))]
    return type(table).from_pydict({"told": pa.array(rows, pa.string())})


def doubled(frame: Any) -> Any:
    """Give every row of a frame or of a table twice."""
    if isinstance(frame, pd.DataFrame):
        return pd.concat([frame, frame])
    if isinstance(frame, pa.Table):
        return pa.concat_tables([frame, frame])
    return frame.take(pa.array([n // 2 for n in range(2 * frame.num_rows)], pa.int32()))


def turned(frame: Any) -> Any:
    """Give the columns in another order."""
    names = list(frame.columns) if isinstance(frame, pd.DataFrame) else frame.schema.names
    return frame[names[::-1]] if isinstance(frame, pd.DataFrame) else frame.select(names[::-1])


def first_rows(frame: Any) -> Any:
    """Give two rows at most."""
    return frame.head(2) if isinstance(frame, pd.DataFrame) else frame.slice(0, 2)


def no_rows(frame: Any) -> Any:
    """Give none."""
    return frame.head(0) if isinstance(frame, pd.DataFrame) else frame.slice(0, 0)


def less(frame: Any) -> Any:
    """Leave the first column out."""
    names = list(frame.columns) if isinstance(frame, pd.DataFrame) else frame.schema.names
    return frame[names[1:]] if isinstance(frame, pd.DataFrame) else frame.select(names[1:])


def fails_for_frame(frame: Any) -> Any:
    """Fail."""
    raise ValueError("no frame is good enough")


FRAMES = (same, doubled, turned, first_rows, no_rows, less, fails_for_frame)


def with_key(function: Any) -> Any:
    """Make one that takes the key too."""

    def keyed_function(key: Any, frame: Any) -> Any:
        repr(key)
        return function(frame)

    return keyed_function


def told_with_key(key: Any, frame: Any) -> Any:
    """Tell what key and frame are."""
    shown = repr(key)
    if isinstance(frame, pd.DataFrame):
        return told_of_frame(frame).assign(told=lambda f: shown + f["told"])
    return pa.table({"told": pa.array([shown + str(v) for v in told_of_table(frame)["told"]], pa.string())})


def told_of_both(one: Any, other: Any) -> Any:
    """Tell what the frames of a pair are."""
    if isinstance(one, pd.DataFrame):
        return pd.concat([told_of_frame(one), told_of_frame(other)])
    return pa.concat_tables([told_of_table(one), told_of_table(other)])


def second(one: Any, other: Any) -> Any:
    """Give the second of a pair."""
    return other


# --- aggregates


def first_value(*columns: Any) -> Any:
    """Give the first value."""
    column = columns[0]
    return column[0] if isinstance(column, pa.Array) else column.iloc[0]


def told_of_group(*columns: Any) -> str:
    """Tell what a group is."""
    column = columns[0]
    if isinstance(column, pa.Array):
        return f"{column.type} {[c.to_pylist() for c in columns]!r}"
    if isinstance(column, pd.DataFrame):
        return told_of_frame(column)["told"].str.cat(sep=" ")
    return f"{column.dtype} {list(column.index)[:2]} {[repr(list(c)) for c in columns]}"


def length(*columns: Any) -> int:
    """Count."""
    return len(columns[0])


def mixed(*columns: Any) -> Any:
    """Give another type for each length."""
    return (1, 1.5, None, decimal.Decimal(2))[len(columns[0]) % 4]


def listed_group(*columns: Any) -> Any:
    """Give all values."""
    column = columns[0]
    return column.to_pylist() if isinstance(column, pa.Array) else list(column)


def fails_for_group(*columns: Any) -> Any:
    """Fail where a group has one row."""
    if len(columns[0]) == 1:
        raise ValueError("one is none")
    return len(columns[0])


def of_batches(function: Any) -> Any:
    """Make an aggregate of batches of one of columns: of the last batch."""

    def aggregate(batches: Iterator[Any]) -> Any:
        result = None
        for batch in batches:
            result = function(*batch) if isinstance(batch, tuple) else function(batch)
        return result

    return aggregate
