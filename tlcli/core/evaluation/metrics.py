"""Accuracy, precision, recall and F1 of a final layer, with confidence intervals and a test."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Floats, Indices
from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sampling import philox
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import UsageError
from tlcli.progress import Progress

Interval = tuple[float, float]
Bools = npt.NDArray[np.bool_]
# The 97.5% point of the normal distribution: intervals of 95%.
Z95 = 1.959963984540054
_FOLD_STREAM = 4
# Rows are copied and scored a few at a time: 10,000 of them by 10,000 labels have 400 MB.
_ROWS_AT_ONCE = 1024
_SCORES_AT_ONCE = 1 << 22
# Below this probability a difference counts as more than chance.
SIGNIFICANT = 0.05
# Up to here the sum is made of whole numbers, exactly.
_EXACT_SUM = 1000


@dataclass(frozen=True)
class Proportion:
    """A proportion with its Wilson 95% confidence interval; all of 0 to 1.

    Attributes:
        value: the proportion.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, successes: int, count: int) -> Proportion:
        """Return the proportion of successes among ``count`` above 0."""
        return cls(successes / count, *wilson_interval(successes, count))


def wilson_interval(successes: float, count: float) -> Interval:
    """Return the Wilson 95% interval, each end in 0 to 1, of a proportion of ``count`` above 0."""
    value, square = successes / count, Z95 * Z95 / count
    middle = (value + square / 2) / (1 + square)
    half = Z95 / (1 + square) * math.sqrt(value * (1 - value) / count + square / (4 * count))
    # Rounding must not push an end past the value itself.
    return max(0.0, min(middle - half, value)), min(1.0, max(middle + half, value))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p value of McNemar's exact test.

    Where two graphs are equally good, an image that only one of them gets right is as likely to
    be the one's as the other's. The value is the probability of counts at least as uneven as
    these, by the binomial distribution with one half.

    Args:
        only_first: images that the first graph alone got right.
        only_second: images that the second graph alone got right.

    Raises:
        ValueError: a count is negative.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"counts of {only_first} and {only_second}")
    count, fewer = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:
        return 1.0
    if count <= _EXACT_SUM:
        tail = sum(math.comb(count, number) for number in range(fewer + 1))
        return min(1.0, 2 * tail / (1 << count))
    # The largest term by its logarithm, the others by their ratios to it; they fall quickly.
    largest = math.lgamma(count + 1) - math.lgamma(fewer + 1) - math.lgamma(count - fewer + 1)
    term = total = 1.0
    for number in range(fewer, 0, -1):
        term *= number / (count - number + 1)
        total += term
        if term < total * 1e-17:
            break
    return min(1.0, math.exp(largest + math.log(2 * total) - count * math.log(2)))


def proportion_of(successes: int, count: int) -> Proportion | None:
    """Return a proportion with its interval; None of nothing."""
    return Proportion(successes / count, *wilson_interval(successes, count)) if count else None


@dataclass(frozen=True)
class LabelMetrics:
    """Figures of one label; None where there was nothing to count.

    Attributes:
        count: images of the label.
        predicted: images that were predicted to have the label.
        precision: the proportion of those predicted that have the label.
        recall: the proportion of those that have the label that were predicted.
        f1: harmonic mean of both; its interval follows from that of the agreement.
    """

    count: int
    predicted: int
    precision: Proportion | None
    recall: Proportion | None
    f1: Proportion | None


@dataclass(frozen=True)
class Evaluation:
    """Figures of predictions for labelled rows.

    Attributes:
        count: rows.
        accuracy: 0 to 1; None without rows.
        interval: Wilson 95 % interval of the accuracy, or None.
        labels: figures of each label, L of them.
        truth: true label of each row, [N].
        predicted: predicted label of each row, [N].
        misclassified: row numbers of wrong predictions, rising.
    """

    count: int
    accuracy: float | None
    interval: Interval | None
    labels: tuple[LabelMetrics, ...]
    truth: Indices
    predicted: Indices
    misclassified: Indices

    @property
    def proportion(self) -> Proportion | None:
        """The accuracy with its interval; None without rows."""
        if self.accuracy is None or self.interval is None:
            return None
        return Proportion(self.accuracy, *self.interval)

    @property
    def confusion(self) -> ConfusionMatrix:
        """How often each label was predicted for each true one."""
        return ConfusionMatrix.of(self.truth, self.predicted, len(self.labels))


def evaluate(predicted: npt.ArrayLike, truth: npt.ArrayLike, label_count: int) -> Evaluation:
    """Compare predicted with true label indices, [N] each; N may be 0."""
    guesses = np.asarray(predicted, dtype=np.intp).reshape(-1)
    labels = np.asarray(truth, dtype=np.intp).reshape(-1)
    if guesses.shape != labels.shape:
        raise ValueError(f"{len(guesses)} predictions for {len(labels)} rows")
    right = labels[guesses == labels]
    accuracy = proportion_of(len(right), len(labels))
    counted = [np.bincount(each, minlength=label_count) for each in (right, labels, guesses)]
    return Evaluation(
        count=len(labels),
        accuracy=None if accuracy is None else accuracy.value,
        interval=None if accuracy is None else (accuracy.low, accuracy.high),
        labels=tuple(label_metrics(*map(int, counts)) for counts in zip(*counted, strict=True)),
        truth=labels,
        predicted=guesses,
        misclassified=np.flatnonzero(guesses != labels),
    )


@dataclass(frozen=True)
class LayerPredictions:
    """Predictions of a final layer for N vectors.

    Attributes:
        labels: index of the best label, [N].
        score: probability of the best label, float32 [N], 0 to 1.
        true_score: probability of the true label, float32 [N], 0 to 1.
    """

    labels: Indices
    score: Floats
    true_score: Floats


def predict(
    layer: FinalLayer, samples: Samples, rows_at_once: int | None = None
) -> LayerPredictions:
    """Return the predictions for samples, scored ``rows_at_once`` rows at a time."""
    found = _no_predictions(len(samples))
    for part in _parts(len(samples), layer, rows_at_once):
        scores = layer.probabilities(samples.gathered(part.start, part.stop))
        each = np.arange(len(scores))
        found.labels[part] = scores.argmax(axis=1)
        found.score[part] = scores[each, found.labels[part]]
        found.true_score[part] = scores[each, samples.labels[part]]
    return found


def _no_predictions(count: int) -> LayerPredictions:
    """Return room for the predictions for ``count`` vectors."""
    return LayerPredictions(
        np.empty(count, np.intp), np.empty(count, np.float32), np.empty(count, np.float32)
    )


def predicted_labels(
    layer: FinalLayer, samples: Samples, rows_at_once: int | None = None
) -> Indices:
    """Return the best label of each sample, [N], scored ``rows_at_once`` rows at a time."""
    labels = np.empty(len(samples), np.intp)
    for part in _parts(len(samples), layer, rows_at_once):
        logits = layer.logits(samples.gathered(part.start, part.stop))
        labels[part] = logits.argmax(axis=1)
    return labels


def _parts(count: int, layer: FinalLayer, rows_at_once: int | None) -> Iterator[slice]:
    size = rows_at_once or max(1, min(_ROWS_AT_ONCE, _SCORES_AT_ONCE // len(layer.biases)))
    for start in range(0, count, size):
        yield slice(start, start + size)


def evaluate_layer(layer: FinalLayer, samples: Samples) -> Evaluation:
    """Return the evaluation of a final layer on samples."""
    return evaluate(predicted_labels(layer, samples), samples.labels, len(layer.biases))


def label_metrics(right: int, count: int, predicted: int) -> LabelMetrics:
    """Return the figures of a label: images that have it, that were predicted to, and both."""
    # F1 is 2 J / (1 + J) of J, the proportion of right ones among all that have the label or were
    # predicted to; J is a plain proportion, so its interval carries over.
    agreement = proportion_of(right, count + predicted - right)
    f1 = None
    if agreement is not None:
        ends = (agreement.value, agreement.low, agreement.high)
        f1 = Proportion(*(2 * end / (1 + end) for end in ends))
    return LabelMetrics(
        count, predicted, proportion_of(right, predicted), proportion_of(right, count), f1
    )


@dataclass(frozen=True)
class CrossValidation:
    """Accuracy over folds.

    Attributes:
        folds: K.
        accuracy: mean of the folds' accuracies, 0 to 1.
        deviation: standard deviation of the folds' accuracies (of a sample: over K - 1).
        per_fold: evaluation of each fold.
        fold_of: fold of each sample, [N], 0 to K - 1.
        predictions: for each sample by the layer that was not fitted on its fold.
    """

    folds: int
    accuracy: float
    deviation: float
    per_fold: tuple[Evaluation, ...]
    fold_of: Indices
    predictions: LayerPredictions


def cross_validate(
    samples: Samples,
    fold_of: Indices,
    fit: Callable[[Samples], FinalLayer],
    *,
    views: Samples | None = None,
    progress: Progress | None = None,
) -> CrossValidation:
    """Fit on all folds but one and test on that one, for each.

    Of the predictions, only the best label and two scores of each sample are kept.

    Args:
        samples: N of them; their vectors are never copied as a whole.
        fold_of: fold of each sample, [N]; see `assign_folds`.
        fit: takes the samples to train on and returns the layer.
        views: what is trained on in place of the samples, which are tested on; their groups are
            the numbers of the samples that they show.
        progress: called with ("folds", done, K).
    """

    def predict_fold(kept: Bools) -> FoldPredictions:
        if views is None:
            layer = fit(samples.subset(kept))
        else:
            assert views.groups is not None
            layer = fit(views.subset(kept[views.groups]))
        return FoldPredictions(predict(layer, samples.subset(~kept)), len(layer.biases))

    return cross_validate_predictions(samples.labels, fold_of, predict_fold, progress)


@dataclass(frozen=True)
class FoldPredictions:
    """Predictions for the samples of one fold, in their order, and the number of labels."""

    predictions: LayerPredictions
    label_count: int


def cross_validate_predictions(
    labels: Indices,
    fold_of: Indices,
    predict_fold: Callable[[Bools], FoldPredictions],
    progress: Progress | None = None,
) -> CrossValidation:
    """Test each fold by what was trained on all others.

    Args:
        labels: of N samples, [N].
        fold_of: fold of each sample, [N]; see `assign_folds`.
        predict_fold: takes which samples to train on, bool [N], and returns its predictions for
            all others.
        progress: called with ("folds", done, K).
    """
    folds = int(fold_of.max()) + 1
    evaluations = []
    together = _no_predictions(len(labels))
    for fold in range(folds):
        kept = fold_of != fold
        predicted = predict_fold(kept)
        rows, found = np.flatnonzero(~kept), predicted.predictions
        evaluations.append(evaluate(found.labels, labels[rows], predicted.label_count))
        together.labels[rows] = found.labels
        together.score[rows] = found.score
        together.true_score[rows] = found.true_score
        if progress is not None:
            progress("folds", fold + 1, folds)
    accuracies = [evaluation.accuracy or 0.0 for evaluation in evaluations]
    return CrossValidation(
        folds=folds,
        accuracy=float(np.mean(accuracies)),
        deviation=float(np.std(accuracies, ddof=1)),
        per_fold=tuple(evaluations),
        fold_of=fold_of,
        predictions=together,
    )


def assign_folds(
    labels: Indices,
    groups: Sequence[object] | None,
    folds: int,
    *,
    seed: int = 0,
    label_names: Sequence[str] | None = None,
) -> Indices:
    """Return the fold of each row, [N]: labels spread evenly, rows of a group together.

    Raises:
        UsageError: ``folds`` is below 2 or above what some label's images allow.
    """
    if folds < 2:
        raise UsageError("--cross_validate must be at least 2")
    if not len(labels):
        raise UsageError("--cross_validate needs images, and there are none")
    keys = range(len(labels)) if groups is None else groups
    members: dict[object, list[int]] = {}
    for row, key in enumerate(keys):
        members.setdefault(key, []).append(row)
    units = list(members.values())
    # The same image under two labels is one unit too; it counts for the label seen first.
    unit_labels = np.array([labels[rows[0]] for rows in units])
    fold_of = np.empty(len(labels), np.intp)
    # Dealing goes on where the label before stopped, so that folds stay of one size.
    dealt = 0
    for label in np.unique(labels):
        own = np.flatnonzero(unit_labels == label)
        if len(own) < folds:
            name = label_names[label] if label_names is not None else f"number {label}"
            raise UsageError(
                f"--cross_validate {folds} needs {folds} different images of each label, and label "
                f"{name!r} has {len(own)}; use a smaller number or add images"
            )
        words = philox(seed, _FOLD_STREAM, int(label)).random_raw(len(own))
        for unit in own[np.argsort(words, kind="stable")]:
            fold_of[units[unit]] = dealt % folds
            dealt += 1
    return fold_of
