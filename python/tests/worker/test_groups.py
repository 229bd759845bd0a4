"""Groups come whole out of batches, however the batches are cut, and frames of rows are those of Spark."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from rudf.worker.groups import frame_bounds, in_groups, in_runs, starts_of


def marked(lengths: list[int], cuts: list[int]) -> list[tuple[pa.RecordBatch, np.ndarray]]:
    """Return rows numbered from 0, in groups of these lengths, as batches that end at the cuts."""
    rows = sum(lengths)
    starts = np.cumsum([0, *lengths[:-1]]) if lengths else np.array([], int)
    ends = sorted({*(cut for cut in cuts if 0 < cut < rows), rows}) if rows else []
    return [
        (pa.RecordBatch.from_pydict({"v": list(range(begin, end))}), starts[(starts >= begin) & (starts < end)] - begin)
        for begin, end in zip([0, *ends], ends)
    ]


def expected(lengths: list[int]) -> list[list[int]]:
    ends = np.cumsum(lengths).tolist()
    return [list(range(end - length, end)) for length, end in zip(lengths, ends)]


CASES = [([], []), ([1], []), ([5], [2, 3]), ([2, 3], [2]), ([3, 1, 1, 4], [1, 2, 7]), ([7], [1, 2, 3, 4, 5, 6])] + [
    (
        [random.Random(seed).randint(1, 6) for _ in range(seed % 9 + 1)],
        random.Random(~seed).sample(range(60), seed % 11),
    )
    for seed in range(60)
]


@pytest.mark.parametrize(("lengths", "cuts"), CASES, ids=str)
def test_groups_are_whole_however_batches_are_cut(lengths: list[int], cuts: list[int]) -> None:
    batches = marked(lengths, cuts)
    groups = [[v for batch in group for v in batch["v"].to_pylist()] for group in in_groups(batches, None)]
    assert groups == expected(lengths)
    runs = [batch["v"][begin:end].to_pylist() for batch, bounds in in_runs(batches) for begin, end in bounds]
    assert runs == expected(lengths)


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_groups_are_cut_to_so_many_rows(rows: int) -> None:
    for lengths, cuts in CASES:
        groups = [[batch["v"].to_pylist() for batch in group] for group in in_groups(marked(lengths, cuts), rows)]
        wanted = [[group[i : i + rows] for i in range(0, len(group), rows)] for group in expected(lengths)]
        assert groups == wanted


def test_what_is_left_of_a_group_is_skipped() -> None:
    groups = in_groups(marked([3, 4, 2], [1, 2, 5]), None)
    assert [next(group)["v"][0].as_py() for group in groups] == [0, 3, 7]


def test_a_group_is_known_to_be_at_its_end_as_late_as_possible() -> None:
    """The first batch of a group is given before the next one is waited for."""
    taken = []

    def batches():
        for batch in marked([4], [1, 2, 3]):
            taken.append(batch)
            yield batch

    group = next(in_groups(batches(), None))
    assert next(group)["v"].to_pylist() == [0]
    assert len(taken) == 1


def test_starts_are_the_rows_that_are_marked() -> None:
    marks = pa.array([True, False, False, True, True]).slice(1)
    assert starts_of(marks).tolist() == [2, 3]


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"rows": True}, [(0, 5)] * 5),
        ({"rows": True, "upper": 0}, [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]),
        ({"rows": True, "lower": -2, "upper": 0}, [(0, 1), (0, 2), (0, 3), (1, 4), (2, 5)]),
        ({"rows": True, "lower": 1, "upper": 2}, [(1, 3), (2, 4), (3, 5), (4, 5), (5, 5)]),
        ({"rows": True, "lower": -9, "upper": -2}, [(0, 0), (0, 0), (0, 1), (0, 2), (0, 3)]),
        ({"rows": True, "lower": 0}, [(0, 5), (1, 5), (2, 5), (3, 5), (4, 5)]),
        ({"rows": False, "upper": 0}, [(0, 2), (0, 2), (0, 3), (0, 5), (0, 5)]),
        ({"rows": False, "lower": 0}, [(0, 5), (0, 5), (2, 5), (3, 5), (3, 5)]),
        ({"rows": False, "lower": 0, "upper": 0}, [(0, 2), (0, 2), (2, 3), (3, 5), (3, 5)]),
    ],
    ids=str,
)
def test_frames_have_the_rows_that_spark_gives_them(frame: dict, expected: list[tuple[int, int]]) -> None:
    begins, ends = frame_bounds(frame, [(0, 5)], np.array([0, 2, 3]))
    assert list(zip(begins.tolist(), ends.tolist())) == expected
    # Groups behind one another have the frames that each has alone.
    begins, ends = frame_bounds(frame, [(0, 1), (1, 6), (6, 11)], np.array([0, 1, 3, 4, 6, 8, 9]))
    alone = frame_bounds(frame, [(0, 1)], np.array([0]))
    assert list(zip(begins.tolist(), ends.tolist())) == [(int(alone[0][0]), int(alone[1][0])), *expected, *expected]
