"""What the benchmark of unknown images compares."""

from __future__ import annotations

import numpy as np

from benchmarks.unknown import METHODS, fifth, measure
from tests.core.unknown.test_fitting import drawn, others


def test_a_fifth_of_each_label_is_tested() -> None:
    labels = np.sort(np.arange(60) % 3)
    tested = fifth(labels, seed=1)
    assert np.bincount(labels[tested]).tolist() == [4, 4, 4]


def test_clouds_of_other_vectors_are_found() -> None:
    found = measure(drawn(90), others(), 1)
    assert tuple(found) == METHODS
    assert np.mean(found["--unknown"].far) > 0.9
    assert np.mean(found["energy and distance"].far) > 0.9
    assert all(0 <= rate <= 1 for each in found.values() for rate in each.near)
