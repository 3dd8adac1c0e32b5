"""How often a graph is right on a folder of labelled images."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.arrays import Doubles, Indices
from tlcli.core.calibration.reliability import Reliability, reliability
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.data.image_folder import Dataset
from tlcli.core.data.image_list import ImageFile
from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.core.evaluation.label_averages import AveragesByName, LabelAverages, label_averages
from tlcli.core.evaluation.labelled_folder import GraphPredictions, LabelledFolder
from tlcli.core.evaluation.metrics import (
    Bools,
    Evaluation,
    Proportion,
    evaluate,
)
from tlcli.notebook import ROWS_SHOWN, block, data_frame, percent
from tlcli.progress import Progress


@dataclass(frozen=True)
class UnknownFound:
    """How many images of other subjects a graph calls unknown.

    Attributes:
        found: proportion of them that it does.
        count: how many could be read.
        skipped: how many could not.
    """

    found: Proportion
    count: int
    skipped: int


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
class GraphAccuracy(AveragesByName):
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
        reliability: how often predictions are right by their score; None where scores are no
            probabilities.
        rejected: how many of the counted images it calls unknown; None where that was not asked.
        unknown: how many of other images it calls unknown; None where there were none.
    """

    graph: str
    labels: tuple[str, ...]
    evaluation: Evaluation
    misclassified: tuple[Misclassified, ...]
    skipped: tuple[tuple[str, str], ...]
    trained: int | None = None
    unseen: GraphAccuracy | None = None
    reliability: Reliability | None = None
    rejected: int | None = None
    unknown: UnknownFound | None = None

    @property
    def measured(self) -> GraphAccuracy | None:
        """The figures on images that are not known to have trained the graph; None without any."""
        if not self.trained:
            return self
        return self.unseen

    @property
    def false_rejects(self) -> Proportion | None:
        """The proportion of images that it calls unknown; None where that was not asked."""
        if self.rejected is None:
            return None
        return Proportion.of(self.rejected, self.evaluation.count)

    @property
    def accuracy(self) -> float:
        """The proportion of right predictions, 0 to 1."""
        return self.evaluation.accuracy or 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the accuracy, each end 0 to 1."""
        return self.evaluation.interval or (0.0, 1.0)

    @functools.cached_property
    def averages(self) -> LabelAverages:
        """Macro F1 and balanced accuracy, in which every label counts alike."""
        return label_averages(self.evaluation)

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
            **self._unknown(),
            "misclassified": [vars(wrong) for wrong in self.misclassified],
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
            "trained": None if self.trained is None else {"count": self.trained},
            "unseen": None
            if self.trained is None
            else (unseen if measured is None else measured._figures()),
        }

    def _unknown(self) -> dict[str, Any]:
        """Return how many images are called unknown, where that was asked."""
        if self.unknown is None:
            return {}
        measured = self.measured
        rejects = None if measured is None else measured.false_rejects
        return {
            "unknown": {
                "found": vars(self.unknown.found),
                "count": self.unknown.count,
                "skipped": self.unknown.skipped,
                "false_rejects": None if rejects is None else vars(rejects),
                "false_rejects_count": 0 if measured is None else measured.evaluation.count,
            }
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
            **self.averages.to_dict(),
            "calibration": self.reliability
            and {"error": self.reliability.error, "by_chance": self.reliability.chance},
            "labels": labels,
            **evaluation.confusion.to_dict(),
        }


def _percent(proportion: Proportion | None) -> str:
    return percent(None if proportion is None else proportion.value)


@dataclass(frozen=True)
class Outcomes:
    """What a graph predicted for some images; small, so that it may come from another machine.

    Attributes:
        predicted: numbers of the labels of N images that could be read, [N].
        truth: numbers of their true labels, [N].
        trained: whether each of them trained the graph, [N]; None where that is unknown.
        misclassified: those of them that are wrong.
        skipped: (path, reason) of the other images.
        scores: of the predicted labels, [N].
        rejected: whether each is called unknown, [N]; None where that was not asked.
    """

    predicted: Indices
    truth: Indices
    trained: Bools | None
    misclassified: tuple[Misclassified, ...]
    skipped: tuple[tuple[str, str], ...]
    scores: Doubles
    rejected: Bools | None = None


def outcomes(
    found: GraphPredictions, images: Sequence[ImageFile], rows: Iterable[int] | None = None
) -> Outcomes:
    """Return the outcomes of predictions.

    Args:
        found: the predictions.
        images: of the folder.
        rows: those to count; None: all.
    """
    names = found.classifier.labels
    counted_rows: list[int] = []
    wrong: list[Misclassified] = []
    skipped: list[tuple[str, str]] = []
    for row in range(len(images)) if rows is None else rows:
        path, right, prediction = images[row].shown, found.truth[row], found.predictions[row]
        if prediction.label is None:
            skipped.append((path, prediction.error))
            continue
        counted_rows.append(row)
        if prediction.label != right:
            wrong.append(
                Misclassified(
                    *(path, names[right], names[prediction.label]),
                    *(prediction.score, prediction.true_score),
                    None if found.trained is None else found.trained[row],
                )
            )
    return Outcomes(
        np.array([found.predictions[row].label for row in counted_rows], np.intp),
        np.array([found.truth[row] for row in counted_rows], np.intp),
        None
        if found.trained is None
        else np.array([found.trained[row] for row in counted_rows], np.bool_),
        tuple(wrong),
        tuple(skipped),
        np.array([found.predictions[row].score for row in counted_rows], np.float64),
        None
        if found.classifier.unknown is None
        else np.array([found.predictions[row].unknown for row in counted_rows], np.bool_),
    )


def accuracy_of(classifier: Classifier, parts: Sequence[Outcomes]) -> GraphAccuracy:
    """Return the accuracy of a graph on the images of several outcomes, in their order.

    Args:
        classifier: the graph.
        parts: at least one.
    """
    predicted, truth, scores = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("predicted", "truth", "scores")
    )
    whole = Outcomes(
        predicted,
        truth,
        None,
        tuple(chain.from_iterable(part.misclassified for part in parts)),
        tuple(chain.from_iterable(part.skipped for part in parts)),
        scores,
        _joined([part.rejected for part in parts]),
    )
    accuracy = _accuracy(classifier, whole)
    known = [part.trained for part in parts if part.trained is not None]
    if len(known) < len(parts):
        return accuracy
    trained = np.concatenate(known)
    unseen = None
    if 0 < trained.sum() < len(trained):
        others = tuple(each for each in whole.misclassified if not each.trained)
        rejected = None if whole.rejected is None else whole.rejected[~trained]
        rest = Outcomes(
            *(predicted[~trained], truth[~trained], None, others, whole.skipped),
            *(scores[~trained], rejected),
        )
        unseen = _accuracy(classifier, rest)
    return replace(accuracy, trained=int(trained.sum()), unseen=unseen)


def _joined(parts: Sequence[Bools | None]) -> Bools | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def _accuracy(classifier: Classifier, found: Outcomes) -> GraphAccuracy:
    return GraphAccuracy(
        graph=str(classifier.graph),
        labels=classifier.labels,
        evaluation=evaluate(found.predicted, found.truth, len(classifier.labels)),
        misclassified=found.misclassified,
        skipped=found.skipped,
        reliability=_reliability(found),
        rejected=None if found.rejected is None else int(found.rejected.sum()),
    )


def _reliability(found: Outcomes) -> Reliability | None:
    if not ((found.scores >= 0) & (found.scores <= 1)).all():  # a graph without a softmax
        return None
    return reliability(found.scores, found.predicted == found.truth)


def summarise(
    found: GraphPredictions, images: Sequence[ImageFile], rows: Iterable[int] | None = None
) -> GraphAccuracy:
    """Return the accuracy of predictions, with the arguments of `outcomes`."""
    return accuracy_of(found.classifier, [outcomes(found, images, rows)])


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
