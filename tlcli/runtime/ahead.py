"""Work that begins before its result is needed, in threads beside what computes products."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Generic, TypeVar

from tlcli.system.cpus import available_cpus

Result = TypeVar("Result")


class Ahead:
    """Calls that run in threads of their own; a context manager that waits for none of them.

    With one processor nothing begins early.
    """

    def __init__(self) -> None:
        self._begun: dict[Callable[..., Any], Future[Any]] = {}

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._begun.clear()

    def begin(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Start ``function``, which must share nothing that anyone changes."""
        if available_cpus() < 2:
            return
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # the caller of `result` gets it
                future.set_exception(error)

        self._begun[function] = future
        # The end of the process waits for no such thread.
        threading.Thread(target=run, name="tlcli-ahead", daemon=True).start()

    def result(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Return what a function returned that began with these arguments, else call it now.

        Raises:
            Exception: what the function raised.
        """
        begun = self._begun.pop(function, None)
        return function(*arguments) if begun is None else begun.result()


class Once(Generic[Result]):
    """A value that the first thread that asks for it computes, and others wait for."""

    def __init__(self, function: Callable[..., Result], *arguments: Any) -> None:
        self._function, self._arguments = function, arguments
        self._lock = threading.Lock()
        self._found: list[Result] = []

    def __call__(self) -> Result:
        """Return what the function returns.

        Raises:
            Exception: what the function raised; the next who asks calls it again.
        """
        with self._lock:
            if not self._found:
                self._found.append(self._function(*self._arguments))
            return self._found[0]
