"""What TensorFlow and LiteRT write to standard error by themselves, held back."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

logger = logging.getLogger("tlcli")

# Written to descriptor 2, below Python's logging.
_CHATTER = re.compile(
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
    """Hold back what is written to descriptor 2, then pass on all but known chatter.

    TensorFlow and LiteRT print some lines before any setting of theirs can stop them. With
    the logger ``tlcli`` at DEBUG nothing is held back.
    """
    if logger.isEnabledFor(logging.DEBUG):
        yield
        return
    with _stderr_lock:
        try:
            kept = os.dup(2)
        except OSError:  # no standard error at all
            kept = -1
        if kept < 0:
            yield
            return
        with _held_stderr(kept):
            yield


@contextlib.contextmanager
def _held_stderr(kept: int) -> Iterator[None]:
    with os.fdopen(kept, "wb", buffering=0) as stderr, tempfile.TemporaryFile() as held:
        if sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            try:
                if sys.stderr is not None:
                    with contextlib.suppress(OSError, ValueError):
                        sys.stderr.flush()
            finally:  # an interrupt in between must find standard error where it was
                os.dup2(kept, 2)
            held.seek(0)
            lines = [line for line in held if not _CHATTER.match(line)]
            with contextlib.suppress(OSError):
                stderr.write(b"".join(lines))
