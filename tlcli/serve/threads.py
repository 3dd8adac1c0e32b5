"""Threads for the work of requests: the event loop never waits for them, nor does the end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

_Result = TypeVar("_Result")
_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class Threads:
    """A number of threads that run what coroutines wait for, first come first served.

    They are daemons: a decoder that is inside its own code cannot be interrupted, and the process
    ends without it. (Those of ``concurrent.futures`` are waited for.)

    Args:
        name: of the threads.
        most: how many there are at most; one starts when all others are busy.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name, self._most = name, most
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        # Jobs that were given and not yet finished; only the event loop changes it.
        self._unfinished = 0

    @property
    def is_busy(self) -> bool:
        """Whether a job is running or waiting."""
        return self._unfinished > 0

    async def run(self, work: Callable[..., _Result], *arguments: Any) -> _Result:
        """Return ``work(*arguments)``, run in one of the threads."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Result] = loop.create_future()
        self._unfinished += 1
        if len(self._threads) < min(self._unfinished, self._most):
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put((loop, future, lambda: work(*arguments)))
        try:
            return await future
        finally:
            self._unfinished -= 1

    def close(self, seconds: float) -> bool:
        """Let the threads end; return whether all did within ``seconds``."""
        for _ in self._threads:
            self._jobs.put(None)
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            loop, future, work = job
            if future.cancelled():
                continue
            try:
                found, error = work(), None
            except BaseException as raised:
                found, error = None, raised
            # The loop may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, future, found, error)
            del job, future, work, found, error


def _settle(future: asyncio.Future[Any], found: Any, error: BaseException | None) -> None:
    if future.done():  # nobody waits any more
        return
    if error is None:
        future.set_result(found)
    else:
        future.set_exception(error)
