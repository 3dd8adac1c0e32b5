"""Objects that were read and will be read once more: hashed first, and decoded later.

They stay in memory between the two, so that small sets of images are downloaded once.
"""

from __future__ import annotations

import threading

from tlcli.system.memory import memory

# A part of the free memory, and never more than an hour of photos needs.
_PART, _MOST = 8, 1 << 30

_contents: dict[str, bytes] = {}
_lock = threading.Lock()
_room: int | None = None


def put(location: str, content: bytes) -> None:
    """Keep the content of an object, where there is room; what is kept gives way to nothing.

    Objects are read again in the order in which they were hashed: the first are those to keep.
    """
    global _room
    with _lock:
        if _room is None:
            free = [each for each in memory().values() if each is not None]
            _room = min(_MOST, *(each // _PART for each in free))
        if location not in _contents and len(content) <= _room:
            _contents[location] = content
            _room -= len(content)


def take(location: str) -> bytes | None:
    """Return the content that was kept, and forget it."""
    global _room
    with _lock:
        content = _contents.pop(location, None)
        if content is not None and _room is not None:
            _room += len(content)
        return content


def close() -> None:
    """Forget all contents: those that are left will not be read again."""
    global _room
    with _lock:
        _contents.clear()
        _room = None
