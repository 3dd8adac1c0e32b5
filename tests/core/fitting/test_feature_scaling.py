"""Values of several layers on one scale, folded into weights and biases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.final_layer.test_discriminant_analysis import clouds
from tlcli.backbone import FeatureBlock
from tlcli.core.final_layer.centred_vectors import BlockLimits
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sampling import philox
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.fitting.feature_scaling import FeatureScaling, scaling_for
from tlcli.errors import DataError

BLOCKS = (FeatureBlock("head", 12, 4.0), FeatureBlock("block", 8, 0.5), FeatureBlock("early", 10))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 5), st.integers(-3, 4), st.integers(0, 1000))
def test_the_folded_layer_gives_for_plain_vectors_what_it_gave_for_scaled_ones(
    count: int, labels: int, power: int, seed: int
) -> None:
    samples = clouds(count, 30, labels, seed=seed)
    samples = Samples(samples.vectors * np.float32(10.0**power), samples.labels)
    draw = np.random.Generator(philox(seed, 1, 0))
    layer = FinalLayer(
        draw.standard_normal((30, labels)).astype(np.float32),
        draw.standard_normal(labels).astype(np.float32),
    )
    scaling = FeatureScaling.of(samples, BLOCKS)
    wanted = layer.logits(scaling.apply(samples).vectors)
    found = scaling.fold(layer).logits(samples.vectors)
    # The means of these values are some 5 deviations, which rounding grows with.
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_values_have_a_mean_of_0_and_blocks_the_mean_square_of_their_weight() -> None:
    samples = clouds(200, 30, 3)
    vectors = samples.vectors * np.linspace(1, 1e4, 30, dtype=np.float32)
    samples = Samples(vectors, samples.labels)
    scaled = FeatureScaling.of(samples, BLOCKS).apply(samples).vectors
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-4)
    parts = np.split(scaled, np.cumsum([block.size for block in BLOCKS])[:-1], axis=1)
    squares = np.array([(part**2).sum(axis=1).mean() for part in parts])
    weights = np.array([block.weight for block in BLOCKS])
    np.testing.assert_allclose(squares / squares.sum(), weights / weights.sum(), rtol=1e-3)


def test_values_that_never_change_count_for_nothing() -> None:
    samples = clouds(50, 30, 2)
    vectors = samples.vectors.copy()
    vectors[:, :12] = 0.1  # a whole block
    vectors[:, 20] = 1e6
    scaling = FeatureScaling.of(Samples(vectors, samples.labels), BLOCKS)
    assert not scaling.factors[:12].any()
    assert scaling.factors[20] == 0
    assert (scaling.factors[21:] > 0).all()


def test_a_value_that_varies_more_keeps_more_say() -> None:
    samples = clouds(50, 30, 2)
    vectors = samples.vectors.copy()
    vectors[:, 0] *= 100
    samples = Samples(vectors, samples.labels)
    before, after = vectors, FeatureScaling.of(samples, BLOCKS).apply(samples).vectors
    ratios = [(each.std(axis=0)[0] / each.std(axis=0)[1]) for each in (before, after)]
    assert ratios[1] == pytest.approx(ratios[0] ** 0.5, rel=1e-3)


def test_rows_of_a_larger_matrix_and_blocks_of_rows_give_the_same() -> None:
    samples = clouds(300, 30, 3)
    rows = np.arange(0, 300, 2)
    of_rows = Samples(samples.vectors, samples.labels[rows], rows, groups=rows)
    copied = Samples(samples.vectors[rows], samples.labels[rows])
    small = BlockLimits(largest_copy=0, block_bytes=7 * 4 * 30)
    found, wanted = FeatureScaling.of(of_rows, BLOCKS, small), FeatureScaling.of(copied, BLOCKS)
    np.testing.assert_allclose(found.factors, wanted.factors, rtol=1e-5)
    np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-6)
    np.testing.assert_array_equal(found.apply(of_rows).groups, rows)


def test_values_that_float32_cannot_square_are_scaled_too() -> None:
    samples = clouds(50, 30, 2)
    huge = Samples(samples.vectors * np.float32(1e30), samples.labels)
    found = FeatureScaling.of(huge, BLOCKS).apply(huge).vectors
    wanted = FeatureScaling.of(samples, BLOCKS).apply(samples).vectors
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_one_row_scales_to_nothing() -> None:
    one = clouds(1, 30, 1)
    assert not FeatureScaling.of(one, BLOCKS).apply(one).vectors.any()


def test_vectors_of_one_layer_stay_plain() -> None:
    samples = clouds(10, 30, 2)
    assert scaling_for(samples, ()) is None
    assert scaling_for(samples, (FeatureBlock("head", 30),)) is None
    assert scaling_for(samples, BLOCKS) is not None


def test_what_cannot_be_scaled_is_refused() -> None:
    samples = clouds(10, 30, 2)
    with pytest.raises(ValueError, match="blocks of"):
        FeatureScaling.of(samples, BLOCKS[:2])
    with pytest.raises(DataError, match="no training image"):
        FeatureScaling.of(samples.subset(np.zeros(10, np.bool_)), BLOCKS)
    signs = np.where(np.arange(10) % 2, -1, 1)[:, np.newaxis]
    huge = Samples(np.full((10, 30), 3e38, np.float32) * signs, samples.labels)
    with pytest.raises(DataError, match="too large"):
        FeatureScaling.of(huge, BLOCKS)


@pytest.mark.parametrize(("per_label", "power"), [(7, 1.5), (8, 1.0)])
def test_heavy_blocks_count_more_with_few_images(per_label: int, power: float) -> None:
    generator = np.random.default_rng(3)
    vectors = generator.normal(size=(2 * per_label, 30)).astype(np.float32)
    training = Samples(vectors, np.arange(2 * per_label) % 2)
    blocks = (FeatureBlock("head", 10, 4.0), FeatureBlock("stage", 20, 1.0))
    scaling = scaling_for(training, blocks)
    assert scaling is not None
    scaled = scaling.apply(training).vectors
    squares = [np.square(scaled[:, part]).sum() for part in (slice(10), slice(10, 30))]
    assert squares[0] / squares[1] == pytest.approx(4.0**power, rel=1e-4)
