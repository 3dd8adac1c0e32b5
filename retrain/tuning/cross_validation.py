"""The cross-validation of a run whose network is fine-tuned: each fold trains a network of its own.

What is trained, and what decides whether it is kept, comes from the other folds alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from retrain.arguments.options import RetrainOptions
from retrain.fitting import Fitted, fit_settings, samples, training_samples
from retrain.folds import CrossValidated, assigned_folds
from retrain.inputs import Inputs
from retrain.presets.costs import rough_time
from retrain.tuning.fine_tuning import FineTuning, fine_tune_fit
from tlcli.core.data.splits import SPLITS
from tlcli.core.evaluation.metrics import FoldPredictions, cross_validate_predictions, predict
from tlcli.core.fitting.fit_layer import fit_layer
from tlcli.progress import Watcher

Mask = npt.NDArray[np.bool_]


class _Fold(Watcher):
    """Reports all that happens in one fold under the fold's name."""

    def __init__(self, watcher: Watcher, name: str) -> None:
        super().__init__()
        self._watcher, self._name = watcher, name

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take in how far a stage of the fold is."""
        self._watcher(f"{self._name}, {stage}", done, total)

    def begin(self, stage: str, text: str = "") -> None:
        """Take in that the fold begins."""
        self._watcher.begin(self._name, f"{stage}, {text}")

    def note(self, text: str) -> None:
        """Take in what the fold has reached so far."""
        self._watcher.note(text)

    def end(self, text: str) -> None:
        """Take in that the fold is done."""
        self._watcher.end(text)


def expected_time(folds: int, tuned: FineTuning, seconds: float) -> str:
    """Return how long the folds will take, in a sentence.

    Args:
        folds: K.
        tuned: the fine-tuning of the run.
        seconds: what it took.
    """
    text = f"--cross_validate {folds} fine-tunes the network again in each of {folds} folds"
    if (tuned.figures or {}).get("seconds_per_epoch") is None:
        return f"{text}, which takes {folds} times as long as one fine-tuning"
    return f"{text}: about {rough_time(folds * seconds)}"


def cross_validate_tuned(
    inputs: Inputs, options: RetrainOptions, watcher: Watcher
) -> CrossValidated:
    """Measure accuracy over K folds of all images, each fitted and fine-tuned as the run is.

    Args:
        inputs: with the vectors of the frozen network.
        options: of the run.
        watcher: notified of each fold.

    Raises:
        KeyboardInterrupt: a fold was interrupted.
        UsageError: there are more folds than a label has images.
    """
    rows, fold_of = assigned_folds(inputs, options)
    number = 0

    def predict_fold(kept: Mask) -> FoldPredictions:
        nonlocal number
        number += 1
        # In the order of names, as the rows of a fold's predictions are.
        fold = fold_inputs(inputs, rows[kept], rows[~kept])
        named = _Fold(watcher, f"fold {number} of {options.cross_validate}")
        tuned = _tuned(fold, options, named)
        tested = samples(tuned.inputs, "testing")
        return FoldPredictions(predict(tuned.fitted.layer, tested), len(inputs.labels))

    targets = np.asarray(inputs.targets[rows], np.intp)
    return CrossValidated(cross_validate_predictions(targets, fold_of, predict_fold, watcher), rows)


def _tuned(fold: Inputs, options: RetrainOptions, watcher: Watcher) -> FineTuning:
    settings = fit_settings(fold, options)
    training = training_samples(fold)
    found = fit_layer(training, samples(fold, "validation"), fold.blocks, settings)
    fitted = Fitted(found.layer, found.layer, solver=found.solver)
    if options.fine_tune == "auto" and not fold.counts("validation").any():
        return FineTuning(fold, fitted)
    tuned = fine_tune_fit(fold, options, fitted, watcher)
    if tuned.interrupted:
        raise KeyboardInterrupt
    return tuned


def fold_inputs(inputs: Inputs, kept: npt.NDArray[np.intp], tested: npt.NDArray[np.intp]) -> Inputs:
    """Return the inputs of one fold: its images are tested, and no others.

    Validation images of the run stay that in the folds that do not test them, except for a label
    that would have no training images left.

    Args:
        inputs: of the run.
        kept: rows that are trained on or validated with.
        tested: rows of the fold, in the order in which they are tested.
    """
    targets = np.asarray(inputs.targets)
    validates = np.array([inputs.splits[row] == "validation" for row in kept])
    trained = np.unique(targets[kept[~validates]])
    validates &= np.isin(targets[kept], trained)
    parts = {"training": kept[~validates], "validation": kept[validates], "testing": tested}
    order = np.concatenate([parts[split] for split in SPLITS])
    place = np.full(len(targets), -1)
    place[order] = np.arange(len(order))
    views = np.argsort(place[inputs.view_rows], kind="stable")
    return replace(
        inputs,
        images=tuple(inputs.images[row] for row in order),
        contents=tuple(inputs.contents[row] for row in order),
        targets=inputs.targets[order],
        splits=tuple(split for split in SPLITS for _ in parts[split]),
        vectors=inputs.vectors[order],
        views=inputs.views[views],
        view_rows=place[inputs.view_rows][views],
    )
