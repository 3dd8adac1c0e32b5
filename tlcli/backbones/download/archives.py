"""Unpacking a downloaded tar archive into one folder and nowhere else.

An archive is made by whoever runs the server. Plain files and folders come out of it, below
the folder that was named; links, devices and sparse files are refused, and so is an archive
of more files, or of more bytes, than any model has.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO, Any

MOST_ENTRIES = 20_000
LARGEST_CONTENT = 16 << 30
"""Bytes of all files together; the largest image module of the Hub has 4 GB."""
LARGEST_RATIO = 100
"""Unpacked bytes for one that arrived; trained weights hardly shrink at all."""

# Unpacked whatever the ratio: text shrinks well.
_ALWAYS = 64 << 20
_BLOCK = 1 << 20
# Headers that hold long names; tarfile reads them as a whole.
_LARGEST_HEADER = 1 << 20
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE)


class ArchiveRefused(Exception):
    """An archive that was not unpacked to its end; ``str()`` is why, in a few words."""


class _Entry(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Entry:
        entry = super().frombuf(buf, encoding, errors)
        if entry.type not in _PLAIN and entry.size > _LARGEST_HEADER:
            raise ArchiveRefused("it holds a header of an impossible size")
        return entry


class _Counted:
    """A stream that counts the bytes read from it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.count += len(data)
        return data


def unpack(file: IO[bytes], folder: Path) -> None:
    """Unpack a tar archive, compressed or not, that is read once from its beginning.

    Args:
        file: the archive; only ``read`` is used.
        folder: created if it does not exist.

    Raises:
        ArchiveRefused: it is not unpacked further; the caller removes what is in ``folder``.
        tarfile.TarError, EOFError, zlib.error, OSError: it is no archive, or damaged.
    """
    arrived = _Counted(file)
    folder.mkdir(parents=True, exist_ok=True)
    total = 0
    source: Any = arrived
    with tarfile.open(mode="r|*", fileobj=source, tarinfo=_Entry) as archive:
        for count, entry in enumerate(archive, 1):
            if count > MOST_ENTRIES:
                raise ArchiveRefused(f"it holds more than {MOST_ENTRIES:,} files")
            path = _path_below(folder, entry.name)
            if entry.isdir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            if not entry.isreg() or entry.issparse():
                raise ArchiveRefused("it holds links, devices or sparse files")
            path.parent.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(entry)
            assert content is not None
            # Never over an existing file: two entries may have one name.
            with path.open("xb") as target:
                while block := content.read(_BLOCK):
                    total += len(block)
                    if total > LARGEST_CONTENT:
                        raise ArchiveRefused(f"it unpacks to more than {LARGEST_CONTENT >> 30} GB")
                    if total > _ALWAYS and total > LARGEST_RATIO * arrived.count:
                        raise ArchiveRefused(
                            f"it unpacks to more than {LARGEST_RATIO} times its size"
                        )
                    target.write(block)


def _path_below(folder: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or (os.sep != "/" and "\\" in name):
        raise ArchiveRefused("it holds paths that leave its folder")
    return folder.joinpath(*path.parts)
