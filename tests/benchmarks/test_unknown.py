"""What the benchmark of unknown images compares."""

from __future__ import annotations

import numpy as np

from benchmarks.unknown import METHODS, fifth, measure, measure_near
from tests.core.unknown.test_fitting import drawn, others


def test_a_fifth_of_each_label_is_tested() -> None:
    labels = np.sort(np.arange(60) % 3)
    tested = fifth(labels, seed=1)
    assert np.bincount(labels[tested]).tolist() == [4, 4, 4]


def test_clouds_of_other_vectors_are_found() -> None:
    found = {name: measure(drawn(90), others(), 1, name) for name in METHODS}
    assert np.mean(found["--unknown"].far) > 0.9
    assert 0 <= measure_near(drawn(90)) <= 1
