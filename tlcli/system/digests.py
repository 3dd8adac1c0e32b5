"""SHA-256 of bytes and of files."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import IO

_BLOCK = 1 << 20


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return add_file(hashlib.sha256(), file).hexdigest()


def add_file(digest: hashlib._Hash, file: IO[bytes], size: int = sys.maxsize) -> hashlib._Hash:
    """Add the next ``size`` bytes of an open file to a digest, block by block, and return it."""
    while block := file.read(min(size, _BLOCK)):
        digest.update(block)
        size -= len(block)
    return digest
