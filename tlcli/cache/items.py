"""The pieces of the cache that may be removed: vectors, part files, graphs and weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.errors import CacheError
from tlcli.storage.locations import Entry, Location, is_url
from tlcli.storage.objects import remove
from tlcli.system.cache_folders import cache_folder

VECTORS, MAPS, WEIGHTS, EXPORTED = (
    "vectors",
    "heat maps",
    "downloaded weights",
    "exported backbones",
)
CONVERTED, TRIALS, IMAGES = "converted graphs", "trial runs", "unpacked archives"
TUNED = "fine-tuned weights"
PARTS = "parts of shards"


@dataclass(frozen=True)
class Item:
    """A part of the cache that is removed as a whole.

    Attributes:
        kind: of its content.
        name: of the backbone, where it belongs to one.
        count: vectors, or files.
        size: bytes.
        used: time of the last use as far as it is known, seconds since the epoch.
        remove: removes it; False where a running process uses it.
        vectors_kept: of vectors, removes all but the newest so many; None for files.
    """

    kind: str
    name: str
    count: int
    size: int
    used: float
    remove: Callable[[], bool]
    vectors_kept: Callable[[int], bool] | None = None


def items() -> Iterator[Item]:
    """Yield all that may be removed: not what a person placed there, nor what tlcli never wrote."""
    from tlcli.backbones.download.hub import FOLDER
    from tlcli.core.bottlenecks.cache_usage import stored_vectors
    from tlcli.system import cache_folders
    from tlcli.system.file_cache import stored_facts

    folder = cache_folders.bottleneck_folder()
    names = {each.fingerprint: each.name for each in stored_vectors(folder)}
    yield from bottleneck_items(folder)
    for kind, files in (
        (EXPORTED, cache_folders.compiled_folder()),
        (TUNED, cache_folders.tuned_folder()),
    ):
        for path in _entries(files):
            name = names.get(str(stored_facts(path).get("fingerprint")), "")
            yield _file_item(kind, name, path)
    for kind, own in ((CONVERTED, "converted"), (TRIALS, "trials"), (IMAGES, "archives")):
        for path in _entries(cache_folder() / own):
            yield _file_item(kind, "", path)
    downloads = _downloads()
    models = cache_folders.model_folder()
    for path in _entries(models):
        if path.name in downloads:
            yield _file_item(WEIGHTS, downloads[path.name], path)
    for path in _entries(models / FOLDER):
        if (path / "saved_model.pb").is_file():
            yield _file_item(WEIGHTS, path.name, path)


def bottleneck_items(folder: Path) -> Iterator[Item]:
    """Yield what the folder of a bottleneck cache holds: vectors by backbone, and part files.

    Raises:
        StorageError: it is in a bucket that cannot be listed.
    """
    from tlcli.core.bottlenecks.cache_usage import StoredVectors, remove_vectors, stored_vectors

    def vectors(each: StoredVectors) -> Item:
        def keep(count: int) -> bool:
            remove_vectors(folder, {each.fingerprint}, keep=count)
            return True

        name = each.name or f"unknown ({each.fingerprint[:8]})"
        kind = MAPS if each.is_maps else VECTORS
        return Item(kind, name, each.count, each.size, each.used, lambda: keep(0), keep)

    if not is_url(folder):
        yield from map(vectors, stored_vectors(folder))
    for name, used, files in _parts(folder):
        for path in files:
            yield _part_item(name, used, path)


def obsolete_items(folder: Path) -> Iterator[Item]:
    """Yield the part files of a bottleneck cache that others replace.

    Raises:
        CacheError: pyarrow is missing.
        StorageError: the folder is in a bucket that cannot be read.
    """
    from tlcli.core.parts.obsolete import obsolete_parts

    for name, used, files in _parts(folder):
        for path in obsolete_parts(files):
            yield _part_item(name, used, path)


def _parts(folder: Path) -> Iterator[tuple[str, float, Sequence[Location]]]:
    """Yield the name and the last use of each backbone that has part files, and these."""
    from tlcli.core.bottlenecks.cache_usage import stored_vectors
    from tlcli.core.parts.part_cache import part_files

    stored = [] if is_url(folder) else stored_vectors(folder)
    known = {each.fingerprint: (each.name, each.used) for each in stored}
    for fingerprint, files in part_files(folder).items():
        name, used = known.get(fingerprint, ("", 0.0))
        yield name or _backbone_of(files) or f"unknown ({fingerprint[:8]})", used, files


def _part_item(name: str, used: float, path: Location) -> Item:
    if not isinstance(path, Entry):
        found = _file_item(PARTS, name, Path(path))
        # Reading leaves no trace in a file: those of a backbone count as used when it was.
        return replace(found, used=max(found.used, used))

    def remove_object() -> bool:
        remove(path)
        return True

    # A listing does not tell when an object was read.
    return Item(PARTS, name, 1, path.size or 0, 0.0, remove_object)


def _backbone_of(files: Sequence[Location]) -> str:
    """Return the name of the backbone that computed some parts; "" where it cannot be read."""
    from tlcli.core.parts.part_cache import all_facts

    try:
        return next((facts.backbone for _, facts in all_facts(files)), "")
    except CacheError:  # without pyarrow
        return ""


def _downloads() -> dict[str, str]:
    """Return the name of each backbone's weight file that tlcli downloads, with its own name."""
    from tlcli.backbones.catalogue import entries

    return {entry.file_name: entry.name for entry in entries().values() if entry.url}


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _file_item(kind: str, name: str, path: Path) -> Item:
    from tlcli.system.cache_folders import remove_unheld

    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    own, states = _state(path), [state for state in map(_state, files) if state is not None]
    used = max((state.st_mtime for state in [own, *states] if state is not None), default=0.0)
    size = sum(state.st_size for state in states)
    return Item(kind, name, len(files), size, used, lambda: remove_unheld(path))


def _state(path: Path) -> os.stat_result | None:
    """Return the state of a file; None where another process has just removed it."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
