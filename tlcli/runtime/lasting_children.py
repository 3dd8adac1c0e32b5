"""Confined child processes that answer many requests, one after another.

A child that is asked once spends most of its time on its start. One that lasts is still a process
of its own, confined as `child_process` does it: its death is an answer like any other, and the next
request gets another child. What one request could do to the child would affect the next one, so a
child is replaced after a number of requests, and whenever the caller has a doubt.

Linux ends a child with the thread that started it, so a thread that lives as long as this process
starts all of them. It also ends those that nobody has needed for a while.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any

from tlcli.errors import OutputError
from tlcli.runtime.child_process import (
    LARGEST_ANSWER,
    Ending,
    end_confined,
    ending_of,
    log_talk,
    read_answer,
    search_path,
    start_confined,
    temporary_place,
)
from tlcli.system.atomic_files import temporary_folder
from tlcli.system.closing import Closing
from tlcli.system.cpus import available_cpus

_PROGRAM = (
    "import json, sys; given = json.loads(sys.stdin.readline()); sys.path[:] = given['path']; "
    "from tlcli.runtime.confinement import answer_requests; answer_requests(given)"
)
_ENDING_SECONDS = 5.0


@dataclass(frozen=True)
class Limits:
    """When children are replaced.

    Attributes:
        requests: that one child answers.
        processor_seconds: that one child may take for all of them; it dies above.
        idle_seconds: after which a child that nobody asks is ended.
    """

    requests: int = 200
    processor_seconds: int = 1800
    idle_seconds: float = 15.0


class LastingChild(Closing):
    """A child that answers requests by a function of a module.

    Args:
        target: "MODULE:FUNCTION"; the function takes a request and returns a dictionary.
        limits: of which the processor time counts here.

    Attributes:
        folder: the only one that it may write into; it goes with the child.
        requests: how many were sent.

    Raises:
        OutputError: there is no room for temporary files.
        OSError: the system starts no process.
    """

    def __init__(self, target: str, limits: Limits) -> None:
        self.requests = 0
        self._failed = False
        with ExitStack() as stack:
            self.folder = stack.enter_context(temporary_folder(temporary_place()))
            stack.callback(self._end)
            self._process = start_confined(self.folder, _PROGRAM)
            self._send(
                {
                    "target": target,
                    "path": search_path(),
                    "folder": str(self.folder),
                    "parent": os.getpid(),
                    "processor_seconds": limits.processor_seconds,
                }
            )
            self._stack = stack.pop_all()

    @property
    def is_ready(self) -> bool:
        """Whether it can be asked: it answered so far, has not ended, and has its folder."""
        return not self._failed and self._process.poll() is None and self.folder.is_dir()

    def ask(self, request: Mapping[str, Any], seconds: float) -> Ending:
        """Return the answer to a request, as JSON can represent it.

        Without an answer the child has ended, or cannot be asked again.

        Args:
            request: for the function.
            seconds: that the answer may take.
        """
        self.requests += 1
        self._send(request)
        answer = self._line(time.monotonic() + seconds)
        if answer is not None and answer.endswith(b"\n"):
            with contextlib.suppress(ValueError):
                found = json.loads(answer)
                if isinstance(found, dict):
                    return Ending(found)
        self._failed = True
        if answer is None:
            return Ending(None, f"did not answer within {seconds:.0f} seconds", False)
        if answer.endswith(b"\n") or len(answer) > LARGEST_ANSWER:
            return Ending(None, "gave no answer that can be read")
        try:
            code = self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            return Ending(None, "closed its output")
        return ending_of(code)

    def close(self) -> None:
        """End the child and remove its folder."""
        log_talk(self.folder)
        self._stack.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        # Where it has ended, it gives no answer either.
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _line(self, deadline: float) -> bytes | None:
        """Return what it wrote up to the end of a line, or until it ended; None: out of time."""
        pipe = self._process.stdout
        assert pipe is not None
        if os.name != "posix":  # there pipes cannot be waited for
            return _line_in_thread(pipe, deadline)
        return read_answer(pipe, deadline, b"\n")

    def _end(self) -> None:
        process: subprocess.Popen[bytes] | None = getattr(self, "_process", None)
        if process is not None:
            end_confined(process)


def _line_in_thread(pipe: IO[bytes], deadline: float) -> bytes | None:
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=lambda: lines.put(pipe.readline(LARGEST_ANSWER)), daemon=True).start()
    try:
        return lines.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        return None


class ChildPool(Closing):
    """Lasting children of one kind, as many as are asked at the same time.

    Threads may use it at the same time. Leaving the interpreter ends the children; on Linux they
    end with this process in any case.

    Args:
        target: as for `LastingChild`.
        limits: when they are replaced.
    """

    def __init__(self, target: str, limits: Limits | None = None) -> None:
        self._target = target
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._idle: list[tuple[float, LastingChild]] = []
        self._children: set[LastingChild] = set()
        self._wanted: queue.SimpleQueue[Future[LastingChild]] = queue.SimpleQueue()
        self._starter: threading.Thread | None = None
        self._starting = threading.Lock()
        self._ended = False
        atexit.register(self._close_for_ever)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    @contextmanager
    def lent(self, fresh: bool = False) -> Iterator[LastingChild]:
        """Yield a child that nobody else uses; it is ended if the block raises.

        Args:
            fresh: it has answered nothing before.

        Raises:
            OutputError: there is no room for temporary files.
            OSError: the system starts no process.
        """
        child = (None if fresh else self._waiting()) or self._started()
        try:
            yield child
        except BaseException:
            self._drop(child)
            raise
        self._give_back(child)

    def close(self) -> None:
        """End all children; others are started where they are needed again."""
        with self._lock:
            children, self._idle = list(self._children), []
        for child in children:
            self._drop(child)

    def _close_for_ever(self) -> None:
        """End all children when Python ends, whatever other threads still ask for."""
        with self._starting:  # one that is just being started is ended too
            self._ended = True
        self.close()

    def _waiting(self) -> LastingChild | None:
        """Return a child that has nothing to do, the one that had last."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                _, child = self._idle.pop()
            if child.is_ready:
                return child
            self._drop(child)

    def _started(self) -> LastingChild:
        future: Future[LastingChild] = Future()
        with self._lock:
            if self._starter is None or not self._starter.is_alive():
                self._starter = threading.Thread(
                    target=self._start, name="tlcli-children", daemon=True
                )
                self._starter.start()
        self._wanted.put(future)
        try:
            return future.result()
        except BaseException:
            # Interrupted: what is started all the same has nobody to end it.
            future.add_done_callback(self._drop_started)
            raise

    def _drop_started(self, future: Future[LastingChild]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._drop(future.result())

    def _give_back(self, child: LastingChild) -> None:
        if not child.is_ready or child.requests >= self._limits.requests:
            self._drop(child)
            return
        with self._lock:
            kept = child in self._children and len(self._idle) < available_cpus()
            if kept:
                self._idle.append((time.monotonic(), child))
        if not kept:
            self._drop(child)

    def _drop(self, child: LastingChild) -> None:
        with self._lock:
            self._children.discard(child)
        child.close()

    def _start(self) -> None:
        """Start children for those who wait for one, and end those that are not needed."""
        while True:
            try:
                future = self._wanted.get(timeout=self._limits.idle_seconds / 2)
            except queue.Empty:
                self._end_idle()
                continue
            try:
                with self._starting:
                    if self._ended:
                        raise OSError("Python ends")
                    child = LastingChild(self._target, self._limits)
                    with self._lock:
                        self._children.add(child)
            except (OSError, OutputError) as error:
                future.set_exception(error)
                continue
            future.set_result(child)

    def _end_idle(self) -> None:
        until = time.monotonic() - self._limits.idle_seconds
        with self._lock:
            old = [child for since, child in self._idle if since < until]
            self._idle = [each for each in self._idle if each[1] not in old]
        for child in old:
            self._drop(child)

    def _forget(self) -> None:
        """Leave the children to the process that this one was forked from."""
        self._lock, self._starting = threading.Lock(), threading.Lock()
        self._idle, self._children, self._starter = [], set(), None
        self._wanted = queue.SimpleQueue()
