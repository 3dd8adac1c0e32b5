"""Decode jobs: an image is read from any of the files that contain it, and decoded."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.arrays import Array
from tlcli.core.images.augmentation import Augmentation
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.images.time_limits import SlowImageError
from tlcli.errors import ImageError, StorageError
from tlcli.storage.ahead import read_ahead
from tlcli.storage.locations import is_url, text_of
from tlcli.storage.objects import read
from tlcli.system.digests import sha256_bytes

logger = logging.getLogger("tlcli")

# Whole files are in memory while they are decoded.
LARGEST_FILE = 1 << 30


@dataclass(frozen=True, slots=True)
class Job:
    """One vector to compute, the files that contain its image, and the rows that need it."""

    content: str
    view: int | None
    # As given: a Path object for each would be most of a job's memory.
    paths: tuple[Path | str, ...]
    rows: tuple[int, ...]
    # What was read ahead from the first path, where that is a URL.
    ahead: bytes | StorageError | None = None


@dataclass(frozen=True)
class Unreadable:
    """Why a job has no pixels, and whether that will stay so."""

    reason: str
    remember: bool


def _read_file(job: Job) -> bytes | Unreadable:
    """Return the job's content from the first of its files that still contains it.

    Raises:
        StorageError: nothing can be read at this time from where the file is.
    """
    reason = "no such file"
    for each in job.paths:
        try:
            if is_url(each):
                data = _object(job, each)
            elif Path(each).stat().st_size > LARGEST_FILE:
                reason = f"larger than {LARGEST_FILE >> 20} MB"
                continue
            else:
                data = Path(each).read_bytes()
        except StorageError as error:
            if error.is_passing:
                raise
            reason = error.reason
            continue
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            continue
        except MemoryError:
            return Unreadable("not enough memory to read it", remember=False)
        # A vector is stored under its content, so what is decoded must be that content.
        if sha256_bytes(data) == job.content:
            return data
        reason = "the file was changed while it was read"
    return Unreadable(reason, remember=False)


def _object(job: Job, location: Path | str) -> bytes:
    if job.ahead is None or location != job.paths[0]:
        return read(location, LARGEST_FILE)
    if isinstance(job.ahead, StorageError):
        raise job.ahead
    return job.ahead


def with_contents(jobs: Iterable[Job]) -> Iterator[Job]:
    """Yield jobs; those of objects with their contents, which threads read ahead."""

    def url(job: Job) -> str | None:
        return text_of(job.paths[0]) if is_url(job.paths[0]) else None

    for job, content in read_ahead(jobs, url):
        yield job if content is None else replace(job, ahead=content)


def decode(
    job: Job, preprocessing: Preprocessing, distortions: Augmentation | None
) -> Array | Unreadable:
    """Return a job's pixels, uint8 [height, width, 3], or why there are none.

    Args:
        job: the vector to compute.
        preprocessing: how to read an image, and its size.
        distortions: needed for a job with a view.
    """
    data = _read_file(job)
    if isinstance(data, Unreadable):
        return data
    height, width = preprocessing.height, preprocessing.width
    try:
        if job.view is None:
            return preprocessing.read(data)
        assert distortions is not None
        return distortions.read(data, job.content, job.view, height, width)
    except ImageError as error:
        # Too little memory is no fault of the image, and another machine may be faster.
        passing = isinstance(error, SlowImageError) or isinstance(error.__cause__, MemoryError)
        return Unreadable(str(error), not passing)
    except MemoryError:
        return Unreadable("not enough memory to decode it", remember=False)
    except Exception as error:  # one image must not fail the others
        logger.debug("decoding %s failed", job.paths[0], exc_info=True)
        return Unreadable(f"cannot be decoded ({type(error).__name__})", remember=False)
