"""Near copies are found by kind, among pictures that are none."""

from __future__ import annotations

import numpy as np
import pytest

from tests.core.photos.pictures import chequered, drawn, encoded, thumbnails_of, variants
from tlcli.core.photos.near_copies import groups_of, near_copies
from tlcli.core.photos.neighbours import nearest

KINDS = ("copy", "mirrored", "crop", "mirrored crop")


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_found_by_its_kind_among_others(kind: str) -> None:
    pictures = [drawn(seed) for seed in range(6)]
    contents = [*map(encoded, pictures), variants(pictures[2])[kind]]
    # All vectors are alike: the pictures decide.
    directions = np.ones((7, 1), np.float32)
    (found,) = near_copies(thumbnails_of(contents), directions, nearest(directions, 6))
    assert (found.first, found.second, found.kind) == (2, 6, kind)
    assert found.correlation > 0.97


@pytest.mark.parametrize("crop", [(0, 21, 192, 213), (17, 6, 233, 222)])
def test_crops_of_fine_patterns_are_found(crop: tuple[int, int, int, int]) -> None:
    pictures = [chequered(seed) for seed in range(6)]
    contents = [*map(encoded, pictures), encoded(pictures[3].crop(crop))]
    directions = np.ones((7, 1), np.float32)
    (found,) = near_copies(thumbnails_of(contents), directions, nearest(directions, 6))
    assert (found.first, found.second, found.kind) == (3, 6, "crop")


def test_vectors_that_differ_make_no_copies() -> None:
    contents = [encoded(drawn(1)), encoded(drawn(1), 50)]
    directions = np.eye(2, dtype=np.float32)
    assert near_copies(thumbnails_of(contents), directions, nearest(directions, 1)) == []


def test_pictures_without_contrast_are_no_copies() -> None:
    flat = np.full((3, 64, 64), 7, np.uint8)
    directions = np.ones((3, 1), np.float32)
    assert near_copies(flat, directions, nearest(directions, 2)) == []


def test_pairs_are_joined_into_groups() -> None:
    assert [group.tolist() for group in groups_of([(5, 6), (1, 2), (2, 4)])] == [[1, 2, 4], [5, 6]]
    assert groups_of([]) == []
