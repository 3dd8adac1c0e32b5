"""Moving files: to where nothing is, in one step, and finished after a kill."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from tlcli.errors import OutputError
from tlcli.storage.locations import is_url, shown

_PART = ".tlcli-part-"


def plan(files: Sequence[str], source: Path, folder: Path) -> list[tuple[Path, Path]]:
    """Return where each file goes: the same path below the folder as below the source.

    Args:
        files: to move.
        source: the folder of photos; files elsewhere go into the folder by their absolute path.
        folder: to move into.

    Raises:
        OutputError: a file is not on this machine, two files would become one, or one is there.
    """
    moves: dict[Path, Path] = {}
    root = absolute(source)
    for file in files:
        if is_url(file):
            raise OutputError(f"{shown(file)} is not on this machine, so --move_to cannot move it")
        path = absolute(file)
        inside = path.is_relative_to(root)
        target = folder / (path.relative_to(root) if inside else path.relative_to(path.anchor))
        if os.path.lexists(target) or target in moves:
            raise OutputError(
                f"--move_to would overwrite {target}; nothing was moved, give an empty folder"
            )
        moves[target] = path
    return [(path, absolute(target)) for target, path in moves.items()]


def absolute(path: str | Path) -> Path:
    """Return an absolute path; links stay, as a link is moved and not what it leads to."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def free_path(path: Path) -> Path:
    """Return a path at which nothing is: the given one, or one with a number before its suffix."""
    found, number = path, 1
    while os.path.lexists(found):
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return found


def move_file(source: Path, target: Path) -> None:
    """Move a file, or a link, to a path at which nothing is.

    Within a file system the file is at one of both paths at any time. On another one it is copied
    first. A relative link is changed so that it leads to the same file.

    Raises:
        FileExistsError: something is there.
        OSError: it cannot be moved; it is still where it was.
    """
    if not os.path.lexists(source):
        raise FileNotFoundError(errno.ENOENT, "there is no such file any more")
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(_link(source, target))
        source.unlink()
        return
    if not stat.S_ISREG(source.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    # An empty file holds the place: the rename would overwrite what came meanwhile.
    with target.open("xb"):
        pass
    try:
        _replace(source, target)
    except BaseException:
        with contextlib.suppress(OSError):
            if target.stat().st_size == 0 and os.path.lexists(source):
                target.unlink()
        raise


def finish_move(source: Path, target: Path) -> None:
    """Finish a move that was written down and perhaps begun before the process was killed.

    Raises:
        OSError: it cannot be finished, as another file is there by now.
    """
    if not os.path.lexists(source):
        if not os.path.lexists(target):
            raise FileNotFoundError(errno.ENOENT, "there is no such file any more")
        return
    if not os.path.lexists(target):
        move_file(source, target)
    elif source.is_symlink() or target.is_symlink():
        if not (source.is_symlink() and os.readlink(target) == _link(source, target)):  # noqa: PTH115
            raise FileExistsError(errno.EEXIST, f"{target} exists")
        source.unlink()
    elif target.stat().st_size == 0:
        _replace(source, target)
    elif filecmp.cmp(source, target, shallow=False):
        # A whole copy on another file system.
        source.unlink()
    else:
        raise FileExistsError(errno.EEXIST, f"{target} exists")


def _link(source: Path, target: Path) -> str:
    """Return the text of a link once it has moved."""
    text = os.readlink(source)  # noqa: PTH115 - a Path would drop a slash at the end
    if os.path.isabs(text):  # noqa: PTH117
        return text
    leads_to = os.path.join(os.path.realpath(source.parent), text)  # noqa: PTH118
    return os.path.relpath(leads_to, os.path.realpath(target.parent))


def _replace(source: Path, target: Path) -> None:
    """Put a file in the place of an empty one."""
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part = target.with_name(_PART + target.name)
        try:
            shutil.copy2(source, part)
            with part.open("rb") as stream:
                os.fsync(stream.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        source.unlink()
