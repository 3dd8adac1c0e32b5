"""Images that wait for their vector: read from whichever file holds them, and decoded."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.core.images.augmentation import Augmentation
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import ImageError
from tlcli.system.atomic_files import sha256_bytes

logger = logging.getLogger("tlcli")

Array = np.ndarray[Any, Any]

# Whole files are held while they are decoded.
LARGEST_FILE = 1 << 30


@dataclass(frozen=True, slots=True)
class Job:
    """One vector to compute, the files that hold its image, and the rows that want it."""

    content: str
    view: int | None
    # As they were given: a Path of its own for each would be most of what a job takes.
    paths: tuple[Path | str, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Unreadable:
    """Why a job has no pixels, and whether that will stay so."""

    reason: str
    remember: bool


def _read_file(job: Job) -> bytes:
    """Return the job's content out of whichever of its files still holds it.

    Raises:
        ImageError: none does.
    """
    reason = "no such file"
    for path in map(Path, job.paths):
        try:
            if path.stat().st_size > LARGEST_FILE:
                reason = f"larger than {LARGEST_FILE >> 20} MB"
                continue
            data = path.read_bytes()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            continue
        # A vector is stored under its content, so what is decoded must be that content.
        if sha256_bytes(data) == job.content:
            return data
        reason = "the file was changed while it was read"
    raise ImageError(reason)


def decode(
    job: Job, preprocessing: Preprocessing, distortions: Augmentation | None
) -> Array | Unreadable:
    """Return a job's pixels, uint8 [height, width, 3], or why there are none.

    Args:
        job: what is wanted.
        preprocessing: how an image is read, and of what size.
        distortions: needed for a job with a view.
    """
    try:
        data = _read_file(job)
    except ImageError as error:
        return Unreadable(str(error), remember=False)
    except MemoryError:
        return Unreadable("not enough memory to read it", remember=False)
    height, width = preprocessing.height, preprocessing.width
    try:
        if job.view is None:
            return preprocessing.read(data)
        assert distortions is not None
        return distortions.read(data, job.content, job.view, height, width)
    except ImageError as error:
        # Too little memory says nothing about the image.
        return Unreadable(str(error), not isinstance(error.__cause__, MemoryError))
    except MemoryError:
        return Unreadable("not enough memory to decode it", remember=False)
    except Exception as error:  # one image must not take the others with it
        logger.debug("decoding %s failed", job.paths[0], exc_info=True)
        return Unreadable(f"cannot be decoded ({type(error).__name__})", remember=False)
