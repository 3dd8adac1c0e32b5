"""How unlike the training images a vector is, by a fitted model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcli.arrays import Floats, Indices
from tlcli.backbone import FeatureBlock
from tlcli.core.final_layer.samples import Samples
from tlcli.core.unknown.fitting import LARGEST, REFERENCES, axes_within, fit_unknown
from tlcli.core.unknown.model import THRESHOLD, UnknownModel, nearest_reference


def drawn(count: int = 240, labels: int = 3, size: int = 96, seed: int = 0) -> Samples:
    """Return vectors around one centre per label, sorted by label."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1, (50, size))
    of = np.sort(np.arange(count) % labels)
    vectors = np.maximum(centres[of] + generator.normal(0, 0.8, (count, size)), 0)
    return Samples(vectors.astype(np.float32), of)


def others(count: int = 100, size: int = 96) -> Floats:
    centres = np.random.default_rng(5).normal(0, 1, (8, size))
    noise = np.random.default_rng(6).normal(0, 0.8, (count, size))
    return np.maximum(centres[np.arange(count) % 8] + noise, 0).astype(np.float32)


def scores(model: UnknownModel, vectors: Floats) -> Floats:
    return model.scores(Samples(vectors, np.zeros(len(vectors), np.intp)))[0].astype(np.float32)


def fitted(samples: Samples, **options: object) -> UnknownModel:
    model = fit_unknown(samples, **options)  # type: ignore[arg-type]
    assert model is not None
    return model


def test_other_subjects_are_unknown_and_new_images_of_the_labels_are_not() -> None:
    model = fitted(drawn())
    new = scores(model, drawn(seed=1).vectors)
    assert (new > THRESHOLD).mean() < 0.12
    assert (scores(model, others()) > THRESHOLD).mean() > 0.9


def test_the_nearest_training_image_of_a_training_image_is_itself() -> None:
    samples = drawn()
    model = fitted(samples)
    _, places = model.scores(samples)
    found = [model.rows[nearest_reference(place, model.references)] for place in places]
    assert (np.array(found) == np.arange(len(samples))).mean() > 0.97


def test_held_out_images_set_the_threshold_where_the_training_images_cannot() -> None:
    new = drawn(seed=1)
    model = fitted(drawn(), held_out=new)
    assert 0.03 < (scores(model, new.vectors) > THRESHOLD).mean() <= 0.05
    assert abs(float(np.median(scores(model, new.vectors)))) < 1e-3
    assert fit_unknown(drawn(), held_out=drawn(12)) is None


def test_only_the_first_layer_of_several_counts() -> None:
    samples = drawn()
    noise = np.random.default_rng(3).normal(0, 99, (len(samples), 7)).astype(np.float32)
    joined = Samples(np.concatenate([samples.vectors, noise], axis=1), samples.labels)
    blocks = (FeatureBlock("head", 96), FeatureBlock("other", 7))
    one, other = fitted(samples), fitted(joined, blocks=blocks)
    np.testing.assert_array_equal(one.references, other.references)
    np.testing.assert_array_equal(scores(one, samples.vectors), scores(other, joined.vectors))


@pytest.mark.parametrize("size", [256, 1001, 1280, 2048, 20_000])
@pytest.mark.parametrize("largest", [100_000, 900_000, 2_000_000, 10_000_000])
def test_a_model_never_has_more_bytes_than_it_may(size: int, largest: int) -> None:
    axes = axes_within(size, largest)
    assert axes <= 64
    assert 4 * size * (axes + 1) <= largest or not axes
    assert 4 * size * (axes + 1) + 2 * axes * REFERENCES <= LARGEST


@pytest.mark.slow
def test_a_million_vectors_of_many_labels_take_a_bounded_block() -> None:
    labels: Indices = np.sort(np.arange(1_000_000) % 10_000)
    rows = np.arange(1_000_000) % 4000
    vectors = np.random.default_rng(0).random((4000, 64), np.float32)
    model = fit_unknown(Samples(vectors, labels, rows))
    assert model is not None
    assert model.nbytes <= 2_000_000


def test_nothing_is_fitted_where_there_is_nothing_to_learn() -> None:
    equal = Samples(np.ones((40, 8), np.float32), np.arange(40) % 2)
    assert fit_unknown(equal) is None
    assert fit_unknown(drawn(12)) is None
    assert fit_unknown(drawn(), largest=500) is None


@settings(max_examples=20, deadline=None)
@given(st.integers(20, 80), st.integers(1, 5), st.integers(2, 40), st.floats(1e-3, 1e3))
def test_the_length_of_a_vector_changes_nothing(
    count: int, labels: int, size: int, unit: float
) -> None:
    samples = drawn(count, labels, size)
    model = fit_unknown(samples)
    if model is not None:
        probe = drawn(10, labels, size, seed=7).vectors + np.float32(0.1)
        found = scores(model, probe), scores(model, probe * np.float32(unit))
        np.testing.assert_allclose(*found, atol=1e-2, rtol=1e-2)
