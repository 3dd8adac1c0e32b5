"""How good a final layer is, and how sure one may be of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.core.final_layer.sampling import philox
from tlcli.core.final_layer.sgd import FinalLayer, Floats, Indices
from tlcli.errors import UsageError
from tlcli.progress import Progress

Interval = tuple[float, float]
# The 97.5 % point of the normal distribution: intervals of 95 %.
_Z = 1.959963984540054
_FOLD_STREAM = 4
# Rows are copied and scored a few at a time: 10,000 of them by 10,000 labels have 400 MB.
_ROWS_AT_ONCE = 8192
_SCORES_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Proportion:
    """A share of some count, with its Wilson 95 % interval; all of 0 to 1.

    Attributes:
        value: the share.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float


def wilson_interval(successes: float, count: float) -> Interval:
    """Return the Wilson 95 % interval, each end in 0 to 1, of a share of ``count`` above 0."""
    share, square = successes / count, _Z * _Z / count
    middle = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    # Rounding must not push an end past the share itself.
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def _proportion(successes: int, count: int) -> Proportion | None:
    return Proportion(successes / count, *wilson_interval(successes, count)) if count else None


@dataclass(frozen=True)
class LabelMetrics:
    """Figures of one label; None where nothing was there to count.

    Attributes:
        count: images of the label.
        predicted: images that were given the label.
        precision: of those given the label, the share that has it.
        recall: of those that have the label, the share that was given it.
        f1: harmonic mean of both; its interval is that of the share of agreement.
    """

    count: int
    predicted: int
    precision: Proportion | None
    recall: Proportion | None
    f1: Proportion | None


@dataclass(frozen=True)
class Evaluation:
    """What predictions for labelled rows amount to.

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
    def confusion(self) -> ConfusionMatrix:
        """Which labels were taken for which."""
        return ConfusionMatrix.of(self.truth, self.predicted, len(self.labels))


def evaluate(predicted: npt.ArrayLike, truth: npt.ArrayLike, label_count: int) -> Evaluation:
    """Compare predicted with true label indices, [N] each; N may be 0."""
    guesses = np.asarray(predicted, dtype=np.intp).reshape(-1)
    labels = np.asarray(truth, dtype=np.intp).reshape(-1)
    if guesses.shape != labels.shape:
        raise ValueError(f"{len(guesses)} predictions for {len(labels)} rows")
    right = labels[guesses == labels]
    accuracy = _proportion(len(right), len(labels))
    counted = [np.bincount(each, minlength=label_count) for each in (right, labels, guesses)]
    return Evaluation(
        count=len(labels),
        accuracy=None if accuracy is None else accuracy.value,
        interval=None if accuracy is None else (accuracy.low, accuracy.high),
        labels=tuple(_figures(*map(int, counts)) for counts in zip(*counted, strict=True)),
        truth=labels,
        predicted=guesses,
        misclassified=np.flatnonzero(guesses != labels),
    )


@dataclass(frozen=True)
class LayerPredictions:
    """What a final layer says of N vectors.

    Attributes:
        labels: index of the best label, [N].
        score: probability of the best label, float32 [N], 0 to 1.
        true_score: probability of the true label, float32 [N], 0 to 1.
    """

    labels: Indices
    score: Floats
    true_score: Floats


def predict(layer: FinalLayer, vectors: Floats, truth: Indices) -> LayerPredictions:
    """Return what the layer says of vectors [N, D] with true labels [N]."""
    found = LayerPredictions(
        np.empty(len(vectors), np.intp),
        np.empty(len(vectors), np.float32),
        np.empty(len(vectors), np.float32),
    )
    for part in _parts(len(vectors), layer):
        scores = layer.probabilities(vectors[part])
        each = np.arange(len(scores))
        found.labels[part] = scores.argmax(axis=1)
        found.score[part] = scores[each, found.labels[part]]
        found.true_score[part] = scores[each, truth[part]]
    return found


def evaluate_layer(layer: FinalLayer, vectors: Floats, truth: npt.ArrayLike) -> Evaluation:
    """Return the evaluation of a final layer on vectors [N, D] with true labels [N]."""
    return evaluate(_guesses(layer, vectors, None), truth, len(layer.biases))


def _figures(right: int, count: int, predicted: int) -> LabelMetrics:
    # F1 is 2 J / (1 + J) of J, the share of right ones among all that are or were given the
    # label; J is a plain share, so its interval carries over.
    agreement = _proportion(right, count + predicted - right)
    f1 = None
    if agreement is not None:
        ends = (agreement.value, agreement.low, agreement.high)
        f1 = Proportion(*(2 * end / (1 + end) for end in ends))
    return LabelMetrics(
        count, predicted, _proportion(right, predicted), _proportion(right, count), f1
    )


@dataclass(frozen=True)
class CrossValidation:
    """Accuracy over folds.

    Attributes:
        folds: K.
        accuracy: mean of the folds' accuracies, 0 to 1.
        deviation: standard deviation of the folds' accuracies (of a sample: over K - 1).
        per_fold: evaluation of each fold.
        fold_of: fold of each row, [N], 0 to K - 1.
    """

    folds: int
    accuracy: float
    deviation: float
    per_fold: tuple[Evaluation, ...]
    fold_of: Indices


def cross_validate(
    vectors: Floats,
    labels: Indices,
    groups: Sequence[object] | None,
    folds: int,
    fit: Callable[[Indices], FinalLayer],
    *,
    rows: Indices | None = None,
    label_count: int | None = None,
    label_names: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> CrossValidation:
    """Fit on all folds but one and test on that one, for each.

    Args:
        vectors: float32 [M, D]; never copied as a whole.
        labels: label index of each row, [N].
        groups: rows of equal group (copies of one image) share a fold; None: all rows differ.
        folds: K, 2 or more.
        fit: takes the row numbers to train on, of 0 to N - 1, returns the layer.
        rows: which of ``vectors`` each row is, [N]; None: row i is vector i.
        label_count: L; None: the highest label and one.
        label_names: for messages.
        seed: decides the folds.
        progress: called with ("folds", done, K).

    Raises:
        UsageError: K is below 2 or above what some label's images allow.
    """
    labels = np.asarray(labels, dtype=np.intp)
    label_count = int(labels.max()) + 1 if label_count is None else label_count
    fold_of = assign_folds(labels, groups, folds, seed=seed, label_names=label_names)
    evaluations = []
    for fold in range(folds):
        tested = fold_of == fold
        layer = fit(np.flatnonzero(~tested))
        where = np.flatnonzero(tested) if rows is None else rows[tested]
        guesses = _guesses(layer, vectors, where)
        evaluations.append(evaluate(guesses, labels[tested], label_count))
        if progress is not None:
            progress("folds", fold + 1, folds)
    accuracies = [evaluation.accuracy or 0.0 for evaluation in evaluations]
    return CrossValidation(
        folds=folds,
        accuracy=float(np.mean(accuracies)),
        deviation=float(np.std(accuracies, ddof=1)),
        per_fold=tuple(evaluations),
        fold_of=fold_of,
    )


def _guesses(layer: FinalLayer, vectors: Floats, rows: Indices | None) -> Indices:
    """Return the best label of each of those rows, or of all."""
    guesses = np.empty(len(vectors) if rows is None else len(rows), np.intp)
    for part in _parts(len(guesses), layer):
        guesses[part] = layer.logits(vectors[part if rows is None else rows[part]]).argmax(axis=1)
    return guesses


def _parts(count: int, layer: FinalLayer) -> Iterator[slice]:
    size = max(1, min(_ROWS_AT_ONCE, _SCORES_AT_ONCE // len(layer.biases)))
    for start in range(0, count, size):
        yield slice(start, start + size)


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
