"""Logistic regression per label, with a strength chosen by folds, and scores out of fold.

The scores that choose the strength also choose the thresholds: each row's are by a fit that has not
seen it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Doubles, Floats, Indices
from tlcli.core.final_layer.logistic_regression import L2_STRENGTHS
from tlcli.core.final_layer.multi_label.marked import MarkedSamples, marked_folds
from tlcli.core.final_layer.multi_label.problem import SigmoidProblem, mark_losses
from tlcli.core.final_layer.samples import INNER_FOLDS
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import DataError

LOG = logging.getLogger("tlcli")

_PATH_TOLERANCE, _FINAL_TOLERANCE = 1e-2, 3e-4
# The loss has passed its minimum when it rose this often in a row.
_RISES_AT_END = 2
# No further fold is fitted once so many rows were held out.
_ENOUGH_HELD_OUT = 10_000


@dataclass(frozen=True)
class HeldOut:
    """Logits of rows by fits that have not seen them.

    Attributes:
        rows: numbers of the rows, [M].
        logits: float32 [M, L].
    """

    rows: Indices
    logits: Floats


@dataclass(frozen=True)
class SigmoidRegression:
    """A fitted layer.

    Attributes:
        layer: with independent scores.
        l2_strength: weight of the squared norm, relative to the mean squared length of a vector.
        held_out: of the training rows, at that strength.
        losses: {strength: mean cross entropy in nats, summed over labels} of those tried.
    """

    layer: FinalLayer
    l2_strength: float
    held_out: HeldOut
    losses: dict[float, float]


@np.errstate(over="ignore", invalid="ignore", under="ignore")
def fit_sigmoids(training: MarkedSamples, balanced: bool = False) -> SigmoidRegression:
    """Fit a logistic regression for each label, all with the strength of the lowest cross entropy.

    Args:
        training: at least one row.
        balanced: rows with a label and rows without it count the same in sum.

    Raises:
        DataError: no training rows, or vectors too large to square.
    """
    if not len(training):
        raise DataError("there is no training image; add images to the list")
    folds = marked_folds(training.marks, training.samples.groups)
    strengths: tuple[float, ...] = L2_STRENGTHS
    paths: list[dict[float, Floats]] = []
    rows: list[Indices] = []
    for fold in range(INNER_FOLDS):
        held_out = np.flatnonzero(folds == fold)
        kept = np.flatnonzero(folds != fold)
        if not len(held_out) or not len(kept):
            continue
        path = _path(training.at(kept), training.at(held_out), strengths, balanced)
        strengths = tuple(path)  # folds are compared at the same ones
        paths.append(path)
        rows.append(held_out)
        if sum(map(len, rows)) >= _ENOUGH_HELD_OUT:
            break
    problem = SigmoidProblem(training, balanced)
    if not paths:  # one image
        middle = L2_STRENGTHS[len(L2_STRENGTHS) // 2]
        point, _ = problem.minimise(middle, None, _FINAL_TOLERANCE)
        nothing = HeldOut(np.zeros(0, np.intp), np.zeros((0, training.marks.shape[1]), np.float32))
        return SigmoidRegression(problem.layer(point), middle, nothing, {})
    together = np.concatenate(rows)
    # A label that some fold has never seen says nothing about strengths.
    marks, losses = training.marks[together], {}
    for strength in strengths:
        logits = np.concatenate([path[strength] for path in paths])
        losses[strength] = float(mark_losses(logits, marks).sum(axis=1).mean(dtype=np.float64))
    best = min(losses, key=losses.__getitem__)
    point, used = problem.minimise(best, None, _FINAL_TOLERANCE)
    LOG.debug("L2 strength %.3g of %d labels, %d gradients", best, marks.shape[1], used)
    logits = np.concatenate([path[best] for path in paths])
    return SigmoidRegression(problem.layer(point), best, HeldOut(together, logits), losses)


def _path(
    training: MarkedSamples,
    held_out: MarkedSamples,
    strengths: tuple[float, ...],
    balanced: bool,
) -> dict[float, Floats]:
    """Return the held-out logits at each strength, the strongest first, each from the last point.

    The first fold, which gets all strengths, ends where its loss has risen twice.
    """
    problem = SigmoidProblem(training, balanced)
    found: dict[float, Floats] = {}
    point: Doubles | None = None
    lowest, rises = np.inf, 0
    for strength in strengths:
        point, _ = problem.minimise(strength, point, _PATH_TOLERANCE)
        found[strength] = problem.logits(point, held_out.samples)
        loss = float(mark_losses(found[strength], held_out.marks).mean(dtype=np.float64))
        lowest, rises = (loss, 0) if loss < lowest else (lowest, rises + 1)
        if rises == _RISES_AT_END and strengths is L2_STRENGTHS:
            break
    return found
