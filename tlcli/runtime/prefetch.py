"""Prefetching: threads work on items ahead of the reader, in order and in bounded memory."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# A list yields its next path in microseconds. A person who types paths takes longer, and gets
# each result at once instead of waiting until a batch is full.
_BATCH_WAIT_SECONDS = 0.02
# Results of a group are handed over together for so long: waking the reader for each costs.
_HAND_OVER_SECONDS = 0.1
# How often the waiting reader wakes up, so that Ctrl-C reaches it on every system.
_POLL_SECONDS = 0.1


class _Failure:
    """An error instead of a result."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Prefetcher(Generic[Item, Result]):
    """Pairs of an item and its result, in the order of the items.

    A thread takes as many items as a group has, if that many are available, and wakes others
    only when they have something to do: handing over one image at a time took 4% of the time of
    labelling, and switching from decoding to the network for each image 3% more.

    Args:
        items: may be endless, slow or lazy; a thread of its own draws them, a few batches
            ahead at most. An error that it raises comes after the results before it.
        work: yields the result of each item of a group, in order; several threads call it at
            once. An error that it raises ends the iteration at the item that lacks a result.
        threads: how many work.
        batch_size: how many results the reader uses at once.
        group: returns how many items a thread may take at once; may change meanwhile.
    """

    def __init__(
        self,
        items: Iterable[Item],
        work: Callable[[Sequence[Item]], Iterator[Result]],
        threads: int,
        batch_size: int = 1,
        group: Callable[[], int] = lambda: 1,
    ) -> None:
        self._items, self._work, self._batch_size, self._group = items, work, batch_size, group
        # All below changes under the lock of these conditions.
        lock = threading.Lock()
        self._drawer, self._workers, self._reader = (threading.Condition(lock) for _ in range(3))
        self._waiting: deque[Item] = deque()
        self._results: dict[int, tuple[Item, Result | _Failure]] = {}
        self._drawn = self._taken = self._done = self._handed_out = 0
        self._ended = self._stopped = False
        self._error: BaseException | None = None
        # Daemons: drawing may hang in reading standard input when the run is over.
        self._threads = [
            threading.Thread(target=self._run, name=f"tlcli-prefetch-{number}", daemon=True)
            for number in range(threads)
        ]

    @property
    def is_crowded(self) -> bool:
        """Whether more than one of the drawn items lacks a result."""
        return self._drawn - self._done > 1

    def __iter__(self) -> Iterator[tuple[Item, Result]]:
        for batch in self._batches(1):
            yield from batch

    def batches(self) -> Iterator[list[tuple[Item, Result]]]:
        """Yield batches of ``batch_size`` pairs.

        A batch is smaller at the end, where the next item is not available yet, and before an
        error.
        """
        return self._batches(self._batch_size)

    def stop(self) -> list[tuple[Item, Result]]:
        """Stop after an error or an interrupt; return what was computed and not handed out.

        Waits for the groups that threads are working on.
        """
        self._stop()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        rest = [self._results[number] for number in sorted(self._results)]
        return [(item, value) for item, value in rest if not isinstance(value, _Failure)]

    def _stop(self) -> None:
        with self._reader:
            self._stopped = True
            self._drawer.notify()
            self._workers.notify_all()

    def _batches(self, size: int) -> Iterator[list[tuple[Item, Result]]]:
        threading.Thread(target=self._draw, name="tlcli-draw", daemon=True).start()
        for thread in self._threads:
            thread.start()
        try:
            while batch := self._batch(size):
                yield batch
        finally:
            self._stop()
        if self._error is not None:
            raise self._error

    def _batch(self, size: int) -> list[tuple[Item, Result]]:
        """Return the next batch, which is empty at the end."""
        batch: list[tuple[Item, Result]] = []
        while len(batch) < size:
            pair = self._next(timeout=_BATCH_WAIT_SECONDS if batch else None)
            if pair is None:
                break
            batch.append(pair)
        return batch

    def _next(self, timeout: float | None) -> tuple[Item, Result] | None:
        """Return the next pair; None at the end, or if there is none after ``timeout``."""
        with self._reader:
            number = self._handed_out
            while number not in self._results:
                drawn = number < self._drawn
                if not drawn and (self._ended or timeout == 0):
                    return None
                self._reader.wait(_POLL_SECONDS if drawn or timeout is None else timeout)
                if not drawn and timeout is not None:
                    timeout = 0
            item, value = self._results[number]
            if isinstance(value, _Failure):
                if timeout is not None:
                    return None  # the batch before it comes first
                raise value.error
            del self._results[number]
            self._handed_out += 1
            # The drawer sleeps until there is room for several.
            if 2 * (self._drawn - self._handed_out) <= self._most():
                self._drawer.notify()
            return item, value

    def _most(self) -> int:
        """Return how many items are drawn and not handed out at most."""
        threads = len(self._threads)
        return 2 * max(self._batch_size, threads * self._group()) + threads

    def _draw(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                with self._drawer:
                    while self._drawn - self._handed_out >= self._most() and not self._stopped:
                        self._drawer.wait()
                    if self._stopped:
                        return
                    self._waiting.append(item)
                    self._drawn += 1
                    self._workers.notify()
        except BaseException as raised:
            error = raised
        with self._reader:
            self._ended, self._error = True, error
            self._workers.notify_all()
            self._reader.notify()

    def _run(self) -> None:
        while taken := self._take():
            results = self._work([item for _, item in taken])
            finished: dict[int, tuple[Item, Result | _Failure]] = {}
            begun = time.monotonic()
            for number, item in taken:
                value: Result | _Failure
                try:
                    value = next(results)
                except BaseException as error:
                    value = _Failure(error)
                finished[number] = (item, value)
                if isinstance(value, _Failure):
                    break
                if time.monotonic() - begun > _HAND_OVER_SECONDS:
                    self._hand_over(finished)
                    finished, begun = {}, time.monotonic()
            self._hand_over(finished)

    def _hand_over(self, finished: dict[int, tuple[Item, Result | _Failure]]) -> None:
        with self._reader:
            self._results |= finished
            self._done += len(finished)
            if self._handed_out in finished:
                self._reader.notify()

    def _take(self) -> list[tuple[int, Item]]:
        """Return the next items with their numbers; none at the end."""
        with self._workers:
            while not self._waiting and not self._ended and not self._stopped:
                self._workers.wait()
            if self._stopped:
                return []
            # The other threads get their part of what is available.
            count = min(self._group(), -(-len(self._waiting) // len(self._threads)))
            first = self._taken
            self._taken += count
            return [(first + index, self._waiting.popleft()) for index in range(count)]
