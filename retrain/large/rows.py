"""The matrix of a run's vectors: in memory or in a file, and in which order it is filled.

Both give the same bytes of a graph. In a file the rows are written where they stay, since sorting
them later would read and write the whole file once more.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from retrain.arguments.options import RetrainOptions
from retrain.sources import divide
from tlcli.arrays import Floats
from tlcli.core.data.image_folder import Dataset
from tlcli.core.data.splits import SPLITS
from tlcli.errors import DataError, UsageError
from tlcli.system.mapped_arrays import is_mapped, mapped_zeros
from tlcli.system.memory import usable_memory
from tlcli.text import byte_size

if TYPE_CHECKING:
    from tlcli.backbone import Backbone
    from tlcli.core.bottlenecks.cache import BottleneckStore
    from tlcli.core.bottlenecks.vector_store import Allocate

logger = logging.getLogger("tlcli")

PART_OF_MEMORY = 0.5
"""Vectors, their views and a scaled copy of them are in memory up to this part of what is free."""


def allocator(
    options: RetrainOptions, backbone: Backbone, images: int, store: BottleneckStore
) -> Allocate:
    """Return what makes the matrices of a run's vectors: in memory where they fit, else in files.

    Args:
        options: say whether there are views.
        backbone: of the vectors.
        images: how many have a vector.
        store: whose folder the files are in.

    Raises:
        BackboneError: the backbone has to be loaded for the size of its vectors, and cannot be.
    """
    from tlcli.core.bottlenecks.vector_store import in_memory, vector_size

    usable = usable_memory()
    if usable is None or not images:
        return in_memory
    copies = 1 + (options.distortion_views if options.distorts else 0)
    if len(backbone.blocks) > 1:
        copies *= 2
    needed = 4 * images * vector_size(backbone, store) * copies
    if needed <= PART_OF_MEMORY * usable:
        return in_memory
    logger.info(
        "The vectors take %s, more than half of the free memory (%s): they are read from a "
        "temporary file in %s",
        *(byte_size(needed), byte_size(usable), store.folder),
    )
    return functools.partial(mapped_zeros, folder=store.folder)


def final_order(
    options: RetrainOptions,
    dataset: Dataset,
    numbers: Sequence[int],
    contents: Sequence[str | None],
) -> list[int]:
    """Return the numbers of images in the order that their vectors will have, split by split.

    Args:
        options: have the percentages.
        dataset: the images.
        numbers: of images in the dataset, rising.
        contents: SHA-256 of all images, None where unknown.
    """
    try:
        splits, _ = divide(
            options,
            dataset,
            [dataset.images[number] for number in numbers],
            [contents[number] for number in numbers],
        )
    except DataError:  # it is raised again once it is known which images have vectors
        return list(numbers)
    return [
        number
        for split in (*SPLITS, "")
        for number, own in zip(numbers, splits, strict=True)
        if own == split
    ]


def take_rows(matrix: Floats, rows: npt.NDArray[np.int64]) -> Floats:
    """Return ``matrix[rows]`` in the matrix's own memory, which it overwrites.

    Row by row, so that a matrix of gigabytes needs no second one.

    Args:
        matrix: [M, D].
        rows: different rows of it, [N]; N is at most M.
    """
    source: list[int] = rows.tolist()
    waits = np.asarray(rows != np.arange(len(rows)))
    is_needed = np.zeros(len(matrix), np.bool_)
    is_needed[rows] = True
    # First chains, from a row that no other place needs, then circles.
    free = np.flatnonzero(~is_needed[: len(rows)]).tolist()
    kept = np.empty_like(matrix[:1])
    for start in (*free, *np.flatnonzero(waits).tolist()):
        if not waits[start]:
            continue
        kept[0] = matrix[start]
        place, follows = start, source[start]
        while follows != start:
            matrix[place] = matrix[follows]
            waits[place] = False
            if follows >= len(rows):
                break
            place, follows = follows, source[follows]
        else:
            matrix[place] = kept[0]
            waits[place] = False
    return matrix[: len(rows)]


def check_large(options: RetrainOptions, vectors: Floats) -> None:
    """Refuse what needs all vectors in memory where they are in a file.

    Raises:
        UsageError: an option asks for it.
    """
    if not is_mapped(vectors):
        return
    why = "and the vectors of this run are larger than the memory"
    if options.solver in ("sgd", "auto"):
        for name in ("train_batch_size", "validation_batch_size"):
            if getattr(options, name) == -1:
                raise UsageError(
                    f"--{name} -1 takes all images at once, {why}; give a number such as 100"
                )
    if options.fine_tune != "none":
        raise UsageError(
            f"--fine_tune {options.fine_tune} keeps vectors in memory, {why}; leave it out"
        )
