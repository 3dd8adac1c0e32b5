from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcli.core.evaluation.metrics import (
    assign_folds,
    cross_validate,
    evaluate,
    evaluate_layer,
    predict,
    predicted_labels,
    wilson_interval,
)
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import UsageError


def test_wilson_interval_of_known_cases() -> None:
    # Values from the closed form, computed by hand with z = 1.96.
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-4)
    assert wilson_interval(10, 10) == pytest.approx((0.72247, 1.0), abs=1e-4)
    assert wilson_interval(44, 52) == pytest.approx((0.72480, 0.91994), abs=1e-4)


@settings(deadline=None)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_contains_the_proportion(case: tuple[int, int]) -> None:
    successes, count = case
    low, high = wilson_interval(successes, count)
    assert 0 <= low <= successes / count <= high <= 1
    assert high > low


def test_evaluation_of_a_small_case() -> None:
    result = evaluate([0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 2], 4)
    assert result.count == 6
    assert result.accuracy == pytest.approx(4 / 6)
    assert result.interval == pytest.approx(wilson_interval(4, 6))
    assert result.confusion.matrix.tolist() == [
        [2, 1, 0, 0],
        [0, 2, 0, 0],
        [1, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    assert result.misclassified.tolist() == [2, 5]
    assert result.predicted.tolist() == [0, 0, 1, 1, 1, 0]
    first, _, third, fourth = result.labels
    assert (first.count, first.predicted) == (3, 3)
    assert first.precision is not None
    assert first.recall is not None
    assert first.f1 is not None
    assert first.precision.value == pytest.approx(2 / 3)
    assert first.recall.value == pytest.approx(2 / 3)
    assert first.f1.value == pytest.approx(2 / 3)
    assert first.f1.low < first.f1.value < first.f1.high
    assert third.precision is None
    assert third.recall is not None
    assert third.recall.value == 0
    assert third.f1 is not None
    assert third.f1.value == 0
    assert (fourth.count, fourth.precision, fourth.recall, fourth.f1) == (0, None, None, None)


def test_empty_split_has_no_accuracy() -> None:
    layer = FinalLayer(np.zeros((4, 2), np.float32), np.zeros(2, np.float32))
    nothing = Samples(np.empty((0, 4), np.float32), np.empty(0, np.intp))
    for result in (evaluate([], [], 2), evaluate_layer(layer, nothing)):
        assert result.count == 0
        assert result.accuracy is None
        assert result.interval is None
        assert result.confusion.matrix.tolist() == [[0, 0], [0, 0]]
        assert [figures.recall for figures in result.labels] == [None, None]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_f1_is_the_harmonic_mean(pairs: list[tuple[int, int]]) -> None:
    result = evaluate([guess for guess, _ in pairs], [truth for _, truth in pairs], 4)
    assert sum(result.confusion.row_sums().values()) == len(pairs)
    for figures in result.labels:
        if figures.precision is not None and figures.recall is not None:
            both = figures.precision.value + figures.recall.value
            expected = 2 * figures.precision.value * figures.recall.value / both if both else 0
            assert figures.f1 is not None
            assert figures.f1.value == pytest.approx(expected)


def test_layer_is_evaluated() -> None:
    layer = FinalLayer(np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    result = evaluate_layer(
        layer, Samples(np.array([[2, 1], [0, 1]], np.float32), np.zeros(2, np.intp))
    )
    assert result.accuracy == 0.5
    assert result.misclassified.tolist() == [1]


labels_and_groups = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=40)


@settings(deadline=None)
@given(labels_and_groups, st.integers(2, 5), st.integers(0, 9))
def test_folds_are_even_and_keep_copies_together(
    extra: list[tuple[int, int]], folds: int, seed: int
) -> None:
    labels = [0] * folds + [1] * folds + [2] * folds + [label for label, _ in extra]
    groups = [f"own {row}" for row in range(3 * folds)] + [
        f"{label} {group}" for label, group in extra
    ]
    fold_of = assign_folds(np.array(labels), groups, folds, seed=seed)
    assert set(fold_of) == set(range(folds))
    for group in set(groups):
        assert len({fold for fold, own in zip(fold_of, groups, strict=True) if own == group}) == 1
    for label in range(3):
        units = {
            own: fold
            for fold, own, kind in zip(fold_of, groups, labels, strict=True)
            if kind == label
        }
        sizes = np.bincount(list(units.values()), minlength=folds)
        assert sizes.max() - sizes.min() <= 1


def test_folds_follow_the_seed() -> None:
    labels = np.arange(40) % 2
    assert assign_folds(labels, None, 5).tolist() == assign_folds(labels, None, 5).tolist()
    assert assign_folds(labels, None, 5).tolist() != assign_folds(labels, None, 5, seed=1).tolist()
    assert np.bincount(assign_folds(labels, None, 5)).tolist() == [8] * 5


def test_more_folds_than_a_label_allows_are_refused() -> None:
    labels = np.array([0] * 9 + [1] * 4)
    groups = [*range(9), "a", "a", "b", "c"]
    with pytest.raises(UsageError, match=r"--cross_validate 4 .*'rose' has 3; use a smaller"):
        assign_folds(labels, groups, 4, label_names=["tulip", "rose"])
    with pytest.raises(UsageError, match="at least 2"):
        assign_folds(labels, groups, 1)
    with pytest.raises(UsageError, match="there are none"):
        assign_folds(np.empty(0, np.intp), None, 2)


def test_cross_validation_tests_each_row_once_on_a_fit_without_it() -> None:
    vectors = np.eye(12, dtype=np.float32)
    labels = np.arange(12) % 2
    trained: list[set[int]] = []

    def fit(training: Samples) -> FinalLayer:
        rows = training.rows
        assert rows is not None
        trained.append(set(rows.tolist()))
        # Knows its training rows and calls all others label 0.
        weights = np.zeros((12, 2), np.float32)
        weights[rows, labels[rows]] = 1
        return FinalLayer(weights, np.array([0.5, 0], np.float32))

    done: list[tuple[str, int, int]] = []
    result = cross_validate(
        Samples(vectors, labels),
        assign_folds(labels, None, 3),
        fit,
        progress=lambda *report: done.append(report),
    )
    assert result.folds == 3
    assert result.accuracy == pytest.approx(0.5)
    assert result.deviation == pytest.approx(0.0)
    assert [evaluation.count for evaluation in result.per_fold] == [4, 4, 4]
    assert done == [("folds", 1, 3), ("folds", 2, 3), ("folds", 3, 3)]
    # Of no fit that saw the row: those would give its own label.
    assert result.predictions.labels.tolist() == [0] * 12
    assert result.predictions.score == pytest.approx(1 / (1 + np.exp(-0.5)))
    assert result.predictions.true_score[:2] == pytest.approx(
        [1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(0.5))]
    )
    for fold, rows in enumerate(trained):
        assert rows == set(np.flatnonzero(result.fold_of != fold).tolist())


def test_deviation_is_that_of_a_sample() -> None:
    labels = np.array([0, 0, 1, 1])

    def fit(training: Samples) -> FinalLayer:
        right = training.rows is not None and 0 in training.rows
        biases = np.zeros(2, np.float32)
        weights = np.eye(2, dtype=np.float32) * (1 if right else -1)
        return FinalLayer(weights, biases)

    result = cross_validate(
        Samples(np.eye(2, dtype=np.float32)[labels], labels), assign_folds(labels, None, 2), fit
    )
    assert result.accuracy == pytest.approx(0.5)
    assert result.deviation == pytest.approx(np.sqrt(0.5))


def test_folds_of_chosen_rows_are_those_of_their_copy() -> None:
    random = np.random.default_rng(0)
    vectors, weights = random.standard_normal((2, 40, 6)).astype(np.float32)
    rows = random.permutation(40)[:30]
    labels = np.arange(30) % 3

    def fit(training: Samples) -> FinalLayer:
        # Depends on what it was trained on, so that a wrong row would be seen.
        return FinalLayer(weights[:6, :3] * len(training), training.gathered(0, 3)[:, 0])

    chosen, copy = Samples(vectors, labels, rows), Samples(vectors[rows], labels)
    fold_of = assign_folds(labels, None, 4)
    copied = cross_validate(copy, fold_of, fit)
    given = cross_validate(chosen, fold_of, fit)
    layer = FinalLayer(weights[:6, :3], weights[:3, 0])
    np.testing.assert_array_equal(
        predicted_labels(layer, chosen, rows_at_once=4), predicted_labels(layer, copy)
    )
    assert [fold.predicted.tolist() for fold in given.per_fold] == [
        fold.predicted.tolist() for fold in copied.per_fold
    ]
    assert given.accuracy == copied.accuracy


def test_predictions_are_the_same_however_many_are_scored_at_once() -> None:
    random = np.random.default_rng(3)
    layer = FinalLayer(
        random.normal(size=(4, 7)).astype(np.float32), random.normal(size=7).astype(np.float32)
    )
    vectors = random.normal(size=(50, 4)).astype(np.float32)
    truth = random.integers(7, size=50)
    scores = layer.probabilities(vectors)
    samples = Samples(vectors, truth)
    found = predict(layer, samples, rows_at_once=3)
    np.testing.assert_array_equal(found.labels, scores.argmax(axis=1))
    np.testing.assert_allclose(found.score, scores.max(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.true_score, scores[np.arange(50), truth], rtol=1e-6)
    assert evaluate_layer(layer, samples).accuracy == (found.labels == truth).mean()
