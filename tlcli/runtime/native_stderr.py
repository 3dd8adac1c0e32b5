"""Suppression of the log lines that TensorFlow and LiteRT write to standard error natively."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator

logger = logging.getLogger("tlcli")

# Written to descriptor 2, below Python's logging.
_NATIVE_LOG_LINE = re.compile(
    rb"^(WARNING: All log messages before absl"
    rb"|[IWE]\d{4} \d\d:\d\d:\d\d"
    rb"|[IWE]0000 00:00:"
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] "
    rb"|To enable the following instructions"
    rb"|(INFO|WARNING): )"
)


# One redirection at a time: two that overlap would restore each other's file.
_stderr_lock = threading.RLock()


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Buffer what is written to descriptor 2, then pass on all but known log lines.

    TensorFlow and LiteRT print some lines before any of their settings takes effect. With the
    logger ``tlcli`` at DEBUG everything passes at once.
    """
    if logger.isEnabledFor(logging.DEBUG):
        yield
        return
    with _stderr_lock, contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # no standard error at all
            stack.enter_context(_buffered_stderr(os.dup(2)))
        yield


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Suppress native log lines as `quiet_stderr` does, and Python's warnings."""
    with quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _buffered_stderr(saved: int) -> Iterator[None]:
    with os.fdopen(saved, "wb", buffering=0) as stderr, tempfile.TemporaryFile() as buffer:
        if sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.flush()
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        finally:
            try:
                if sys.stderr is not None:
                    with contextlib.suppress(OSError, ValueError):
                        sys.stderr.flush()
            finally:  # an interrupt in between must not leave it redirected
                os.dup2(saved, 2)
            buffer.seek(0)
            lines = [line for line in buffer if not _NATIVE_LOG_LINE.match(line)]
            with contextlib.suppress(OSError):
                stderr.write(b"".join(lines))
