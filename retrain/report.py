"""The report page of a run, and its summaries for TensorBoard."""

from __future__ import annotations

import functools
import platform
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrain.arguments.options import RetrainOptions
from retrain.evidence.heat_maps import HeatMaps, heat_maps
from retrain.inputs import Inputs
from retrain.presets.choice import DEFAULT_PRESET
from retrain.result import RetrainResult
from retrain.testing import Measured, Run, Tests, label_figures
from tlcli.core.evaluation.label_averages import label_averages
from tlcli.core.evaluation.thresholds import THRESHOLDS, threshold_figures
from tlcli.core.export.model_card import recorded_versions
from tlcli.core.final_layer.sgd import StepStatistics
from tlcli.core.photos.findings import Findings
from tlcli.progress import Progress
from tlcli.report.advice import CERTAIN, Facts, advise
from tlcli.report.collect import (
    MistakeRows,
    Picks,
    file_link,
    mistakes_shown,
    pick,
    pictures,
)
from tlcli.report.data import (
    Advice,
    BackboneFacts,
    Comparison,
    Curve,
    Duplicate,
    ListedImage,
    MistakeGroup,
    OutOfFold,
    ReportData,
    TestImage,
)
from tlcli.report.page import render
from tlcli.report.your_photos import your_photos
from tlcli.storage.locations import name_of
from tlcli.system.atomic_files import write_text

if TYPE_CHECKING:
    from tlcli.report.tensorboard import Summaries

# A confusion picture has at least three pixels per label; of 10,000 labels it would take gigabytes.
PICTURE_LABELS = 1000
# Findings of each kind that have pictures, and pictures beside each; `tlcli check` shows more.
FINDINGS_SHOWN, NEAREST_SHOWN = 8, 2
# Every hundredth, for the curve; the table shows those of the core.
_THRESHOLDS = sorted({*THRESHOLDS, *(hundredth / 100 for hundredth in range(100))})


def advice(run: Run) -> tuple[Advice, ...]:
    """Return what to do next, the most useful first."""
    inputs, options, found = run.inputs, run.options, run.measured
    wrong = found.predictions.labels != found.truth
    return advise(
        Facts(
            labels=list(label_figures(inputs, found.figures).values()),
            tested=found.figures.count,
            accuracy=found.figures.accuracy,
            interval=found.figures.interval,
            folds=options.cross_validate,
            confusion=found.figures.confusion,
            distinct=_fewest_distinct(inputs),
            settings=options.to_dict(),
            certain_mistakes=int((found.predictions.score[wrong] >= CERTAIN).sum()),
            training_accuracy=run.training_accuracy,
            validation_accuracy=run.tests.validation.accuracy,
            validation_count=run.tests.validation.count,
            validation_curve=_split_curve(run, "validation"),
            backbone="" if inputs.backbone is None else inputs.backbone.name,
            photos=inputs.backbone is not None
            and all(image.file is not None for image in inputs.images),
            duplicates=len(inputs.duplicates),
            skipped=len(inputs.skipped),
            test=run.tests.after.proportion,
            test_count=run.tests.after.count,
        )
    )


def _fewest_distinct(inputs: Inputs) -> int:
    """Return the smallest number of different images that a label has."""
    different: list[set[str]] = [set() for _ in inputs.labels]
    for image, content, target in zip(inputs.images, inputs.contents, inputs.targets, strict=True):
        different[target].add(content or image.name)
    return min(map(len, different))


def write_report(
    path: Path, result: RetrainResult, run: Run, found: Findings | None
) -> dict[str, Any]:
    """Write the report page and return its content as JSON types.

    Args:
        path: to write to.
        result: of the run.
        run: with all that the result leaves out.
        found: what a check found in the photos; None: nothing was checked.

    Raises:
        OutputError: it cannot be written.
    """
    data = _data(result, run)
    if found is not None:
        shown = your_photos(found, run.options.report_path, FINDINGS_SHOWN, NEAREST_SHOWN)
        data = replace(data, your_photos=shown)
    write_text(path, render(data))
    return data.to_dict()


def _data(result: RetrainResult, run: Run) -> ReportData:
    options, inputs, fitted, tests = run.options, run.inputs, run.fitted, run.tests
    backbone, found = inputs.backbone, run.measured
    chosen = pick(tests.predictions.labels, tests.predictions.score, tests.truth)
    groups = mistakes_shown(found.truth, found.predictions.labels, found.predictions.score)
    maps = _heat_maps(chosen, groups, run)
    tested = functools.cache(functools.partial(_test_image, run, maps[0], _of_tests(tests)))
    # Without a cross-validation these are test images too, whose pictures are made once.
    image = tested
    if run.cross is not None:
        image = functools.cache(functools.partial(_test_image, run, maps[1], found))
    training_curve, validation_curve = _curves(fitted.history)
    return ReportData(
        title=name_of(options.image_dir or options.manifest or options.import_bottlenecks or ""),
        created=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        accuracy=result.test_accuracy,
        interval=result.test_interval,
        averages=label_averages(tests.after),
        forecast=run.forecast,
        calibration=tests.calibration,
        grown=run.grown,
        test_count=result.test_count,
        labels=list(result.labels.values()),
        confusion=tests.after.confusion,
        backbone=BackboneFacts(
            **{**result.backbone, "fingerprint": result.backbone["fingerprint"] or ""},
            height=None if backbone is None else backbone.height,
            width=None if backbone is None else backbone.width,
        ),
        command=shlex.join(["tlcli", "retrain", *option_arguments(options)]),
        settings=options.to_dict(),
        validation_accuracy=result.validation_accuracy,
        min_accuracy=options.min_accuracy,
        untrained_accuracy=tests.before.accuracy,
        training_curve=training_curve,
        validation_curve=validation_curve,
        training_split_curve=_split_curve(run, "training"),
        validation_split_curve=_split_curve(run, "validation"),
        misclassified=[tested(row) for row in chosen.misclassified],
        misclassified_count=len(tests.misclassified),
        most_confident=[tested(row) for row in chosen.most_confident],
        least_confident=[tested(row) for row in chosen.least_confident],
        heat_maps_missing=maps[0].missing or maps[1].missing,
        heat_map_layers=maps[0].layers or maps[1].layers,
        comparisons=[_comparison(run, tested(row), row) for row in chosen.comparisons],
        cross_validation=None if result.cross_validation is None else vars(result.cross_validation),
        out_of_fold=_out_of_fold(run),
        mistakes=[_mistake_group(run, group, image) for group in groups],
        mistakes_count=len(found.figures.misclassified),
        thresholds=list(
            threshold_figures(
                found.predictions.score,
                found.predictions.labels == found.truth,
                _THRESHOLDS,
            )
        ),
        advice=list(result.advice),
        preset=[*result.usage.lines(), *(f"{line}." for line in run.fitted.compared)],
        fine_tuning=result.fine_tuning,
        copies=_copies(inputs),
        unknown="" if result.unknown is None else result.unknown.sentence,
        unseen=result.test_without_copies,
        given_split=None if inputs.given_split is None else inputs.given_split.sentence(),
        skipped=list(result.skipped),
        duplicates=[Duplicate(list(names)) for names in inputs.duplicates],
        seconds=result.seconds,
        cache=result.cache,
        outputs={kind: str(output) for kind, output in result.outputs.items()},
        formats=[] if result.exports is None else result.exports.rows(),
        format_remarks=[] if result.exports is None else result.exports.remarks(),
        versions={"python": platform.python_version(), **recorded_versions()},
    )


def _of_tests(tests: Tests) -> Measured:
    return Measured(tests.rows, tests.truth, tests.predictions, tests.after)


def _out_of_fold(run: Run) -> OutOfFold | None:
    if run.cross is None:
        return None
    found, cross = run.measured.figures, run.cross.result
    return OutOfFold(
        accuracy=found.accuracy,
        interval=found.interval,
        count=found.count,
        labels=list(label_figures(run.inputs, found).values()),
        confusion=found.confusion,
        averages=label_averages(found),
        folds=cross.folds,
        deviation=cross.deviation,
    )


def _mistake_group(run: Run, group: MistakeRows, image: Callable[[int], TestImage]) -> MistakeGroup:
    found = run.measured
    listed = []
    for row in group.listed:
        number = int(found.rows[row])
        score = float(found.predictions.score[row])
        listed.append(ListedImage(run.inputs.images[number].name, score, _link(run, number)))
    pictured = [image(row) for row in group.pictured]
    return MistakeGroup(group.label, group.predicted, group.count, pictured, listed)


def _link(run: Run, number: int) -> str | None:
    """Return the address of an image file for the report's page; None if there is none."""
    path, page = run.inputs.images[number].file, run.options.report_path
    return None if path is None or page is None else file_link(path, page)


def _copies(inputs: Inputs) -> int:
    """Return how many images have the same content as an earlier one of their label."""
    known = [
        (content, int(target))
        for content, target in zip(inputs.contents, inputs.targets, strict=True)
        if content is not None
    ]
    return len(known) - len(set(known))


def option_arguments(options: RetrainOptions) -> list[str]:
    """Return the command line of options that differ from their defaults and the preset's."""
    arguments: list[str] = []
    default = RetrainOptions(image_dir=Path(), preset=options.preset).to_dict()
    default["preset"] = DEFAULT_PRESET
    for name, value in options.to_dict().items():
        if value is not None and value != default[name]:
            arguments += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return arguments


def _heat_maps(chosen: Picks, groups: Sequence[MistakeRows], run: Run) -> tuple[HeatMaps, HeatMaps]:
    """Return where the network saw the label that each image was given.

    First of the test images that are shown, then of the mistakes; without a cross-validation
    these are test images too, and both are the same.
    """
    tests, found = run.tests, run.measured
    rows = [*chosen.misclassified, *chosen.most_confident, *chosen.least_confident]
    wrong = [row for group in groups for row in group.pictured]
    tested = {int(tests.rows[row]): int(tests.predictions.labels[row]) for row in rows}
    mistaken = {int(found.rows[row]): int(found.predictions.labels[row]) for row in wrong}
    if run.cross is None:
        both = _maps(run, {**tested, **mistaken})
        return both, both
    return _maps(run, tested), _maps(run, mistaken)


def _maps(run: Run, labels: dict[int, int]) -> HeatMaps:
    if not labels:
        return HeatMaps()
    if run.options.preset == "fast":
        return HeatMaps(missing="No heat maps: --preset fast draws none.")
    return heat_maps(run.inputs, run.options, run.fitted.layer, labels)


def _test_image(run: Run, maps: HeatMaps, found: Measured, row: int) -> TestImage:
    inputs, predictions, number = run.inputs, found.predictions, int(found.rows[row])
    labels = inputs.labels
    path, thumbnail, heat_map = inputs.images[number].file, None, None
    if path is not None:
        thumbnail, (heat_map,) = pictures(path, [maps.maps.get(number)])
    return TestImage(
        name=inputs.images[number].name,
        label=labels[found.truth[row]],
        predicted=labels[predictions.labels[row]],
        score=float(predictions.score[row]),
        true_score=float(predictions.true_score[row]),
        thumbnail=thumbnail,
        heat_map=heat_map,
        link=_link(run, number),
    )


def _comparison(run: Run, image: TestImage, row: int) -> Comparison:
    vector = run.inputs.vectors[run.tests.rows[row]]
    before, after = (
        layer.probabilities(vector[None])[0].tolist()
        for layer in (run.fitted.untrained, run.fitted.layer)
    )
    return Comparison(image.name, image.label, before, after, image.thumbnail, image.link)


def curves(run: Run) -> dict[str, Curve]:
    """Return the curves of the fit by split; none for logistic regression."""
    measured = ((split, _split_curve(run, split)) for split in ("training", "validation"))
    return {split: curve for split, curve in measured if curve is not None}


def _curves(history: Sequence[StepStatistics]) -> list[Curve | None]:
    """Return the curves of training and validation; None for one without measurements."""
    training = [(each.step, each.train_accuracy, each.cross_entropy) for each in history]
    validation = [
        (each.step, each.validation_accuracy, each.validation_cross_entropy)
        for each in history
        if each.validation_accuracy is not None and each.validation_cross_entropy is not None
    ]
    curves: list[Curve | None] = []
    for points in (training, validation):
        columns = [list(column) for column in zip(*points, strict=True)]
        curves.append(Curve(columns[0], columns[1], columns[2]) if points else None)
    return curves


def _split_curve(run: Run, split: str) -> Curve | None:
    """Return the curve of the same images at each of its steps; None for a fit without steps."""
    points = [vars(point) for point in run.fitted.curve]
    if not points or not points[0][f"{split}_count"]:
        return None
    return Curve(
        [point["step"] for point in points],
        [point[f"{split}_accuracy"] for point in points],
        [point[f"{split}_cross_entropy"] for point in points],
        points[0][f"{split}_count"],
    )


def check_summaries(options: RetrainOptions) -> None:
    """Find out before the work that summaries, where asked for, can be written.

    Raises:
        OutputError: the package for it is not installed.
    """
    if options.summaries_dir is not None:
        from tlcli.report.tensorboard import check_installed

        check_installed()


def open_summaries(options: RetrainOptions) -> AbstractContextManager[Summaries | None]:
    """Return the writer of a run; None where no summaries are wanted.

    Raises:
        OutputError: the folder cannot be written.
    """
    if options.summaries_dir is None:
        return nullcontext()
    from tlcli.report.tensorboard import Summaries

    return Summaries(options.summaries_dir)


def summarise_result(summaries: Summaries, run: Run, progress: Progress | None = None) -> None:
    """Write the confusion matrices as pictures, and the bottlenecks for the projector.

    There are no pictures of more than `PICTURE_LABELS` labels.

    Raises:
        OutputError: a file cannot be written.
    """
    options, inputs, tests = run.options, run.inputs, run.tests
    # Logistic regression has no steps and so no curves; its pictures are those of step 0.
    steps = options.how_many_training_steps if run.fitted.solver == "sgd" else 0
    last = max(steps - 1, 0)
    for tag, tested in (
        ("confusion_matrix", tests.validation),
        ("confusion_matrix_test", tests.after),
    ):
        if tested.count and len(inputs.labels) <= PICTURE_LABELS:
            summaries.confusion(tag, last, tested.confusion, inputs.labels)
    columns = {
        "label": [inputs.labels[target] for target in inputs.targets],
        "split": inputs.splits,
        "image": [image.name for image in inputs.images],
    }
    files = [image.file for image in inputs.images]
    # Points of imported vectors alone have no pictures.
    summaries.projector(inputs.vectors, columns, files if any(files) else None, progress)
