"""The solver that held-out training images speak for."""

from __future__ import annotations

import numpy as np
import pytest

from tests.core.final_layer.test_discriminant_analysis import clouds
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sampling import philox
from tlcli.core.final_layer.sgd import SgdSettings
from tlcli.core.fitting.choose_solver import (
    FEW_IMAGES,
    FIXED_STRENGTH,
    ComparisonLimits,
    choose_solver,
)
from tlcli.core.fitting.fit_layer import FitSettings, fit_layer

SHORT = SgdSettings(steps=200)


def test_normal_distributions_are_told_apart_by_discriminant_analysis() -> None:
    samples = clouds(300, 400, 3, 2.0)
    found = choose_solver(samples, 3, SHORT)
    assert found.solver == "lda"
    assert [each.solver for each in found.compared] == ["lda", "lbfgs", "sgd"]
    assert min(found.compared, key=lambda each: each.behind).behind == 0
    assert found.images == 300
    assert "lda" in found.lines()[0]


def test_what_is_no_normal_distribution_is_left_to_another_solver() -> None:
    """A few vectors lie thousands of times farther out, as they never do in a normal cloud."""
    draw = np.random.Generator(philox(2, 0, 0))
    vectors = draw.standard_normal((400, 6)) * 0.2
    labels = np.arange(400) % 2
    vectors[:, 0] += np.where(labels, 1, -1)
    far = draw.random(400) < 0.1
    vectors[far] *= 10.0 ** draw.uniform(1, 3, (int(far.sum()), 1))
    vectors[far, 0] = np.where(labels, 1, -1)[far] * np.abs(vectors[far, 0])
    found = choose_solver(Samples(vectors.astype(np.float32), labels), 2, SHORT)
    assert found.solver != "lda"


def test_few_images_leave_the_lowest_cross_entropy_to_decide() -> None:
    found = choose_solver(clouds(30, 40, 3, 1.0), 3, SHORT)
    assert [each.solver for each in found.compared] == ["lda", "lbfgs"]
    assert found.solver == min(found.compared, key=lambda each: each.cross_entropy).solver
    assert found.strength == (FIXED_STRENGTH if found.solver == "lbfgs" else None)


def test_fewer_images_are_not_compared() -> None:
    samples = clouds(9, 40, 3)
    found = choose_solver(samples, 3, SHORT)
    assert (found.solver, found.compared, found.strength) == ("lbfgs", (), FIXED_STRENGTH)
    assert "9 training images are too few to compare" in found.lines()[0]
    fitted = fit_layer(samples, None, (), FitSettings(3, "auto", SHORT))
    assert fitted.details["l2_strength"] == FIXED_STRENGTH


def test_many_labels_of_few_images_are_compared() -> None:
    labels = FEW_IMAGES // 2
    assert choose_solver(clouds(2 * labels, 20, labels), labels, SHORT).compared


@pytest.mark.parametrize(
    "samples",
    [
        Samples(np.ones((200, 5), np.float32), np.arange(200) % 2),  # all the same
        Samples(np.zeros((200, 300), np.float32), np.arange(200) % 2),
        Samples(clouds(200, 300, 1).vectors, np.zeros(200, np.intp)),  # one label
        Samples(np.repeat(clouds(40, 300, 2).vectors, 5, axis=0), np.repeat(np.arange(40) % 2, 5)),
        Samples(clouds(150, 300, 150).vectors, np.arange(150)),  # one image of each label
        clouds(200, 1, 2),
    ],
    ids=["same", "zeros", "one label", "copies", "one image each", "one value"],
)
def test_odd_data_get_a_solver(samples: Samples) -> None:
    labels = int(samples.labels.max()) + 1
    fitted = fit_layer(samples, None, (), FitSettings(labels, "auto", SHORT))
    assert np.isfinite(fitted.layer.probabilities(samples.vectors)).all()


def test_a_part_of_many_rows_is_compared_and_views_stay_together() -> None:
    images = clouds(120, 30, 3, 0.5)
    views = np.repeat(np.arange(120), 4)
    vectors = images.vectors[views] + np.float32(0.01) * clouds(480, 30, 1, seed=1).vectors
    samples = Samples(vectors, images.labels[views], groups=views)
    limits = ComparisonLimits(rows=200, rows_per_label=1)
    found = choose_solver(samples, 3, SHORT, limits=limits)
    assert found.images == 50
    # With views of one image on both sides, nearly all would be right.
    assert max(each.accuracy for each in found.compared) < 0.8


def test_the_choice_is_the_same_each_time() -> None:
    samples = clouds(300, 400, 3)
    assert choose_solver(samples, 3, SHORT) == choose_solver(samples, 3, SHORT)
