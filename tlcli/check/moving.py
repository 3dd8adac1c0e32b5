"""Moving what was found out of the way: written to a journal first, never over another file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tlcli.errors import OutputError
from tlcli.storage.locations import is_url, shown

JOURNAL = "moved.jsonl"
"""File in the folder with one line per move, {"from": PATH, "to": PATH}, written before it."""


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
    # Not resolved: a link is moved, and not what it leads to.
    root = Path(os.path.abspath(source))  # noqa: PTH100
    for file in files:
        if is_url(file):
            raise OutputError(f"{shown(file)} is not on this machine, so --move_to cannot move it")
        path = Path(os.path.abspath(file))  # noqa: PTH100
        inside = path.is_relative_to(root)
        target = folder / (path.relative_to(root) if inside else path.relative_to(path.anchor))
        if os.path.lexists(target) or target in moves:
            raise OutputError(
                f"--move_to would overwrite {target}; nothing was moved, give an empty folder"
            )
        moves[target] = path
    return [(path, target) for target, path in moves.items()]


def move(moves: Sequence[tuple[Path, Path]], folder: Path) -> Path:
    """Move files and return the journal; what was moved before an error stays moved, and written.

    Args:
        moves: of `plan`.
        folder: of the journal.

    Raises:
        OutputError: a file cannot be moved.
    """
    journal = folder / JOURNAL
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with journal.open("a", encoding="utf-8", errors="surrogateescape") as stream:
            for path, target in moves:
                line = {"from": str(path), "to": os.path.abspath(target)}  # noqa: PTH100
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
                target.parent.mkdir(parents=True, exist_ok=True)
                if os.path.lexists(target):
                    raise FileExistsError(f"{target} exists")
                shutil.move(path, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"cannot move files to {folder}: {reason}; see {journal}") from error
    return journal
