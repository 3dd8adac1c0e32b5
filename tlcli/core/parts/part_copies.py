"""Copies of part files that are in a bucket: each is taken once, and read as any other file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tlcli.core.parts.part_cache import PARTS, key_of, part_files
from tlcli.core.parts.part_file import SUFFIX
from tlcli.errors import StorageError
from tlcli.storage.locations import Entry, Location, scheme_of, shown, text_of
from tlcli.storage.objects import read, write
from tlcli.system.digests import sha256_bytes

# Objects that are read at once; a part of the usual size has 21 MB.
_READERS = 4
_MARK = 12


def copies(
    folder: Path, fingerprints: Iterable[str] | None, target: Path
) -> Mapping[str, Sequence[Location]]:
    """Return copies of the part files in a bucket, by the fingerprint of their backbone.

    A part that did not change since the last call is not read again. Copies of its earlier states
    are removed.

    Args:
        folder: of the cache, in the bucket.
        fingerprints: of the backbones that are asked for; None: all.
        target: the folder of a cache on this machine.

    Raises:
        StorageError: the bucket cannot be listed or read.
        OutputError: there is no room for the copies.
    """
    if scheme_of(text_of(folder)) == "http":  # a web server lists nothing
        return {}
    if fingerprints is None:
        found = part_files(folder)
    else:
        found = {}
        for each in fingerprints:
            found |= part_files(folder, each)
    with ThreadPoolExecutor(_READERS, "tlcli-parts") as pool:
        made: dict[str, list[Location]] = {}
        for own, parts in found.items():
            place = target / PARTS / own
            there = _there(place)
            # An error is raised in the order of the parts; those that are read then are finished.
            paths = pool.map(lambda each: _copy(each, place, there), parts)  # noqa: B023
            made[own] = [path for path in paths if path is not None]
    return made


def _there(place: Path) -> dict[str, list[Path]]:
    """Return the copies in a folder by the key of their shard."""
    found: dict[str, list[Path]] = {}
    with suppress(OSError):
        for path in place.iterdir():
            key, mark, _ = path.name.removesuffix(SUFFIX).partition("-")
            if mark and not path.name.startswith("."):
                found.setdefault(key, []).append(path)
    return found


def _copy(part: Location, place: Path, there: Mapping[str, Sequence[Path]]) -> Path | None:
    assert isinstance(part, Entry)
    mark = sha256_bytes(f"{shown(part)}|{part.size}|{part.change}".encode())[:_MARK]
    path = place / f"{key_of(part)}-{mark}{SUFFIX}"
    older = there.get(key_of(part), ())
    if path in older and part.change:
        return path
    try:
        content = read(part)
    except StorageError as error:
        if error.is_absent:  # removed since it was listed
            return None
        raise
    place.mkdir(parents=True, exist_ok=True)
    write(path, content)
    for each in older:
        if each != path:
            each.unlink(missing_ok=True)
    return path
