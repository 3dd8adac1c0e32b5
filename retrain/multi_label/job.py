"""The steps of a run with several labels per image, from the vectors on."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from retrain.arguments.options import RetrainOptions
from retrain.evidence.photos import findings_for_report
from retrain.fitting import sgd_settings
from retrain.growing.earlier import Earlier
from retrain.growing.several import MarkedTests, marked_growth
from retrain.inputs import Inputs
from retrain.multi_label.result import MultiLabelFigures
from retrain.outputs import ClassifierBuilder, describe_backbone, earlier_report, write_classifier
from retrain.presets.costs import Usage
from retrain.result import CrossValidationSummary, RetrainResult
from retrain.testing import misclassified_lines, results, tested_rows
from tlcli.arrays import Array, Floats, Indices
from tlcli.core.data.label_sets import join_labels
from tlcli.core.data.splits import SPLITS, sort_key
from tlcli.core.evaluation.multi_label.figures import (
    MultiLabelEvaluation,
    evaluate_marks,
    interval_of,
    value_of,
)
from tlcli.core.evaluation.multi_label.growth import MarkedGrowth
from tlcli.core.final_layer.multi_label.marked import Bools, MarkedSamples, marked_folds
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.fitting.multi_label import MultiLabelFit, MultiLabelSettings, fit_multi_label
from tlcli.errors import DataError, UsageError
from tlcli.progress import Watcher
from tlcli.report.data import LabelFigures
from tlcli.storage.locations import shown
from tlcli.storage.outputs import Outputs
from tlcli.system.mapped_arrays import is_mapped
from tlcli.text import counted

if TYPE_CHECKING:
    from retrain.job import Clock

logger = logging.getLogger("tlcli")

_ROWS_AT_ONCE = 8192
_METHODS = {"lbfgs": "logistic regression", "sgd": "SGD"}


@dataclass(frozen=True)
class MultiLabelRun:
    """A finished fit and its tests.

    Attributes:
        options: of the run.
        inputs: with marks.
        fit: the layer and its thresholds.
        rows: row in the inputs of each test image, [N].
        scores: of the test images, float32 [N, L].
        figures: of the run.
        grown: what changed since an earlier run, None without one.
    """

    options: RetrainOptions
    inputs: Inputs
    fit: MultiLabelFit
    rows: Indices
    scores: Floats
    figures: MultiLabelFigures
    grown: MarkedGrowth | None = None

    @property
    def marks(self) -> Bools:
        """Which image has which label, [all images, L]."""
        assert self.inputs.marks is not None
        return self.inputs.marks

    @property
    def wrong(self) -> Indices:
        """Positions of the test images that have a wrong label or lack one, rising."""
        found: Indices = np.flatnonzero((self.predicted != self.marks[self.rows]).any(axis=1))
        return found

    @property
    def predicted(self) -> Bools:
        """Labels at their thresholds of the test images, [N, L]."""
        return np.asarray(self.scores >= np.asarray(self.fit.thresholds, np.float64), np.bool_)

    def misclassified(self) -> Iterator[tuple[str, str, str]]:
        """Yield path, true labels and given labels of each wrong test image."""
        predicted = self.predicted
        for place in self.wrong.tolist():
            row = int(self.rows[place])
            true, given = self._text(self.marks[row]), self._text(predicted[place])
            yield self.inputs.images[row].shown, true, given

    def _text(self, marks: Bools) -> str:
        return join_labels(self.inputs.labels[label] for label in np.flatnonzero(marks))


@dataclass(frozen=True)
class Setting:
    """What a run is asked for, and the run that it follows, if any."""

    options: RetrainOptions
    earlier: Earlier | None = None


def finish_multi_label(
    inputs: Inputs, setting: Setting, clock: Clock, watcher: Watcher
) -> RetrainResult:
    """Fit, test and write a classifier of several labels per image.

    Raises:
        DataError: a label that all images have, or vectors larger than the memory.
        UsageError: more folds than a label has images.
        OutputError: something cannot be written or converted.
    """
    check_marks(inputs)
    options, earlier = setting.options, setting.earlier
    sizes = [len(inputs.rows(split)) for split in SPLITS]
    results.info(
        "%d images, %d labels: %d for training, %d for validation, %d for testing",
        *(len(inputs.images), len(inputs.labels), *sizes),
    )
    watcher.begin("fitting", counted(sizes[0], "image"))
    settings = MultiLabelSettings(
        str(options.solver), sgd_settings(options), options.label_weights == "balanced"
    )
    begin = None if earlier is None else functools.partial(earlier.start, inputs)
    with clock.stage("fit"):
        fit = fit_multi_label(_training(inputs), inputs.blocks, replace(settings, begin=begin))
    watcher.end(f"{_METHODS[fit.solver]} on {counted(sizes[0], 'image')}")
    with clock.stage("evaluation"):
        folds, deviation = _folds(options, inputs, settings, watcher)
        run = _tested(options, inputs, fit, folds)
        tests = MarkedTests(run.rows, run.scores, fit.thresholds)
        grown = marked_growth(earlier, inputs, tests, fit.solver, watcher)
        run = replace(run, grown=grown)
    _log(run)
    return _write(run, deviation, clock, watcher)


def check_marks(inputs: Inputs) -> None:
    """Check that there is something to learn about each label.

    Raises:
        DataError: there is not, or the vectors are larger than the memory.
    """
    assert inputs.marks is not None
    if is_mapped(inputs.vectors):
        raise DataError(
            "--multi_label needs the vectors in memory, of which too little is free; use a smaller "
            "backbone, --layers head or a machine with more memory"
        )
    for label, missing in zip(inputs.labels, (~inputs.marks).sum(axis=0), strict=True):
        if not missing:
            raise DataError(
                f"all images have the label {label!r}, so nothing tells it from others; add images "
                "without it, or remove the label"
            )


def _training(inputs: Inputs, kept: Bools | None = None) -> MarkedSamples:
    """Return what is trained on: of the training split, or of some images, [N]."""
    assert inputs.marks is not None
    if kept is None:
        part = inputs.part("training")
        if not len(inputs.views):  # without a copy
            return MarkedSamples.of(inputs.vectors[part], inputs.marks[part])
        kept = np.zeros(len(inputs.images), np.bool_)
        kept[part] = True
    if len(inputs.views):
        chosen = np.flatnonzero(kept[inputs.view_rows])
        rows = inputs.view_rows[chosen]
        return MarkedSamples.of(inputs.views[chosen], inputs.marks[rows], rows)
    return MarkedSamples.of(inputs.vectors[kept], inputs.marks[kept])


def _scores(layer: FinalLayer, vectors: Array) -> Floats:
    """Return the scores of vectors, some thousands at a time."""
    parts = [
        layer.probabilities(vectors[start : start + _ROWS_AT_ONCE])
        for start in range(0, len(vectors), _ROWS_AT_ONCE)
    ]
    nothing = np.zeros((0, len(layer.biases)), np.float32)
    return np.concatenate(parts) if parts else nothing


def _folds(
    options: RetrainOptions, inputs: Inputs, settings: MultiLabelSettings, watcher: Watcher
) -> tuple[MultiLabelEvaluation | None, float]:
    """Return the figures of all images over the folds of ``--cross_validate``, None without.

    The number is the standard deviation of the folds' exact matches.

    Raises:
        UsageError: more folds than a label has images.
    """
    count = options.cross_validate
    if count is None:
        return None, 0.0
    assert inputs.marks is not None
    for label, images in zip(inputs.labels, inputs.counts().tolist(), strict=True):
        if images < count:
            raise UsageError(
                f"--cross_validate {count} needs {count} different images of each label, and label "
                f"{label!r} has {images}; use a smaller number or add images"
            )
    # In the order of names, so that folds do not depend on the split.
    names = [image.name for image in inputs.images]
    order = np.array(sorted(range(len(names)), key=lambda row: (sort_key(names[row]), names[row])))
    numbers: dict[str, int] = {}
    groups = np.array(
        [numbers.setdefault(inputs.contents[row] or names[row], len(numbers)) for row in order]
    )
    fold_of = np.empty(len(names), np.intp)
    fold_of[order] = marked_folds(inputs.marks[order], groups, count)
    scores = np.empty(inputs.marks.shape, np.float32)
    thresholds = np.empty(inputs.marks.shape)
    exact = []
    watcher.begin("folds", f"{count} fits")
    for fold in range(count):
        out = fold_of == fold
        fit = fit_multi_label(_training(inputs, ~out), inputs.blocks, settings)
        scores[out] = _scores(fit.layer, inputs.vectors[out])
        thresholds[out] = fit.thresholds
        exact.append(((scores[out] >= fit.thresholds) == inputs.marks[out]).all(axis=1).mean())
        watcher("folds", fold + 1, count)
    watcher.end(f"{count} fits")
    return evaluate_marks(scores, inputs.marks, thresholds), float(np.std(exact, ddof=1))


def _tested(
    options: RetrainOptions, inputs: Inputs, fit: MultiLabelFit, folds: MultiLabelEvaluation | None
) -> MultiLabelRun:
    assert inputs.marks is not None
    rows = tested_rows(inputs, options)
    scores = _scores(fit.layer, inputs.vectors_at(rows))
    figures = MultiLabelFigures(
        inputs.labels,
        evaluate_marks(scores, inputs.marks[rows], fit.thresholds),
        fit.thresholds,
        evaluate_marks(fit.scores, fit.marks, fit.thresholds),
        folds,
        options.min_map,
    )
    return MultiLabelRun(options, inputs, fit, rows, scores, figures)


def _log(run: MultiLabelRun) -> None:
    tested, options = run.figures.tested, run.options
    if tested.mean_average_precision is not None and tested.exact_match is not None:
        results.info(
            "Final test mean average precision = %.1f%%, exact-match accuracy = %.1f%% (N=%d)",
            100 * tested.mean_average_precision.value,
            100 * tested.exact_match.value,
            tested.count,
        )
    if options.print_misclassified_test_images:
        for line in misclassified_lines(run.misclassified()):
            logger.info("%s", line)


def _write(run: MultiLabelRun, deviation: float, clock: Clock, watcher: Watcher) -> RetrainResult:
    """Write all outputs, and return the result of the run."""
    options, inputs, fit = run.options, run.inputs, run.fit
    builder = ClassifierBuilder(options, inputs, thresholds=fit.thresholds)
    with clock.stage("unknown"):
        builder.learn_unknown(fit.layer)
    with Outputs() as files:
        watcher.begin("export", shown(options.output_graph))
        with clock.stage("export"):
            outputs = write_classifier(files, builder, fit.layer, run.figures.tested)
        watcher.end(", ".join(outputs).replace("_", " "))
        report = options.report_path
        if report is not None:
            outputs["report"] = report
        result = _result(run, deviation, outputs, clock.seconds)
        result = replace(result, unknown=builder.unknown, exports=builder.exports)
        if report is not None:
            from retrain.multi_label.report import write_report

            watcher.begin("report", shown(report))
            with clock.stage("photos"):
                found = findings_for_report(inputs, options, watcher)
            result = replace(result, your_photos=None if found is None else found.counts())
            with clock.stage("report"):
                write_report(files.stage(report), result, run, found)
            watcher.end(shown(report))
        else:
            outdated = earlier_report(options.output_graph)
            if outdated is not None:
                logger.info("The report of the earlier graph, %s, is removed", outdated)
                files.remove(outdated)
        files.commit(outputs["model_card"], dependent=[options.labels_path])
    return result


def _result(
    run: MultiLabelRun, deviation: float, outputs: dict[str, Any], seconds: dict[str, float]
) -> RetrainResult:
    options, inputs, fit, tested = run.options, run.inputs, run.fit, run.figures.tested
    validation = inputs.rows("validation")
    found = evaluate_marks(
        _scores(fit.layer, inputs.vectors_at(validation)), run.marks[validation], fit.thresholds
    )
    folds = run.figures.folds
    summary = None
    if folds is not None and options.cross_validate is not None:
        summary = CrossValidationSummary(options.cross_validate, folds.accuracy or 0.0, deviation)
    return RetrainResult(
        test_accuracy=tested.accuracy,
        test_count=tested.count,
        test_interval=tested.interval,
        validation_accuracy=found.accuracy,
        labels=_label_figures(inputs, tested),
        skipped=inputs.skipped,
        backbone=describe_backbone(inputs),
        outputs=outputs,
        seconds=seconds,
        cache=inputs.cache,
        misclassified=tuple(run.misclassified()),
        cross_validation=summary,
        min_accuracy=options.min_accuracy,
        passed=not run.figures.below_minimum(options.min_accuracy),
        final_layer_only=options.final_layer_only,
        example=_example(run),
        usage=Usage(str(options.preset)),
        split={"by": "names"} if inputs.given_split is None else inputs.given_split.to_dict(),
        solver={"asked": options.solver, "used": fit.solver, **fit.details},
        multi_label=run.figures,
        grown=run.grown,
    )


def _label_figures(inputs: Inputs, tested: MultiLabelEvaluation) -> dict[str, LabelFigures]:
    counts = {split: inputs.counts(split).tolist() for split in SPLITS}
    found = {}
    for position, (label, metrics) in enumerate(zip(inputs.labels, tested.labels, strict=True)):
        figures: dict[str, Any] = {split: counts[split][position] for split in SPLITS}
        for name in ("precision", "recall", "f1"):
            proportion = getattr(metrics, name)
            if proportion is not None:
                figures[name] = value_of(proportion)
                figures[f"{name}_interval"] = tuple(interval_of(proportion) or ())
        found[label] = LabelFigures(label, **figures)
    return found


def _example(run: MultiLabelRun) -> str | None:
    """Return an image to try the graph on: the test image with most labels, else the first."""
    images = run.inputs.images
    rows = sorted(run.rows.tolist(), key=lambda row: -int(run.marks[row].sum()))
    files = (images[row].file for row in [*rows, *range(len(images))])
    return next((file for file in files if file is not None), None)
