"""Reading ahead: threads fetch objects in their order, a bounded number before they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

from tlcli.errors import StorageError
from tlcli.runtime.prefetch import Prefetcher
from tlcli.storage.objects import read

READERS = 16
"""Threads that read at once. Three times as many objects are in memory at most."""

Item = TypeVar("Item")


def read_ahead(
    items: Iterable[Item], url_of: Callable[[Item], str | None]
) -> Iterator[tuple[Item, bytes | StorageError | None]]:
    """Yield each item with the content of its object, or why it cannot be read.

    Args:
        items: may be endless or slow.
        url_of: returns the URL of an item, or None for one without, whose content is None. As
            long as all are such, there are no threads.
    """
    waiting = iter(items)
    for item in waiting:
        if url_of(item) is None:
            yield item, None
            continue

        def work(group: Sequence[Item]) -> Iterator[bytes | StorageError | None]:
            return (_content(url_of(item)) for item in group)

        yield from Prefetcher(chain([item], waiting), work, READERS)
        return


def _content(url: str | None) -> bytes | StorageError | None:
    if url is None:
        return None
    try:
        return read(url)
    except StorageError as error:
        return error
