"""Functions of ``mapInPandas``: a data frame a batch.

The conversions are PySpark's, but where they do more than they have to: numbers without nulls are copied once, and a
column of strings that comes back as the very objects that went out is the array they were made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from rudf.worker.vectorized import strings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rudf.worker.conversion import Conversion

__all__ = ["Frames", "evaluate_frames"]

#: So many strings are looked at to see whether most are there more than once.
_SAMPLE = 256


class Frames:
    """Makes data frames of batches.

    Parameters
    ----------
    names : list of str
        What the columns are called.
    conversion : Conversion
        PySpark's, which makes the columns that are made in no other way here.
    """

    def __init__(self, names: list[str], conversion: Conversion) -> None:
        self._names = names
        self._conversion = conversion
        self._readers: list[Callable[[pa.Array], Any]] | None = None
        #: Of each column of strings of the last batch: the addresses of its objects, what keeps them alive, its array.
        self._texts: list[tuple[bytes, Any, pa.Array]] = []

    def frame(self, columns: list[pa.Array]) -> pd.DataFrame:
        """Make the data frame of one batch; a function may write to it."""
        if self._readers is None:
            readers = self._conversion.field_readers([column.type for column in columns])
            self._readers = [
                self._strings if pa.types.is_string(column.type) else read for column, read in zip(columns, readers)
            ]
        self._texts = []
        made = [read(column) for read, column in zip(self._readers, columns)]
        frame = pd.DataFrame(dict(enumerate(made)), copy=False)
        frame.columns = self._names
        return frame

    def _strings(self, column: pa.Array) -> pd.Series:
        series = column.to_pandas(deduplicate_objects=_has_doubles(column))
        objects = series.to_numpy()
        if objects.dtype == object:
            self._texts.append((objects.tobytes(), objects.copy(), column))
        return series

    def texts(self, series: pd.Series) -> pa.Array | None:
        """Make an array of a Series of strings and nulls; None where there is anything else."""
        objects = series.to_numpy()
        if objects.dtype != object:
            return None
        of_its_length = [known for known in self._texts if len(known[1]) == len(objects)]
        if of_its_length:
            addresses = objects.tobytes()
            for known, _, array in of_its_length:
                if addresses == known:
                    return array
        return strings_of(series)


def _has_doubles(column: pa.Array) -> bool:
    """Tell whether looking for equal strings seems to be worth more than it takes."""
    sample = column.slice(0, _SAMPLE)
    return len(sample.unique()) * 2 < len(sample)


def evaluate_frames(
    batches: Iterable[list[pa.Array]], function: Any, declared: Any, frames: Frames, conversion: Conversion
) -> Iterator[pa.RecordBatch]:
    """Run a function of ``mapInPandas`` whose results have the type `declared`, a struct."""
    results = function(frames.frame(columns) for columns in batches)
    for result in conversion.frames_of(results, declared):
        yield conversion.struct_of(result, declared, frames.texts)
