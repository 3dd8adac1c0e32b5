"""HEIF files, such as the HEIC photos of phones: libheif decodes them, always in a child process.

The size is read here, by the boxes of the container (ISO/IEC 14496-12 and 23008-12), so that no
native code sees a file in the process of the caller.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import IO, Any

from PIL import Image

from tlcli.errors import ImageError

NAME = "HEIF"
"""The format's name, as Pillow writes names of formats."""

# Brands of HEVC pictures and sequences; the others may hold any coding.
_HEVC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_ANY_CODING = frozenset({b"mif1", b"mif2", b"msf1", b"miaf", b"MiHB", b"MiHE"})
# Pillow decodes these.
_AV1 = frozenset({b"avif", b"avis"})
# Bytes. Brands are a few, and the boxes of a photo with 48 tiles take some kilobytes.
_LARGEST_BRANDS = 1 << 10
_LARGEST_BOXES = 4 << 20
_MOST_BOXES = 100_000


class HeifHeader(Image.Image):
    """An image of which only the size is known; the child's has its pixels."""

    format = NAME

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self._size, self._mode = size, "RGB"


def is_heif(file: IO[bytes]) -> bool:
    """Return whether a file has HEVC pictures by its brands; its position becomes the start."""
    file.seek(0)
    head = file.read(16)
    length = int.from_bytes(head[:4], "big")
    found = False
    if head[4:8] == b"ftyp":
        rest = head[16:] + file.read(max(0, min(length, _LARGEST_BRANDS) - 16))
        brands = {head[8:12], *(rest[at : at + 4] for at in range(0, len(rest), 4))}
        found = head[8:12] in _HEVC or (
            head[8:12] in _ANY_CODING and (bool(brands & _HEVC) or not brands & _AV1)
        )
    file.seek(0)
    return found


def check_whole(file: IO[bytes]) -> None:
    """Refuse a file that ends before its last box does: libheif would show a part as the whole.

    Raises:
        ImageError: it is truncated.
    """
    size = file.seek(0, os.SEEK_END)
    position = 0
    for _ in range(_MOST_BOXES):
        if position == size:
            break
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length == 0 and len(head) >= 8:  # to the end
            break
        position += max(8, length)
        if position > size:
            raise ImageError("truncated image")
    file.seek(0)


def read_header(file: IO[bytes]) -> HeifHeader:
    """Return the size of the primary picture as stored; (0, 0) where the boxes do not tell it."""
    file.seek(0)
    content = file.read(_LARGEST_BOXES)
    file.seek(0)
    try:
        return HeifHeader(_primary_size(memoryview(content)))
    except (LookupError, ValueError):
        return HeifHeader((0, 0))


def open_heif(file: IO[bytes]) -> Any:
    """Return the primary picture, upright, as a Pillow image that is decoded when it is loaded.

    Rotation and mirroring are part of the format and are always applied; an EXIF orientation
    beside them has no meaning and is removed. Only a child process may call this.

    Raises:
        ImageError: the package that reads it is missing.
        SyntaxError: it is damaged.
    """
    try:
        import pi_heif
        from pi_heif.as_plugin import HeifImageFile
    except ImportError as error:
        raise ImageError("HEIC image, which needs a package: pip install pi-heif") from error
    options = pi_heif.options
    # Images are decoded side by side already, and what is no picture stays unread.
    options.DECODE_THREADS = 1
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    file.seek(0)
    # libheif takes the content as a whole.
    return HeifImageFile(io.BytesIO(file.read()))


def _primary_size(content: memoryview) -> tuple[int, int]:
    """Return the width and height of the primary item.

    Raises:
        LookupError, ValueError: the boxes do not have it.
    """
    meta = _box(content, b"meta")[4:]
    pitm = _box(meta, b"pitm")
    primary = int.from_bytes(pitm[4 : 8 if pitm[0] else 6], "big")
    iprp = _box(meta, b"iprp")
    properties = list(_boxes(_box(iprp, b"ipco")))
    for number in _properties_of(_box(iprp, b"ipma"), primary):
        kind, inner = properties[number - 1]
        if kind == b"ispe" and len(inner) >= 12:
            return int.from_bytes(inner[4:8], "big"), int.from_bytes(inner[8:12], "big")
    raise LookupError("no size")


def _properties_of(ipma: memoryview, item: int) -> list[int]:
    """Return the numbers, from 1 on, of an item's properties."""
    version, wide = ipma[0], ipma[3] & 1
    count, position = int.from_bytes(ipma[4:8], "big"), 8
    for _ in range(min(count, _MOST_BOXES)):
        end = position + (4 if version else 2)
        found = int.from_bytes(ipma[position:end], "big")
        numbers = []
        position = end + 1
        for _ in range(ipma[end]):
            size = 2 if wide else 1
            value = int.from_bytes(ipma[position : position + size], "big")
            numbers.append(value & (0x7FFF if wide else 0x7F))
            position += size
        if found == item:
            return numbers
    raise LookupError(item)


def _box(content: memoryview, kind: bytes) -> memoryview:
    return next((inner for found, inner in _boxes(content) if found == kind), memoryview(b""))


def _boxes(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the kind and content of each box."""
    position = 0
    for _ in range(_MOST_BOXES):
        size = int.from_bytes(content[position : position + 4], "big")
        kind = bytes(content[position + 4 : position + 8])
        start = position + 8
        if size == 1:
            size = int.from_bytes(content[start : start + 8], "big")
            start += 8
        end = len(content) if size == 0 else position + size
        if len(kind) < 4 or end < start:
            return
        yield kind, content[start:end]
        position = end
