"""Several labels of one image: as text, as sets, and as a matrix of marks.

In a list of images, several labels are one text: "garden|pool", sorted; "" for an image of none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tlcli.core.data.image_folder import Dataset
from tlcli.core.data.image_list import ImageFile
from tlcli.core.data.splits import sort_key
from tlcli.errors import DataError

SEPARATOR = "|"


def join_labels(labels: Iterable[str]) -> str:
    """Return labels as one text, each once, in the order of names."""
    return SEPARATOR.join(sorted(set(labels), key=lambda label: (sort_key(label), label)))


def labels_in(text: str) -> tuple[str, ...]:
    """Return the labels of a text that `join_labels` returned."""
    return tuple(text.split(SEPARATOR)) if text else ()


def names_in(texts: Iterable[str]) -> set[str]:
    """Return all labels of some texts."""
    return {label for text in set(texts) for label in labels_in(text)}


def label_sets(texts: Iterable[str]) -> list[frozenset[str]]:
    """Return the labels of each text; equal texts share one set."""
    known: dict[str, frozenset[str]] = {}
    return [known.setdefault(text, frozenset(labels_in(text))) for text in texts]


def label_marks(texts: Sequence[str], labels: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which image has which label, bool [N, L].

    Args:
        texts: of N images.
        labels: L of them; all labels of the texts.
    """
    index = {label: position for position, label in enumerate(labels)}
    marks = np.zeros((len(texts), len(labels)), np.bool_)
    for row, found in enumerate(label_sets(texts)):
        for label in found:
            marks[row, index[label]] = True
    return marks


def check_folder_labels(dataset: Dataset) -> None:
    """Check that no label of a folder reads as several.

    Raises:
        DataError: one does.
    """
    for label in dataset.labels:
        if SEPARATOR in label:
            raise DataError(
                f"the label {label!r} has a {SEPARATOR!r}, which separates labels; rename its "
                "folder, or leave --keep_label_names out"
            )


def merged_copies(
    dataset: Dataset, contents: Sequence[str | None]
) -> tuple[Dataset, list[str | None]]:
    """Return each image once: one that lies in several folders has the labels of all of them.

    Args:
        dataset: of folders.
        contents: SHA-256 of each image; None: unknown, and no copy of any other.

    Returns:
        The first of the images with equal content in one given split, and their contents.
    """
    first: dict[tuple[str, str | None], int] = {}
    images: list[ImageFile] = []
    kept: list[str | None] = []
    labels: list[set[str]] = []
    for image, content in zip(dataset.images, contents, strict=True):
        row = len(images)
        if content is not None:
            row = first.setdefault((content, image.split), row)
        if row == len(images):
            images.append(image)
            kept.append(content)
            labels.append(set())
        labels[row] |= set(labels_in(image.label))
    texts = [join_labels(each) for each in labels]
    merged = [
        image if image.label == text else replace(image, label=text)
        for image, text in zip(images, texts, strict=True)
    ]
    return replace(dataset, images=merged), kept
