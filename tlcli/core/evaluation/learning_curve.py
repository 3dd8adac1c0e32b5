"""How accuracy grows with the number of training images, and what twice as many would bring.

A part of the images is held out in turn, and a classifier is fitted on a fifth, two fifths ... of
the others; each image is tested by classifiers that have not seen it. The error follows a power law
in the number of images (C. Cortes and others, Learning Curves: Asymptotic Values and Rate of
Convergence, 1993; J. Hestness and others, Deep Learning Scaling Is Predictable, Empirically, 2017),
here with two parameters, fitted to the logarithms.

Dozens of fits must cost next to nothing, so all are discriminant analyses of the same sums: the
vectors are turned to their main axes once, the sums over each small part of the images are made
once, and a fit adds some of them and solves one small system. The random parts depend on the seed
alone.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Doubles, Floats, Indices
from tlcli.backbone import FeatureBlock
from tlcli.core.evaluation.metrics import Z95, Proportion
from tlcli.core.final_layer.centred_vectors import BlockLimits
from tlcli.core.final_layer.discriminant.sums import Covariance, LabelSums
from tlcli.core.final_layer.positive_definite import row_parts
from tlcli.core.final_layer.samples import Samples, inner_folds
from tlcli.core.final_layer.sampling import philox
from tlcli.core.fitting.feature_scaling import scaling_for
from tlcli.runtime.blas_threads import in_parallel, one_blas_thread

FOLDS = 5
PARTS = 5
"""Fits are on one to all of so many parts of the images that are not held out."""
CHANGES_LITTLE = 0.01
"""A smaller gain in accuracy is no reason to take more photos."""
_STREAM = 6
# Vectors are turned to so many axes, found on so many of them: more changed no prediction.
_AXES = 256
_ROWS_FOR_AXES = 256
# Of D values the shrinkage is D / (D + this), 0.7 of 1,280: the same is added to each variance,
# however many axes there are.
_SHRINKING = 550
# Of a power law, two points show nothing of how well it fits.
_FEWEST_POINTS = 3
_MOST_REPEATS = 8
_DRAWN = 24


@dataclass(frozen=True)
class CurveSettings:
    """When a curve is measured, and what is random in it.

    Attributes:
        seed: of the random parts.
        most_values: of all vectors together, or it would take too long.
        repeated_images: all is measured again with other parts, until so many images were tested
            or `_MOST_REPEATS` times, as chance in the parts is what disturbs the trend most.
        most_labels: or it would take too long.
        fewest_tested: images that must be tested, or the curve would show little.
    """

    seed: int = 0
    most_values: int = 20_000_000
    repeated_images: int = 10_000
    most_labels: int = 250
    fewest_tested: int = 40


@dataclass(frozen=True)
class LearningCurve:
    """Accuracy by the number of training images.

    Attributes:
        points: (images, accuracy) of each number of images, rising; the accuracy is in [0, 1].
        tested: how many images each point was tested on.
        covariance: of the logarithms of the points' errors, [P, P].
    """

    points: tuple[tuple[int, float], ...]
    tested: int
    covariance: Doubles

    def expected(self, images: int) -> Proportion:
        """Return the accuracy with so many training images by the power law, and its 95% interval.

        The interval is of the images that were tested: how well they stand for others, and how
        well they show the trend.
        """
        counts, accuracies = np.array(self.points).T
        errors = np.log(_above_zero(1 - accuracies, self.tested))
        # Later points are nearer to what is asked for.
        weights = counts / counts.sum()
        places = np.log(counts)
        middle = float(weights @ places)
        trend = weights * (places - middle) / (weights @ (places - middle) ** 2)
        parts = weights
        # More images do no harm: where the errors rise, that is chance.
        if trend @ errors < 0:
            parts = weights + (np.log(images) - middle) * trend
        error = float(parts @ errors)
        deviation = float(np.sqrt(parts @ self.covariance @ parts))
        ends = (error, error + Z95 * deviation, error - Z95 * deviation)
        value, low, high = (max(0.0, 1 - float(np.exp(end))) for end in ends)
        return Proportion(value, low, high)

    def forecast(self, images: int) -> Forecast:
        """Return what twice as many training images as ``images`` would bring."""
        counts = np.geomspace(self.points[0][0], 2 * images, _DRAWN).round().astype(int).tolist()
        trend = tuple((count, self.expected(count).value) for count in counts)
        now, twice = self.expected(images), self.expected(2 * images)
        return Forecast(self.points, self.tested, images, now, twice, trend)


@dataclass(frozen=True)
class Forecast:
    """What twice as many training images would bring.

    Attributes:
        points, tested: see `LearningCurve`.
        images: number of training images of the run.
        now: accuracy with so many by the power law, with its 95% interval.
        twice: accuracy with twice as many.
        trend: (images, accuracy) along the power law, up to twice as many.
    """

    points: tuple[tuple[int, float], ...]
    tested: int
    images: int
    now: Proportion
    twice: Proportion
    trend: tuple[tuple[int, float], ...]

    @property
    def sentence(self) -> str:
        """What to expect, in a sentence."""
        low, high = (f"{100 * end:.0f}%" for end in (self.twice.low, self.twice.high))
        # The test accuracy, of other images, may be above both.
        expect = (
            f"about {self.twice.value:.0%} (95% interval {low} to {high}), where as many as now "
            f"give about {self.now.value:.0%}"
        )
        if self.twice.value - self.now.value < CHANGES_LITTLE:
            return f"Twice the photos would change little: expect {expect}."
        return f"With twice the photos expect {expect}."


@one_blas_thread()
def measure_learning_curve(
    samples: Samples,
    label_count: int,
    kept_out: npt.NDArray[np.bool_] | None = None,
    *,
    blocks: Sequence[FeatureBlock] = (),
    settings: CurveSettings = CurveSettings(),
) -> LearningCurve | None:
    """Measure how accuracy grows with the number of training images.

    Args:
        samples: all images; those of one group, such as copies, are never on both sides.
        label_count: L.
        kept_out: the images to test on, which nothing is fitted on, bool [N]; None: each image is
            held out once, in one of `FOLDS` folds.
        blocks: the layers that a vector joins, which are then brought to one scale.
        settings: limits and seed.

    Returns:
        The curve, or None where there are too many images or too few.
    """
    if len(samples) * samples.size > settings.most_values or label_count > settings.most_labels:
        return None
    tested = _tested(samples, kept_out)
    if tested.sum() < settings.fewest_tested or label_count < 2:
        return None
    scaling = scaling_for(samples, blocks)
    vectors = _on_main_axes((samples if scaling is None else scaling.apply(samples)).gathered())
    turned = Samples(vectors, samples.labels, groups=samples.groups)
    repeats = max(1, min(_MOST_REPEATS, settings.repeated_images // len(samples)))
    wrong, images = np.zeros((len(samples), PARTS)), np.zeros(PARTS)
    for repeat in range(repeats):
        fold_of, part_of = _assign(turned, kept_out, settings.seed, repeat)
        sums = _sums_of_parts(turned, label_count, fold_of, part_of)
        for turn in range(FOLDS):
            rows = np.flatnonzero(fold_of == turn if kept_out is None else kept_out)
            for number, found in enumerate(_growing(sums, turn, kept_out is None)):
                guesses = _fit_and_label(found, vectors[rows])
                wrong[rows, number] += guesses != samples.labels[rows]
                images[number] += found.counts.sum()
    images /= repeats * FOLDS
    wrong /= repeats * (1 if kept_out is None else FOLDS)
    return _curve(images, wrong[tested], label_count)


def _tested(samples: Samples, kept_out: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
    """Return which images are tested: those kept out, or all whose label has another group."""
    if kept_out is not None:
        return kept_out
    return inner_folds(samples.labels, samples.groups) >= 0


def _curve(images: Doubles, wrong: Doubles, label_count: int) -> LearningCurve | None:
    """Return the curve of outcomes [N, P]; points with less than an image per label are left out.

    Args:
        images: mean number of training images of each point, [P].
        wrong: whether, or how often, each tested image got a wrong label, [N, P].
        label_count: L.
    """
    shown = images >= label_count
    if shown.sum() < _FEWEST_POINTS:
        return None
    images, wrong = images[shown], wrong[:, shown]
    tested = len(wrong)
    errors = wrong.mean(axis=0)
    likely = _above_zero(errors, tested)
    covariance = np.cov(wrong, rowvar=False) / tested
    # What half an image means to errors that vary by nothing, such as none at all.
    covariance[np.diag_indices(len(errors))] += 0.25 / tested**2
    covariance /= np.outer(likely, likely)
    points = tuple(
        (round(count), 1 - error)
        for count, error in zip(images.tolist(), errors.tolist(), strict=True)
    )
    return LearningCurve(points, tested, covariance)


def _above_zero(errors: Doubles, tested: int) -> Doubles:
    """Return proportions of wrong labels of which a logarithm can be taken."""
    likely: Doubles = (errors * tested + 0.5) / (tested + 1)
    return likely


def _assign(
    samples: Samples, kept_out: npt.NDArray[np.bool_] | None, seed: int, repeat: int
) -> tuple[Indices, Indices]:
    """Return fold and part of each image, [N] each, labels spread evenly over both.

    The fold of images whose label has no others is -1, as is that of those kept out; they are
    never tested by folds. The part of those kept out is -1.
    """
    count = len(samples)
    groups = np.arange(count) if samples.groups is None else samples.groups
    _, first, group_of = np.unique(groups, return_index=True, return_inverse=True)
    fold_of, part_of = np.full(len(first), -1, np.intp), np.full(len(first), -1, np.intp)
    labels = samples.labels[first]
    usable = np.ones(len(first), np.bool_) if kept_out is None else ~kept_out[first]
    dealt = 0
    for label in np.unique(labels):
        own = np.flatnonzero((labels == label) & usable)
        words = philox(seed, _STREAM, repeat * len(samples) + int(label)).random_raw(len(own))
        own = own[np.argsort(words, kind="stable")]
        places = np.arange(len(own))
        part_of[own] = (places * PARTS // max(len(own), 1) + label) % PARTS
        if len(own) > 1:
            fold_of[own] = (places + dealt) % FOLDS
        dealt += len(own)
    return fold_of[group_of], part_of[group_of]


def _on_main_axes(vectors: Floats) -> Floats:
    """Return vectors [N, D] minus their mean on at most `_AXES` axes of the largest variance."""
    centred = vectors - vectors.mean(axis=0)
    count = len(centred)
    some = centred
    if count > _ROWS_FOR_AXES:
        some = centred[np.linspace(0, count - 1, _ROWS_FOR_AXES).astype(np.intp)]
    values, turned = np.linalg.eigh((some @ some.T).astype(np.float64))
    largest = np.argsort(-values)[:_AXES]
    # Of as many rows as axes, the last variance is rounding.
    largest = largest[values[largest] > 1e-6 * values.max()]
    if not len(largest):  # all vectors are the same
        return np.zeros((count, 1), np.float32)
    axes = some.T @ (turned[:, largest] / np.sqrt(values[largest])).astype(np.float32)
    found = np.empty((count, axes.shape[1]), np.float32)

    def turn(part: slice) -> None:
        np.matmul(centred[part], axes, out=found[part])

    in_parallel(turn, row_parts(count))
    return found


def _fit_and_label(sums: LabelSums, vectors: Floats) -> Indices:
    """Return the labels that a discriminant analysis of sums gives to vectors, [N]."""
    present, own = sums.of_present()
    size = vectors.shape[1]
    weights, at_origin = Covariance(own).solve(size / (size + _SHRINKING), exact=False)
    scores = vectors @ weights.astype(np.float32) + at_origin.astype(np.float32)
    labels: Indices = present[scores.argmax(axis=1)]
    return labels


def _sums_of_parts(
    samples: Samples, label_count: int, fold_of: Indices, part_of: Indices
) -> list[list[LabelSums]]:
    """Return the sums by part and by fold; the last of a part are of all its images."""
    origin, blocks = np.zeros(samples.size), BlockLimits()
    found = []
    for part in range(PARTS):
        row = [
            LabelSums.of(
                samples.subset((part_of == part) & (fold_of == fold)), origin, label_count, blocks
            )
            for fold in (*range(FOLDS), -1)
        ]
        found.append([*row[:FOLDS], functools.reduce(LabelSums.plus, row)])
    return found


def _growing(
    sums: Sequence[Sequence[LabelSums]], turn: int, holds_out: bool
) -> Iterator[LabelSums]:
    """Yield the sums of one part, of two ..., from another first part in each turn.

    Args:
        sums: by part and fold, those of all folds last.
        turn: its number, which is that of the fold that is held out.
        holds_out: leave that fold out; otherwise all folds are summed.
    """
    together: LabelSums | None = None
    for number in range(PARTS):
        *folds, own = sums[(number + turn) % PARTS]
        if holds_out:
            own = own.without(folds[turn])
        together = own if together is None else together.plus(own)
        yield together
