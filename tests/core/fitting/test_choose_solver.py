"""The solver that held-out training images speak for."""

from __future__ import annotations

import numpy as np
import pytest

from tests.core.final_layer.test_discriminant_analysis import clouds
from tlcli.backbone import FeatureBlock
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sampling import philox
from tlcli.core.final_layer.sgd import SgdSettings
from tlcli.core.fitting.choose_solver import (
    FEW_IMAGES,
    FIXED_STRENGTH,
    Compared,
    ComparisonLimits,
    choose_solver,
    plainest,
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


def test_few_images_are_compared_with_a_fixed_strength() -> None:
    samples = clouds(27, 40, 3, 1.0)
    for sgd in (SHORT, None):
        found = choose_solver(samples, 3, sgd, limits=ComparisonLimits())
        assert [each.solver for each in found.compared] == ["lda", "lbfgs"]
        assert found.strength == (FIXED_STRENGTH if found.solver == "lbfgs" else None)
        lda = found.compared[0]
        assert (found.solver == "lda") == (lda.behind <= lda.error)


def test_vectors_of_several_layers_are_not_fitted_by_steps() -> None:
    samples = clouds(300, 40, 3, 1.0)
    blocks = [FeatureBlock("head", 30, 4.0), FeatureBlock("block 1", 10, 1.0)]
    settings = FitSettings(3, "auto", SHORT)
    several, one = (
        [each["solver"] for each in fit_layer(samples, None, given, settings).details["compared"]]
        for given in (blocks, blocks[:0])
    )
    assert several == ["lda", "lbfgs"]
    assert one == ["lda", "lbfgs", "sgd"]


@pytest.mark.parametrize(("errors", "accuracy", "solver"), [
    (1.5, 0.8, "lda"), (2.5, 0.8, "lbfgs"), (2.5, 0.9, "lbfgs"), (2.5, 0.91, "lda"),
])  # fmt: skip
def test_several_layers_are_left_to_discriminant_analysis_unless_another_is_clearly_better(
    errors: float, accuracy: float, solver: str
) -> None:
    compared = (
        Compared("lda", 0.6, accuracy, 0.1 * errors, 0.1, 200),
        Compared("lbfgs", 0.5, 0.9, 0, 0, 200),
    )
    assert plainest(compared, clearly=True) == solver
    assert plainest(compared, clearly=False) == "lbfgs"


def test_fewer_images_are_not_compared() -> None:
    samples = clouds(9, 40, 3)
    found = choose_solver(samples, 3, None)
    assert (found.solver, found.compared, found.strength) == ("lbfgs", (), FIXED_STRENGTH)
    assert found.lines() == [
        "9 training images are too few to compare solvers; logistic regression of strength 1e-05 "
        "is used"
    ]
    blocks = [FeatureBlock("head", 30, 4.0), FeatureBlock("block 1", 10, 1.0)]
    fitted = fit_layer(samples, None, blocks, FitSettings(3, "auto", SHORT))
    assert fitted.details["l2_strength"] == FIXED_STRENGTH


def test_fewer_images_of_one_layer_are_fitted_by_the_steps_of_the_original() -> None:
    samples = clouds(9, 40, 3)
    found = choose_solver(samples, 3, SHORT)
    assert (found.solver, found.compared, found.strength) == ("sgd", (), None)
    assert found.lines() == ["9 training images are too few to compare solvers; sgd is used"]
    auto, sgd = (
        fit_layer(samples, None, (), FitSettings(3, solver, SHORT)) for solver in ("auto", "sgd")
    )
    np.testing.assert_array_equal(auto.layer.weights, sgd.layer.weights)


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
