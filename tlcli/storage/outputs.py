"""Outputs in a folder or in a bucket, which replace the ones before together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tlcli.storage.locations import below, is_url, text_of
from tlcli.storage.objects import entries, read, remove, write
from tlcli.system.atomic_files import OutputSet, temporary_folder
from tlcli.system.cache_folders import cache_folder

_BLOCK = 1 << 20
# The file without which a SavedModel is none.
_LAST = "saved_model.pb"


class Outputs(OutputSet):
    """An `OutputSet` whose paths may be URLs: such an output is made here and then uploaded.

    A bucket has no renames of several objects at once: each object is the old or the new one,
    and the certificate, whose checksums name the others, comes last.
    """

    def __init__(self) -> None:
        super().__init__()
        self._uploads: list[tuple[Path, str]] = []
        self._obsolete: list[str] = []

    def stage(self, path: Path) -> Path:
        """Return the temporary path to which the output for ``path`` is to be written."""
        if not is_url(path):
            return super().stage(path)
        temporary = self.enter_context(temporary_folder(cache_folder() / "uploads")) / path.name
        self._uploads.append((temporary, text_of(path)))
        return temporary

    def remove(self, path: Path) -> None:
        """Let `commit` remove what is at ``path``, which would contradict the new outputs."""
        if is_url(path):
            self._obsolete.append(text_of(path))
        else:
            super().remove(path)

    def commit(self, certificate: Path, dependent: Sequence[Path] = ()) -> None:
        """Upload or rename every output, the one for ``certificate`` last.

        Raises:
            OutputError: one cannot be written.
        """
        last = text_of(certificate)
        for location in (*self._obsolete, *(text_of(each) for each in dependent if is_url(each))):
            remove(location)
        for temporary, location in self._uploads:
            if location != last:
                _upload(temporary, location)
        super().commit(certificate, [each for each in dependent if not is_url(each)])
        for temporary, location in self._uploads:
            if location == last:
                _upload(temporary, location)


def _upload(path: Path, location: str) -> None:
    if path.is_file():
        write(location, _blocks(path))
        return
    names = [each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file()]
    for name in sorted(names, key=lambda name: (name == _LAST, name)):
        write(below(location, name), _blocks(path / name))
    written = {below(location, name) for name in names}
    for old in list(entries(location)):
        if old not in written:
            remove(old)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def report_at(path: Path) -> bytes:
    """Return what is at the path of a report; nothing where there is none, or a link."""
    if is_url(path):
        return read(path)
    return path.read_bytes() if path.is_file() and not os.path.islink(path) else b""  # noqa: PTH114
