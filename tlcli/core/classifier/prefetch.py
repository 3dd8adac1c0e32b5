"""Images read by threads ahead of whoever wants them, in order and in bounded memory."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np

from tlcli.errors import GraphError, ImageError

Item = TypeVar("Item")
Array = np.ndarray[Any, Any]
Outcome = Array | ImageError | GraphError

# A list hands out its next path in microseconds. Whoever types paths takes longer, and is
# answered at once instead of waiting until a batch is full.
_PATIENCE = 0.02
# Results of a group are kept together for so many seconds: waking the reader for each costs.
_SHOWN = 0.1
# How often a waiting thread looks whether it is still wanted.
_GLANCE = 0.1


class Prefetcher(Generic[Item]):
    """Batches of ``(item, array or ImageError)`` in the order of ``items``.

    A thread takes as many items as a group has, if they are there, and wakes others only
    where they have something to do: handing over one image at a time took 4% of the time of
    labelling, and changing from decoding to the network for each of them 3% more.

    Args:
        items: may be endless, slow or lazy; a thread of its own draws them, a few batches
            ahead at most.
        read: reads one item; called by several threads at once. Whatever it raises becomes
            an `ImageError`, but for a `GraphError`, which ends the batches.
        batch_size: largest size of a batch. A batch is smaller at the end, and where the
            next item is not there yet.
        threads: how many read.
        then: what the thread does with each array, after it has read its whole group; it may
            raise what ``read`` may.
        group: most items that a thread takes at once.
    """

    def __init__(
        self,
        items: Iterable[Item],
        read: Callable[[Item], Array],
        batch_size: int,
        threads: int,
        then: Callable[[Array], Array] | None = None,
        group: int = 1,
    ) -> None:
        self._items = items
        self._read, self._then = read, then
        self._size, self._threads, self._group = batch_size, threads, group
        # Items drawn and not handed out yet; a few more than are worked on.
        self._most = 2 * max(batch_size, threads * group) + threads
        # All below changes under the lock of these.
        lock = threading.Lock()
        self._drawer, self._readers, self._reader = (threading.Condition(lock) for _ in range(3))
        self._waiting: deque[Item] = deque()
        self._results: dict[int, tuple[Item, Outcome]] = {}
        self._drawn = self._taken = self._done = self._handed_out = 0
        self._ended = self._stopped = False
        self._error: BaseException | None = None

    @property
    def is_crowded(self) -> bool:
        """Whether more than one of the items that are there has not been read yet."""
        return self._drawn - self._done > 1

    def __iter__(self) -> Iterator[list[tuple[Item, Array | ImageError]]]:
        # Daemons: it may hang in reading standard input when the run is over.
        threading.Thread(target=self._draw, name="tlcli-paths", daemon=True).start()
        for number in range(self._threads):
            threading.Thread(target=self._work, name=f"tlcli-read-{number}", daemon=True).start()
        try:
            while batch := self._batch():
                yield batch
        finally:
            with self._reader:
                self._stopped = True
                self._drawer.notify()
                self._readers.notify_all()
        if self._error is not None:
            raise self._error

    def _batch(self) -> list[tuple[Item, Array | ImageError]]:
        """Return the next batch, which is empty at the end."""
        batch: list[tuple[Item, Array | ImageError]] = []
        while len(batch) < self._size:
            result = self._next(patience=_PATIENCE if batch else None)
            if result is None:
                break
            item, value = result
            if isinstance(value, GraphError):
                raise value
            batch.append((item, value))
        return batch

    def _next(self, patience: float | None) -> tuple[Item, Outcome] | None:
        """Return the next result; None at the end, or if it is not drawn in time."""
        with self._reader:
            number = self._handed_out
            while number not in self._results:
                there = number < self._drawn
                if not there and (self._ended or patience == 0):
                    return None
                self._reader.wait(_GLANCE if there or patience is None else patience)
                if not there and patience is not None:
                    patience = 0
            self._handed_out += 1
            # The drawer sleeps until there is room for several.
            if 2 * (self._drawn - self._handed_out) <= self._most:
                self._drawer.notify()
            return self._results.pop(number)

    def _draw(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                with self._drawer:
                    while self._drawn - self._handed_out >= self._most and not self._stopped:
                        self._drawer.wait()
                    if self._stopped:
                        return
                    self._waiting.append(item)
                    self._drawn += 1
                    self._readers.notify()
        except BaseException as raised:
            error = raised
        with self._reader:
            self._ended, self._error = True, error
            self._readers.notify_all()
            self._reader.notify()

    def _work(self) -> None:
        while taken := self._take():
            read = [(number, item, self._outcome(self._read, item)) for number, item in taken]
            finished: dict[int, tuple[Item, Outcome]] = {}
            begun = time.monotonic()
            for number, item, value in read:
                if self._then is not None and isinstance(value, np.ndarray):
                    value = self._outcome(self._then, value)
                finished[number] = (item, value)
                if time.monotonic() - begun > _SHOWN:
                    self._hand_over(finished)
                    finished, begun = {}, time.monotonic()
            self._hand_over(finished)

    def _hand_over(self, finished: dict[int, tuple[Item, Outcome]]) -> None:
        with self._reader:
            self._results |= finished
            self._done += len(finished)
            if self._handed_out in finished:
                self._reader.notify()

    def _take(self) -> list[tuple[int, Item]]:
        """Return the next items with their numbers; none where no more are there, or wanted."""
        with self._readers:
            while not self._waiting and not self._ended and not self._stopped:
                self._readers.wait()
            if self._stopped:
                return []
            # The others are left their part of what is there.
            count = min(self._group, -(-len(self._waiting) // self._threads))
            first = self._taken
            self._taken += count
            return [(first + place, self._waiting.popleft()) for place in range(count)]

    def _outcome(self, work: Callable[[Any], Array], given: Any) -> Outcome:
        try:
            return work(given)
        except (ImageError, GraphError) as error:
            return error
        except MemoryError:
            return ImageError("too large for the memory of this machine")
        except Exception as error:
            return ImageError(f"cannot be read ({type(error).__name__}: {error})")
