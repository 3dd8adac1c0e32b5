"""The learning curve: its points, what it predicts, and when there is none."""

from __future__ import annotations

import numpy as np
import pytest

from tlcli.backbone import FeatureBlock
from tlcli.core.evaluation.learning_curve import (
    CurveSettings,
    LearningCurve,
    measure_learning_curve,
)
from tlcli.core.final_layer.samples import Samples
from tlcli.core.fitting.main_axes import on_main_axes


def drawn(images: int = 120, distance: float = 0.35, seed: int = 0) -> Samples:
    """Return vectors of 40 values of three labels, which overlap."""
    random = np.random.default_rng(seed)
    labels = np.arange(images) % 3
    means = random.normal(0, distance, (3, 40))
    vectors = means[labels] + random.normal(0, 1, (images, 40))
    return Samples(vectors.astype(np.float32), labels)


def curve_of(errors: list[float], images: list[int], tested: int = 1000) -> LearningCurve:
    points = tuple(zip(images, (1 - error for error in errors), strict=True))
    return LearningCurve(points, tested, np.diag([0.01] * len(points)))


def test_a_power_law_is_found_again() -> None:
    images = [100, 200, 300, 400, 500]
    curve = curve_of([2 * count**-0.5 for count in images], images, 10**9)

    found = curve.expected(1000)

    assert found.value == pytest.approx(1 - 2 * 1000**-0.5, abs=1e-6)
    assert found.low < found.value < found.high
    # The farther from the points, the less is known.
    farther = curve.expected(4000)
    assert np.log((1 - farther.low) / (1 - farther.high)) > np.log(
        (1 - found.low) / (1 - found.high)
    )


def test_errors_that_rise_are_taken_for_level() -> None:
    curve = curve_of([0.1, 0.11, 0.12], [100, 200, 300])
    assert curve.expected(100).value == curve.expected(10_000).value
    assert curve.forecast(300).sentence.startswith("Twice the photos would change little: expect")


def test_the_sentence_says_what_to_expect() -> None:
    curve = curve_of([0.4, 0.2, 0.1], [100, 200, 400], 10**9)
    forecast = curve.forecast(400)
    assert forecast.sentence.startswith("With twice the photos expect about 95% (95% interval 9")
    assert forecast.sentence.endswith(f"where as many as now give about {forecast.now.value:.0%}.")
    assert forecast.trend[0][0] == 100
    assert forecast.trend[-1][0] == 800
    assert forecast.trend[-1][1] == forecast.twice.value


def test_more_images_bring_more_and_every_image_is_tested_once() -> None:
    curve = measure_learning_curve(drawn(), 3)

    assert curve is not None
    assert [count for count, _ in curve.points] == [19, 38, 58, 77, 96]
    assert curve.tested == 120
    assert curve.points[-1][1] > curve.points[0][1] + 0.05


def test_the_same_seed_gives_the_same_points() -> None:
    first, again = (measure_learning_curve(drawn(), 3) for _ in range(2))
    other = measure_learning_curve(drawn(), 3, settings=CurveSettings(seed=1))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.points == again.points != other.points


def test_images_kept_out_are_tested_and_never_fitted_on() -> None:
    samples, kept_out = drawn(), np.arange(120) >= 75
    labels = samples.labels.copy()
    # With wrong labels they would spoil every fit.
    labels[kept_out] = (labels[kept_out] + 1) % 3
    spoiled = Samples(samples.vectors, labels)

    right = measure_learning_curve(samples, 3, kept_out)
    wrong = measure_learning_curve(spoiled, 3, kept_out)

    assert right is not None
    assert wrong is not None
    assert right.tested == 45
    assert [count for count, _ in right.points] == [15, 30, 45, 60, 75]
    assert right.points[-1][1] > 0.5
    assert wrong.points[-1][1] < 0.5


def test_copies_are_never_on_both_sides() -> None:
    random = np.random.default_rng(0)
    # Noise: only an image's own copy tells its label.
    vectors = np.repeat(random.normal(0, 1, (60, 100)), 2, axis=0).astype(np.float32)
    labels = np.repeat(random.integers(0, 2, 60), 2)

    known = measure_learning_curve(Samples(vectors, labels, groups=np.arange(120) // 2), 2)
    unknown = measure_learning_curve(Samples(vectors, labels), 2)

    assert known is not None
    assert unknown is not None
    assert known.points[-1][1] < 0.7 < unknown.points[-1][1]


def test_a_label_with_a_single_image_is_trained_on_and_not_tested() -> None:
    samples = drawn()
    labels = samples.labels.copy()
    labels[0] = 3
    curve = measure_learning_curve(Samples(samples.vectors, labels), 4)
    assert curve is not None
    assert curve.tested == 119


def test_values_of_several_layers_are_brought_to_one_scale() -> None:
    samples = drawn(distance=0.5)
    noise = np.random.default_rng(5).normal(0, 1000, (120, 40))
    both = Samples(np.hstack([samples.vectors, noise]).astype(np.float32), samples.labels)
    blocks = (FeatureBlock("head", 40, 4.0), FeatureBlock("noise", 40, 0.01))

    plain = measure_learning_curve(both, 3)
    scaled = measure_learning_curve(both, 3, blocks=blocks)

    assert plain is not None
    assert scaled is not None
    assert scaled.points[-1][1] > plain.points[-1][1] + 0.1


@pytest.mark.parametrize(
    ("samples", "settings"),
    [
        (drawn(39), CurveSettings()),
        (drawn(), CurveSettings(most_values=120 * 40 - 1)),
        (drawn(), CurveSettings(most_labels=2)),
    ],
)
def test_of_few_images_and_of_very_many_there_is_no_curve(
    samples: Samples, settings: CurveSettings
) -> None:
    assert measure_learning_curve(samples, 3, settings=settings) is None


def test_vectors_that_are_all_the_same_do_no_harm() -> None:
    same = Samples(np.ones((60, 8), np.float32), np.arange(60) % 3)
    curve = measure_learning_curve(same, 3)
    assert curve is not None
    assert 0 <= curve.points[-1][1] <= 0.6


def test_products_and_sums_give_the_same_curve() -> None:
    """Fits to products are for few rows; more rows than these are fitted to sums."""
    samples = drawn(318, distance=0.25)
    # Three more are kept out too, and nothing is fitted on them.
    more = Samples(
        np.vstack([samples.vectors, samples.vectors[:3]]), np.append(samples.labels, [0, 1, 2])
    )
    tested = np.arange(318) >= 200
    few = measure_learning_curve(samples, 3, tested, turned=lambda: samples.vectors)
    many = measure_learning_curve(
        more, 3, np.append(tested, [True] * 3), turned=lambda: more.vectors
    )
    assert few is not None
    assert many is not None
    assert [count for count, _ in few.points] == [count for count, _ in many.points]
    found = [[accuracy for _, accuracy in each.points] for each in (few, many)]
    assert found[0] == pytest.approx(found[1], abs=0.03)


def test_vectors_that_are_turned_elsewhere_are_not_turned_again() -> None:
    samples = drawn()
    asked = []

    def turned() -> np.ndarray:
        asked.append(True)
        return on_main_axes(samples.vectors)

    shared = measure_learning_curve(samples, 3, turned=turned)
    own = measure_learning_curve(samples, 3)
    assert shared is not None
    assert own is not None
    assert shared.points == own.points
    assert len(asked) == 1
