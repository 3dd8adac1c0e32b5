"""One image takes ten seconds at most: what would take longer is skipped with a reason.

Three bounds, as decoders are C code that cannot be interrupted:

- Scans times pixels of a JPEG are counted before it is decoded.
- `timed_file` ends what is read piece by piece once its time is up: headers of millions of
  segments, and most formats (`formats`).
- Large images of formats that are decoded as a whole are decoded in a child process, which is
  ended (`slow_images`).

Processor time counts, so that a busy machine skips no image that an idle one reads.
"""

from __future__ import annotations

import io
import mmap
import os
import time
from typing import IO

from tlcli.errors import ImageError

SECONDS = 10.0
"""Processor time for one image."""

# A scan visits every block of 8 x 8 pixels, also where it contains nothing for it: 40 ns each.
# Photos have some ten scans.
LARGEST_SCANS = 3_000_000_000
"""Scans times pixels of a JPEG."""
MOST_SCANS = 500
"""Scans of a JPEG, however small; each has tables to prepare."""
# Bytes. In less there is no work for so long, and looking at the clock would be a twentieth of it.
_SHORT = 1 << 20
# Pixels that the largest unit of a JPEG covers in each direction.
_UNIT = 32
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
# Markers without a length.
_BARE = frozenset({0x00, 0x01, *range(0xD0, 0xDA)})


class SlowImageError(ImageError):
    """An image took longer than `SECONDS`."""

    def __init__(self) -> None:
        super().__init__(f"takes longer than {SECONDS:g} s to decode")


class _Clock:
    """Raises once the thread has used up the time; mixed into a file that decoders read."""

    seconds = SECONDS
    _until: float | None = None
    _reads = 0
    is_over = False

    def read(self, size: int | None = -1, /) -> bytes:
        # The clock is a system call, and headers are read in dozens of small pieces.
        self._reads += 1
        if self._reads & 31 == 0 or size is None or not 0 <= size < 4096:
            self._check()
        found: bytes = super().read(size)  # type: ignore[misc]
        return found

    def readline(self, size: int | None = -1, /) -> bytes:
        self._check()
        found: bytes = super().readline(size)  # type: ignore[misc]
        return found

    def _check(self) -> None:
        now = time.thread_time()
        if self._until is None:
            self._until = now + self.seconds
        elif now > self._until:
            # Some decoders replace an error of the file by one of their own.
            self.is_over = True
            raise SlowImageError


class TimedBytes(_Clock, io.BytesIO):
    """The content of a file."""


class _TimedFile(_Clock, io.BufferedReader):
    """A file on a disk."""


def timed_file(file: IO[bytes] | bytes) -> IO[bytes]:
    """Return a file whose reads fail once the thread has used `SECONDS` of processor time.

    Args:
        file: bytes, or a file opened for reading without text; it is read from its start.
    """
    if isinstance(file, io.BytesIO):
        file = file.getvalue()
    if isinstance(file, bytes):
        return io.BytesIO(file) if len(file) < _SHORT else TimedBytes(file)
    return _TimedFile(io.FileIO(os.dup(file.fileno()), "rb"))


def check_scans(file: IO[bytes]) -> None:
    """Refuse a JPEG whose scans would take too long.

    Args:
        file: from `timed_file`; its position stays.

    Raises:
        ImageError: the number of scans and the size.
    """
    if isinstance(file, io.BytesIO):
        _check_scans(file.getvalue())
    else:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            _check_scans(content)


def holds_progressive(file: IO[bytes]) -> bool:
    """Return whether a file, such as a TIFF, may hold a progressive JPEG."""
    start = b"\xff\xc2"
    if isinstance(file, io.BytesIO):
        return start in file.getvalue()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(start) >= 0


def _check_scans(content: bytes | mmap.mmap) -> None:
    height = width = components = 0
    progressive = False
    position = 2
    while position + 10 <= len(content):
        kind = content[position + 1]
        if content[position] != 0xFF or kind == 0xFF:
            position = content.find(b"\xff", position + 1)
            if position < 0:
                return
            continue
        if kind in _BARE:
            position += 2
            continue
        if kind == 0xDA:
            break
        if kind in _FRAMES:
            height, width = (
                int.from_bytes(content[position + at : position + at + 2], "big") for at in (5, 7)
            )
            components = content[position + 9]
            progressive = kind in _PROGRESSIVE
        position += 2 + (content[position + 2] << 8 | content[position + 3])
    else:
        return
    # Nothing behind its only scan is decoded.
    if not progressive and content[position + 4] == components:
        return
    scans = _count(content, b"\xff\xda")
    pixels = (-(-height // _UNIT) * _UNIT) * (-(-width // _UNIT) * _UNIT)
    if scans > MOST_SCANS or scans * pixels > LARGEST_SCANS:
        raise ImageError(f"too many scans: {scans} of {width} x {height} pixels")


def _count(content: bytes | mmap.mmap, part: bytes) -> int:
    """Return how often ``part`` occurs; an embedded preview's scans count too."""
    if isinstance(content, bytes):
        return content.count(part)
    count = position = 0
    while count <= MOST_SCANS and (position := content.find(part, position) + 1):
        count += 1
    return count
