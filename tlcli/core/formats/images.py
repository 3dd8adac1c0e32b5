"""The images that exported files are calibrated on and compared with the graph on."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Array
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.data.content_hashes import hash_files
from tlcli.core.data.image_folder import Dataset
from tlcli.core.data.image_list import ImageFile
from tlcli.core.data.label_sets import label_sets, labels_in, merged_copies, names_in
from tlcli.core.data.splits import assign_splits, hash_percentage, split_of
from tlcli.core.evaluation.labelled_folder import label_numbers
from tlcli.core.images.decoding import Source
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import DataError, ImageError
from tlcli.storage.locations import is_url
from tlcli.storage.objects import read

CALIBRATION_IMAGES = 200
"""How many training images show an 8-bit file which values occur."""
_LARGEST_BYTES = 256 << 20
_GENERATED = 8

Truth = npt.NDArray[Any]
"""Index of each image's label, int64 [N], or which labels it has, bool [N, L]."""


@dataclass(frozen=True)
class LabelledImages:
    """Image files and what they show.

    Attributes:
        files: paths or addresses, N of them.
        truth: of each.
    """

    files: Sequence[str] = ()
    truth: Truth = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class ExportImages:
    """The images of an export by what they are for.

    Attributes:
        training: files that a calibration may use.
        validation: decide whether an inexact file is accepted.
        test: the figures of all files are of these.
    """

    training: Sequence[str] = ()
    validation: LabelledImages = field(default_factory=LabelledImages)
    test: LabelledImages = field(default_factory=LabelledImages)


def divided(classifier: Classifier, dataset: Dataset, merges: bool = False) -> ExportImages:
    """Return labelled images by the splits that `tlcli retrain` gives them.

    The percentages are those of the graph's model card, where it has one, else the defaults.

    Args:
        classifier: whose labels they have.
        dataset: of a folder or a manifest.
        merges: with several labels per image, one that lies in several folders has them all.

    Raises:
        DataError: a label is none of the graph's.
    """
    several = classifier.thresholds is not None
    contents = _contents(dataset.images)
    if several and merges:
        dataset, contents = merged_copies(dataset, contents)
    images = list(dataset.images)
    texts = [image.label for image in images]
    names = names_in(texts) if several else set(texts)
    numbers = label_numbers(
        classifier, names, lambda name: f"the label {name!r} in {dataset.source}"
    )
    splits = [image.split for image in images]
    if None in splits:
        split_names = [image.name for image in images]
        sets = label_sets(texts) if several else texts
        percentages = _percentages(classifier)
        try:
            splits = list(assign_splits(split_names, sets, contents, *percentages))
        except DataError:  # too few images of a label for a training, but not for a comparison
            splits = [split_of(hash_percentage(name), *percentages) for name in split_names]
    if several:
        truth: Truth = np.zeros((len(images), len(classifier.labels)), np.bool_)
        for row, text in enumerate(texts):
            truth[row, [numbers[name] for name in labels_in(text)]] = True
    else:
        truth = np.array([numbers[text] for text in texts], np.int64)
    files = [str(image.path) if image.file is None else image.file for image in images]

    def part(split: str) -> LabelledImages:
        rows = [row for row, each in enumerate(splits) if each == split]
        return LabelledImages([files[row] for row in rows], truth[rows])

    return ExportImages(part("training").files, part("validation"), part("testing"))


def _contents(images: Sequence[ImageFile]) -> list[str | None]:
    """Return the SHA-256 of each file; None of objects in buckets and of what cannot be read."""
    here = [image.path for image in images if image.path is not None and not is_url(image.path)]
    keys = [str(path) for path in here]
    found = dict(zip(keys, hash_files(here, {}, keys, {}), strict=True))
    hashes = [found.get(str(image.path)) for image in images]
    return [each if isinstance(each, str) else None for each in hashes]


def _percentages(classifier: Classifier) -> tuple[float, float]:
    """Return the testing and the validation percentage."""
    options = {} if classifier.card is None else classifier.card.training
    found = [options.get(f"{split}_percentage", 10) for split in ("testing", "validation")]
    return float(found[0]), float(found[1])


class PixelSet:
    """Decoded images in memory, as many of those given as it holds.

    Args:
        images: the files.
        preprocessing: makes pixels of them.

    Attributes:
        pixels: [height, width, channels] of each image that could be read.
        truth: of these.
        left_out: images beyond what the memory holds.
    """

    def __init__(self, images: LabelledImages, preprocessing: Preprocessing) -> None:
        one = preprocessing.height * preprocessing.width * 3
        most = max(1, _LARGEST_BYTES // one)
        rows = list(range(len(images.files)))
        if len(rows) > most:
            rows = sorted(random.Random(0).sample(rows, most))
        self.left_out = len(images.files) - len(rows)
        self.pixels: list[Array] = []
        kept = []
        for row in rows:
            try:
                self.pixels.append(preprocessing.read(source_of(images.files[row])))
                kept.append(row)
            except ImageError:  # named when the graph was trained
                continue
        self.truth: Truth = images.truth[kept]

    def __len__(self) -> int:
        return len(self.pixels)


def source_of(file: str) -> Source:
    """Return what is read of an image: its path, or the content of an object in a bucket."""
    return read(file) if is_url(file) else file


def generated(preprocessing: Preprocessing) -> PixelSet:
    """Return a few images of smooth colours for where there are no others, without truth."""
    from tlcli.core.export.tflite import smooth_images

    found = PixelSet(LabelledImages(), preprocessing)
    images = smooth_images(_GENERATED, preprocessing.height, preprocessing.width)
    found.pixels = [np.rint(image * 255).astype(np.uint8) for image in images]
    return found


def calibration_batches(
    files: Sequence[str], preprocessing: Preprocessing, count: int = CALIBRATION_IMAGES
) -> Iterator[Array]:
    """Yield up to ``count`` images float32 [1, height, width, 3] as the network takes them.

    The same files give the same images every time.
    """
    chosen = list(files)
    random.Random(0).shuffle(chosen)
    for file in chosen[:count]:
        try:
            pixels = preprocessing.read(source_of(file))
        except ImageError:
            continue
        yield preprocessing.scale(preprocessing.arrange(pixels)[None])
