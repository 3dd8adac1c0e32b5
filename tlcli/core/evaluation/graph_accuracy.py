"""How often a graph is right on a folder of labelled images."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.core.classifier.classifier import Classifier
from tlcli.core.data.content_hashes import hash_file
from tlcli.core.data.held_out import images_to_evaluate
from tlcli.core.data.image_folder import Dataset, ImageFile, label_from_folder
from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.core.evaluation.metrics import Evaluation, Proportion, evaluate
from tlcli.core.evaluation.training_images import TrainingImages
from tlcli.errors import DataError, ImageError
from tlcli.notebook import ROWS_SHOWN, block, data_frame, percent
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
        true_score: of the true label.
        trained: whether the image trained the graph; None where that is unknown.
    """

    image: str
    label: str
    predicted: str
    score: float
    true_score: float
    trained: bool | None = None


@dataclass(frozen=True, repr=False)
class GraphAccuracy:
    """The accuracy of a graph on a folder of labelled images.

    Attributes:
        graph: its path, as it was given.
        labels: of the graph, in output order.
        evaluation: accuracy, figures of each label, confusion; rows in the folder's order.
        misclassified: images that the graph got wrong.
        skipped: (path, reason) of images that could not be read; they are not counted.
        trained: how many of the counted images trained the graph, by their content; None where
            its model card does not list them.
        unseen: the figures on the other images; None unless some trained it and some did not.
    """

    graph: str
    labels: tuple[str, ...]
    evaluation: Evaluation
    misclassified: tuple[Misclassified, ...]
    skipped: tuple[tuple[str, str], ...]
    trained: int | None = None
    unseen: GraphAccuracy | None = None

    @property
    def measured(self) -> GraphAccuracy | None:
        """The figures on images that are not known to have trained the graph; None without any."""
        if not self.trained:
            return self
        return self.unseen

    @property
    def accuracy(self) -> float:
        """The proportion of right predictions, 0 to 1."""
        return self.evaluation.accuracy or 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the accuracy, each end 0 to 1."""
        return self.evaluation.interval or (0.0, 1.0)

    @property
    def confusion(self) -> ConfusionMatrix:
        """Which labels were predicted for which, with the names of the labels."""
        return replace(self.evaluation.confusion, labels=self.labels)

    def to_frame(self) -> Any:
        """Return a pandas.DataFrame with one row per label: images, precision, recall, F1 ...

        Raises:
            OutputError: pandas is not installed.
        """
        figures = self._figures()["labels"]
        columns = ("images", "predicted", "precision", "recall", "f1")
        return data_frame(
            {name: [row[name] for row in figures.values()] for name in columns}, list(figures)
        )

    def plot(self) -> Any:
        """Return the confusion matrix as a matplotlib Figure.

        Raises:
            OutputError: matplotlib is not installed.
        """
        return self.confusion.plot()

    def __repr__(self) -> str:
        return f"<GraphAccuracy of {self.graph}: {self._sentence()}>"

    def _repr_html_(self) -> str:
        shown = self.measured or self
        rows = [
            (label, each.count, *map(_percent, (each.precision, each.recall, each.f1)))
            for label, each in zip(shown.labels, shown.evaluation.labels, strict=True)
        ]
        head = ("label", "images", "precision", "recall", "F1")
        end = shown.confusion._repr_html_()
        return block(f"{self.graph}: {self._sentence()}", rows[:ROWS_SHOWN], head, end)

    def _sentence(self) -> str:
        """Return the accuracy on images that did not train the graph, where that is known."""
        count, shown = self.evaluation.count, self.measured
        if shown is None:
            return f"all {count} images trained it ({percent(self.accuracy)} right)"
        low, high = shown.interval
        what = f"accuracy {percent(shown.accuracy)} (N={shown.evaluation.count}, 95% interval "
        said = f"{what}{percent(low)} to {percent(high)})"
        return f"{said} without the {self.trained} images that trained it" if self.trained else said

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as JSON can hold them.

        "trained" and "unseen" are None where it is unknown which images trained the graph.
        """
        measured = self.measured
        unseen = {"accuracy": None, "count": 0, "interval": None}
        return {
            "graph": self.graph,
            **self._figures(),
            "misclassified": [vars(wrong) for wrong in self.misclassified],
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
            "trained": None if self.trained is None else {"count": self.trained},
            "unseen": None
            if self.trained is None
            else (unseen if measured is None else measured._figures()),
        }

    def _figures(self) -> dict[str, Any]:
        evaluation = self.evaluation
        labels: dict[str, dict[str, Any]] = {}
        for label, figures in zip(self.labels, evaluation.labels, strict=True):
            labels[label] = {"images": figures.count, "predicted": figures.predicted}
            for name in ("precision", "recall", "f1"):
                proportion: Proportion | None = getattr(figures, name)
                labels[label][name] = None if proportion is None else proportion.value
                labels[label][f"{name}_interval"] = proportion and [proportion.low, proportion.high]
        return {
            "accuracy": self.accuracy,
            "count": evaluation.count,
            "interval": list(evaluation.interval or ()),
            "labels": labels,
            **evaluation.confusion.to_dict(),
        }


def _percent(proportion: Proportion | None) -> str:
    return percent(None if proportion is None else proportion.value)


@dataclass(frozen=True)
class Answer:
    """What one graph says of an image.

    Attributes:
        label: that it predicts.
        score: of that label.
        right: whether that is so.
    """

    label: str
    score: float
    right: bool


@dataclass(frozen=True)
class ImagePrediction:
    """What a graph predicted for one image.

    Attributes:
        label: number of the best label; None where the image could not be labelled.
        score: of that label.
        true_score: of the image's true label.
        error: why there is no label.
    """

    label: int | None
    score: float = 0.0
    true_score: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class GraphPredictions:
    """What a graph predicted for the images of a folder; lists in the folder's order.

    Attributes:
        classifier: the graph.
        truth: number of each image's label in the graph.
        predictions: of each image.
        trained: whether each image trained the graph; None where that is unknown.
    """

    classifier: Classifier
    truth: list[int]
    predictions: list[ImagePrediction]
    trained: list[bool] | None

    def answer(self, row: int) -> Answer | None:
        """Return what was predicted for an image; None where it could not be labelled."""
        found = self.predictions[row]
        if found.label is None:
            return None
        label = self.classifier.labels[found.label]
        return Answer(label, found.score, found.label == self.truth[row])


class LabelledFolder:
    """The images of ``image_dir/LABEL/...``, of its test split, or of a manifest.

    A folder belongs to the label of its own name, or of the name that retrain makes of it.

    Args:
        source: a folder or an archive, or what `images_to_evaluate` returned.

    Attributes:
        images: sorted by name.
        source: path of the folder or the manifest.

    Raises:
        DataError: the folder cannot be used.
    """

    def __init__(self, source: Path | Dataset) -> None:
        dataset = source if isinstance(source, Dataset) else images_to_evaluate(source)
        self._dataset = dataset
        self.source = dataset.source
        self.images: tuple[ImageFile, ...] = dataset.images
        # SHA-256 of each image; None where it was not needed yet.
        self._contents: list[str | None] = [None] * len(self.images)

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
                    f"{self._described(folder)} belongs to none of the labels of "
                    f"{classifier.graph} ({known}); rename it or move it away"
                )
            found[folder] = number
        return [found[image.folder] for image in self.images]

    def _described(self, folder: str) -> str:
        """Return what a label is called in messages: its folder, or its name in a manifest."""
        source = self._dataset.source
        if self._dataset.split_by == "manifest" or not Path(source).is_dir():
            return f"the label {folder!r} in {source}"
        image = next(image for image in self.images if image.folder == folder)
        above = image.name.partition("/")[0] if self._dataset.split_by == "folders" else ""
        return f"the folder {Path(source, above, folder)}"

    def ask(
        self,
        classifier: Classifier,
        truth: Sequence[int],
        stage: str,
        progress: Progress | None = None,
    ) -> GraphPredictions:
        """Return what a graph predicts for each image.

        Args:
            classifier: see `tlcli.core.classifier.classifier.load`.
            truth: what `truth` returns for it.
            stage: what ``progress`` is called with, before done and total.
            progress: called after each image.

        Raises:
            DataError: no image could be labelled.
            GraphError: the graph cannot be run.
        """
        card = classifier.card
        training = None if card is None else TrainingImages.from_card(card.training_images)
        predictions: list[ImagePrediction] = []
        scored = classifier.probabilities(str(image.path) for image in self.images)
        for row, (right, (path, scores, error)) in enumerate(zip(truth, scored, strict=True)):
            if scores is None:
                predictions.append(ImagePrediction(None, error=error or ""))
                _log.warning("%s is left out: %s", path, error)
            else:
                best = int(np.argmax(scores))
                given, true = (float(str(scores[number])) for number in (best, right))
                predictions.append(ImagePrediction(best, given, true))
                if training is not None:
                    self._hash(row)
            if progress is not None:
                progress(stage, row + 1, len(self.images))
        if all(prediction.label is None for prediction in predictions):
            raise DataError(
                f"no image of {self._dataset.source} could be read; the first: "
                f"{predictions[0].error}"
            )
        trained = None if training is None else training.contain(self._contents)
        return GraphPredictions(classifier, list(truth), predictions, trained)

    def _hash(self, row: int) -> None:
        """Hash an image that was read a moment ago, so that it comes from the system's memory."""
        path = self.images[row].path
        if self._contents[row] is None and path is not None:
            with contextlib.suppress(ImageError):  # removed since
                self._contents[row], _ = hash_file(path)


def summarise(
    found: GraphPredictions, images: Sequence[ImageFile], rows: Sequence[int] | None = None
) -> GraphAccuracy:
    """Return the accuracy of predictions; images without one are not counted.

    Args:
        found: the predictions.
        images: of the folder.
        rows: those to count; None: all.
    """
    rows = range(len(images)) if rows is None else rows
    accuracy = _summary(found, images, rows)
    if found.trained is None:
        return accuracy
    trained = {row for row in rows if found.trained[row] and found.answer(row) is not None}
    unseen = None
    if 0 < len(trained) < accuracy.evaluation.count:
        unseen = _summary(found, images, [row for row in rows if row not in trained])
    return replace(accuracy, trained=len(trained), unseen=unseen)


def _summary(
    found: GraphPredictions, images: Sequence[ImageFile], rows: Sequence[int]
) -> GraphAccuracy:
    names = found.classifier.labels
    predicted: list[int] = []
    wanted: list[int] = []
    wrong: list[Misclassified] = []
    skipped: list[tuple[str, str]] = []
    for row in rows:
        path, right, prediction = str(images[row].path), found.truth[row], found.predictions[row]
        if prediction.label is None:
            skipped.append((path, prediction.error))
            continue
        predicted.append(prediction.label)
        wanted.append(right)
        if prediction.label != right:
            wrong.append(
                Misclassified(
                    *(path, names[right], names[prediction.label]),
                    *(prediction.score, prediction.true_score),
                    None if found.trained is None else found.trained[row],
                )
            )
    return GraphAccuracy(
        graph=str(found.classifier.graph),
        labels=names,
        evaluation=evaluate(predicted, wanted, len(names)),
        misclassified=tuple(wrong),
        skipped=tuple(skipped),
    )


def measure_accuracy(
    classifier: Classifier, image_dir: Path | Dataset, progress: Progress | None = None
) -> GraphAccuracy:
    """Label all images of ``image_dir/LABEL/...`` and compare.

    Args:
        classifier: see `tlcli.core.classifier.classifier.load`.
        image_dir: folder of folders, or what `images_to_evaluate` returned.
        progress: called with ("images", done, total).

    Raises:
        DataError: the folder cannot be used, a label's folder has no label in the graph, or
            no image could be read.
        GraphError: the graph cannot be run.
    """
    folder = LabelledFolder(image_dir)
    found = folder.ask(classifier, folder.truth(classifier), "images", progress)
    return summarise(found, folder.images)
