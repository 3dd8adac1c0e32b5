"""Labels that a trivial fact predicts, and runs of photos that are frames of a film."""

from __future__ import annotations

import numpy as np

from tlcli.core.photos.facts import LENGTH, Facts
from tlcli.core.photos.films import films
from tlcli.core.photos.shortcuts import shortcuts


def table(count: int) -> Facts:
    draw = np.random.default_rng(3)
    return Facts(draw.integers(1, 200, (count, LENGTH)).astype(np.float32))


def test_a_label_of_one_camera_is_found_and_no_other() -> None:
    labels = np.arange(120) % 3
    found = table(120)
    found.column("camera")[:] = np.where(labels == 1, 77, 0)
    (shortcut,) = shortcuts(found, labels, 3)
    assert (shortcut.label, shortcut.feature) == (1, "camera")
    assert shortcut.recall == shortcut.precision == 1


def test_chance_is_no_shortcut_even_where_one_label_has_most_photos() -> None:
    labels = (np.arange(200) % 20 == 0).astype(np.intp)
    assert list(shortcuts(table(200), labels, 2)) == []
    assert list(shortcuts(Facts(np.full((4, LENGTH), np.nan, "f4")), np.arange(4) % 2, 2)) == []


def test_films_are_runs_in_the_order_of_numbers() -> None:
    paths = [f"a/frame_{number}.jpg" for number in (8, 9, 10, 11)] + ["a/other.jpg", "b/1.jpg"]
    directions = np.array([[1, 0]] * 4 + [[0, 1]] * 2, np.float32)
    found = films(paths, np.array([0] * 5 + [1]), directions, directions)
    assert [run.tolist() for run in found] == [[0, 1, 2, 3]]
    assert films([], np.zeros(0, np.intp), directions[:0], directions[:0]) == []
