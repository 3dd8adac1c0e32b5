"""Images decoded by threads ahead of whoever runs them, in order and in bounded memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import numpy as np

from tlcli.errors import GraphError, ImageError

Item = TypeVar("Item")
Array = np.ndarray[Any, Any]

# A list hands out its next path in microseconds. Whoever types paths takes longer, and is
# answered at once instead of waiting until a batch is full.
_PATIENCE = 0.02
# How often a waiting thread looks whether it is still wanted.
_GLANCE = 0.1


class _End:
    """After the last item: None, or what the items' own iterator raised."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class ReadAhead(Generic[Item]):
    """Batches of ``(item, array or ImageError)`` in the order of ``items``.

    Args:
        items: may be endless, slow or lazy; a thread of its own draws them, a few batches
            ahead at most.
        read: decodes one item; called by several threads at once. Whatever it raises
            becomes an `ImageError`, but for a `GraphError`, which ends the batches.
        batch_size: largest size of a batch. A batch is smaller at the end, and where the
            next item is not there yet.
        threads: how many decode.
    """

    def __init__(
        self,
        items: Iterable[Item],
        read: Callable[[Item], Array],
        batch_size: int,
        threads: int,
    ) -> None:
        self._items = items
        self._read = read
        self._size = batch_size
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="tlcli-decode")
        self._queue: queue.Queue[tuple[Item, Future[Array | ImageError]] | _End] = queue.Queue(
            2 * batch_size + threads
        )
        self._stopped = threading.Event()
        self._unread = 0
        self._counting = threading.Lock()

    @property
    def is_crowded(self) -> bool:
        """Whether more than one of the items that are there has not been read yet."""
        return self._unread > 1

    def __iter__(self) -> Iterator[list[tuple[Item, Array | ImageError]]]:
        # A daemon: it may hang in reading standard input when the run is over.
        threading.Thread(target=self._feed, name="tlcli-paths", daemon=True).start()
        try:
            yield from self._batches()
        finally:
            self._stopped.set()
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _batches(self) -> Iterator[list[tuple[Item, Array | ImageError]]]:
        end: _End | None = None
        while end is None:
            waiting: list[tuple[Item, Future[Array | ImageError]]] = []
            while len(waiting) < self._size:
                try:
                    entry = self._queue.get(timeout=_PATIENCE if waiting else _GLANCE)
                except queue.Empty:
                    if waiting:
                        break
                    continue
                if isinstance(entry, _End):
                    end = entry
                    break
                waiting.append(entry)
            if waiting:
                yield [(item, future.result()) for item, future in waiting]
        if end.error is not None:
            raise end.error

    def _feed(self) -> None:
        try:
            for item in self._items:
                self._count(1)
                if self._stopped.is_set() or not self._put(
                    (item, self._pool.submit(self._read_one, item))
                ):
                    return
        except RuntimeError as error:
            if not self._stopped.is_set():  # otherwise: the pool was shut down meanwhile
                self._put(_End(error))
        except BaseException as error:
            self._put(_End(error))
        else:
            self._put(_End())

    def _put(self, entry: Any) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(entry, timeout=_GLANCE)
            except queue.Full:
                continue
            return True
        return False

    def _read_one(self, item: Item) -> Array | ImageError:
        try:
            return self._read(item)
        except GraphError:
            raise
        except ImageError as error:
            return error
        except MemoryError:
            return ImageError("too large for the memory of this machine")
        except Exception as error:
            return ImageError(f"cannot be read ({type(error).__name__}: {error})")
        finally:
            self._count(-1)

    def _count(self, step: int) -> None:
        with self._counting:
            self._unread += step
