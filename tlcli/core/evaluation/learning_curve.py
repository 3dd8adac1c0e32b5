"""How accuracy grows with the number of training images, and what twice as many would bring.

A part of the images is held out in turn, and a classifier is fitted on a fifth, two fifths ... of
the others; each image is tested by classifiers that have not seen it. The error follows a power law
in the number of images (C. Cortes and others, Learning Curves: Asymptotic Values and Rate of
Convergence, 1993; J. Hestness and others, Deep Learning Scaling Is Predictable, Empirically, 2017),
here with two parameters, fitted to the logarithms.

Hundreds of fits must cost next to nothing, so all are discriminant analyses of the same sums: the
vectors are turned to their main axes once, the sums over each small part of the images are made
once, and a fit adds some of them and solves one small system. Of few images, products of pairs take
the place of sums. The random parts depend on the seed alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Doubles, Floats, Indices
from tlcli.backbone import FeatureBlock
from tlcli.core.evaluation.metrics import Z95, Proportion
from tlcli.core.final_layer.centred_vectors import BlockLimits
from tlcli.core.final_layer.discriminant.products import RowProducts, products_of_rows
from tlcli.core.final_layer.discriminant.sums import Covariance, LabelSums
from tlcli.core.final_layer.samples import Samples, inner_folds
from tlcli.core.final_layer.sampling import philox
from tlcli.core.fitting.main_axes import on_main_axes
from tlcli.runtime.blas_threads import one_blas_thread

FOLDS = 5
PARTS = 5
"""Fits are on one to all of so many parts of the images that are not held out."""
CHANGES_LITTLE = 0.01
"""A smaller gain in accuracy is no reason to take more photos."""
_STREAM = 6
# Of D values the shrinkage is D / (D + this), 0.7 of 1,280: the same is added to each variance,
# however many axes there are.
_SHRINKING = 550
# Of a power law, two points show nothing of how well it fits.
_FEWEST_POINTS = 3
_MOST_REPEATS = 24
# Up to so many rows, fits to N x N products take a third of the time of fits to D x D sums.
_MOST_PRODUCTS = 320
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
    repeated_images: int = 6000
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
    turned: Callable[[], Floats] | None = None,
    settings: CurveSettings = CurveSettings(),
) -> LearningCurve | None:
    """Measure how accuracy grows with the number of training images.

    Args:
        samples: all images; those of one group, such as copies, are never on both sides.
        label_count: L.
        kept_out: the images to test on, which nothing is fitted on, bool [N]; None: each image is
            held out once, in one of `FOLDS` folds.
        blocks: the layers that a vector joins.
        turned: returns the vectors on their main axes (see `on_main_axes`), where they are wanted
            elsewhere too; None: they are turned here.
        settings: limits and seed.

    Returns:
        The curve, or None where there are too many images or too few.
    """
    if len(samples) * samples.size > settings.most_values or label_count > settings.most_labels:
        return None
    tested = _tested(samples, kept_out)
    if tested.sum() < settings.fewest_tested or label_count < 2:
        return None
    vectors = on_main_axes(samples.gathered(), blocks) if turned is None else turned()
    short = Samples(vectors, samples.labels, groups=samples.groups)
    label = _label_by_products if len(samples) <= _MOST_PRODUCTS else _label_by_sums
    repeats = min(_MOST_REPEATS, -(-settings.repeated_images // len(samples)))
    wrong, images = np.zeros((len(samples), PARTS)), np.zeros(PARTS)
    for repeat in range(repeats):
        fold_of, part_of = _assign(short, kept_out, settings.seed, repeat)
        division = _Division(fold_of, part_of, kept_out)
        for outcome in label(short, division):
            rows, number = outcome.rows, outcome.number
            wrong[rows, number] += outcome.guesses != samples.labels[rows]
            images[number] += outcome.images
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


@dataclass(frozen=True)
class _Division:
    """Which images are fitted on, and which are tested.

    Attributes:
        fold_of, part_of: of each image, [N] each; see `_assign`.
        kept_out: see `measure_learning_curve`.
    """

    fold_of: Indices
    part_of: Indices
    kept_out: npt.NDArray[np.bool_] | None

    def tested(self, turn: int) -> Indices:
        """Return the images to test in a turn, which is also the number of the fold held out."""
        return np.flatnonzero(self.fold_of == turn if self.kept_out is None else self.kept_out)

    def fitted(self, turn: int, number: int) -> npt.NDArray[np.bool_]:
        """Return the images of the first parts, from another first part in each turn, [N]."""
        chosen = (self.part_of >= 0) & ((self.part_of - turn) % PARTS <= number)
        if self.kept_out is None:
            chosen &= self.fold_of != turn
        return np.asarray(chosen)


class _Outcome(NamedTuple):
    """The labels [n] that a fit on so many ``images`` of ``number`` + 1 parts gives to rows [n]."""

    number: int
    images: int
    rows: Indices
    guesses: Indices


def _label_by_products(samples: Samples, division: _Division) -> Iterator[_Outcome]:
    """Yield the outcomes of fits to products of rows, N x N: for rows that are hardly more than D.

    Images come by label.
    """
    vectors = samples.gathered()
    products = products_of_rows(vectors)
    by_label = np.argsort(samples.labels, kind="stable")
    strength = _strength(samples.size)
    for turn in range(FOLDS):
        rows = division.tested(turn)
        for number in range(PARTS):
            kept = by_label[division.fitted(turn, number)[by_label]]
            present, labels = np.unique(samples.labels[kept], return_inverse=True)
            model = RowProducts(vectors, products[np.ix_(kept, kept)], labels)
            factors, at_origin = model.solve(strength, exact=False)
            scores = products[np.ix_(rows, kept)] @ factors.astype(np.float32)
            scores += at_origin.astype(np.float32)
            yield _Outcome(number, len(kept), rows, present[scores.argmax(axis=1)])


def _label_by_sums(samples: Samples, division: _Division) -> Iterator[_Outcome]:
    """Yield the outcomes of fits to sums over rows, D x D."""
    vectors = samples.gathered()
    sums = _sums_of_parts(samples, division)
    strength = _strength(samples.size)
    for turn in range(FOLDS):
        rows = division.tested(turn)
        for number, found in enumerate(_growing(sums, turn, division.kept_out is None)):
            present, own = found.of_present()
            weights, at_origin = Covariance(own).solve(strength, exact=False)
            scores = vectors[rows] @ weights.astype(np.float32) + at_origin.astype(np.float32)
            images = round(float(found.counts.sum()))
            yield _Outcome(number, images, rows, present[scores.argmax(axis=1)])


def _strength(size: int) -> float:
    """Return the shrinkage of fits to vectors of so many values."""
    return size / (size + _SHRINKING)


def _sums_of_parts(samples: Samples, division: _Division) -> list[list[LabelSums]]:
    """Return the sums by part and by fold; the last of a part are of all its images."""
    origin, blocks = np.zeros(samples.size), BlockLimits()
    fold_of, part_of = division.fold_of, division.part_of
    label_count = int(samples.labels.max()) + 1
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
