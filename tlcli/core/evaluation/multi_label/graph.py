"""How good a graph with several labels per image is on labelled images."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tlcli.arrays import Floats
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.data.content_hashes import hash_file
from tlcli.core.data.image_folder import Dataset
from tlcli.core.data.image_list import ImageFile
from tlcli.core.data.label_sets import labels_in, merged_copies, names_in
from tlcli.core.evaluation.labelled_folder import label_numbers
from tlcli.core.evaluation.metrics import Bools
from tlcli.core.evaluation.multi_label.figures import MultiLabelEvaluation, evaluate_marks
from tlcli.core.evaluation.training_images import TrainingImages
from tlcli.errors import DataError, ImageError, UsageError
from tlcli.progress import Progress

_log = logging.getLogger("tlcli")


@dataclass(frozen=True)
class Scored:
    """Images with their scores.

    Attributes:
        images: that could be read, N of them.
        scores: float32 [N, L].
        marks: which image has which label, [N, L].
    """

    images: tuple[ImageFile, ...]
    scores: Floats
    marks: Bools

    def subset(self, chosen: Bools) -> Scored:
        """Return the images where ``chosen`` [N] is true."""
        images = tuple(each for each, own in zip(self.images, chosen, strict=True) if own)
        return Scored(images, self.scores[chosen], self.marks[chosen])


@dataclass(frozen=True, repr=False)
class MultiLabelAccuracy:
    """Figures of a graph on labelled images.

    Attributes:
        graph: its path, as it was given.
        labels: of the graph, in output order.
        thresholds: of the labels.
        evaluation: figures of the images.
        skipped: (path, reason) of images that could not be read; they are not counted.
        trained: how many of the counted images trained the graph; None where that is unknown.
        unseen: the figures on the other images; None unless some trained it and some did not.
        scored: the images.
    """

    graph: str
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    evaluation: MultiLabelEvaluation
    skipped: tuple[tuple[str, str], ...]
    trained: int | None = None
    unseen: MultiLabelAccuracy | None = None
    scored: Scored | None = field(default=None, compare=False)

    @property
    def measured(self) -> MultiLabelAccuracy | None:
        """The figures on images that are not known to have trained the graph; None without any."""
        return self.unseen if self.trained else self

    @property
    def accuracy(self) -> float:
        """The proportion of images whose labels are all right, 0 to 1."""
        return self.evaluation.accuracy or 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the accuracy, each end 0 to 1."""
        return self.evaluation.interval or (0.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as JSON can hold them."""
        measured = self.measured
        unseen: dict[str, Any] | None = None
        if self.trained is not None:
            unseen = {"count": 0} if measured is None else measured.evaluation.to_dict(self.labels)
        return {
            "graph": self.graph,
            "multi_label": True,
            **self.evaluation.to_dict(self.labels),
            "thresholds": dict(zip(self.labels, self.thresholds, strict=True)),
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
            "trained": None if self.trained is None else {"count": self.trained},
            "unseen": unseen,
        }

    def __repr__(self) -> str:
        mean = self.evaluation.mean_average_precision
        shown = "unknown" if mean is None else f"{mean.value:.1%}"
        count = self.evaluation.count
        return f"<MultiLabelAccuracy of {self.graph}: mean average precision {shown} (N={count})>"


def measure_multi_label(
    classifier: Classifier,
    dataset: Dataset,
    progress: Progress | None = None,
    *,
    merges: bool = False,
) -> MultiLabelAccuracy:
    """Label all images and compare.

    Args:
        classifier: a graph with thresholds.
        dataset: what `images_to_evaluate` returned.
        merges: an image that lies in several folders has the labels of all of them.
        progress: called with ("images", done, total).

    Raises:
        DataError: a label is none of the graph's, or no image could be read.
        GraphError: the graph cannot be run.
        UsageError: it gives one label per image.
    """
    if classifier.thresholds is None:
        raise UsageError(f"{classifier.graph} gives one label per image; call tlcli.evaluate")
    contents = [_content(image) for image in dataset.images]
    if merges:
        dataset, contents = merged_copies(dataset, contents)
    names = names_in(image.label for image in dataset.images)
    numbers = label_numbers(
        classifier, names, lambda name: f"the label {name!r} in {dataset.source}"
    )
    files = [image.file or "" for image in dataset.images]
    kept: list[int] = []
    rows: list[Floats] = []
    skipped: list[tuple[str, str]] = []
    for row, (path, scores, error) in enumerate(classifier.probabilities(files)):
        if scores is None:
            skipped.append((dataset.images[row].shown, error or ""))
            _log.warning("%s is left out: %s", path, error)
        else:
            kept.append(row)
            rows.append(scores)
        if progress is not None:
            progress("images", row + 1, len(files))
    if not kept:
        raise DataError(
            f"no image of {dataset.source} could be read; the first: "
            f"{skipped[0][1] if skipped else 'there is none'}"
        )
    marks = np.zeros((len(kept), len(classifier.labels)), np.bool_)
    for place, row in enumerate(kept):
        for label in labels_in(dataset.images[row].label):
            marks[place, numbers[label]] = True
    images = tuple(dataset.images[row] for row in kept)
    scored = Scored(images, np.stack(rows).astype(np.float32), marks)
    found = _accuracy(classifier, scored, tuple(skipped))
    card = classifier.card
    training = None if card is None else TrainingImages.from_card(card.training_images)
    if training is None:
        return found
    trained = np.array(training.contain([contents[row] for row in kept]), np.bool_)
    unseen = None
    if 0 < trained.sum() < len(trained):
        unseen = _accuracy(classifier, scored.subset(~trained), found.skipped)
    return replace(found, trained=int(trained.sum()), unseen=unseen)


def _accuracy(
    classifier: Classifier, scored: Scored, skipped: tuple[tuple[str, str], ...]
) -> MultiLabelAccuracy:
    assert classifier.thresholds is not None
    thresholds = tuple(classifier.thresholds[label] for label in classifier.labels)
    return MultiLabelAccuracy(
        graph=str(classifier.graph),
        labels=classifier.labels,
        thresholds=thresholds,
        evaluation=evaluate_marks(scored.scores, scored.marks, thresholds),
        skipped=skipped,
        scored=scored,
    )


def _content(image: ImageFile) -> str | None:
    """Return the SHA-256 of a file; None of an object in a bucket, and where it cannot be read."""
    if image.path is None or (isinstance(image.file, str) and "://" in image.file):
        return None
    try:
        return hash_file(image.path)[0]
    except ImageError:
        return None
