"""Linear discriminant analysis with a shrunken covariance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tlcli.core.calibration.temperature import best_temperature
from tlcli.core.evaluation.metrics import evaluate_layer
from tlcli.core.final_layer.discriminant_analysis import (
    SHRINKAGES,
    LdaSettings,
    fit_lda,
)
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sampling import philox
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import DataError

SUMS = LdaSettings(most_products=0)


def clouds(count: int, size: int, labels: int, distance: float = 3.0, seed: int = 0) -> Samples:
    """Return labels around means of their own, some values with more variance than others."""
    draw = np.random.Generator(philox(seed, 0, 0))
    means = draw.standard_normal((labels, size)) * distance / np.sqrt(size)
    own = np.arange(count) % labels
    noise = draw.standard_normal((count, size)) * np.linspace(0.2, 1.5, size)
    return Samples((means[own] + noise + 5).astype(np.float32), own)


def direct(samples: Samples, shrinkage: float) -> FinalLayer:
    """Return the layer as textbooks have it: temperature 1, dense inverse."""
    vectors, labels = samples.gathered().astype(np.float64), samples.labels
    means = np.stack([vectors[labels == label].mean(axis=0) for label in np.unique(labels)])
    within = vectors - means[labels]
    covariance = within.T @ within / len(labels)
    target = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    inverse = np.linalg.inv((1 - shrinkage) * covariance + shrinkage * target)
    weights = inverse @ means.T
    shares = np.bincount(labels) / len(labels)
    biases = np.log(shares) - np.einsum("ld,dl->l", means, weights) / 2
    return FinalLayer(weights.astype(np.float32), biases.astype(np.float32))


def centred(logits: np.ndarray) -> np.ndarray:
    return logits - logits.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("shrinkage", [1.0, 0.5, 0.02])
@pytest.mark.parametrize("count", [40, 90])
@pytest.mark.parametrize("limits", [LdaSettings(), SUMS], ids=["products", "sums"])
def test_scores_are_those_of_the_textbook(
    limits: LdaSettings, count: int, shrinkage: float
) -> None:
    samples = clouds(count, 60, 3)
    found = fit_lda(samples, 3, shrinkage=shrinkage, settings=limits)
    assert found.selection == "fixed"
    wanted = centred(direct(samples, shrinkage).logits(samples.vectors)) / found.temperature
    given_logits = centred(found.layer.logits(samples.vectors))
    np.testing.assert_allclose(given_logits, wanted, rtol=2e-3, atol=2e-3)


@settings(max_examples=25, deadline=None)
@example(6, 1, 5, 1)  # without the row held out, each label has one image
@given(
    st.integers(6, 60), st.integers(1, 40), st.integers(1, 5), st.integers(0, 1000),
)  # fmt: skip
def test_products_and_sums_give_the_same(count: int, size: int, labels: int, seed: int) -> None:
    samples = clouds(count, max(size, count), labels, seed=seed)
    by_products = fit_lda(samples, labels, shrinkage=0.3)
    by_sums = fit_lda(samples, labels, shrinkage=0.3, settings=SUMS)
    np.testing.assert_allclose(
        by_products.layer.probabilities(samples.vectors),
        by_sums.layer.probabilities(samples.vectors),
        atol=2e-3,
    )


def test_rows_of_a_larger_matrix_need_no_copy() -> None:
    samples = clouds(300, 20, 3)
    rows = np.arange(0, 300, 2)
    of_rows = Samples(samples.vectors, samples.labels[rows], rows)
    copied = Samples(samples.vectors[rows], samples.labels[rows])
    found, wanted = fit_lda(of_rows, 3), fit_lda(copied, 3)
    np.testing.assert_array_equal(found.layer.weights, wanted.layer.weights)


def test_blocks_of_any_size_give_the_same() -> None:
    from tlcli.core.final_layer.centred_vectors import BlockLimits

    samples = clouds(200, 30, 4)
    small = LdaSettings(blocks=BlockLimits(largest_copy=0, block_bytes=7 * 4 * 30))
    found = fit_lda(samples, 4, settings=small)
    wanted = fit_lda(samples, 4)
    assert found.shrinkage == wanted.shrinkage
    np.testing.assert_allclose(found.layer.weights, wanted.layer.weights, rtol=1e-3, atol=1e-4)


def test_probabilities_are_as_sure_as_they_are_right() -> None:
    train, test = clouds(400, 200, 4, 2.0), clouds(400, 200, 4, 2.0)
    train, test = train.subset(np.arange(400) < 200), test.subset(np.arange(400) >= 200)
    found = fit_lda(train, 4)
    assert found.selection == "folds"
    scores = found.layer.probabilities(test.gathered())
    right = (scores.argmax(axis=1) == test.labels).mean()
    assert 0.5 < right < 1
    assert abs(scores.max(axis=1).mean() - right) < 0.1


def test_the_strength_fits_the_number_of_rows() -> None:
    few, many = fit_lda(clouds(24, 100, 3), 3), fit_lda(clouds(4000, 100, 3), 3)
    assert few.shrinkage > many.shrinkage
    assert set(few.losses) <= set(SHRINKAGES)


def test_a_label_without_rows_is_never_given() -> None:
    samples = clouds(60, 10, 2)
    shifted = Samples(samples.vectors, samples.labels * 2)  # labels 0 and 2 of four
    found = fit_lda(shifted, 4)
    scores = found.layer.probabilities(samples.vectors)
    assert scores[:, [1, 3]].max() < 1e-6
    assert evaluate_layer(found.layer, shifted).accuracy > 0.8


@pytest.mark.parametrize("limits", [LdaSettings(), SUMS], ids=["products", "sums"])
def test_one_image_of_each_label(limits: LdaSettings) -> None:
    samples = clouds(3, 8, 3)
    found = fit_lda(samples, 3, settings=limits)
    assert found.selection == "fixed"
    assert found.layer.logits(samples.vectors).argmax(axis=1).tolist() == [0, 1, 2]


@pytest.mark.parametrize("limits", [LdaSettings(), SUMS], ids=["products", "sums"])
def test_vectors_that_are_all_the_same(limits: LdaSettings) -> None:
    samples = Samples(np.ones((6, 8), np.float32), np.array([0, 0, 0, 0, 1, 1]))
    scores = fit_lda(samples, 2, settings=limits).layer.probabilities(samples.vectors)
    assert np.isfinite(scores).all()
    assert (scores[:, 0] >= scores[:, 1]).all()  # the more frequent one


@pytest.mark.parametrize("per_label", [1, 2, 3])
def test_probabilities_of_few_images_keep_an_order(per_label: int) -> None:
    samples = clouds(5 * per_label, 300, 5, 1.0)
    scores = fit_lda(samples, 5).layer.probabilities(samples.vectors)
    assert (scores.max(axis=1) > 0.21).all()
    assert (scores.argmax(axis=1) == samples.labels).all()


def test_equal_labels_of_equal_vectors_get_equal_probabilities() -> None:
    samples = Samples(np.ones((10, 8), np.float32), np.arange(10) % 2)
    np.testing.assert_allclose(fit_lda(samples, 2).layer.probabilities(samples.vectors), 0.5)


@pytest.mark.parametrize("limits", [LdaSettings(), SUMS], ids=["products", "sums"])
def test_vectors_too_large_to_square(limits: LdaSettings) -> None:
    vectors = np.full((6, 8), 1e30, np.float32)
    vectors[::2] *= -1
    with pytest.raises(DataError, match="too large"):
        fit_lda(Samples(vectors, np.array([0, 0, 0, 1, 1, 1])), 2, settings=limits)


def test_no_rows() -> None:
    with pytest.raises(DataError, match="no training image"):
        fit_lda(Samples(np.zeros((0, 4), np.float32), np.zeros(0, np.intp)), 2)


@pytest.mark.parametrize("factor", [0.01, 1.0, 50.0])
def test_the_temperature_undoes_a_factor(factor: float) -> None:
    draw = np.random.Generator(philox(3, 0, 0))
    scores = draw.standard_normal((3000, 4)).astype(np.float32)
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) > draw.random((3000, 1))).argmax(axis=1)
    temperature, loss = best_temperature(scores * np.float32(factor), labels)
    assert temperature == pytest.approx(factor, rel=0.15)
    assert 0 < loss < np.log(4)


def test_rows_that_are_all_right_do_not_ask_for_certainty() -> None:
    scores = np.array([[9, 0], [0, 8], [7, 0]], np.float32)
    temperature, _ = best_temperature(scores, np.array([0, 1, 0]))
    assert 0.5 < temperature < 100


@pytest.mark.parametrize("limits", [LdaSettings(), SUMS], ids=["products", "sums"])
def test_views_of_one_image_are_not_held_out_apart(limits: LdaSettings) -> None:
    """Else each held-out view has its twins in training, and scores look surer than they are."""
    images = clouds(40, 60, 4, 0.5)
    views = np.repeat(np.arange(40), 5)
    noise = np.random.Generator(philox(1, 0, 0)).standard_normal((200, 60)) * 0.01
    vectors = (images.vectors[views] + noise).astype(np.float32)
    apart = fit_lda(Samples(vectors, images.labels[views]), 4, settings=limits)
    whole = fit_lda(Samples(vectors, images.labels[views], groups=views), 4, settings=limits)
    assert min(whole.losses.values()) > 2 * min(apart.losses.values())
    assert whole.shrinkage >= apart.shrinkage


@pytest.mark.slow
def test_many_labels_of_real_photos_gain(shared: Path) -> None:
    """On the plates, 51 labels and vectors of 1,001 values, seven points against SGD."""
    from tlcli.core.final_layer.sgd import SgdFit, SgdSettings

    stored = np.load(shared / "plates" / "bottlenecks.npz")
    _, labels = np.unique([name.split("/")[0] for name in stored["names"]], return_inverse=True)
    order = np.random.Generator(philox(1, 0, 0)).permutation(len(labels))
    samples = Samples(stored["vectors"].astype(np.float32)[order], labels[order])
    train = samples.subset(np.arange(len(labels)) < 3000)
    test = samples.subset(np.arange(len(labels)) >= 3000)
    found = evaluate_layer(fit_lda(train, 51).layer, test).accuracy
    sgd = evaluate_layer(SgdFit(train, 51, SgdSettings()).run(), test).accuracy
    assert found is not None
    assert sgd is not None
    assert found > sgd + 0.03
