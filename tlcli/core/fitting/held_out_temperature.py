"""The temperature of a fitted layer, from scores of rows that the layer was not fitted on.

Layers of SGD and logistic regression give scores that nearly are probabilities: too sure where
values are many, too unsure where the strength or the steps are few. One number for all scores
corrects most of it and changes no predicted label. It is chosen on validation rows where they are
many, else by cross-fitting: training rows are scored by fits of the other training rows.
Discriminant analysis has a temperature of its own, for fits of four fifths of the rows, which is
corrected here for that of all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tlcli.arrays import Doubles, Floats, Indices
from tlcli.core.calibration.temperature import best_temperature
from tlcli.core.final_layer.samples import Samples, held_out_rows
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import TlcliError

LOG = logging.getLogger("tlcli")

DEVIATION = 0.5
"""What the logarithm of a temperature deviates from 0 before anything is seen: scores that are
three times too sure are two deviations away. Without it few images make good scores worse."""

# Rows that are copied at once.
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class TemperatureLimits:
    """What bounds the time.

    Attributes:
        validation: so many validation rows are used instead of fits.
        enough: no further fold is fitted once so many training rows were held out.
        folds: into which training rows are divided: a fit of too few of them asks for a
            temperature that the fit of all does not need.
        fits: at most so many folds are fitted.
        most_rows: rows of a split or a fold that are scored.
        most_scores: scores in memory at once.
    """

    validation: int = 100
    enough: int = 500
    folds: int = 10
    fits: int = 10
    most_rows: int = 10_000
    most_scores: int = 20_000_000


@dataclass(frozen=True)
class HeldOut:
    """Scores [N, L] of rows by layers that were not fitted on them, and their labels [N]."""

    scores: Floats
    labels: Indices


def cross_fitted(
    training: Samples,
    fit: Callable[[Samples], FinalLayer],
    limits: TemperatureLimits = TemperatureLimits(),
) -> HeldOut | None:
    """Return scores of training rows by fits of the others.

    Args:
        training: at least one row.
        fit: returns the layer of some of the rows.
        limits: how many rows are held out.

    Returns:
        None where no row can be held out, or where a fit of fewer rows fails.
    """
    found: list[HeldOut] = []
    folds = held_out_rows(training.labels, training.groups, limits.enough, limits.folds)
    for rows in folds[: limits.fits]:
        kept = np.delete(np.arange(len(training)), rows)
        try:
            layer = fit(training.at(kept))
        except TlcliError as error:  # steps diverge, say; the layer of all rows is there
            LOG.debug("no temperature is chosen: %s", error)
            return None
        found.append(scores_of(layer, training.at(rows), limits))
    if not found:
        return None
    scores, labels = [each.scores for each in found], [each.labels for each in found]
    return HeldOut(np.concatenate(scores), np.concatenate(labels))


def scores_of(
    layer: FinalLayer, samples: Samples, limits: TemperatureLimits = TemperatureLimits()
) -> HeldOut:
    """Return a layer's scores of rows that it was not fitted on, or of some of many."""
    most = max(1, min(limits.most_rows, limits.most_scores // len(layer.biases)))
    rows = np.unique(np.linspace(0, len(samples) - 1, min(len(samples), most)).astype(np.intp))
    some = samples.at(rows)
    scores = np.empty((len(some), len(layer.biases)), np.float32)
    for start in range(0, len(some), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        scores[part] = layer.logits(some.gathered(part.start, part.stop))
    return HeldOut(scores, some.labels)


def temperature_of(held_out: HeldOut | None, counts_as: Doubles | None = None) -> float:
    """Return what to divide scores by; 1 where nothing tells better.

    Args:
        held_out: scores whose labels are as frequent as in the training rows.
        counts_as: how much a row of each label counts, [L], above 0; None: all the same.
    """
    if held_out is None or not len(held_out.labels):
        return 1.0
    if not float(np.abs(held_out.scores).max()) < 1e15:  # squares must be finite
        return 1.0
    weights = None if counts_as is None else counts_as[held_out.labels]
    temperature, _ = best_temperature(held_out.scores, held_out.labels, DEVIATION, weights)
    LOG.debug("temperature %.3g on %d held-out rows", temperature, len(held_out.labels))
    # Sums of scores differ in their last digits from machine to machine, and graphs must not.
    return float(f"{temperature:.3g}")


def cooled(layer: FinalLayer, temperature: float) -> FinalLayer:
    """Return the layer whose scores are divided by ``temperature``; 1 keeps its bytes."""
    if temperature == 1:
        return layer
    weights, biases = (
        (values / np.float64(temperature)).astype(np.float32)
        for values in (layer.weights, layer.biases)
    )
    return replace(layer, weights=weights, biases=biases)
