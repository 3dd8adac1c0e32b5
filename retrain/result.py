"""What a retraining ended with; the same facts as text and as JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrain.multi_label.result import MultiLabelFigures
from retrain.presets.costs import Usage
from tlcli.core.calibration.reliability import PER_BIN, Calibration
from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.core.evaluation.growth import Growth
from tlcli.core.evaluation.label_averages import AveragesByName, LabelAverages
from tlcli.core.evaluation.learning_curve import Forecast
from tlcli.core.evaluation.metrics import wilson_interval
from tlcli.notebook import (
    ROWS_SHOWN,
    block,
    data_frame,
    draw_confusion,
    draw_curves,
    new_figure,
    percent,
)
from tlcli.report.data import Advice, Curve, LabelFigures, SkippedFile, UnseenTests
from tlcli.storage.locations import shown
from tlcli.text import counted, printable, table

if TYPE_CHECKING:
    from retrain.evidence.unknown import UnknownImages
    from tlcli.backbones.probe.ranking import ModuleComparison
    from tlcli.core.formats.figures import Exports

# More lines push the accuracy off the screen; the report and JSON have them all.
LABELS_SHOWN = 24
_SKIPPED_SHOWN = 10
# The report and JSON have all.
_ADVICE_SHOWN = 2
_COUNTS = ("images", "training", "validation", "testing")
_FRACTIONS = ("precision", "recall")


@dataclass(frozen=True)
class CrossValidationSummary:
    """Mean accuracy and its standard deviation over the folds, as fractions."""

    folds: int
    accuracy: float
    deviation: float


@dataclass(frozen=True, repr=False)
class RetrainResult(AveragesByName):
    """The outcome of one retraining.

    Attributes:
        test_accuracy: fraction of test images labelled right, None without test images.
        test_count: number of test images, N.
        test_interval: 95% Wilson interval of the accuracy, as fractions.
        validation_accuracy: fraction on the whole validation split, None without one.
        labels: counts and figures by label, in output order.
        skipped: images left out, with reasons.
        backbone: name, source, licence, fingerprint, bottleneck size D, precision.
        outputs: kind of output -> path.
        seconds: stage -> seconds of wall time.
        cache: vectors found ("hits"), computed, and imported.
        misclassified: (path, true label, given label) of each wrong test image.
        cross_validation: mean and spread over K folds, where asked for.
        passed: False when the test accuracy is below ``min_accuracy``.
        final_layer_only: the graph takes bottlenecks, not images.
        report: the content of the report page as JSON types, None without a page.
        example: an image to try the graph on, a test image where there is one.
        advice: what to do next, the most useful first, at most five.
        your_photos: number of findings about the photos by kind, None where none were looked for.
        unknown: the graph's score of unknown images; None where it has none.
        test_without_copies: figures of the test photos that have no copy among the training
            photos, None where all are such photos or nothing was checked.
        usage: the preset that the run followed, and what the next one would take.
        fine_tuned: "kept", the validation cross entropy "before" and "after", and how the network
            was trained, where a fine-tuning was asked for.
        fine_tuning: the same in a sentence.
        split: what decided the splits ("by": "names", "folders" or "manifest"); of given ones
            also which were "drawn" and the training images left out as "copies_left_out".
        confusion: labels predicted for each true label, of the test images; with cross-validation
            of all images, each by the layer that was not fitted on it.
        averages: macro F1 and balanced accuracy of the test images, with their intervals.
        forecast: the learning curve, and what twice the photos would bring; None where there are
            too few or too many images for it.
        calibration: how far scores are from the truth on the test images, before and after they
            were divided by a temperature; None without test images.
        grown: what changed since the run whose card ``from_card`` named, else None.
        module_comparison: the backbones that ``--module auto`` compared, else None.
        curves: accuracy and cross entropy over the steps, by split: "training" (a sample of it)
            and "validation"; empty for logistic regression.
        exports: the files of ``--export`` with their figures, None without any.
        solver: the solver that was "asked" for and the one "used", what it chose, and for "auto" on
            how many training "images" what was "compared": "solver", "cross_entropy", "accuracy".
    """

    test_accuracy: float | None
    test_count: int
    test_interval: tuple[float, float] | None
    validation_accuracy: float | None
    labels: dict[str, LabelFigures]
    skipped: tuple[SkippedFile, ...]
    backbone: dict[str, Any]
    outputs: dict[str, Path]
    seconds: dict[str, float]
    cache: dict[str, int]
    misclassified: tuple[tuple[str, str, str], ...] = ()
    cross_validation: CrossValidationSummary | None = None
    min_accuracy: float | None = None
    passed: bool = True
    final_layer_only: bool = False
    report: dict[str, Any] | None = None
    example: str | None = None
    advice: tuple[Advice, ...] = ()
    your_photos: dict[str, int] | None = None
    unknown: UnknownImages | None = None
    test_without_copies: UnseenTests | None = None
    usage: Usage = field(default=Usage("original"))
    fine_tuned: dict[str, Any] | None = None
    fine_tuning: str = ""
    split: dict[str, Any] = field(default_factory=lambda: {"by": "names"})
    averages: LabelAverages = field(default_factory=LabelAverages)
    forecast: Forecast | None = None
    calibration: Calibration | None = None
    grown: Growth | None = None
    module_comparison: ModuleComparison | None = None
    confusion: ConfusionMatrix = field(default=ConfusionMatrix(0))
    curves: dict[str, Curve] = field(default_factory=dict)
    solver: dict[str, Any] = field(default_factory=lambda: {"asked": "sgd", "used": "sgd"})
    multi_label: MultiLabelFigures | None = None
    exports: Exports | None = None

    @property
    def preset(self) -> str:
        """Name of the preset that the run followed."""
        return self.usage.name

    @property
    def learning_curve(self) -> tuple[tuple[int, float], ...]:
        """Accuracy by number of training images; empty where it was not measured."""
        return () if self.forecast is None else self.forecast.points

    @property
    def expected_with_twice(self) -> float | None:
        """The accuracy to expect with twice the training images, None where that is not known."""
        return None if self.forecast is None else self.forecast.twice.value

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values, with the contract's keys."""
        found: dict[str, Any] = {
            "test_accuracy": self.test_accuracy,
            "test_count": self.test_count,
            "test_interval": None if self.test_interval is None else list(self.test_interval),
            "validation_accuracy": self.validation_accuracy,
            **self.averages.to_dict(),
            "learning_curve": [list(point) for point in self.learning_curve],
            "expected_with_twice": self.expected_with_twice,
            "expected_with_twice_interval": None
            if self.forecast is None
            else [self.forecast.twice.low, self.forecast.twice.high],
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
            "labels": {
                label: {name: getattr(figures, name) for name in (*_COUNTS, *_FRACTIONS)}
                for label, figures in self.labels.items()
            },
            "skipped": [vars(skipped) for skipped in self.skipped],
            "preset": self.preset,
            "solver": self.solver,
            "backbone": self.backbone,
            "outputs": {kind: shown(path) for kind, path in self.outputs.items()},
            "seconds": {stage: round(value, 3) for stage, value in self.seconds.items()},
            "cache": self.cache,
            "split": self.split,
            "misclassified": [
                {"image": path, "label": true, "predicted": given}
                for path, true, given in self.misclassified
            ],
        }
        if self.usage.following is not None:
            seconds = self.usage.seconds
            found["next_preset"] = {
                "preset": self.usage.following,
                "seconds": None if seconds is None else round(seconds, 1),
            }
        found["advice"] = [vars(each) for each in self.advice]
        if self.unknown is not None:
            found["unknown"] = self.unknown.to_dict()
        if self.your_photos is not None:
            found["your_photos"] = self.your_photos
        if self.test_without_copies is not None:
            found["test_without_copies"] = self.test_without_copies.to_dict()
        if self.cross_validation is not None:
            found["cross_validation"] = vars(self.cross_validation)
        if self.grown is not None:
            found["grown"] = self.grown.to_dict()
        if self.module_comparison is not None:
            found["module_comparison"] = self.module_comparison.to_dict()
        if self.fine_tuned is not None:
            found["fine_tuned"] = self.fine_tuned
        if self.min_accuracy is not None:
            found["min_accuracy"] = self.min_accuracy
            found["passed"] = self.passed
        if self.multi_label is not None:
            self.multi_label.add_to(found)
        if self.exports is not None:
            found["exports"] = self.exports.to_dict()
        if self.report is not None:
            found["report"] = self.report
        return found

    def below_minimum(self) -> list[tuple[str, float | None, float, str]]:
        """Return the figures that are below their minimum: name, value, minimum, its option."""
        if self.multi_label is not None:
            return self.multi_label.below_minimum(self.min_accuracy)
        if self.passed or self.min_accuracy is None:
            return []
        return [("test accuracy", self.test_accuracy, self.min_accuracy, "--min_accuracy")]

    def to_frame(self) -> Any:
        """Return a pandas.DataFrame with one row per label: images by split, precision, recall, F1.

        Raises:
            OutputError: pandas is not installed.
        """
        columns = (*_COUNTS, *_FRACTIONS, "f1")
        rows = list(self.labels.values())
        return data_frame(
            {name: [getattr(row, name) for row in rows] for name in columns}, list(self.labels)
        )

    def plot(self) -> Any:
        """Return the curves and the confusion matrix as a matplotlib Figure.

        Notebooks show it; elsewhere save it: ``result.plot().savefig("result.png")``.

        Raises:
            OutputError: matplotlib is not installed.
        """
        figure = new_figure(15 if self.curves else 5, 4.5)
        *before, last = figure.subplots(1, 3 if self.curves else 1, squeeze=False)[0]
        for axes, what in zip(before, ("accuracy", "cross_entropy"), strict=False):
            draw_curves(axes, self.curves, what)
        if self.multi_label is None:
            draw_confusion(last, self.confusion.matrix, self.confusion.labels)
        else:
            draw_confusion(last, self.multi_label.tested.pairs, self.multi_label.names)
            last.set_title("labels predicted together")
        return figure

    def __repr__(self) -> str:
        where = self.outputs.get("graph", "no graph")
        return f"<RetrainResult: {accuracy_sentence(self)}; {len(self.labels)} labels; {where}>"

    def _repr_html_(self) -> str:
        rows = [
            (row.label, *(getattr(row, name) for name in _COUNTS), *_percents(row))
            for row in list(self.labels.values())[:ROWS_SHOWN]
        ]
        outputs = [(kind, shown(path)) for kind, path in self.outputs.items()]
        end = self.confusion._repr_html_() if self.confusion.cells else ""
        if self.cross_validation is not None and self.multi_label is None:
            end = block(_cross_sentence(self.cross_validation, self.confusion)) + end
        end += block("Outputs", outputs)
        return block(accuracy_sentence(self), rows, ("label", *_COUNTS, *_FRACTIONS), end)

    def to_json(self) -> str:
        """Return `to_dict` as one JSON object."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)

    def to_text(self, *, program: str = "tlcli") -> str:
        """Return a short summary for a person; ``program`` begins the command that comes next."""
        following = next_command(self, program)
        lines = [] if following is None else ["", f"Next: {following}"]
        return "\n".join([self.figures(), *lines])

    def figures(self) -> str:
        """Return accuracy, labels, skipped files, outputs, preset and first advice, as lines."""
        lines = [accuracy_sentence(self)]
        if self.test_without_copies is not None:
            lines.append(self.test_without_copies.sentence)
        if self.multi_label is not None:
            lines += self.multi_label.lines()
        if self.cross_validation is not None and self.multi_label is None:
            cross = self.cross_validation
            lines.append(
                f"Cross-validation, {cross.folds} folds: "
                f"{cross.accuracy:.1%} (deviation {cross.deviation:.1%})"
            )
        if self.averages.macro_f1 is not None:
            lines.append(f"{self.averages.sentence()}.")
        if self.fine_tuning:
            lines.append(f"{self.fine_tuning}.")
        if self.forecast is not None:
            lines.append(self.forecast.sentence)
        if self.calibration is not None and self.calibration.after.count >= PER_BIN:
            lines.append(f"Scores: {self.calibration.after.sentence()}")
        if self.module_comparison is not None:
            lines.append(f"Module {self.module_comparison.sentence()}.")
        if self.grown is not None:
            lines += map(printable, self.grown.lines())
        rows = None if self.multi_label is None else self.multi_label.table(self.labels.values())
        lines += ["", *(rows or _label_table(self.labels))]
        if self.skipped:
            lines += ["", f"Skipped {len(self.skipped)} unreadable:"]
            listed = self.skipped[:_SKIPPED_SHOWN]
            lines += [f"  {printable(skipped.path)}: {skipped.reason}" for skipped in listed]
            if len(self.skipped) > len(listed):
                lines.append(f"  and {len(self.skipped) - len(listed)} more")
        outputs = [(kind, shown(path)) for kind, path in self.outputs.items()]
        lines += ["", "Outputs:", *(f"  {line}" for line in table(outputs, right=()))]
        if self.exports is not None and self.exports.files:
            lines += ["", "Formats:", *(f"  {line}" for line in self.exports.lines())]
        lines += ["", *map(printable, self.usage.lines())]
        if self.advice:
            shown_advice = self.advice[:_ADVICE_SHOWN]
            lines += ["", "Advice:", *(f"  {printable(each.text)}" for each in shown_advice)]
        return "\n".join(lines)


def accuracy_sentence(result: RetrainResult) -> str:
    """Return the test accuracy and whether it reaches the minimum, in one line."""
    if result.multi_label is not None:
        return result.multi_label.sentence()
    if result.test_accuracy is None or result.test_interval is None:
        return "No test images, so no test accuracy."
    low, high = result.test_interval
    sentence = (
        f"Test accuracy {result.test_accuracy:.1%} (N={result.test_count}, "
        f"95% interval {low:.1%} to {high:.1%})"
    )
    if result.min_accuracy is None:
        return sentence
    if result.passed:
        return f"{sentence}, at or above the minimum of {result.min_accuracy:.1%}"
    return f"{sentence}, below the minimum of {result.min_accuracy:.1%}"


def _cross_sentence(cross: CrossValidationSummary, confusion: ConfusionMatrix) -> str:
    """Return the accuracy over the folds with the interval that all their images give."""
    count = sum(number for _, _, number in confusion.cells)
    right = sum(number for row, column, number in confusion.cells if row == column)
    low, high = wilson_interval(right, max(count, 1))
    said = f"Cross-validation, {cross.folds} folds: {percent(cross.accuracy)} (N={count}"
    return f"{said}, 95% interval {percent(low)} to {percent(high)})"


def next_command(result: RetrainResult, program: str = "tlcli") -> str | None:
    """Return the command that labels an image with the new graph, ready for a shell.

    ``program`` is how tlcli is called there. None where the graph takes no images, or where there
    is no image to try it on.
    """
    graph = result.outputs.get("graph")
    if graph is None or result.final_layer_only or result.example is None:
        return None
    # A name that begins like an option would be one after a space.
    options = shlex.join(["label", f"--graph={shown(graph)}", f"--image={shown(result.example)}"])
    return f"{program} {options}"


def _label_table(labels: dict[str, LabelFigures]) -> list[str]:
    listed = list(labels.values())
    if len(listed) > LABELS_SHOWN:
        # Labels without a test image come last.
        listed.sort(key=lambda row: [2.0 if x is None else x for x in (row.recall, row.precision)])
        listed = listed[:LABELS_SHOWN]
    rows: list[Sequence[str]] = [("label", *_COUNTS, *_FRACTIONS)]
    for row in listed:
        counts = (str(getattr(row, name)) for name in _COUNTS)
        rows.append((row.label, *counts, *_percents(row)))
    lines = table(rows)
    if len(listed) < len(labels):
        lines.append(
            f"and {counted(len(labels) - len(listed), 'more label')}, found no less often."
        )
    return lines


def _percents(row: LabelFigures) -> list[str]:
    return [percent(getattr(row, name)) for name in _FRACTIONS]
