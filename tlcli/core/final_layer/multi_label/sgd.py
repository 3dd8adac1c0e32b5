"""The original's SGD with the sigmoid cross entropy of each label in place of the softmax's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tlcli.arrays import Floats
from tlcli.core.final_layer.multi_label.marked import MarkedSamples, marked_folds
from tlcli.core.final_layer.multi_label.regression import HeldOut
from tlcli.core.final_layer.samples import INNER_FOLDS
from tlcli.core.final_layer.sampling import philox, truncated_normal
from tlcli.core.final_layer.sgd import (
    INITIAL_DEVIATION,
    FinalLayer,
    SgdSettings,
    diverged,
    sigmoid,
)
from tlcli.errors import DataError

_INITIAL, _TRAINING = 0, 1


Begin = Callable[[FinalLayer], FinalLayer]
"""Returns the layer that steps begin with in place of a fresh one."""


def fit_sigmoid_sgd(
    training: MarkedSamples, settings: SgdSettings, begin: Begin | None = None
) -> FinalLayer:
    """Fit a final layer by plain SGD; every image is equally likely in a step.

    The loss is the mean over the images of a step, summed over labels, so that a learning rate
    means the same whatever the number of labels.

    Args:
        training: at least one row.
        settings: steps, rate, batch size and seed.
        begin: of an earlier run; None: steps begin with fresh weights.

    Raises:
        UsageError: settings that cannot work.
        DataError: no training rows.
        TlcliError: the fit diverged.
    """
    settings.check()
    if not len(training):
        raise DataError("there is no training image; add images to the list")
    label_count, size = training.marks.shape[1], training.samples.size
    weights = truncated_normal((size, label_count), INITIAL_DEVIATION, settings.seed, _INITIAL)
    biases: Floats = np.zeros(label_count, np.float32)
    if begin is not None:
        found = begin(FinalLayer(weights, biases, "sigmoid"))
        weights, biases = found.weights.copy(), found.biases.copy()
    every = settings.train_batch_size == -1
    count = len(training) if every else settings.train_batch_size
    rows = np.arange(len(training))
    batch = np.empty((count, size), np.float32)
    if every:
        training.samples.read(rows, batch)
    rate = np.float32(settings.learning_rate / count)
    with np.errstate(all="ignore"):
        for step in range(settings.steps):
            if not every:
                words = philox(settings.seed, _TRAINING, step).random_raw(count)
                rows = (words % np.uint64(len(training))).astype(np.intp)
                training.samples.read(rows, batch)
            residuals = sigmoid(batch @ weights + biases) - training.marks[rows]
            residuals *= rate
            weights -= batch.T @ residuals
            biases -= residuals.sum(axis=0)
            if not np.isfinite(weights.sum() + biases.sum()):
                raise diverged(step, settings.learning_rate)
    return FinalLayer(weights, biases, "sigmoid")


def held_out_by_sgd(training: MarkedSamples, settings: SgdSettings) -> HeldOut:
    """Return the logits of the training rows by fits that have not seen them.

    Raises:
        TlcliError: a fit diverged.
    """
    folds = marked_folds(training.marks, training.samples.groups)
    rows, logits = [], []
    for fold in range(INNER_FOLDS):
        out, kept = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if len(out) and len(kept):
            layer = fit_sigmoid_sgd(training.at(kept), settings)
            rows.append(out)
            logits.append(layer.logits(training.at(out).samples.gathered()))
    if not rows:
        return HeldOut(np.zeros(0, np.intp), np.zeros((0, training.marks.shape[1]), np.float32))
    return HeldOut(np.concatenate(rows), np.concatenate(logits))
