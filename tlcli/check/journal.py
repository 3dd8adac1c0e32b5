"""A journal of moved photos: each move is written before it is made, and can be undone.

`moved.jsonl` has one JSON object per line:

    {"id": 1, "from": PATH, "to": PATH}              about to be moved
    {"id": 2, "from": PATH, "to": PATH, "undoes": 1} moved back
    {"id": 3, "keep": [KIND, PATH, ...]}             looked at and left as it is
    {"id": 4, "undoes": 3}                           not kept any more
    {"done": 1} and {"failed": 2, "reason": TEXT}    what became of a move

A process that is killed leaves a move without its end; `Journal` finishes it when it is opened.
Each action reads what other processes have added, under a lock.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from tlcli.check.moving import finish_move, move_file
from tlcli.errors import OutputError

JOURNAL = "moved.jsonl"
"""Name of the file, in the folder that photos are moved to."""


@dataclass(frozen=True)
class Change:
    """A move, or that a finding was kept, which was not undone.

    Attributes:
        number: its id in the journal, rising.
        source, target: absolute paths of a move; both None for what was kept.
        kept: kind and paths of a finding that was kept; empty for a move.
    """

    number: int
    source: Path | None = None
    target: Path | None = None
    kept: tuple[str, ...] = ()


class Journal:
    """The moves of a folder; what was interrupted is finished at once.

    Args:
        folder: of the journal; made at the first change.
        move: moves one file, never over another one.

    Raises:
        OutputError: the journal cannot be read.
    """

    def __init__(self, folder: Path, move: Callable[[Path, Path], None] = move_file) -> None:
        self.path = folder / JOURNAL
        self._move = move
        self._read = 0
        self._last = 0
        # Moves without their end, and changes that were not undone, by id.
        self._pending: dict[int, dict[str, Any]] = {}
        self._changes: dict[int, Change] = {}
        self._undone: dict[int, Change] = {}
        if self.path.exists():
            with self._locked():
                pass

    def changes(self) -> list[Change]:
        """Return what was changed and not undone, the oldest first."""
        return [self._changes[number] for number in sorted(self._changes.keys() - self._pending)]

    def refresh(self) -> None:
        """Read what other processes added, and finish what they were killed in.

        Raises:
            OutputError: the journal cannot be read.
        """
        if self.path.exists() and self.path.stat().st_size != self._read:
            with self._locked():
                pass

    def keep(self, finding: tuple[str, ...]) -> None:
        """Note that a finding is left as it is.

        Raises:
            OutputError: the journal cannot be written.
        """
        with self._locked() as stream:
            self._write(stream, {"id": self._last + 1, "keep": list(finding)})

    def move(self, source: Path, choose: Callable[[], Path]) -> Path:
        """Move a file and return where it is now.

        Args:
            source: absolute path.
            choose: returns where to move it, and is asked when no other process moves anything.

        Raises:
            OutputError: it cannot be moved.
        """
        with self._locked() as stream:
            target = choose()
            self._make(stream, {"id": self._last + 1, "from": str(source), "to": str(target)})
            return target

    def move_all(self, moves: Sequence[tuple[Path, Path]]) -> None:
        """Move files; what was moved before an error stays moved, and written.

        Args:
            moves: of `tlcli.check.moving.plan`.

        Raises:
            OutputError: a file cannot be moved.
        """
        for source, target in moves:
            self.move(source, partial(Path, target))

    def undo(self, number: int) -> Change:
        """Undo a change and return it: a file goes back to where it was.

        Raises:
            OutputError: it is not the last change of its file, or cannot be undone.
        """
        with self._locked() as stream:
            change = self._changes.get(number)
            if change is None or number in self._pending:
                raise OutputError("this was undone already")
            entry: dict[str, Any] = {"id": self._last + 1, "undoes": number}
            if change.target is None:
                self._write(stream, entry)
                return change
            later = (each.source for each in self.changes() if each.number > number)
            if change.target in later:
                raise OutputError(f"{change.target} was moved again; undo that first")
            entry.update({"from": str(change.target), "to": str(change.source)})
            self._make(stream, entry)
            return change

    @contextlib.contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        """Yield the journal, read to its end and repaired, while no other process writes it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as stream:
                _lock(stream)
                self._catch_up(stream)
                for entry in list(self._pending.values()):
                    self._end(stream, entry, finish_move)
                yield stream
        except OSError as error:
            raise OutputError(
                f"cannot write {self.path}: {error.strerror or error}; name another folder, or "
                "make it writable"
            ) from error

    def _catch_up(self, stream: IO[bytes]) -> None:
        """Read the lines that are new; one that was cut short is removed, as it did nothing."""
        stream.seek(self._read)
        lines = stream.read()
        whole = lines.rfind(b"\n") + 1
        if whole < len(lines):
            stream.truncate(self._read + whole)
        for line in lines[:whole].splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                self._take(json.loads(line.decode("utf-8", "surrogateescape")))
        self._read += whole

    def _take(self, entry: dict[str, Any]) -> None:
        """Apply one line of the journal."""
        number = entry.get("id")
        if number is None:
            if "done" in entry:
                self._pending.pop(entry["done"], None)
            elif "failed" in entry:
                self._pending.pop(entry["failed"], None)
                self._changes.pop(entry["failed"], None)
                # A move back that failed has undone nothing.
                again = self._undone.pop(entry["failed"], None)
                if again is not None:
                    self._changes[again.number] = again
            return
        self._last = max(self._last, int(number))
        if "from" in entry:
            self._pending[number] = entry
        if "undoes" in entry:
            undone = self._changes.pop(entry["undoes"], None)
            if undone is not None:
                self._undone[number] = undone
        elif "keep" in entry:
            self._changes[number] = Change(number, kept=tuple(entry["keep"]))
        else:
            self._changes[number] = Change(number, Path(entry["from"]), Path(entry["to"]))

    def _make(self, stream: IO[bytes], entry: dict[str, Any]) -> None:
        self._write(stream, entry)
        problem = self._end(stream, entry, self._move)
        if problem is not None:
            raise OutputError(f"cannot move {entry['from']}: {problem}; see {self.path}")

    def _end(
        self, stream: IO[bytes], entry: dict[str, Any], move: Callable[[Path, Path], None]
    ) -> str | None:
        """Make a move and write what became of it; return why it failed."""
        try:
            move(Path(entry["from"]), Path(entry["to"]))
        except (OSError, ValueError) as error:
            problem = getattr(error, "strerror", None) or str(error)
            self._write(stream, {"failed": entry["id"], "reason": problem})
            return problem
        self._write(stream, {"done": entry["id"]})
        return None

    def _write(self, stream: IO[bytes], entry: dict[str, Any]) -> None:
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        stream.write(line.encode("utf-8", "surrogateescape"))
        stream.flush()
        if "id" in entry:
            os.fsync(stream.fileno())
        self._read = stream.tell()
        self._take(entry)


def _lock(stream: IO[bytes]) -> None:
    """Wait until no other process has the lock; it ends when the file is closed."""
    try:
        import fcntl

        fcntl.flock(stream.fileno(), fcntl.LOCK_EX)
    except (ImportError, OSError):
        # Windows has no fcntl, and some network folders no locks. A file is still never moved over
        # another one.
        return
