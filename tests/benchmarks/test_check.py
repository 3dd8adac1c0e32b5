"""What the benchmark of checks does to labels and photos."""

from __future__ import annotations

import numpy as np

from benchmarks.check import copies, flip, flip_marks, recall
from tests.core.photos.pictures import drawn


def test_one_label_in_twenty_is_flipped_to_another() -> None:
    labels = np.arange(200) % 4
    changed, rows = flip(labels, 4, seed=1)
    assert len(rows) == 10
    assert (np.flatnonzero(changed != labels) == np.sort(rows)).all()
    assert set(changed.tolist()) <= {0, 1, 2, 3}


def test_marks_are_given_to_and_taken_from_one_photo_in_twenty() -> None:
    marks = np.random.default_rng(0).random((200, 4)) < 0.4
    changed, where = flip_marks(marks, seed=1)
    assert len(where) == 10
    assert {tuple(each) for each in np.argwhere(changed != marks)} == set(map(tuple, where))
    assert 3 <= changed[where[:, 0], where[:, 1]].sum() <= 7


def test_recall_counts_the_first_rows_of_a_list() -> None:
    order = np.arange(100)
    assert recall(order, np.array([0, 6, 7, 99])) == 0.5


def test_copies_have_the_sizes_of_their_kinds() -> None:
    made = copies(drawn(1), seed=0)
    assert made["half size"][0].size == (120, 120)
    assert made["crop of 80%"][0].size == (192, 192)
    assert made["grey"][0].mode == "L"
