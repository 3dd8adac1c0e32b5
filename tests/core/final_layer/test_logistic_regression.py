from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tlcli.core.bottlenecks.text_files import import_folder
from tlcli.core.final_layer.centred_vectors import BlockLimits
from tlcli.core.final_layer.logistic_regression import L2_STRENGTHS, LbfgsSettings, fit_lbfgs
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import FinalLayer, SgdSettings, fit_sgd
from tlcli.errors import DataError


def make_samples(rows: int, size: int = 12, labels: int = 3, seed: int = 1) -> Samples:
    centres = np.random.default_rng(0).normal(size=(labels, size))
    generator = np.random.default_rng(seed)
    truth = np.arange(rows) % labels
    vectors = 3 + centres[truth] + 1.2 * generator.normal(size=(rows, size))
    return Samples(vectors.astype(np.float32), truth)


def objective_gradient(layer: FinalLayer, samples: Samples, l2_strength: float) -> float:
    """Return the norm of the objective's gradient, in float64, over centred and scaled vectors."""
    vectors = samples.vectors.astype(np.float64)
    mean = vectors.mean(axis=0)
    scale = np.sqrt(((vectors - mean) ** 2).sum(axis=1).mean())
    centred = (vectors - mean) / scale
    weights = layer.weights.astype(np.float64) * scale
    biases = layer.biases + mean @ layer.weights.astype(np.float64)
    scores = centred @ weights + biases
    residuals = np.exp(scores - scores.max(axis=1, keepdims=True))
    residuals /= residuals.sum(axis=1, keepdims=True)
    residuals -= np.eye(len(layer.biases))[samples.labels]
    gradient = centred.T @ residuals / len(samples) + l2_strength * weights
    return float(np.linalg.norm(gradient) + np.linalg.norm(residuals.mean(axis=0)))


@pytest.mark.parametrize(("rows", "size"), [(200, 12), (30, 80), (40, 79), (50, 60)])
def test_layer_is_the_minimum_of_its_objective(rows: int, size: int) -> None:
    samples = make_samples(rows, size)
    for l2_strength in (0.1, 1e-3):
        layer = fit_lbfgs(samples, 3, l2_strength=l2_strength).layer
        start = FinalLayer(np.zeros((size, 3), np.float32), np.zeros(3, np.float32))
        assert objective_gradient(layer, samples, l2_strength) < 2e-3 * objective_gradient(
            start, samples, l2_strength
        )


def test_same_bits_each_time() -> None:
    one, two = (fit_lbfgs(make_samples(90), 3, validation=make_samples(60, seed=2)) for _ in "ab")
    assert one.layer.weights.tobytes() == two.layer.weights.tobytes()
    assert one.layer.biases.tobytes() == two.layer.biases.tobytes()
    assert one.layer.weights.dtype == one.layer.biases.dtype == np.float32


def test_rotated_and_plain_fits_agree() -> None:
    samples = make_samples(40, 100)
    rotated = fit_lbfgs(samples, 3, l2_strength=0.01).layer
    plain = fit_lbfgs(
        samples, 3, l2_strength=0.01, settings=LbfgsSettings(most_rotated_images=0)
    ).layer
    others = make_samples(50, 100, seed=3).vectors
    np.testing.assert_allclose(
        rotated.probabilities(others), plain.probabilities(others), atol=2e-3
    )


def test_strength_with_the_lowest_validation_loss_is_taken() -> None:
    result = fit_lbfgs(make_samples(60, 40), 3, validation=make_samples(90, 40, seed=2))
    assert result.selection == "validation"
    assert result.losses[result.l2_strength] == min(result.losses.values())
    assert 2 < len(result.losses) <= len(L2_STRENGTHS)


@pytest.mark.parametrize("count", [0, 5])
def test_few_validation_images_give_way_to_folds(count: int) -> None:
    result = fit_lbfgs(make_samples(60, 40), 3, validation=make_samples(count, 40, seed=2))
    assert result.selection == "folds"
    assert set(result.losses) == set(L2_STRENGTHS)
    tested = make_samples(300, 40, seed=4)
    assert (result.layer.logits(tested.vectors).argmax(axis=1) == tested.labels).mean() > 0.75


def test_no_validation_images_give_way_to_folds() -> None:
    assert fit_lbfgs(make_samples(30), 3).selection == "folds"


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 1], [0, 0, 0, 1], [1]])
def test_very_few_images_are_fitted(labels: list[int]) -> None:
    vectors = np.eye(5, dtype=np.float32)[: len(labels)]
    layer = fit_lbfgs(Samples(vectors, np.array(labels)), 2).layer
    assert layer.weights.shape == (5, 2)
    probabilities = layer.probabilities(vectors)
    assert np.isfinite(probabilities).all()
    assert probabilities[np.arange(len(labels)), labels].min() > 0.2


def test_a_label_without_training_rows_gets_almost_nothing() -> None:
    samples = make_samples(80, labels=2)
    validation = Samples(samples.vectors[:60], np.arange(60) % 3)
    layer = fit_lbfgs(samples, 3, validation=validation).layer
    probabilities = layer.probabilities(samples.vectors)
    assert probabilities[:, 2].max() < 1e-6
    assert (probabilities.argmax(axis=1) == samples.labels).mean() > 0.8


def test_probabilities_keep_the_proportions_of_the_labels() -> None:
    samples = make_samples(90)
    chosen = np.flatnonzero((samples.labels != 0) | (np.arange(90) % 5 == 0))
    uneven = Samples(samples.vectors[chosen], samples.labels[chosen])
    layer = fit_lbfgs(uneven, 3, l2_strength=0.01).layer
    proportions = np.bincount(uneven.labels) / len(uneven)
    means = layer.probabilities(uneven.vectors).mean(axis=0)
    np.testing.assert_allclose(means, proportions, atol=2e-3)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scale_and_offset_of_the_vectors_do_not_matter(scale: float) -> None:
    samples = make_samples(90)
    scaled = Samples(samples.vectors * np.float32(scale), samples.labels)
    one = fit_lbfgs(samples, 3, l2_strength=0.01).layer.probabilities(samples.vectors)
    two = fit_lbfgs(scaled, 3, l2_strength=0.01).layer.probabilities(scaled.vectors)
    np.testing.assert_allclose(one, two, atol=2e-3)


def test_equal_vectors_give_the_proportions_of_the_labels() -> None:
    samples = Samples(np.ones((8, 3), np.float32), np.array([0] * 6 + [1] * 2))
    probabilities = fit_lbfgs(samples, 2).layer.probabilities(np.ones((1, 3)))
    np.testing.assert_allclose(probabilities, [[0.75, 0.25]], atol=1e-3)


def test_vectors_beyond_measure_are_a_data_error() -> None:
    vectors = np.where(np.eye(10, 4) > 0, 3e38, -3e38).astype(np.float32)
    samples = Samples(vectors, np.arange(10) % 2)
    with pytest.raises(DataError, match="too large"):
        fit_lbfgs(samples, 2)


def test_no_training_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no training image"):
        fit_lbfgs(Samples(np.empty((0, 4), np.float32), np.empty(0, np.intp)), 2)


def test_has_a_lower_validation_loss_than_sgd_on_the_houses(shared: Path) -> None:
    items = import_folder(shared / "houses" / "bottlenecks").bottlenecks
    vectors = np.array([item.vector for item in items])
    labels = np.array([item.folder == "house_without_pool" for item in items]).astype(np.intp)
    fifth = np.arange(len(items)) % 5
    training = Samples(vectors[fifth > 1], labels[fifth > 1])
    validation = Samples(vectors[fifth == 1], labels[fifth == 1])
    tested = Samples(vectors[fifth == 0], labels[fifth == 0])
    result = fit_lbfgs(training, 2, validation=validation)

    def loss(layer: FinalLayer) -> float:
        probabilities = layer.probabilities(tested.vectors)
        return float(-np.log(probabilities[np.arange(len(tested)), tested.labels]).mean())

    assert loss(result.layer) < loss(fit_sgd(training, 2, SgdSettings(steps=1000)))
    guesses = result.layer.logits(tested.vectors).argmax(axis=1)
    assert (guesses == tested.labels).mean() > 0.75


@pytest.mark.parametrize("indexed", [False, True])
def test_blocks_give_the_layer_of_a_copy(indexed: bool) -> None:
    training, validation = make_samples(300), make_samples(120, seed=2)
    if indexed:  # as a fold of a large matrix is given
        chosen = np.arange(300) % 4 != 1
        training, validation = training.subset(chosen), validation.subset(np.arange(120) % 3 != 0)
    copied = fit_lbfgs(training, 3, validation=validation)
    folds = fit_lbfgs(training, 3)
    settings = LbfgsSettings(blocks=BlockLimits(0, 7 * 4 * 12))  # blocks of 7 rows
    for expected, given in (
        (copied, fit_lbfgs(training, 3, validation=validation, settings=settings)),
        (folds, fit_lbfgs(training, 3, settings=settings)),
    ):
        assert given.l2_strength == expected.l2_strength
        assert given.selection == expected.selection
        np.testing.assert_allclose(given.layer.weights, expected.layer.weights, atol=2e-3)
        np.testing.assert_allclose(given.layer.biases, expected.layer.biases, atol=5e-3)


def test_few_training_rows_and_a_validation_matrix_too_large_to_copy() -> None:
    training, validation = make_samples(20, size=64), make_samples(300, size=64, seed=2)
    settings = LbfgsSettings(blocks=BlockLimits(20 * 4 * 64, 7 * 4 * 64))
    whole = fit_lbfgs(training, 3, validation=validation)
    given = fit_lbfgs(training, 3, validation=validation, settings=settings)
    assert (given.selection, given.l2_strength) == ("validation", whole.l2_strength)
    np.testing.assert_allclose(given.layer.weights, whole.layer.weights, atol=2e-3)


def test_a_large_matrix_is_never_copied() -> None:
    training, validation = make_samples(4000, size=64), make_samples(1000, size=64, seed=2)
    settings = LbfgsSettings(blocks=BlockLimits(0, 1 << 14))
    tracemalloc.start()
    try:
        fit_lbfgs(training, 3, validation=validation, settings=settings)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < training.vectors.nbytes / 2


def test_enough_held_out_rows_need_no_further_fold() -> None:
    samples = make_samples(200)
    all_folds = fit_lbfgs(samples, 3)
    one_fold = fit_lbfgs(samples, 3, settings=LbfgsSettings(enough_held_out=40))
    assert one_fold.selection == all_folds.selection == "folds"
    assert one_fold.iterations < all_folds.iterations / 3
