"""Files of this machine that travel with a piece of work to another one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tlcli.storage.locations import Location
from tlcli.storage.objects import read
from tlcli.system.atomic_files import atomic_path
from tlcli.system.cache_folders import archive_folder, hold
from tlcli.system.digests import sha256_bytes

_LARGEST_FILE = 4 << 30


@dataclass(frozen=True)
class Package:
    """A file or a folder, and files beside it.

    Attributes:
        name: of the file or folder.
        files: content of each file by its path, "/" between the parts, relative to the folder
            that it lies in.
    """

    name: str
    files: dict[str, bytes]

    @property
    def digest(self) -> str:
        """SHA-256 of the names and contents."""
        parts = [f"{name}|{sha256_bytes(self.files[name])}" for name in sorted(self.files)]
        return sha256_bytes("\n".join([self.name, *parts]).encode("utf-8", "surrogateescape"))

    def unpack(self) -> Path:
        """Return the path of the file or folder in the cache of this machine, written once.

        Raises:
            OutputError: there is no room for it.
        """
        target = archive_folder() / self.digest
        if not (target.is_dir() and hold(target)):
            with atomic_path(target) as temporary:
                for name, content in self.files.items():
                    path = temporary / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
            hold(target)
        return target / self.name


def pack(location: Path, beside: Iterable[str] = ()) -> Package:
    """Return a file or a folder of this machine, with those files beside it that are there.

    Args:
        location: of the file or folder.
        beside: names of files next to it.

    Raises:
        StorageError: a file cannot be read.
    """
    path = location.absolute()
    found = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
    found += [each for each in (path.parent / name for name in beside) if each.is_file()]
    files = {each.relative_to(path.parent).as_posix(): _content(each) for each in found}
    return Package(path.name, files)


def _content(location: Location) -> bytes:
    return read(location, _LARGEST_FILE)
