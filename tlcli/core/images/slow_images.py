"""Images that may take long are decoded in a child process, which can be ended.

The child gets the path or the content of the image and returns the pixels at the size that is
needed.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tlcli.arrays import Array
from tlcli.core.images.time_limits import SECONDS, SlowImageError
from tlcli.errors import ImageError
from tlcli.runtime.child_process import ChildProcess

# By the clock, should the machine be busy or the file be on a slow drive.
_PATIENCE = 6 * SECONDS
_RESULT = "pixels.npy"

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
    content = source if isinstance(source, bytes) else None
    request = {
        "module": function.__module__,
        "name": function.__name__,
        "path": None if isinstance(source, bytes) else str(source),
        "arguments": arguments,
    }
    try:
        with ChildProcess(f"{__name__}:answer", request, _PATIENCE, content) as child:
            ending = child.wait()
            if not ending.in_time or (ending.answer or {}).get("slow"):
                raise SlowImageError
            if ending.answer is None:  # its decoder crashed
                raise ImageError("damaged or unsupported image")
            if "reason" in ending.answer:
                raise ImageError(ending.answer["reason"])
            return np.load(child.folder / _RESULT)
    except (OSError, ValueError) as error:  # no memory for a process, or no room for its files
        raise ImageError("too large for the memory of this machine") from error


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Do what `ask_child` asks for, in the child; return why there is no result."""
    global _is_child
    _is_child = True
    _bound_processor_time()
    folder = Path(tempfile.gettempdir())
    function = getattr(importlib.import_module(request["module"]), request["name"])
    try:
        source = (folder / "content").read_bytes() if request["path"] is None else request["path"]
        np.save(folder / _RESULT, function(source, *request["arguments"]))
    except ImageError as error:
        return {"reason": str(error), "slow": isinstance(error, SlowImageError)}
    except MemoryError:
        return {"reason": "too large for the memory of this machine"}
    return {}


def _bound_processor_time() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        # One more for the start of Python.
        resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS) + 1, int(SECONDS) + 2))
