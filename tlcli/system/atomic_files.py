"""Atomic writes: files are written in full to a temporary path, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tlcli.errors import OutputError
from tlcli.system.digests import sha256_bytes

# Visible in a listing, never matched by an image suffix, and unlikely as a user's own name.
TEMPORARY_PREFIX = ".tlcli-tmp-"
# For temporary files of other machines, whose processes are unknown here; no run takes a day.
STALE_SECONDS = 24 * 3600


def write_reason(error: OSError) -> str:
    """Return why the system refused to write, in plain words."""
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "there is a file where a folder is needed"
    return error.strerror or str(error)


def output_error(path: Path, error: OSError) -> OutputError:
    """Return the error for an output that the system refused to write."""
    # A temporary path is reported as its final path.
    path = Path(*(part for part in path.parts if not part.startswith(TEMPORARY_PREFIX)))
    return OutputError(
        f"cannot write {path}: {write_reason(error)}; choose another path or make room there"
    )


@contextmanager
def temporary_folder(folder: Path, output: Path | None = None) -> Iterator[Path]:
    """Yield a new folder for temporary files within ``folder``; it is removed afterwards.

    Its name identifies this machine and process, so that what killed runs left in ``folder`` is
    told apart and removed.

    Raises:
        OutputError: the folder cannot be written; it names ``output``, where that is given.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep_once(folder)
        prefix = f"{TEMPORARY_PREFIX}{_machine()}-{os.getpid()}-"
        holder = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    except OSError as error:
        raise output_error(output or folder, error) from error
    try:
        yield holder
    finally:
        shutil.rmtree(holder, ignore_errors=True)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; rename it to ``path`` when the block succeeds.

    The block may create a file or a folder at the temporary path. On any exception the
    temporary file or folder is removed and ``path`` stays as it was.

    Raises:
        OutputError: the folder or file cannot be written.
    """
    with temporary_folder(path.parent, path) as holder:
        try:
            yield holder / path.name
            _replace(holder / path.name, path)
        except OSError as error:
            raise output_error(path, error) from error


@contextmanager
def made_folders(folders: Iterable[Path]) -> Iterator[None]:
    """Make folders with their parents; when the block fails, remove those that are empty.

    Raises:
        OutputError: a folder cannot be made.
    """
    made: list[Path] = []
    try:
        for folder in folders:
            made += [each for each in (folder, *folder.parents) if not each.exists()]
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise output_error(folder, error) from error
        yield
    except BaseException:
        for folder in sorted(made, key=lambda each: len(each.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _machine() -> str:
    return sha256_bytes(platform.node().encode())[:8]


def _replace(temporary: Path, path: Path) -> None:
    if temporary.is_dir() and path.is_dir() and not path.is_symlink():
        # A folder cannot be renamed over a folder with content.
        if _exchange(temporary, path):
            return
        # Here the old one is moved away first: a kill in between leaves neither at the path.
        path.rename(temporary.parent / "replaced")
    temporary.replace(path)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two entries at once, where the system can; return whether it did."""
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    done: int = rename(here, os.fsencode(one), here, os.fsencode(other), exchange)
    return done == 0


class OutputSet(contextlib.ExitStack):
    """Outputs that appear together: all are written to temporary paths, then all renamed.

    Used as a context manager; without `commit`, nothing changes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._staged: list[tuple[Path, Path]] = []
        self._outdated: list[tuple[Path, Path]] = []

    def stage(self, path: Path) -> Path:
        """Return the temporary path to which the output for ``path`` is to be written.

        Raises:
            OutputError: the folder cannot be written.
        """
        temporary = self._hold(path) / path.name
        self._staged.append((temporary, path))
        return temporary

    def remove(self, path: Path) -> None:
        """Let `commit` remove the file at ``path``, which would contradict the new outputs.

        Raises:
            OutputError: the folder cannot be written.
        """
        self._outdated.append((self._hold(path), path))

    def _hold(self, path: Path) -> Path:
        """Make a folder for temporary files next to ``path``."""
        return self.enter_context(temporary_folder(path.parent, path))

    def commit(self, certificate: Path, dependent: Sequence[Path] = ()) -> None:
        """Rename every output to its path, the one for ``certificate`` last.

        Signals and other processes that commit to the same folder wait until it is done, so that
        an interruption leaves all outputs or none. If the process is killed, each file is
        completely the old one or the new one. The certificate contains checksums of the files it
        certifies, so an old one does not match new files. The ``dependent`` files have no
        checksums: those that will change are removed before anything is renamed, so that none
        ever exists together with another version of the rest. Where the system refuses a rename,
        the earlier ones are undone.

        Raises:
            OutputError: a path cannot be written.
        """
        path = certificate
        # Each changed path, with a backup of its previous file; None: there was none.
        changed: list[tuple[Path, Path | None]] = []
        with _signals_deferred(), _locked(certificate.parent):
            try:
                for holder, path in self._outdated:
                    changed.append((path, _backup(path, holder)))
                    path.unlink(missing_ok=True)
                for temporary, path in self._staged:
                    if path in dependent and not _same_content(temporary, path):
                        changed.append((path, _backup(path, temporary.parent)))
                        path.unlink(missing_ok=True)
                for temporary, path in sorted(
                    self._staged, key=lambda staged: staged[1] == certificate
                ):
                    # A folder is swapped.
                    before = temporary if path.is_dir() else _backup(path, temporary.parent)
                    _replace(temporary, path)
                    changed.append((path, before))
            except OSError as error:
                for each, before in reversed(changed):
                    with contextlib.suppress(OSError):
                        _restore(each, before)
                raise output_error(path, error) from error


def _backup(path: Path, holder: Path) -> Path | None:
    """Return a backup of the file at ``path``, or None where there is no file.

    Raises:
        OSError: no backup is possible; nothing was changed yet.
    """
    if not path.is_file():
        return None
    name = holder / f"before-{path.name}"
    if name.exists():
        return name
    try:
        os.link(path, name)
    except OSError:  # some drives have no hard links
        shutil.copy2(path, name)
    return name


def _restore(path: Path, before: Path | None) -> None:
    if before is None:
        path.unlink(missing_ok=True)
    elif before.is_dir():
        _replace(before, path)
    elif before.exists():
        before.replace(path)


def _same_content(one: Path, other: Path) -> bool:
    try:
        return one.read_bytes() == other.read_bytes()
    except FileNotFoundError:
        return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the block for ``folder`` against other processes, where the system supports it.

    The lock is on the folder itself, so that it leaves no file, and ends with the process.
    """
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # Windows opens no folders
        yield
        return
    try:
        with contextlib.suppress(OSError):  # some network drives have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Defer SIGINT and SIGTERM until the block ends."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals interrupt the main thread only
        return
    waiting: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, frame: waiting.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for caught in waiting:
            signal.raise_signal(caught)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that readers see the old or the new content, never a part.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 like `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


# Folders may get thousands of files in a run.
_swept: set[str] = set()


def _sweep_once(folder: Path) -> None:
    """Remove what killed runs left in a folder, the first time that this process writes there."""
    place = os.path.abspath(folder)  # noqa: PTH100 - links may change
    if place not in _swept:
        _swept.add(place)
        sweep_temporary(folder)


def sweep_temporary(folder: Path) -> None:
    """Remove temporary files of killed runs from ``folder``; those of live processes stay.

    `temporary_folder` does this, and all that writes outputs uses it.
    """
    for entry in folder.glob(TEMPORARY_PREFIX + "*"):
        try:
            if not _is_in_use(entry):
                shutil.rmtree(entry)
        except OSError:
            continue


def _is_in_use(holder: Path) -> bool:
    machine, _, rest = holder.name.removeprefix(TEMPORARY_PREFIX).partition("-")
    process = rest.partition("-")[0]
    if machine != _machine() or not process.isdigit():
        return holder.stat().st_mtime > time.time() - STALE_SECONDS
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True
