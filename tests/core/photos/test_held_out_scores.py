"""Leave-one-out scores from one fit are those of a fit without each row."""

from __future__ import annotations

import numpy as np
import pytest

from tests.core.photos.clouds import clouds
from tlcli.core.photos.held_out_scores import fit_held_out


def test_scores_are_those_of_fits_without_the_row() -> None:
    vectors, labels = clouds(6, 3, size=4)
    found = fit_held_out(vectors, labels, 3)
    centred = (vectors - vectors.mean(axis=0)).astype(np.float64)
    ridge = found.strength * (centred**2).sum() / len(labels)
    for row in range(len(labels)):
        rest = np.delete(np.arange(len(labels)), row)
        x = np.hstack([centred[rest], np.ones((len(rest), 1))])
        penalty = np.diag([ridge] * 4 + [0.0])
        weights = np.linalg.solve(x.T @ x + penalty, x.T @ np.eye(3)[labels[rest]])
        expected = np.append(centred[row], 1) @ weights
        assert found.all()[row] == pytest.approx(expected, abs=1e-4)


def test_blocks_have_the_scores_of_all_rows() -> None:
    vectors, labels = clouds(5, 4)
    found = fit_held_out(vectors, labels, 4)
    parts = np.concatenate([scores for _, scores in found.blocks(scores=7)])
    np.testing.assert_allclose(parts, found.all(), atol=1e-6)
    assert (found.all().argmax(axis=1) == labels).mean() > 0.9


def test_a_label_without_rows_and_equal_rows_are_no_fault() -> None:
    found = fit_held_out(np.ones((4, 2), np.float32), np.array([0, 0, 1, 1]), 3)
    assert np.isfinite(found.all()).all()
