"""The limit of the cache, and the room that is made for it."""

from __future__ import annotations

import json
import logging

from tlcli.cache.items import Item, items
from tlcli.errors import CacheError
from tlcli.system.atomic_files import write_text
from tlcli.system.cache_folders import cache_folder

_log = logging.getLogger("tlcli")

_SETTINGS = "settings.json"
# Down to this part of the limit, so that not every run makes room.
_ENOUGH = 0.9
_ATTEMPTS = 3


def stored_limit() -> int | None:
    """Return the limit that later runs keep, in bytes; None where there is none."""
    try:
        limit = json.loads((cache_folder() / _SETTINGS).read_text("utf-8"))["limit"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return limit if isinstance(limit, int) and limit >= 0 else None


def store_limit(limit: int | None) -> None:
    """Set the limit of later runs, in bytes; None for none."""
    path = cache_folder() / _SETTINGS
    if limit is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"limit": limit}) + "\n")


def keep_limit() -> None:
    """Make room where a limit was set; without one this is a look for a file.

    A cache that cannot be changed is a warning: the run that calls this is done.
    """
    limit = stored_limit()
    if limit is None:
        return
    try:
        make_room(limit)
    except (CacheError, OSError) as error:
        _log.warning("The cache in %s stays above its limit: %s", cache_folder(), error)


def make_room(limit: int) -> list[Item]:
    """Remove what was used longest ago until the rest fits, and return what is gone.

    What alone is above the limit cannot stay, so it goes first, and the rest need not.
    """
    removed: list[Item] = []
    # A file of fewer vectors is a little larger than its share: what is too much is removed again.
    for attempt in range(_ATTEMPTS):
        found = list(items())
        total = sum(item.size for item in found)
        if total <= limit:
            break
        removed += _make_room(found, limit, total - _ENOUGH * limit, attempt < _ATTEMPTS - 1)
    return removed


def _make_room(found: list[Item], limit: int, excess: float, may_keep: bool) -> list[Item]:
    """Remove about ``excess`` bytes; of vectors only a part, where that is enough."""

    def in_turn(item: Item) -> tuple[bool, float]:
        can_stay = item.vectors_kept is not None or item.size <= _ENOUGH * limit
        return can_stay, item.used

    removed = []
    for item in sorted(found, key=in_turn):
        if excess <= 0:
            break
        if may_keep and item.vectors_kept is not None and item.size > excess:
            # Of the vectors of one backbone, those that were computed first.
            kept = int(item.count * (1 - excess / item.size))
            if item.vectors_kept(kept):
                gone = item.count - kept
                part = item.size * gone // item.count
                removed.append(Item(item.kind, item.name, gone, part, item.used, item.remove))
                excess -= part
        elif item.remove():
            removed.append(item)
            excess -= item.size
    return removed
