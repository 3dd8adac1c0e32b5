"""Independent labels: the same minimum as separate fits, folds, and thresholds of few images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcli.arrays import Doubles, Floats
from tlcli.core.final_layer.multi_label.marked import Bools, MarkedSamples, marked_folds
from tlcli.core.final_layer.multi_label.problem import SigmoidProblem
from tlcli.core.final_layer.multi_label.regression import fit_sigmoids
from tlcli.core.final_layer.multi_label.sgd import fit_sigmoid_sgd, held_out_by_sgd
from tlcli.core.final_layer.multi_label.thresholds import HIGHEST, LOWEST, best_thresholds
from tlcli.core.final_layer.sgd import SgdSettings
from tlcli.errors import DataError


def drawn(count: int = 160, size: int = 12) -> tuple[Floats, Bools]:
    """Return vectors, and marks of which the last label is rare."""
    random = np.random.default_rng(3)
    vectors = random.normal(2, 1, (count, size)).astype(np.float32)
    logits = (vectors - 2) @ random.normal(size=(size, 3)) + random.normal(0, 2, (count, 3))
    return vectors, logits > np.array([0, 2, 6])


def gradient(vectors: Floats, marks: Bools, layer_logits: Floats, weights: Doubles) -> Doubles:
    """Return the gradient of the mean cross entropy of one label by the weights."""
    residuals = 1 / (1 + np.exp(-layer_logits.astype(np.float64))) - marks
    return vectors.T.astype(np.float64) @ residuals / len(marks) + weights


@pytest.mark.parametrize("rows", [160, 5])
def test_the_minimum_of_each_label_is_its_own(rows: int) -> None:
    vectors, marks = drawn(rows)
    problem = SigmoidProblem(MarkedSamples.of(vectors, marks))
    strength = 1e-3
    layer = problem.layer(problem.minimise(strength, None, 1e-4)[0])
    # In units of the root mean squared length, in which the strength is meant.
    square = float(((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1).mean())
    for label in range(3):
        if not 0 < marks[:, label].sum() < rows:
            continue
        weights = strength * square * layer.weights[:, label].astype(np.float64)
        logits = layer.logits(vectors)[:, label]
        assert np.abs(gradient(vectors, marks[:, label], logits, weights)).max() < 2e-3


def test_labels_do_not_depend_on_each_other() -> None:
    vectors, marks = drawn()
    problem = SigmoidProblem(MarkedSamples.of(vectors, marks))
    together = problem.layer(problem.minimise(1e-3, None, 1e-4)[0])
    for label in range(3):
        alone = SigmoidProblem(MarkedSamples.of(vectors, marks[:, [label]]))
        layer = alone.layer(alone.minimise(1e-3, None, 1e-4)[0])
        np.testing.assert_allclose(
            together.probabilities(vectors)[:, label], layer.probabilities(vectors)[:, 0], atol=2e-3
        )


def test_a_fit_finds_what_separates_and_scores_held_out_rows() -> None:
    vectors, marks = drawn()
    found = fit_sigmoids(MarkedSamples.of(vectors, marks))
    assert found.layer.activation == "sigmoid"
    assert sorted(found.held_out.rows) == list(range(len(vectors)))
    scores = found.layer.probabilities(vectors)
    for label in range(3):
        own, others = scores[marks[:, label], label], scores[~marks[:, label], label]
        assert own.mean() > others.mean() + 0.2
    again = fit_sigmoids(MarkedSamples.of(vectors, marks))
    assert (again.layer.weights == found.layer.weights).all()


def test_labels_of_all_rows_or_none_get_scores_by_their_counts() -> None:
    vectors, marks = drawn(20)
    marks = np.column_stack([marks[:, 0], np.ones(20, bool), np.zeros(20, bool)])
    scores = fit_sigmoids(MarkedSamples.of(vectors, marks)).layer.probabilities(vectors)
    np.testing.assert_allclose(scores[:, 1], 21 / 22, rtol=1e-3)
    np.testing.assert_allclose(scores[:, 2], 1 / 22, rtol=1e-3)


def test_balanced_rows_raise_the_scores_of_a_rare_label() -> None:
    vectors, marks = drawn()
    plain, balanced = (
        fit_sigmoids(MarkedSamples.of(vectors, marks), each).layer.probabilities(vectors)
        for each in (False, True)
    )
    assert balanced[:, 2].mean() > plain[:, 2].mean()


def test_sgd_learns_too_and_repeats_its_bytes() -> None:
    vectors, marks = drawn()
    samples, settings = MarkedSamples.of(vectors, marks), SgdSettings(steps=200)
    layer = fit_sigmoid_sgd(samples, settings)
    assert (layer.weights == fit_sigmoid_sgd(samples, settings).weights).all()
    scores = layer.probabilities(vectors)[:, 0]
    assert scores[marks[:, 0]].mean() > scores[~marks[:, 0]].mean()
    assert len(held_out_by_sgd(samples, SgdSettings(steps=5)).rows) == len(vectors)


def test_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(DataError, match="no training image"):
        fit_sigmoids(MarkedSamples.of(np.zeros((0, 4), np.float32), np.zeros((0, 2), bool)))


@given(st.integers(12, 60), st.integers(0, 5))
def test_folds_hold_rare_labels_evenly(count: int, rare: int) -> None:
    marks = np.zeros((count, 2), bool)
    marks[::2, 0] = True
    marks[:rare, 1] = True
    folds = marked_folds(marks)
    counts = np.bincount(folds[marks[:, 1]], minlength=5)
    assert counts.max() - counts.min() <= 1
    assert folds.min() >= 0


def test_views_of_an_image_share_a_fold() -> None:
    groups = np.repeat(np.arange(9), 3)
    folds = marked_folds(np.ones((27, 2), bool), groups)
    assert (folds.reshape(9, 3) == folds.reshape(9, 3)[:, :1]).all()


def test_the_threshold_lies_between_what_it_separates() -> None:
    scores = np.array([[0.9], [0.8], [0.7], [0.2], [0.1]] * 40, np.float32)
    marks = np.array([[True], [True], [True], [False], [False]] * 40)
    assert best_thresholds(scores, marks) == (pytest.approx(0.45),)


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=50))
def test_thresholds_stay_in_their_range(rows: list[tuple[float, bool]]) -> None:
    scores = np.array([[score] for score, _ in rows], np.float32)
    marks = np.array([[mark] for _, mark in rows])
    (found,) = best_thresholds(scores, marks)
    assert LOWEST <= found <= HIGHEST


def test_three_images_do_not_set_an_extreme_threshold_by_chance() -> None:
    random = np.random.default_rng(0)
    scores = random.beta(1, 12, (200, 1)).astype(np.float32)
    marks = np.zeros((200, 1), bool)
    marks[np.argsort(-scores[:, 0])[[40, 90, 150]]] = True  # as good as drawn
    (found,) = best_thresholds(scores, marks)
    # By the counts alone it would be so low that most images have the label.
    assert (scores >= found).mean() < 0.5
