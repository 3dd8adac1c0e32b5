"""The images of labelled folders, and what a graph says of them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlcli.core.classifier.classifier import Classifier
from tlcli.core.data.content_hashes import hash_file
from tlcli.core.data.held_out import images_to_evaluate
from tlcli.core.data.image_files import NamedBytes, NoImage
from tlcli.core.data.image_folder import Dataset, label_from_folder
from tlcli.core.data.image_list import ImageFile
from tlcli.core.evaluation.training_images import TrainingImages
from tlcli.errors import DataError, ImageError, StorageError
from tlcli.progress import Progress
from tlcli.storage.ahead import read_ahead
from tlcli.storage.locations import is_url, shown
from tlcli.system.digests import sha256_bytes

_log = logging.getLogger("tlcli")


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
        unknown: it is like no training image, where the graph was asked for that.
    """

    label: int | None
    score: float = 0.0
    true_score: float = 0.0
    error: str = ""
    unknown: bool = False


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


def label_numbers(
    classifier: Classifier, names: Iterable[str], described: Callable[[str], str]
) -> dict[str, int]:
    """Return the number in a graph of each name of a folder or a label.

    Args:
        classifier: the graph.
        names: as written, or as retrain makes labels of folders.
        described: returns what a name is called in messages.

    Raises:
        DataError: a name has no label in the graph.
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
    for name in sorted(names):
        number = exact.get(name, plain.get(label_from_folder(name)))
        if number is None:
            known = ", ".join(labels[:10]) + (", ..." if len(labels) > 10 else "")
            raise DataError(
                f"{described(name)} belongs to none of the labels of "
                f"{classifier.graph} ({known}); rename it or move it away"
            )
        found[name] = number
    return found


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
        self.images: Sequence[ImageFile] = dataset.images
        # SHA-256 of each image; None where it was not needed yet.
        self._contents: list[str | None] = [None] * len(self.images)

    def truth(self, classifier: Classifier) -> list[int]:
        """Return the number of each image's label in a graph.

        Raises:
            DataError: a folder has no label in the graph.
        """
        found = label_numbers(classifier, {image.folder for image in self.images}, self._described)
        return [found[image.folder] for image in self.images]

    def _described(self, folder: str) -> str:
        """Return what a label is called in messages: its folder, or its name in a manifest."""
        source = self._dataset.source
        if self._dataset.split_by == "manifest" or not (is_url(source) or Path(source).is_dir()):
            return f"the label {folder!r} in {source}"
        image = next(image for image in self.images if image.folder == folder)
        above = image.name.partition("/")[0] if self._dataset.split_by == "folders" else ""
        return f"the folder {shown(Path(source, above, folder))}"

    def ask(
        self,
        classifier: Classifier,
        truth: Sequence[int],
        stage: str,
        progress: Progress | None = None,
    ) -> GraphPredictions:
        """Return what `predict` returns, where that is anything at all.

        Raises:
            DataError: no image could be labelled.
            GraphError: the graph cannot be run.
        """
        found = self.predict(classifier, truth, stage, progress)
        if all(prediction.label is None for prediction in found.predictions):
            raise DataError(
                f"no image of {self._dataset.source} could be read; the first: "
                f"{found.predictions[0].error}"
            )
        return found

    def predict(
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
            GraphError: the graph cannot be run.
        """
        card = classifier.card
        training = None if card is None else TrainingImages.from_card(card.training_images)
        predictions: list[ImagePrediction] = []
        scored = classifier.rows(self._sources(hashes=training is not None))
        reader, count = classifier.unknown, len(classifier.labels)
        for row, (right, (path, scores, error)) in enumerate(zip(truth, scored, strict=True)):
            if scores is None:
                predictions.append(ImagePrediction(None, error=error or ""))
                _log.warning("%s is left out: %s", path, error)
            else:
                best = int(np.argmax(scores[:count]))
                given, true = (float(str(scores[number])) for number in (best, right))
                unknown = reader is not None and reader.outcome(scores).is_unknown
                predictions.append(ImagePrediction(best, given, true, unknown=unknown))
                if training is not None:
                    self._hash(row)
            if progress is not None:
                progress(stage, row + 1, len(self.images))
        trained = None if training is None else training.contain(self._contents)
        return GraphPredictions(classifier, list(truth), predictions, trained)

    def _sources(self, *, hashes: bool) -> Iterator[str | bytes]:
        """Yield what is read of each image; an object that is hashed too is fetched here, once."""
        files = [str(image.path) if image.file is None else image.file for image in self.images]
        if not hashes:
            yield from files
            return
        wanted = read_ahead(enumerate(files), lambda each: each[1] if is_url(each[1]) else None)
        for (row, file), content in wanted:
            if content is None:
                yield file
            elif isinstance(content, StorageError):
                yield NoImage(shown(file), content.reason)
            else:
                self._contents[row] = sha256_bytes(content)
                yield NamedBytes(content, shown(file))

    def _hash(self, row: int) -> None:
        """Hash an image that was read a moment ago, so that it comes from the system's memory."""
        path = self.images[row].path
        if self._contents[row] is None and path is not None:
            with contextlib.suppress(ImageError):  # removed since
                self._contents[row], _ = hash_file(path)
