"""The accuracy of a graph, of which the machines of a cluster measure pieces."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tlcli.commands.machines.model import Model
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.data.image_folder import Dataset
from tlcli.core.data.image_list import ImageFile
from tlcli.core.evaluation.graph_accuracy import GraphAccuracy, Outcomes, accuracy_of, outcomes
from tlcli.core.evaluation.labelled_folder import LabelledFolder
from tlcli.errors import DataError
from tlcli.progress import Progress
from tlcli.runners.machines import Machines
from tlcli.shards.set_aside import SetAside, listed

_log = logging.getLogger("tlcli")

# Seconds of work for one core; a result is a few bytes for each image.
_PIECE = 256


@dataclass(frozen=True)
class Piece:
    """Some images that follow one another.

    Attributes:
        number: of the piece, from 0.
        images: at least one.
    """

    number: int
    images: tuple[ImageFile, ...]


class Evaluator:
    """Compares the predictions of a graph with the labels of images.

    Args:
        classifier: the graph, loaded once.
        dataset: that the images belong to, without them.
    """

    def __init__(self, classifier: Classifier, dataset: Dataset) -> None:
        self._classifier, self._dataset = classifier, dataset

    def __call__(self, piece: Piece) -> Outcomes:
        """Return the outcomes of a piece.

        Raises:
            GraphError: the graph cannot be run.
        """
        folder = LabelledFolder(replace(self._dataset, images=piece.images))
        truth = folder.truth(self._classifier)
        return outcomes(folder.predict(self._classifier, truth, "images"), piece.images)


def make_evaluator(model: Model, dataset: Dataset) -> Evaluator:
    """Return what evaluates pieces in a process of a cluster."""
    return Evaluator(model.load(), dataset)


def measure_on(
    machines: Machines,
    model: Model,
    classifier: Classifier,
    dataset: Dataset,
    progress: Progress | None = None,
) -> GraphAccuracy:
    """Return what `measure_accuracy` returns.

    Args:
        machines: who labels the images.
        model: the graph.
        classifier: the same, loaded here.
        dataset: the labelled images.
        progress: called with ("images", done, total).

    Raises:
        DataError: a label's folder has no label in the graph, no image could be read, or a piece
            failed each time.
        TlcliError: the cluster cannot be used.
    """
    LabelledFolder(dataset).truth(classifier)
    make = functools.partial(make_evaluator, model, replace(dataset, images=()))
    parts: dict[int, Outcomes] = {}
    set_aside: list[SetAside] = []
    done = 0
    for finished in machines.run(make, _pieces(dataset.images)):
        piece, value = finished.item, finished.value
        done += len(piece.images)
        if value is None:
            ends = piece.images[0].shown, piece.images[-1].shown
            found = SetAside(piece.number, *ends, len(piece.images), finished.reason)
            set_aside.append(found)
        else:
            parts[piece.number] = value
            for path, reason in value.skipped:
                _log.warning("%s is left out: %s", path, reason)
        if progress is not None:
            progress("images", done, len(dataset.images))
    if set_aside:
        for line in listed(sorted(set_aside, key=lambda each: each.shard)):
            _log.error("%s", line)
        raise DataError(
            f"{len(set_aside)} of {len(parts) + len(set_aside)} pieces could not be evaluated, as "
            "listed above; run the command again once the cause is removed"
        )
    ordered = [parts[number] for number in sorted(parts)]
    if not any(len(part.predicted) for part in ordered):
        raise DataError(
            f"no image of {dataset.source} could be read; the first: {ordered[0].skipped[0][1]}"
        )
    return accuracy_of(classifier, ordered)


def _pieces(images: Sequence[ImageFile]) -> Iterator[Piece]:
    for number, start in enumerate(range(0, len(images), _PIECE)):
        yield Piece(number, tuple(images[start : start + _PIECE]))
