"""Files that are whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlcli.errors import OutputError

# Visible in a listing, never matched by an image suffix, and unlike any user's own name.
TEMPORARY_PREFIX = ".tlcli-tmp-"
# A run that lasts longer than this still renames its own files at its end, within seconds.
STALE_SECONDS = 24 * 3600


def output_error(path: Path, error: OSError) -> OutputError:
    """Return the sentence for an output that the system refused to write."""
    reason = error.strerror or str(error)
    return OutputError(f"cannot write {path}: {reason}; choose another place or make room there")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it there when the block ends well.

    The block may create a file or a folder at the temporary path. On any exception
    the temporary file or folder is removed and ``path`` stays as it was.

    Raises:
        OutputError: the folder or file cannot be written.
    """
    path = Path(path)
    holder: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=path.parent))
        temporary = holder / path.name
        yield temporary
        _replace(temporary, path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        if holder is not None:
            shutil.rmtree(holder, ignore_errors=True)


def _replace(temporary: Path, path: Path) -> None:
    if temporary.is_dir() and path.is_dir():
        # A folder cannot be renamed over a filled one: the old one steps aside first.
        path.rename(temporary.parent / "replaced")
    temporary.replace(path)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader sees the old content or the new, never a part.

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


def sweep_temporary(folder: Path) -> None:
    """Remove what a killed run left in ``folder``; what is younger than a day may be in use."""
    if not folder.is_dir():
        return
    oldest = time.time() - STALE_SECONDS
    for entry in folder.glob(TEMPORARY_PREFIX + "*"):
        try:
            if entry.stat().st_mtime < oldest:
                shutil.rmtree(entry)
        except OSError:
            continue


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
