"""The curve of a fit, measured on whole splits."""

from __future__ import annotations

import numpy as np
import pytest

from tests.core.final_layer.test_sgd import make_samples
from tlcli.core.final_layer.curve import VALIDATION_IMAGES, CurveMeter
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import FinalLayer, SgdSettings, softmax

NONE = Samples(np.zeros((0, 7), np.float32), np.zeros(0, np.int64))


def due(meter: CurveMeter, steps: int) -> list[int]:
    return [done for done in range(1, steps + 1) if meter.is_due(done)]


def test_a_point_covers_every_validation_image() -> None:
    training, validation = make_samples(30), make_samples(2000, seed=2)
    generator = np.random.default_rng(3)
    layer = FinalLayer(
        generator.normal(size=(7, 3)).astype(np.float32), np.array([0, 1, -1], np.float32)
    )
    point = CurveMeter(training, validation, 3, SgdSettings()).measure(41, layer)
    scores = softmax(layer.logits(validation.vectors).astype(np.float64))
    right = scores.argmax(axis=1) == validation.labels
    assert (point.step, point.validation_count, point.training_count) == (40, 2000, 30)
    assert point.validation_accuracy == right.mean()
    loss = -np.log(scores[np.arange(2000), validation.labels]).mean()
    assert point.validation_cross_entropy == pytest.approx(loss, rel=1e-5)


def test_large_scores_cost_what_they_should() -> None:
    samples = Samples(np.ones((1, 1), np.float32), np.array([1]))
    layer = FinalLayer(np.array([[1000, 0]], np.float32), np.zeros(2, np.float32))
    point = CurveMeter(samples, samples, 2, SgdSettings()).measure(1, layer)
    assert (point.training_accuracy, point.training_cross_entropy) == (0, 1000)


def test_without_validation_images_only_training_is_measured() -> None:
    layer = FinalLayer(np.zeros((7, 3), np.float32), np.zeros(3, np.float32))
    point = CurveMeter(make_samples(30), NONE, 3, SgdSettings()).measure(1, layer)
    assert (point.validation_accuracy, point.validation_cross_entropy) == (None, None)
    assert point.training_cross_entropy == pytest.approx(np.log(3))


@pytest.mark.parametrize(
    ("rows", "steps", "points"), [(60, 4000, 60), (10_000, 4000, 10), (60, 5, 5), (60, 1, 1)]
)
def test_points_begin_with_the_first_step_and_end_with_the_last(
    rows: int, steps: int, points: int
) -> None:
    samples = make_samples(rows)
    found = due(CurveMeter(samples, samples, 3, SgdSettings(steps=steps)), steps)
    assert (found[0], found[-1]) == (1, steps)
    assert points <= len(found) <= points + 1


def test_a_large_training_split_is_sampled_evenly() -> None:
    training = make_samples(30_000)
    layer = FinalLayer(np.zeros((7, 3), np.float32), np.array([1, 0, 0], np.float32))
    point = CurveMeter(training, NONE, 3, SgdSettings()).measure(1, layer)
    assert point.training_count == 500
    assert point.training_accuracy == pytest.approx(1 / 3, abs=0.07)


def test_of_a_large_validation_split_a_fixed_part_is_measured() -> None:
    validation = make_samples(30_000)
    layer = FinalLayer(np.zeros((7, 3), np.float32), np.array([1, 0, 0], np.float32))
    points = [
        CurveMeter(make_samples(30), validation, 3, SgdSettings()).measure(1, layer)
        for _ in range(2)
    ]
    assert points[0] == points[1]
    assert points[0].validation_count == VALIDATION_IMAGES
    whole = (validation.labels == 0).mean()
    assert points[0].validation_accuracy == pytest.approx(whole, abs=0.02)
