"""Images that may take long are decoded in a child process, which can be ended.

The child gets the path or the content of the image and returns the pixels at the size that is
needed. It decodes further images until one fails: then the next child decodes that one again, so
that no image is refused for what another one did.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tlcli.arrays import Array
from tlcli.core.images.time_limits import SECONDS, SlowImageError
from tlcli.errors import ImageError
from tlcli.runtime.child_process import Ending
from tlcli.runtime.lasting_children import ChildPool, LastingChild
from tlcli.storage.locations import is_url
from tlcli.storage.objects import read

# By the clock, should the machine be busy or the file be on a slow drive.
_PATIENCE = 6 * SECONDS
_CONTENT, _RESULT = "content", "pixels.npy"

_is_child = False

Function = TypeVar("Function", bound=Callable[..., Array])


class NeedsChild(Exception):
    """The image is to be decoded in a child process."""


def check(slow: bool) -> None:
    """Raise `NeedsChild` for an image that may be slow, unless this is the child."""
    if slow and not _is_child:
        raise NeedsChild


def is_child() -> bool:
    """Return whether this is the child process."""
    return _is_child


def in_time(function: Function) -> Function:
    """Make a function of an image run in a child process where it raises `NeedsChild`.

    Args:
        function: of a module; its arguments are an image source, and values that JSON represents.
            It returns an array.

    Returns:
        The function, which also raises `SlowImageError` after `SECONDS`.
    """

    @functools.wraps(function)
    def limited(source: Path | str | bytes, *arguments: Any) -> Any:
        try:
            return function(source, *arguments)
        except NeedsChild:
            pass
        return ask_child(function, source, *arguments)

    return limited  # type: ignore[return-value]


def ask_child(function: Callable[..., Any], source: Path | str | bytes, *arguments: Any) -> Any:
    """Return what a function of a module returns, an array, in a child process.

    Raises:
        ImageError: the reason of the function.
        SlowImageError: after `SECONDS`.
    """
    if not isinstance(source, bytes) and is_url(source):
        source = read(source)
    request = {
        "module": function.__module__,
        "name": function.__name__,
        # The child stays where it was started.
        "path": None if isinstance(source, bytes) else os.path.abspath(source),  # noqa: PTH100
        "arguments": arguments,
    }
    try:
        try:
            return _asked(request, source, fresh=False)
        except _DoubtError:
            return _asked(request, source, fresh=True)
    except (OSError, ValueError) as error:  # no memory for a process, or no room for its files
        raise ImageError("too large for the memory of this machine") from error


class _DoubtError(Exception):
    """A child failed on an image, which may be due to images that it decoded before."""


def _asked(request: Mapping[str, Any], source: Path | str | bytes, fresh: bool) -> Any:
    """Return the array that a child answers with.

    Whatever goes wrong ends the child.
    """
    with _children().lent(fresh) as child:
        used = child.requests > 0
        ending = _ending(child, request, source)
        reason = (ending.answer or {}).get("reason")
        if not ending.in_time or (ending.answer or {}).get("slow"):
            raise SlowImageError
        if used and (ending.answer is None or reason is not None):
            raise _DoubtError
        if ending.answer is None:  # its decoder crashed
            raise ImageError("damaged or unsupported image")
        if reason is not None:
            raise ImageError(reason)
        result = child.folder / _RESULT
        found = np.load(result)
        result.unlink()
        return found


def _ending(child: LastingChild, request: Mapping[str, Any], source: Path | str | bytes) -> Ending:
    if not isinstance(source, bytes):
        return child.ask(request, _PATIENCE)
    content = child.folder / _CONTENT
    content.write_bytes(source)
    try:
        return child.ask(request, _PATIENCE)
    finally:
        content.unlink(missing_ok=True)


@functools.cache
def _children() -> ChildPool:
    return ChildPool(f"{__name__}:answer")


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Do what `ask_child` asks for, in the child; return why there is no result."""
    global _is_child
    _is_child = True
    _bound_processor_time()
    folder = Path(tempfile.gettempdir())
    function = getattr(importlib.import_module(request["module"]), request["name"])
    try:
        source = (folder / _CONTENT).read_bytes() if request["path"] is None else request["path"]
        np.save(folder / _RESULT, function(source, *request["arguments"]))
    except ImageError as error:
        return {"reason": str(error), "slow": isinstance(error, SlowImageError)}
    except MemoryError:
        return {"reason": "too large for the memory of this machine"}
    return {}


def _bound_processor_time() -> None:
    """Let the system end this process `SECONDS` from now on."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        # One more for the start of Python.
        used = time.process_time()
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used + SECONDS) + 1, most))
