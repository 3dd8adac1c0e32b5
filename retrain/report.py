"""The report page of a run, and its summaries for TensorBoard."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrain.fitting import Fitted
from retrain.heat_maps import HeatMaps, heat_maps
from retrain.inputs import Inputs
from retrain.options import RetrainOptions
from retrain.result import RetrainResult
from retrain.testing import Tests
from tlcli.core.data.splits import SPLITS
from tlcli.core.evaluation.metrics import Proportion
from tlcli.core.export.model_card import recorded_versions
from tlcli.core.final_layer.sgd import StepStatistics
from tlcli.progress import Progress
from tlcli.report.collect import Picks, data_uri, pick
from tlcli.report.data import (
    BackboneFacts,
    Comparison,
    Curve,
    Duplicate,
    LabelFigures,
    ReportData,
    SkippedFile,
    TestImage,
)
from tlcli.report.page import MISCLASSIFIED_SHOWN, render
from tlcli.system.atomic_files import write_text

if TYPE_CHECKING:
    from PIL import Image

    from tlcli.report.tensorboard import Summaries

THUMBNAIL_SIDE = 160
# A confusion picture has at least three pixels per label; of 10,000 labels it would take gigabytes.
PICTURE_LABELS = 1000


@dataclass(frozen=True)
class Run:
    """A finished run: its options, inputs, fitted layer and tests."""

    options: RetrainOptions
    inputs: Inputs
    fitted: Fitted
    tests: Tests


def write_report(path: Path, result: RetrainResult, run: Run) -> dict[str, Any]:
    """Write the report page and return its content as JSON types.

    Raises:
        OutputError: it cannot be written.
    """
    data = _data(result, run)
    write_text(path, render(data))
    return data.to_dict()


def _data(result: RetrainResult, run: Run) -> ReportData:
    options, inputs, fitted, tests = run.options, run.inputs, run.fitted, run.tests
    backbone = inputs.backbone
    chosen = pick(
        tests.predictions.labels,
        tests.predictions.score,
        tests.truth,
        misclassified=MISCLASSIFIED_SHOWN,
    )
    maps = _heat_maps(chosen, run)
    pictures = _Pictures(run, maps)
    training_curve, validation_curve = _curves(fitted.history)
    return ReportData(
        title=(options.image_dir or options.import_bottlenecks or Path()).name,
        created=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        accuracy=result.test_accuracy,
        interval=result.test_interval,
        test_count=result.test_count,
        labels=_label_figures(inputs, tests),
        confusion=tests.after.confusion,
        backbone=BackboneFacts(
            name=result.backbone["name"],
            source=result.backbone["source"],
            licence=result.backbone["licence"],
            fingerprint=result.backbone["fingerprint"] or "",
            bottleneck_size=inputs.bottleneck_size,
            height=backbone.height if backbone is not None else None,
            width=backbone.width if backbone is not None else None,
            precision=result.backbone["precision"],
        ),
        command=shlex.join(["tlcli", "retrain", *_arguments(options)]),
        settings=options.to_dict(),
        validation_accuracy=result.validation_accuracy,
        min_accuracy=options.min_accuracy,
        untrained_accuracy=tests.before.accuracy,
        training_curve=training_curve,
        validation_curve=validation_curve,
        misclassified=[pictures.image(row) for row in chosen.misclassified],
        misclassified_count=len(tests.misclassified),
        most_confident=[pictures.image(row) for row in chosen.most_confident],
        least_confident=[pictures.image(row) for row in chosen.least_confident],
        heat_maps_missing=maps.missing,
        comparisons=[pictures.comparison(row) for row in chosen.comparisons],
        cross_validation=None if result.cross_validation is None else vars(result.cross_validation),
        skipped=[SkippedFile(skipped.path, skipped.reason) for skipped in result.skipped],
        duplicates=[Duplicate(list(names)) for names in inputs.duplicates],
        seconds=result.seconds,
        cache=result.cache,
        outputs={kind: str(output) for kind, output in result.outputs.items()},
        versions={"python": platform.python_version(), **recorded_versions()},
    )


def _arguments(options: RetrainOptions) -> list[str]:
    """Return the command line of options that differ from their defaults."""
    arguments: list[str] = []
    default = RetrainOptions(image_dir=Path()).to_dict()
    for name, value in options.to_dict().items():
        if value is not None and value != default[name]:
            arguments += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return arguments


def _heat_maps(chosen: Picks, run: Run) -> HeatMaps:
    """Return where the network saw the label that it gave to each image that is shown."""
    rows = [*chosen.misclassified, *chosen.most_confident, *chosen.least_confident]
    if not rows:
        return HeatMaps()
    tests = run.tests
    labels = {int(tests.rows[row]): int(tests.predictions.labels[row]) for row in rows}
    return heat_maps(run.inputs, run.options, run.fitted.layer, labels)


class _Pictures:
    """Test images as the page shows them; each is read once."""

    def __init__(self, run: Run, maps: HeatMaps) -> None:
        self._inputs, self._fitted, self._tests = run.inputs, run.fitted, run.tests
        self._maps = maps
        self._pictures: dict[int, Image.Image | None] = {}

    def _picture(self, row: int) -> Image.Image | None:
        if row not in self._pictures:
            path = self._inputs.images[self._tests.rows[row]].path
            self._pictures[row] = None if path is None else _picture(path)
        return self._pictures[row]

    def _thumbnail(self, row: int) -> str | None:
        image = self._picture(row)
        return None if image is None else data_uri(image)

    def _heat_map(self, row: int) -> str | None:
        image, found = self._picture(row), self._maps.maps.get(int(self._tests.rows[row]))
        if image is None or found is None:
            return None
        from tlcli.core.evaluation.activation_maps import overlay

        return data_uri(overlay(image, found))

    def image(self, row: int) -> TestImage:
        labels, predictions = self._inputs.labels, self._tests.predictions
        return TestImage(
            name=self._inputs.images[self._tests.rows[row]].name,
            label=labels[self._tests.truth[row]],
            predicted=labels[predictions.labels[row]],
            score=float(predictions.score[row]),
            true_score=float(predictions.true_score[row]),
            thumbnail=self._thumbnail(row),
            heat_map=self._heat_map(row),
        )

    def comparison(self, row: int) -> Comparison:
        vector = self._inputs.vectors[self._tests.rows[row]]
        return Comparison(
            name=self._inputs.images[self._tests.rows[row]].name,
            label=self._inputs.labels[int(self._tests.truth[row])],
            before=self._fitted.untrained.probabilities(vector[None])[0].tolist(),
            after=self._fitted.layer.probabilities(vector[None])[0].tolist(),
            thumbnail=self._thumbnail(row),
        )


def _picture(path: Path) -> Image.Image | None:
    # Imported vectors alone need nothing that decodes images.
    from tlcli.core.images.thumbnails import picture

    return picture(path, THUMBNAIL_SIDE)


def _label_figures(inputs: Inputs, tests: Tests) -> list[LabelFigures]:
    counts = {split: inputs.counts(split) for split in SPLITS}
    return [
        LabelFigures(
            label=label,
            training=int(counts["training"][position]),
            validation=int(counts["validation"][position]),
            testing=int(counts["testing"][position]),
            precision=_value(figures.precision),
            precision_interval=_interval(figures.precision),
            recall=_value(figures.recall),
            recall_interval=_interval(figures.recall),
            f1=_value(figures.f1),
            f1_interval=_interval(figures.f1),
        )
        for position, (label, figures) in enumerate(
            zip(inputs.labels, tests.after.labels, strict=True)
        )
    ]


def _value(proportion: Proportion | None) -> float | None:
    return None if proportion is None else proportion.value


def _interval(proportion: Proportion | None) -> tuple[float, float] | None:
    return None if proportion is None else (proportion.low, proportion.high)


def _curves(history: Sequence[StepStatistics]) -> list[Curve | None]:
    """Return the curves of training and validation; None for one without measurements."""
    training = [(each.step, each.train_accuracy, each.cross_entropy) for each in history]
    validation = [
        (each.step, each.validation_accuracy, each.validation_cross_entropy)
        for each in history
        if each.validation_accuracy is not None and each.validation_cross_entropy is not None
    ]
    measured = (training, validation)
    return [Curve(*map(list, zip(*each, strict=True))) if each else None for each in measured]


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
    steps = options.how_many_training_steps if options.solver == "sgd" else 0
    last = max(steps - 1, 0)
    for tag, tested in (
        ("confusion_matrix", tests.validation),
        ("confusion_matrix_test", tests.after),
    ):
        if tested.count and len(inputs.labels) <= PICTURE_LABELS:
            summaries.confusion(last, tested.confusion, inputs.labels, tag=tag)
    summaries.projector(
        inputs.vectors,
        [inputs.labels[target] for target in inputs.targets],
        # Points of imported vectors alone have no pictures.
        [image.file for image in inputs.images] if any(i.file for i in inputs.images) else None,
        {"split": inputs.splits, "image": [image.name for image in inputs.images]},
        progress,
    )
