"""What changed since an earlier run where images have several labels each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from retrain.growing.earlier import Earlier, counts_of, scores_before, unseen
from retrain.inputs import Inputs
from tlcli.arrays import Floats, Indices
from tlcli.core.evaluation.growth import count_changes, renumbered
from tlcli.core.evaluation.metrics import Bools
from tlcli.core.evaluation.multi_label.figures import evaluate_marks
from tlcli.core.evaluation.multi_label.growth import (
    UNLABELLED,
    MarkChanges,
    MarkedGrowth,
    SameMarkedImages,
    mark_changes,
)
from tlcli.core.evaluation.training_images import images_from_card
from tlcli.errors import DataError, TlcliError
from tlcli.progress import Watcher


@dataclass(frozen=True)
class MarkedTests:
    """Scores of test images.

    Attributes:
        rows: of the images in the inputs, [N].
        scores: 0 to 1, float32 [N, L].
        thresholds: from which on a score counts, [L].
    """

    rows: Indices
    scores: Floats
    thresholds: tuple[float, ...]


def marked_growth(
    earlier: Earlier | None, inputs: Inputs, tests: MarkedTests, solver: str, watcher: Watcher
) -> MarkedGrowth | None:
    """Return what changed since an earlier run; None without one.

    Args:
        earlier: the run.
        inputs: of this run, with marks.
        tests: of this run.
        solver: what fitted the final layer.
        watcher: notified while the earlier graph labels images.
    """
    if earlier is None:
        return None
    card = earlier.card
    before, now = images_from_card(card.images), images_by_label(inputs)
    exact = before is not None and now is not None
    if before is not None and now is not None:
        changes = mark_changes(before, now)
    else:
        counts = dict(zip(inputs.labels, inputs.counts().tolist(), strict=True))
        changes = MarkChanges(count_changes(counts_of(card), counts), 0, 0, 0)
    found = MarkedGrowth(
        card=str(earlier.path),
        labels=changes.labels,
        labels_added=tuple(each for each in inputs.labels if each not in card.labels),
        labels_removed=tuple(each for each in card.labels if each not in inputs.labels),
        relabelled=changes.relabelled,
        exact=exact,
        fit=earlier.sentence(inputs, solver),
        added=changes.added,
        removed=changes.removed,
    )
    try:
        return replace(found, tested=_tested(earlier, inputs, tests, watcher))
    except TlcliError as error:
        return replace(found, untested=f"Not compared with the earlier classifier: {error}.")


def images_by_label(inputs: Inputs) -> dict[str, list[int]] | None:
    """Return what identifies the images with each label; None where one is a vector alone."""
    assert inputs.marks is not None
    if None in inputs.contents:
        return None
    numbers = np.array([int(str(each)[:16], 16) for each in inputs.contents], np.uint64)
    found = {
        label: numbers[has].tolist()
        for label, has in zip(inputs.labels, inputs.marks.T, strict=True)
    }
    return {**found, UNLABELLED: numbers[~inputs.marks.any(axis=1)].tolist()}


def _tested(
    earlier: Earlier, inputs: Inputs, tests: MarkedTests, watcher: Watcher
) -> SameMarkedImages:
    """Return both classifiers on the test images that neither was trained on.

    Raises:
        TlcliError: why there is nothing to compare, in a few words.
    """
    assert inputs.marks is not None
    card = earlier.card
    if not card.thresholds:
        raise DataError("it gives one label per image")
    places = renumbered(inputs.labels, card.labels)
    both = np.flatnonzero(places >= 0)
    chosen = unseen(earlier, inputs, tests.rows)
    if not chosen.any() or not len(both):
        raise DataError("no test image is new to it, or it knows no label of this run")
    scores = scores_before(earlier, [inputs], tests.rows[chosen], watcher)[:, places[both]]
    truth = inputs.marks[tests.rows[chosen]][:, both]
    figures, right = [], []
    for own, limits in (
        (scores, np.asarray(card.thresholds)[places[both]]),
        (tests.scores[chosen][:, both], np.asarray(tests.thresholds)[both]),
    ):
        figures.append(evaluate_marks(own, truth, limits))
        right.append(_all_right(own >= limits, truth))
    return SameMarkedImages.compared(figures[0], figures[1], (right[0], right[1]))


def _all_right(predicted: Bools, truth: Bools) -> Bools:
    return np.asarray((predicted == truth).all(axis=1), np.bool_)
