"""Copies of models in a bucket: what runs a graph maps its file, and looks next to it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tlcli.errors import StorageError
from tlcli.storage.locations import Entry, below, shown, text_of
from tlcli.storage.objects import entries, entry, read
from tlcli.system.atomic_files import atomic_path
from tlcli.system.cache_folders import archive_folder, hold
from tlcli.system.digests import sha256_bytes

_LARGEST_FILE = 4 << 30
_MOST_FILES = 10_000


def copy_here(location: Path | str, beside: Iterable[str] = ()) -> Path:
    """Return the path of a copy of an object, or of a folder of objects, in the cache.

    What did not change since the last copy is not sent again.

    Args:
        location: a URL.
        beside: names of further files to copy where they are next to it.

    Raises:
        StorageError: there is nothing, or it cannot be read.
        OutputError: there is no room for it.
    """
    url = text_of(location).rstrip("/")
    parent, _, name = url.partition("?")[0].rpartition("/")
    found = entry(url)
    if found is not None:
        near = (entry(below(parent, each)) for each in beside if each != name)
        files = {name: found, **{_name(each): each for each in near if each is not None}}
    else:
        files = {}
        for each in entries(url):
            files[each[len(parent) + 1 :]] = each
            if len(files) > _MOST_FILES:
                raise StorageError(shown(url), f"it has more than {_MOST_FILES} files")
    if not files:
        raise StorageError(shown(url), "there is nothing", is_absent=True)
    marks = [f"{shown(each)}|{each.size}|{each.change}" for each in files.values()]
    target = archive_folder() / sha256_bytes("\n".join(marks).encode())
    if not (all(each.change for each in files.values()) and target.is_dir() and hold(target)):
        with atomic_path(target) as temporary:
            for inside, each in files.items():
                path = temporary / inside
                if ".." in path.parts:
                    raise StorageError(shown(each), "its name leaves its folder")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(read(each, _LARGEST_FILE))
        hold(target)
    return target / name


def _name(found: Entry) -> str:
    return found.rpartition("/")[2]
