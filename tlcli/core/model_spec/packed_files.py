"""Texts in the zip at the end of a LiteRT file, where tools put labels and metadata."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tlcli.litert.tables import IDENTIFIER

_LARGEST = 16 << 20
# What `zipfile` raises for damaged, encrypted and unknown contents.
_UNREADABLE = (
    *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)


class PackedFiles:
    """The zip at the end of a LiteRT file.

    Args:
        path: of any file or folder.

    Attributes:
        names: of the files in it, in order; () where there is no such zip, or it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.names: tuple[str, ...] = ()
        with suppress(*_UNREADABLE):
            if _is_litert(path) and zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    self.names = tuple(archive.namelist())

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield names and contents of files, those left out that are absent or cannot be read."""
        for name in filter(self.names.__contains__, names):
            with suppress(*_UNREADABLE), zipfile.ZipFile(self._path) as archive:
                entry = archive.getinfo(name)
                # Of others `zipfile` would decompress more than the file is said to have.
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    continue
                with archive.open(entry) as file:
                    content = file.read(_LARGEST + 1)
                if len(content) <= _LARGEST:
                    yield name, content


def packed_thresholds(path: Path, names: Sequence[str]) -> tuple[float, ...]:
    """Return the thresholds of labels that tlcli packed as a calibration, in output order.

    Args:
        path: of a LiteRT file.
        names: of files of score calibrations in the zip at its end.

    Returns:
        () where there are none, or a calibration would change scores.
    """
    for _, content in PackedFiles(path).read(names):
        lines = [line.split(",") for line in content.decode("ascii", "replace").splitlines()]
        if all(line[:3] == ["1", "1", "0"] and len(line) == 4 for line in lines):
            with suppress(ValueError):
                found = tuple(float(line[3]) for line in lines)
                if all(0 <= each <= 1 for each in found):
                    return found
    return ()


def _is_litert(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8)[4:] == IDENTIFIER
