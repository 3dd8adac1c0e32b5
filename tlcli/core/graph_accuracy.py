"""How often a graph is right on a folder of labelled images."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.core.classifier import Classifier
from tlcli.core.dataset import Dataset, label_from_folder, scan_folder
from tlcli.core.evaluation import Evaluation, Share, evaluate
from tlcli.errors import DataError

_log = logging.getLogger("tlcli")

Progress = Callable[[str, int, int], None]

# A matrix of more columns fits no terminal.
_LARGEST_MATRIX = 12


@dataclass(frozen=True)
class Misclassified:
    """One image that the graph got wrong.

    Attributes:
        image: its path.
        label: what it is.
        predicted: what the graph said.
        score: of what the graph said.
    """

    image: str
    label: str
    predicted: str
    score: float


@dataclass(frozen=True)
class GraphAccuracy:
    """What a graph's answers for a folder amount to.

    Attributes:
        labels: of the graph, in output order.
        evaluation: accuracy, figures of each label, confusion; rows in the folder's order.
        misclassified: images that the graph got wrong.
        skipped: (path, reason) of images that could not be read; they are not counted.
    """

    labels: tuple[str, ...]
    evaluation: Evaluation
    misclassified: tuple[Misclassified, ...]
    skipped: tuple[tuple[str, str], ...]

    @property
    def accuracy(self) -> float:
        """The share of right answers, 0 to 1."""
        return self.evaluation.accuracy or 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as JSON can hold them."""
        evaluation = self.evaluation
        labels = {}
        for label, figures in zip(self.labels, evaluation.labels, strict=True):
            labels[label] = {
                "images": figures.count,
                "predicted": figures.predicted,
                "precision": _value(figures.precision),
                "recall": _value(figures.recall),
                "f1": _value(figures.f1),
            }
        return {
            "accuracy": self.accuracy,
            "count": evaluation.count,
            "interval": list(evaluation.interval or ()),
            "labels": labels,
            "confusion": evaluation.confusion.tolist(),
            "misclassified": [vars(wrong) for wrong in self.misclassified],
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
        }

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)

    def to_text(self) -> str:
        """Return the figures as lines for people."""
        evaluation = self.evaluation
        low, high = evaluation.interval or (0.0, 1.0)
        lines = [
            f"Accuracy = {self.accuracy:.1%} (N={evaluation.count}, "
            f"95% interval {low:.1%} to {high:.1%})",
            "",
            *self._label_lines(),
        ]
        if len(self.labels) <= _LARGEST_MATRIX:
            lines += ["", "Rows: true label; columns: what the graph said.", *self._matrix_lines()]
        if self.skipped:
            lines += ["", f"{len(self.skipped)} images could not be read and are not counted."]
        return "\n".join(lines)

    def _label_lines(self) -> list[str]:
        rows: list[Sequence[str]] = [("label", "images", "precision", "recall", "F1")]
        for label, figures in zip(self.labels, self.evaluation.labels, strict=True):
            shares = (figures.precision, figures.recall, figures.f1)
            rows.append((label, str(figures.count), *(_percent(share) for share in shares)))
        return _table(rows)

    def _matrix_lines(self) -> list[str]:
        numbers = [str(number) for number in range(1, len(self.labels) + 1)]
        rows: list[Sequence[str]] = [("", *numbers)]
        for number, label, counts in zip(
            numbers, self.labels, self.evaluation.confusion.tolist(), strict=True
        ):
            rows.append((f"{number} {label}", *(str(count) for count in counts)))
        return _table(rows)


def measure(
    classifier: Classifier, image_dir: Path, progress: Progress | None = None
) -> GraphAccuracy:
    """Label all images of ``image_dir/LABEL/...`` and compare.

    A folder belongs to the label of its own name, or of the name that retrain makes of it.

    Args:
        classifier: see `tlcli.core.classifier.load`.
        image_dir: folder of folders.
        progress: called with ("images", done, total).

    Raises:
        DataError: the folder cannot be used, a label's folder has no label in the graph, or
            no image could be read.
        GraphError: the graph cannot be run.
    """
    # Names as they are: they are matched to the graph's labels, whichever way it spells them.
    dataset = scan_folder(image_dir, keep_label_names=True, minimum_labels=1)
    truth = _match(dataset, classifier.labels, image_dir)
    images = [image for image in dataset.images if image.path is not None]
    predicted: list[int] = []
    wanted: list[int] = []
    wrong: list[Misclassified] = []
    skipped: list[tuple[str, str]] = []
    answers = classifier.probabilities(str(image.path) for image in images)
    for done, (image, (path, scores, error)) in enumerate(zip(images, answers, strict=True), 1):
        if scores is None:
            skipped.append((path, error or ""))
            _log.warning("%s is left out: %s", path, error)
        else:
            best, right = int(np.argmax(scores)), truth[image.folder]
            predicted.append(best)
            wanted.append(right)
            if best != right:
                names = classifier.labels
                wrong.append(
                    Misclassified(path, names[right], names[best], float(str(scores[best])))
                )
        if progress is not None:
            progress("images", done, len(images))
    if not predicted:
        raise DataError(f"no image of {image_dir} could be read; the first: {skipped[0][1]}")
    return GraphAccuracy(
        labels=classifier.labels,
        evaluation=evaluate(predicted, wanted, len(classifier.labels)),
        misclassified=tuple(wrong),
        skipped=tuple(skipped),
    )


def _match(dataset: Dataset, labels: Sequence[str], image_dir: Path) -> dict[str, int]:
    """Return the label number of each folder."""
    exact = {label: number for number, label in enumerate(labels)}
    spelled = [label_from_folder(label) for label in labels]
    # Where two labels come out alike, only their exact names tell them apart.
    plain = {name: spelled.index(name) for name in spelled if spelled.count(name) == 1}
    found: dict[str, int] = {}
    for folder in sorted({image.folder for image in dataset.images}):
        number = exact.get(folder, plain.get(label_from_folder(folder)))
        if number is None:
            known = ", ".join(labels[:10]) + (", ..." if len(labels) > 10 else "")
            raise DataError(
                f"the folder {image_dir / folder} belongs to none of the graph's labels ({known}); "
                "rename it or move it away"
            )
        found[folder] = number
    return found


def _value(share: Share | None) -> float | None:
    return None if share is None else share.value


def _percent(share: Share | None) -> str:
    return "-" if share is None else f"{share.value:.1%}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        first = row[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join([first, *rest]).rstrip())
    return lines
