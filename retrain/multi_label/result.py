"""The figures of a run with several labels per image, as sentences, a table and JSON types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tlcli.core.evaluation.metrics import Proportion
from tlcli.core.evaluation.multi_label.figures import MultiLabelEvaluation, value_of
from tlcli.notebook import percent
from tlcli.report.data import LabelFigures
from tlcli.text import table

# More lines push the figures off the screen; the report and JSON have them all.
_LABELS_SHOWN = 24
_COUNTS = ("images", "training", "validation", "testing")


@dataclass(frozen=True)
class MultiLabelFigures:
    """What a run with several labels per image found.

    Attributes:
        names: of the labels, in output order.
        tested: figures of the test images.
        thresholds: from which on a score counts, by label.
        held_out: figures of the training images by fits that have not seen them.
        folds: figures of all images over the folds of ``--cross_validate``; None without.
        min_map: the smallest mean average precision that was asked for, or None.
    """

    names: tuple[str, ...]
    tested: MultiLabelEvaluation
    thresholds: tuple[float, ...]
    held_out: MultiLabelEvaluation
    folds: MultiLabelEvaluation | None = None
    min_map: float | None = None

    def add_to(self, found: dict[str, Any]) -> None:
        """Add the figures to those of a result, in JSON types."""
        figures = self.tested.to_dict(self.names)
        labels = figures.pop("labels")
        for (name, row), threshold in zip(found["labels"].items(), self.thresholds, strict=True):
            own = {key: value for key, value in labels[name].items() if key != "images"}
            row.update(own, threshold=threshold)
        figures.pop("count")
        found.update(figures, multi_label=True)
        found["held_out_mean_average_precision"] = value_of(self.held_out.mean_average_precision)
        if self.folds is not None:
            mean = value_of(self.folds.mean_average_precision)
            found["cross_validation"] = {
                **found["cross_validation"],
                "mean_average_precision": mean,
            }
        if self.min_map is not None:
            found["min_map"] = self.min_map
            found["passed"] = found.get("passed", True) and self.reaches_map

    @property
    def reaches_map(self) -> bool:
        """Whether the mean average precision is at least what was asked for."""
        value = value_of(self.tested.mean_average_precision)
        return self.min_map is None or (value is not None and value >= self.min_map)

    def below_minimum(
        self, min_accuracy: float | None
    ) -> list[tuple[str, float | None, float, str]]:
        """Return the figures that are below their minimum: name, value, minimum, its option."""
        found: list[tuple[str, float | None, float, str]] = []
        exact = value_of(self.tested.exact_match)
        if min_accuracy is not None and (exact is None or exact < min_accuracy):
            found.append(("exact-match test accuracy", exact, min_accuracy, "--min_accuracy"))
        if self.min_map is not None and not self.reaches_map:
            mean = value_of(self.tested.mean_average_precision)
            found.append(("test mean average precision", mean, self.min_map, "--min_map"))
        return found

    def sentence(self) -> str:
        """Return the mean average precision of the test images."""
        if not self.tested.count:
            return "No test images, so no mean average precision."
        mean = self.tested.mean_average_precision
        if mean is None:
            return "No test image has a label, so there is no mean average precision."
        return f"Mean average precision {_with_interval(mean)}, N={self.tested.count}"

    def lines(self) -> list[str]:
        """Return the other figures of all labels together."""
        found, lines = self.tested, []
        if found.exact_match is not None and found.hamming is not None:
            lines.append(f"All labels right: {_with_interval(found.exact_match)} of the images")
            f1 = f"macro F1 {percent(found.macro_f1)}, micro F1 {percent(value_of(found.micro_f1))}"
            lines.append(f"Single labels right: {found.hamming:.1%}; {f1}")
        if self.folds is not None and self.folds.mean_average_precision is not None:
            mean = _with_interval(self.folds.mean_average_precision)
            lines.append(f"Cross-validation: mean average precision {mean}, N={self.folds.count}")
        return lines

    def table(self, labels: Iterable[LabelFigures]) -> list[str]:
        """Return one line per label: images, threshold and figures."""
        heads = ("threshold", "precision", "recall", "F1", "AP")
        rows: list[Sequence[str]] = [("label", *_COUNTS, *heads)]
        every = zip(
            labels,
            self.thresholds,
            self.tested.labels,
            self.tested.average_precisions,
            strict=True,
        )
        for figures, threshold, each, average in list(every)[:_LABELS_SHOWN]:
            counts = [str(getattr(figures, name)) for name in _COUNTS]
            values = (each.precision, each.recall, each.f1, average)
            shown = [percent(value_of(value)) for value in values]
            rows.append((figures.label, *counts, f"{threshold:.2f}", *shown))
        lines = table(rows)
        if len(self.names) > _LABELS_SHOWN:
            lines.append(f"and {len(self.names) - _LABELS_SHOWN} more labels, in the report")
        return lines


def _with_interval(found: Proportion) -> str:
    return f"{found.value:.1%} (95% interval {found.low:.1%} to {found.high:.1%})"
