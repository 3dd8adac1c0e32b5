"""How often a graph is right on a folder of labelled images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.core.classifier.classifier import Classifier
from tlcli.core.data.image_folder import ImageFile, label_from_folder, scan_folder
from tlcli.core.evaluation.metrics import Evaluation, Proportion, evaluate
from tlcli.errors import DataError
from tlcli.progress import Progress

_log = logging.getLogger("tlcli")


@dataclass(frozen=True)
class Misclassified:
    """One image that the graph got wrong.

    Attributes:
        image: its path.
        label: what it is.
        predicted: the label that the graph gave.
        score: of the predicted label.
    """

    image: str
    label: str
    predicted: str
    score: float


@dataclass(frozen=True)
class GraphAccuracy:
    """The accuracy of a graph on a folder of labelled images.

    Attributes:
        graph: its path, as it was given.
        labels: of the graph, in output order.
        evaluation: accuracy, figures of each label, confusion; rows in the folder's order.
        misclassified: images that the graph got wrong.
        skipped: (path, reason) of images that could not be read; they are not counted.
    """

    graph: str
    labels: tuple[str, ...]
    evaluation: Evaluation
    misclassified: tuple[Misclassified, ...]
    skipped: tuple[tuple[str, str], ...]

    @property
    def accuracy(self) -> float:
        """The proportion of right predictions, 0 to 1."""
        return self.evaluation.accuracy or 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the accuracy, each end 0 to 1."""
        return self.evaluation.interval or (0.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as JSON can hold them."""
        evaluation = self.evaluation
        labels: dict[str, dict[str, Any]] = {}
        for label, figures in zip(self.labels, evaluation.labels, strict=True):
            labels[label] = {"images": figures.count, "predicted": figures.predicted}
            for name in ("precision", "recall", "f1"):
                proportion: Proportion | None = getattr(figures, name)
                labels[label][name] = None if proportion is None else proportion.value
                labels[label][f"{name}_interval"] = proportion and [proportion.low, proportion.high]
        return {
            "graph": self.graph,
            "accuracy": self.accuracy,
            "count": evaluation.count,
            "interval": list(evaluation.interval or ()),
            "labels": labels,
            **evaluation.confusion.to_dict(),
            "misclassified": [vars(wrong) for wrong in self.misclassified],
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
        }


@dataclass(frozen=True)
class ImagePrediction:
    """What a graph predicted for one image.

    Attributes:
        label: number of the best label; None where the image could not be labelled.
        score: of that label.
        error: why there is no label.
    """

    label: int | None
    score: float = 0.0
    error: str = ""


class LabelledFolder:
    """The images of ``image_dir/LABEL/...``.

    A folder belongs to the label of its own name, or of the name that retrain makes of it.

    Attributes:
        images: sorted by name.

    Raises:
        DataError: the folder cannot be used.
    """

    def __init__(self, image_dir: Path) -> None:
        self._root = image_dir
        # Names as they are: they are matched to a graph's labels, however it writes them.
        dataset = scan_folder(image_dir, keep_label_names=True, minimum_labels=1)
        self.images: tuple[ImageFile, ...] = dataset.images

    def truth(self, classifier: Classifier) -> list[int]:
        """Return the number of each image's label in a graph.

        Raises:
            DataError: a folder has no label in the graph.
        """
        labels = classifier.labels
        exact = {label: number for number, label in enumerate(labels)}
        labels_by_folder = [label_from_folder(label) for label in labels]
        # Where two labels come out alike, only their exact names tell them apart.
        plain = {
            name: number
            for number, name in enumerate(labels_by_folder)
            if labels_by_folder.count(name) == 1
        }
        found: dict[str, int] = {}
        for folder in sorted({image.folder for image in self.images}):
            number = exact.get(folder, plain.get(label_from_folder(folder)))
            if number is None:
                known = ", ".join(labels[:10]) + (", ..." if len(labels) > 10 else "")
                raise DataError(
                    f"the folder {self._root / folder} belongs to none of the labels of "
                    f"{classifier.graph} ({known}); rename it or move it away"
                )
            found[folder] = number
        return [found[image.folder] for image in self.images]

    def ask(
        self, classifier: Classifier, stage: str, progress: Progress | None = None
    ) -> list[ImagePrediction]:
        """Return what a graph predicts for each image.

        Args:
            classifier: see `tlcli.core.classifier.classifier.load`.
            stage: what ``progress`` is called with, before done and total.
            progress: called after each image.

        Raises:
            DataError: no image could be labelled.
            GraphError: the graph cannot be run.
        """
        predictions: list[ImagePrediction] = []
        scored = classifier.probabilities(str(image.path) for image in self.images)
        for path, scores, error in scored:
            if scores is None:
                predictions.append(ImagePrediction(None, error=error or ""))
                _log.warning("%s is left out: %s", path, error)
            else:
                best = int(np.argmax(scores))
                predictions.append(ImagePrediction(best, float(str(scores[best]))))
            if progress is not None:
                progress(stage, len(predictions), len(self.images))
        if all(prediction.label is None for prediction in predictions):
            raise DataError(
                f"no image of {self._root} could be read; the first: {predictions[0].error}"
            )
        return predictions

    def summarise(
        self, classifier: Classifier, truth: Sequence[int], predictions: Sequence[ImagePrediction]
    ) -> GraphAccuracy:
        """Return the accuracy of predictions; images without one are not counted."""
        names = classifier.labels
        predicted: list[int] = []
        wanted: list[int] = []
        wrong: list[Misclassified] = []
        skipped: list[tuple[str, str]] = []
        for image, right, prediction in zip(self.images, truth, predictions, strict=True):
            if prediction.label is None:
                skipped.append((str(image.path), prediction.error))
                continue
            predicted.append(prediction.label)
            wanted.append(right)
            if prediction.label != right:
                predicted_name = names[prediction.label]
                wrong.append(
                    Misclassified(str(image.path), names[right], predicted_name, prediction.score)
                )
        return GraphAccuracy(
            graph=str(classifier.graph),
            labels=names,
            evaluation=evaluate(predicted, wanted, len(names)),
            misclassified=tuple(wrong),
            skipped=tuple(skipped),
        )


def measure_accuracy(
    classifier: Classifier, image_dir: Path, progress: Progress | None = None
) -> GraphAccuracy:
    """Label all images of ``image_dir/LABEL/...`` and compare.

    Args:
        classifier: see `tlcli.core.classifier.classifier.load`.
        image_dir: folder of folders.
        progress: called with ("images", done, total).

    Raises:
        DataError: the folder cannot be used, a label's folder has no label in the graph, or
            no image could be read.
        GraphError: the graph cannot be run.
    """
    folder = LabelledFolder(image_dir)
    truth = folder.truth(classifier)
    return folder.summarise(classifier, truth, folder.ask(classifier, "images", progress))
