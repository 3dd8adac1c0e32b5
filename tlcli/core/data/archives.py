"""Archives: unpacked into one folder and nowhere else, and only where they are what they seem.

An archive is made by whoever sent it. Plain files and folders come out of it, below the folder
that was named; links, devices and sparse files are refused, and so is an archive of more files,
or of more bytes, than its kind has.
"""

from __future__ import annotations

import logging
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from tlcli.core.images.formats import ARCHIVE_SUFFIXES, IMAGE_SUFFIXES, TABLE_SUFFIXES
from tlcli.errors import DataError, UsageError
from tlcli.system.atomic_files import atomic_path
from tlcli.system.cache_folders import archive_folder, hold
from tlcli.system.digests import sha256_file
from tlcli.system.regular_files import is_folder, open_regular
from tlcli.text import KNOWN_URLS, has_scheme, is_readable_url, url_of_path

_log = logging.getLogger("tlcli")


@dataclass(frozen=True)
class Limits:
    """What an archive may hold.

    Attributes:
        entries: files and folders.
        content: bytes of all files together.
        ratio: unpacked bytes for one of the archive.
    """

    entries: int
    content: int
    ratio: int = 100


MODULE_LIMITS = Limits(20_000, 16 << 30)
"""The largest image module of the Hub has 4 GB, and trained weights hardly shrink at all."""
PHOTO_LIMITS = Limits(2_000_000, 1 << 40)
"""ImageNet has 1.3 million photos of 150 GB; photos hardly shrink either."""

# Unpacked whatever the ratio: text and drawings shrink well.
_ALWAYS = 64 << 20
_BLOCK = 1 << 20
# Headers that hold long names; tarfile reads them as a whole.
_LARGEST_HEADER = 1 << 20
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE)
_TAR_MARKS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")
# Known by their first bytes, but not unpacked.
_OTHER_KINDS = {
    b"7z\xbc\xaf\x27\x1c": "7z archive",
    b"Rar!\x1a\x07": "RAR archive",
    b"\x28\xb5\x2f\xfd": "Zstandard archive",
}
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, ValueError, OverflowError, RuntimeError),
)


class ArchiveRefused(Exception):
    """An archive that was not unpacked to its end; ``str()`` is why, in a few words."""


def as_folder(path: Path, into: Path | None = None) -> Path:
    """Return the folder of images that ``--image_dir`` names: an archive is unpacked first.

    An archive is unpacked once, into the cache, by the SHA-256 of its content; a folder that
    holds nothing but one folder is looked through. All else is returned as it is.

    Args:
        path: what was given.
        into: where archives are unpacked; None: in the cache.

    Raises:
        DataError: an archive that is refused, damaged or cannot be read.
        UsageError: a URL, a table or an image in place of a folder.
        OutputError: there is no room for the files.
    """
    if is_readable_url(str(path)):
        if str(path).lower().endswith(ARCHIVE_SUFFIXES):
            raise UsageError(
                f"--image_dir {url_of_path(path)} is an archive; download it and give the file, or "
                "unpack it there and give the folder"
            )
        return path
    if has_scheme(str(path)) and not path.exists():
        raise UsageError(
            f"--image_dir {url_of_path(path)} is a URL of an unknown kind; known are {KNOWN_URLS}"
        )
    if not path.is_file():
        return path
    kind = archive_kind(path)
    if kind in ("zip", "tar"):
        return _top_folder(_unpacked(path, kind, into or archive_folder()))
    if kind is not None:
        raise UsageError(f"--image_dir {path} is a {kind}; unpack it and give the folder")
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        raise UsageError(
            f"--image_dir {path} is a file; a table of images and labels is given as "
            f"--manifest {path}"
        )
    if suffix in IMAGE_SUFFIXES:
        raise UsageError(
            f"--image_dir {path} is an image; give a folder that contains one folder of images "
            "per label"
        )
    return path


def archive_kind(path: Path) -> str | None:
    """Return "zip" or "tar", the name of another kind of archive, or None; by the first bytes.

    Whether what is compressed is a tar archive shows when it is unpacked.
    """
    try:
        with open_regular(path) as file:
            head = file.read(512)
    except (OSError, ValueError):
        return None
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return "zip"
    if head[257:262] == b"ustar" or head.startswith(_TAR_MARKS):
        return "tar"
    return next((kind for mark, kind in _OTHER_KINDS.items() if head.startswith(mark)), None)


def _unpacked(path: Path, kind: str, into: Path) -> Path:
    try:
        target = into / sha256_file(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if target.is_dir() and hold(target):
        return target
    _log.info("Unpacking %s into the cache", path)
    with atomic_path(target) as temporary:
        try:
            with path.open("rb") as file:
                if kind == "zip":
                    unpack_zip(file, temporary, PHOTO_LIMITS)
                else:
                    unpack(file, temporary, PHOTO_LIMITS)
        except ArchiveRefused as error:
            raise DataError(
                f"{path} is not unpacked, as {error}; unpack it yourself and give the "
                "folder, if you trust it"
            ) from error
        except FileExistsError as error:
            raise DataError(f"{path} is not unpacked, as two of its files have one name") from error
        except tarfile.ReadError as error:
            raise DataError(f"{path} is no tar archive, or a damaged one ({error})") from error
        except _DAMAGED as error:
            raise DataError(f"the archive {path} is damaged ({error}); get it again") from error
    hold(target)
    return target


def _top_folder(folder: Path) -> Path:
    """Return the folder below which there is more than one folder."""
    while True:
        with os.scandir(folder) as found:
            entries = [
                entry
                for entry in found
                if not entry.name.startswith(".") and entry.name != "__MACOSX"
            ]
        if len(entries) != 1 or not is_folder(entries[0]):
            return folder
        inner = Path(entries[0].path)
        # A folder that has images only is a label.
        with os.scandir(inner) as found:
            if not any(is_folder(entry) for entry in found):
                return folder
        folder = inner


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


class _Target:
    """The folder that is filled, and what may still come into it."""

    def __init__(self, folder: Path, limits: Limits, no_archives: bool) -> None:
        self._folder, self._limits, self._no_archives = folder, limits, no_archives
        self._total = self._entries = 0
        folder.mkdir(parents=True, exist_ok=True)

    def place(self, name: str) -> Path:
        """Return where the next entry goes.

        Raises:
            ArchiveRefused: too many, or outside the folder.
        """
        self._entries += 1
        if self._entries > self._limits.entries:
            raise ArchiveRefused(f"it holds more than {self._limits.entries:,} files")
        if self._no_archives and name.lower().endswith(ARCHIVE_SUFFIXES):
            raise ArchiveRefused(f"it holds another archive ({PurePosixPath(name).name})")
        return _path_below(self._folder, name)

    def write(self, path: Path, content: IO[bytes], arrived: _Counted | int) -> None:
        """Write a file.

        Args:
            path: from `place`.
            content: of the file.
            arrived: the bytes of the archive, or those that were read of it.

        Raises:
            ArchiveRefused: too much.
        """
        limits = self._limits
        path.parent.mkdir(parents=True, exist_ok=True)
        # Never over an existing file: two entries may have one name.
        with path.open("xb") as file:
            while block := content.read(_BLOCK):
                self._total += len(block)
                if self._total > limits.content:
                    raise ArchiveRefused(f"it unpacks to more than {limits.content >> 30} GB")
                size = arrived if isinstance(arrived, int) else arrived.count
                if self._total > _ALWAYS and self._total > limits.ratio * size:
                    raise ArchiveRefused(f"it unpacks to more than {limits.ratio} times its size")
                file.write(block)


def unpack(file: IO[bytes], folder: Path, limits: Limits = MODULE_LIMITS) -> None:
    """Unpack a tar archive, compressed or not, that is read once from its beginning.

    Args:
        file: the archive; only ``read`` is used.
        folder: created if it does not exist.
        limits: of photos also forbid archives in the archive.

    Raises:
        ArchiveRefused: it is not unpacked further; the caller removes what is in ``folder``.
        tarfile.TarError, EOFError, zlib.error, OSError: it is no archive, or damaged.
    """
    arrived = _Counted(file)
    target = _Target(folder, limits, limits is not MODULE_LIMITS)
    source: Any = arrived
    with _opened(source) as archive:
        for entry in archive:
            path = target.place(entry.name)
            if entry.isdir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            if not entry.isreg() or entry.issparse():
                raise ArchiveRefused("it holds links, devices or sparse files")
            content = archive.extractfile(entry)
            assert content is not None
            target.write(path, content, arrived)
            # tarfile remembers each entry, which a million photos make gigabytes.
            archive.members = []  # type: ignore[attr-defined]


def _opened(source: Any) -> tarfile.TarFile:
    try:
        return tarfile.open(mode="r|*", fileobj=source, tarinfo=_Entry)
    except TypeError as error:
        # Python looks for bytes of a compressed stream's header behind its end.
        raise tarfile.ReadError("unexpected end of data") from error


def unpack_zip(file: IO[bytes], folder: Path, limits: Limits) -> None:
    """Unpack a zip archive; see `unpack`.

    Raises:
        ArchiveRefused: it is not unpacked further.
        zipfile.BadZipFile, EOFError, zlib.error, OSError: it is no archive, or damaged.
    """
    size = file.seek(0, os.SEEK_END)
    target = _Target(folder, limits, True)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        total = sum(entry.file_size for entry in entries)
        if total > max(_ALWAYS, limits.ratio * size):
            raise ArchiveRefused(f"it unpacks to more than {limits.ratio} times its size")
        free = shutil.disk_usage(folder).free
        if total > free:
            raise ArchiveRefused(
                f"it unpacks to {total >> 20} MB and {folder.parent.parent} has {free >> 20} MB "
                "left"
            )
        for entry, name in _names(entries):
            path = target.place(name)
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
                continue
            mode = entry.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise ArchiveRefused("it holds links or devices")
            if entry.flag_bits & 1:
                raise ArchiveRefused("its files are encrypted")
            try:
                content = archive.open(entry)
            except NotImplementedError as error:
                raise ArchiveRefused("it is compressed by an unknown method") from error
            with content:
                target.write(path, content, size)


def _names(entries: list[zipfile.ZipInfo]) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    """Yield each entry with its name, slashes between folders.

    macOS writes UTF-8 without saying so, and old programs of Windows write backslashes.
    """
    for entry in entries:
        name = entry.filename
        if not name.isascii() and not entry.flag_bits & 0x800:
            try:
                name = name.encode("cp437").decode("utf-8")
            except UnicodeError:
                _log.debug("the name %s in the archive may be in another encoding", name)
        yield entry, name.replace("\\", "/")


def _path_below(folder: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or (os.sep != "/" and "\\" in name):
        raise ArchiveRefused("it holds paths that leave its folder")
    if PureWindowsPath(name).drive or (os.sep != "/" and ":" in name):
        raise ArchiveRefused("it holds paths that leave its folder")
    return folder.joinpath(*path.parts)
