"""SHA-256 of large files, computed once each, in parallel with other work."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tlcli.system.atomic_files import sha256_file

# One reads while another computes; more would not be faster.
_THREADS = 2


class Digests:
    """Digests of files that do not change meanwhile; hashing releases the GIL."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, "tlcli-hash")
        self._begun: dict[Path, Future[str]] = {}

    def begin(self, path: Path) -> None:
        """Start to hash a file whose digest will be needed; no effect where there is no file."""
        if path not in self._begun and path.is_file():
            self._begun[path] = self._pool.submit(sha256_file, path)

    def of(self, path: Path) -> str:
        """Return the SHA-256 of a file as 64 hexadecimal digits.

        Raises:
            OSError: the file cannot be read.
        """
        begun = self._begun.get(path)
        return sha256_file(path) if begun is None else begun.result()

    def close(self) -> None:
        """Wait for running work and stop the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
