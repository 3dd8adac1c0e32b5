"""A cache of computed files: bounded, checked, and bound to the code that computed them.

An entry is one file: the content, then facts about it as JSON, their length, and the SHA-256 of
all of that. The content comes first because LiteRT passes over what follows a model, and so can
map an entry into memory as it is.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli._version import __version__
from tlcli.errors import OutputError
from tlcli.system.atomic_files import atomic_path
from tlcli.system.digests import add_file

_log = logging.getLogger("tlcli")

# As text: pathlib would take twice as long to read the sources.
_ROOT = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
_DIGEST = hashlib.sha256().digest_size
_LENGTH = 8
_CODE_DIGITS, _KEY_DIGITS = 12, 40
_LARGEST_FOLDER = 1 << 30
# Another installation that shares the folder may still use what other code computed.
_OTHER_CODE_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True)
class CachedFile:
    """An entry that was checked.

    Attributes:
        path: the file; it begins with the content.
        facts: what was stored with it.
        content: empty unless it was asked for.
    """

    path: Path
    facts: dict[str, Any]
    content: memoryview


class FileCache:
    """A folder of computed files; what was used longest ago makes room for others.

    A damaged entry is a miss. So is one that other code computed: the name of an entry begins
    with a digest of the sources.

    Args:
        folder: where the files are or will be; one that cannot be written stays empty.
        sources: folders of tlcli whose code determines what an entry contains, such as
            "core/export".
        largest: bytes that all files may take together.
    """

    def __init__(
        self, folder: Path, sources: Sequence[str], largest: int = _LARGEST_FOLDER
    ) -> None:
        self.folder = folder
        self._sources = tuple(sources)
        self._largest = largest

    def find(self, key: Sequence[Any], *, read: bool = False) -> CachedFile | None:
        """Return an entry, or None where there is no whole one.

        Args:
            key: all that the entry depends on besides code, as JSON can represent it.
            read: return the content too.
        """
        try:
            path = self._path(key)
            with path.open("rb") as file:
                size = file.seek(-_DIGEST - _LENGTH, os.SEEK_END)
                length = int.from_bytes(file.read(_LENGTH), "little")
                expected = file.read()
                if length > size:
                    raise ValueError("no length of anything in the file")
                file.seek(size - length)
                facts = file.read(length)
                file.seek(0)
                content = file.read(size - length) if read else b""
                rest = size + _LENGTH - len(content)
                digest = add_file(hashlib.sha256(content), file, rest)
            if digest.digest() != expected:
                _log.debug("%s is damaged and not used", path)
                return None
            found = CachedFile(path, json.loads(facts), memoryview(content))
        except (OSError, ValueError):
            return None
        with contextlib.suppress(OSError):  # a folder that can only be read
            os.utime(path)
        return found

    def store(
        self, key: Sequence[Any], facts: Mapping[str, Any], *parts: bytes | memoryview
    ) -> None:
        """Store an entry; where the cache cannot be written, nothing happens.

        Args:
            key: as for `find`.
            facts: as JSON can represent them.
            parts: of the content.
        """
        text = json.dumps(facts).encode()
        parts = (*parts, text, len(text).to_bytes(_LENGTH, "little"))
        if sum(map(len, parts)) > self._largest:
            return
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        try:
            path = self._path(key)
            # Not flushed to the disk: what a power cut leaves has another SHA-256.
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                file.writelines([*parts, digest.digest()])
            self._make_room()
        except (OSError, OutputError) as error:
            _log.debug("%s gets no new file: %s", self.folder, error)

    def _path(self, key: Sequence[Any]) -> Path:
        digits = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:_KEY_DIGITS]
        return self.folder / f"{code_digest(*self._sources)}-{digits}"

    def _make_room(self) -> None:
        """Remove what other code computed, and what was used longest ago until the rest fits."""
        code = code_digest(*self._sources)
        oldest = time.time() - _OTHER_CODE_SECONDS
        files: list[tuple[int, Path, int]] = []
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):  # another process makes room too
                found = path.stat()
                if found.st_mtime < oldest and not path.name.startswith(code):
                    path.unlink()
                elif path.is_file():
                    files.append((found.st_mtime_ns, path, found.st_size))
        total = sum(size for _, _, size in files)
        for _, path, size in sorted(files):
            if total <= self._largest:
                break
            total -= size
            path.unlink(missing_ok=True)


def stored_facts(path: Path) -> dict[str, Any]:
    """Return the facts of an entry without a check of it; empty where there are none."""
    try:
        with path.open("rb") as file:
            size = file.seek(-_DIGEST - _LENGTH, os.SEEK_END)
            length = int.from_bytes(file.read(_LENGTH), "little")
            file.seek(max(0, size - length))
            facts = json.loads(file.read(min(length, size)))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


@functools.cache
def code_digest(*sources: str, root: str = _ROOT) -> str:
    """Return a digest of tlcli's version and the source files in some folders, at any depth.

    It takes a millisecond. Without source files, as in an archive, the version stands alone.
    """
    digest = hashlib.sha256(__version__.encode())
    for source in sources:
        for folder, inner, names in os.walk(f"{root}/{source}"):
            inner[:] = sorted(name for name in inner if name != "__pycache__")
            for name in sorted(name for name in names if name.endswith(".py")):
                with open(f"{folder}/{name}", "rb", buffering=0) as file:  # noqa: PTH123
                    content = file.read()
                path = f"{folder}/{name}".removeprefix(root)
                digest.update(f"{path} {len(content)}\n".encode())
                digest.update(content)
    return digest.hexdigest()[:_CODE_DIGITS]
