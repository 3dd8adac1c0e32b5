"""How good a fitted layer is on images that it has not seen."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from retrain.arguments.options import RetrainOptions
from retrain.fitting import Fitted, samples
from retrain.folds import CrossValidated
from retrain.inputs import Inputs
from tlcli.arrays import Floats
from tlcli.core.calibration.reliability import Calibration, reliability
from tlcli.core.data.splits import SPLITS
from tlcli.core.evaluation.growth import Growth
from tlcli.core.evaluation.learning_curve import CurveSettings, Forecast, measure_learning_curve
from tlcli.core.evaluation.metrics import (
    Evaluation,
    LayerPredictions,
    Proportion,
    evaluate,
    evaluate_layer,
    predict,
)
from tlcli.core.final_layer.samples import Samples
from tlcli.core.fitting.held_out_temperature import cooled
from tlcli.report.collect import spread
from tlcli.report.data import LabelFigures

logger = logging.getLogger("tlcli")

RESULT_LINES = "tlcli.results"
"""Name of the logger of lines whose figures the summary has too."""
results = logging.getLogger(RESULT_LINES)

Rows = npt.NDArray[np.int64]

# More of them change no figure that is rounded to 0.1%, and take seconds with many labels.
_TRAINING_MEASURED = 4096


@dataclass(frozen=True)
class Tests:
    """The results on the test split.

    Attributes:
        rows: row in the inputs of each test image, [N].
        truth: index of its label, [N].
        predictions: of the fitted layer for each.
        after: figures of the fitted layer.
        before: figures of the layer before its first step.
        validation: figures of the fitted layer on the whole validation split.
        misclassified: (path, true label, given label) of each wrong test image.
        calibration: of the scores of ``predictions``; None without test images.
    """

    __test__ = False  # no test class of pytest

    rows: Rows
    truth: Rows
    predictions: LayerPredictions
    after: Evaluation
    before: Evaluation
    validation: Evaluation
    misclassified: tuple[tuple[str, str, str], ...]
    calibration: Calibration | None = None


@dataclass(frozen=True)
class Measured:
    """Predictions for images by layers that were not fitted on them, and their figures.

    Attributes:
        rows: row in the inputs of each image, rising, [N].
        truth: index of its label, [N].
        predictions: for each.
        figures: of the predictions.
    """

    rows: Rows
    truth: Rows
    predictions: LayerPredictions
    figures: Evaluation


def measured(inputs: Inputs, tests: Tests, cross: CrossValidated | None) -> Measured:
    """Return the predictions that say most: out of fold for all images, else the tests."""
    if cross is None:
        return Measured(tests.rows, tests.truth, tests.predictions, tests.after)
    order = np.argsort(cross.rows)
    rows, found = cross.rows[order], cross.result.predictions
    truth = inputs.targets[rows]
    predictions = LayerPredictions(found.labels[order], found.score[order], found.true_score[order])
    figures = evaluate(predictions.labels, truth, len(inputs.labels))
    return Measured(rows, truth, predictions, figures)


def evaluate_fit(inputs: Inputs, options: RetrainOptions, fitted: Fitted) -> Tests:
    """Test the fitted layer and the untrained one, and log the accuracy."""
    rows = tested_rows(inputs, options)
    truth = inputs.targets[rows]
    tested = Samples(inputs.vectors_at(rows), truth)
    predicted = predict(fitted.layer, tested)
    label_count = len(inputs.labels)
    tests = Tests(
        rows=rows,
        truth=truth,
        predictions=predicted,
        after=evaluate(predicted.labels, truth, label_count),
        before=evaluate_layer(fitted.untrained, tested),
        validation=evaluate_layer(fitted.layer, samples(inputs, "validation")),
        misclassified=tuple(
            (_shown(inputs, int(row)), inputs.labels[true], inputs.labels[given])
            for row, true, given in zip(rows, truth, predicted.labels, strict=True)
            if true != given
        ),
        calibration=_calibration(fitted, tested, predicted),
    )
    _log(tests, options)
    return tests


def _calibration(
    fitted: Fitted, tested: Samples, predicted: LayerPredictions
) -> Calibration | None:
    """Return how far the scores of test images are from the truth, with and without temperature."""
    right = predicted.labels == tested.labels
    after = before = reliability(predicted.score, right)
    if fitted.temperature != 1:
        plain = predict(cooled(fitted.layer, 1 / fitted.temperature), tested)
        before = reliability(plain.score, right)
    if before is None or after is None:
        return None
    return Calibration(before, after, fitted.temperature)


def measure_forecast(
    inputs: Inputs, options: RetrainOptions, turned: Callable[[], Floats] | None = None
) -> Forecast | None:
    """Return what twice the photos would bring; None where that cannot be measured.

    Where the data give the split, the fits are tested on the images that it keeps out of training,
    else each image is held out once. For ``turned`` see `measure_learning_curve`.
    """
    kept_out = None
    if inputs.given_split is not None:
        kept_out = np.array([split != "training" for split in inputs.splits])
    names = (
        content or image.name for content, image in zip(inputs.contents, inputs.images, strict=True)
    )
    numbers: dict[str, int] = {}
    groups = np.array([numbers.setdefault(name, len(numbers)) for name in names], np.intp)
    curve = measure_learning_curve(
        Samples(inputs.vectors, inputs.targets, groups=groups),
        len(inputs.labels),
        kept_out,
        blocks=inputs.blocks,
        turned=turned,
        settings=CurveSettings(seed=options.seed),
    )
    training = int(inputs.counts("training").sum())
    return None if curve is None or not training else curve.forecast(training)


def label_figures(inputs: Inputs, tested: Evaluation) -> dict[str, LabelFigures]:
    """Return images by split and test figures of each label, in output order."""
    counts = {split: inputs.counts(split).tolist() for split in SPLITS}
    found = {}
    for position, (label, metrics) in enumerate(zip(inputs.labels, tested.labels, strict=True)):
        figures: dict[str, Any] = {split: counts[split][position] for split in SPLITS}
        for name in ("precision", "recall", "f1"):
            proportion: Proportion | None = getattr(metrics, name)
            if proportion is not None:
                figures[name] = proportion.value
                figures[f"{name}_interval"] = (proportion.low, proportion.high)
        found[label] = LabelFigures(label, **figures)
    return found


def tested_rows(inputs: Inputs, options: RetrainOptions) -> Rows:
    """Return the rows of the test images: all of them, or as many as were asked for."""
    rows = inputs.rows("testing")
    if options.test_batch_size == -1 or options.test_batch_size >= len(rows):
        return rows
    # Without replacement, unlike the original: an image that counts twice says no more.
    drawn = np.random.Generator(np.random.Philox(key=options.seed)).permutation(len(rows))
    return rows[np.sort(drawn[: options.test_batch_size])]


def _shown(inputs: Inputs, row: int) -> str:
    image = inputs.images[row]
    return image.shown


def _log(tests: Tests, options: RetrainOptions) -> None:
    if tests.after.accuracy is not None:
        results.info(
            "Final test accuracy = %.1f%% (N=%d)", tests.after.accuracy * 100, tests.after.count
        )
    if options.print_misclassified_test_images:
        for line in misclassified_lines(tests.misclassified):
            logger.info("%s", line)


def misclassified_lines(misclassified: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """Yield the original's list of wrong test images: a heading, then path and given label."""
    yield "=== MISCLASSIFIED TEST IMAGES ==="
    for path, _, given in misclassified:
        yield f"{path}  {given or 'no label'}"


@dataclass(frozen=True)
class Run:
    """A finished run: options, inputs, fitted layer, tests, folds where asked for, and forecast.

    Where it began with an earlier run, also what changed since.
    """

    options: RetrainOptions
    inputs: Inputs
    fitted: Fitted
    tests: Tests
    cross: CrossValidated | None = None
    forecast: Forecast | None = None
    grown: Growth | None = None

    @functools.cached_property
    def measured(self) -> Measured:
        """The predictions that the headline, the confusion matrix and the mistakes come from."""
        return measured(self.inputs, self.tests, self.cross)

    @functools.cached_property
    def training_accuracy(self) -> float | None:
        """Accuracy of the fitted layer on the training images, or on some thousands of them."""
        training = samples(self.inputs, "training")
        chosen = np.zeros(len(training), bool)
        chosen[spread(len(training), _TRAINING_MEASURED)] = True
        return evaluate_layer(self.fitted.layer, training.subset(chosen)).accuracy
