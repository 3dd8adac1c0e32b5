"""Part files that others replace, as after images were added to their shards."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tlcli.core.parts.part_cache import open_parts
from tlcli.core.parts.part_file import DamagedPartError
from tlcli.storage.locations import Location, is_url

Keys = npt.NDArray[np.uint64]


def obsolete_parts(files: Sequence[Location]) -> list[Location]:
    """Return the parts of one backbone that nothing is lost with.

    Newer parts have the same images and views, except for files that are gone.

    Args:
        files: all parts of the backbone. Of objects, those with fewer vectors count as older.

    Raises:
        StorageError: a bucket cannot be read at this time.
        CacheError: pyarrow is missing.
    """
    found = [(path, keys) for path, keys in _rows(sorted(files, key=_age)) if len(keys)]
    if any(is_url(path) for path, _ in found):
        found.sort(key=lambda each: len(each[1]))
    if not found:
        return []
    every = np.concatenate([keys for _, keys in found])
    ranks = np.repeat(np.arange(len(found)), [len(keys) for _, keys in found])
    order = np.lexsort((ranks, every))
    # The last of equal keys is the newest.
    last = np.append(every[order][1:] != every[order][:-1], True)
    newest = np.zeros(len(every), np.bool_)
    newest[order[last]] = True
    obsolete, start = [], 0
    for path, keys in found:
        own = newest[start : start + len(keys)]
        start += len(keys)
        if not own.any() or (not own.all() and _are_gone(path, own)):
            obsolete.append(path)
    return obsolete


def _age(path: Location) -> tuple[float, str]:
    if is_url(path):
        return 0.0, str(path)
    try:
        return os.stat(path).st_mtime, str(path)  # noqa: PTH116
    except OSError:
        return 0.0, str(path)


def _rows(files: Sequence[Location]) -> list[tuple[Location, Keys]]:
    """Return what tells the rows of each part from others: hashes of image and view, [N]."""
    found = []
    for part in open_parts(files):
        try:
            columns = part.texts("name"), part.texts("view"), part.contents()
        except DamagedPartError:  # read as a miss, and written again
            continue
        # A copy of an image has a row of its own: parts take over vectors by name.
        keys = [
            blake2b(
                f"{part.facts.root}|{name}|{view}".encode("utf-8", "surrogatepass") + bytes(content)
            )
            for name, view, content in zip(*columns, strict=True)
        ]
        digests = b"".join(key.digest()[:8] for key in keys)
        found.append((part.path, np.frombuffer(digests, np.uint64)))
    return found


def _are_gone(path: Location, own: npt.NDArray[np.bool_]) -> bool:
    """Return whether the images whose vectors only this part has are no more.

    Images in a bucket count as there, as do those of a folder that is not there at all.
    """
    for part in open_parts([path]):
        if is_url(part.facts.root) or not Path(part.facts.root).is_dir():
            return False
        return not any(
            Path(part.facts.root, name).exists()
            for name, is_own in zip(part.texts("name"), own, strict=True)
            if is_own
        )
    return False
