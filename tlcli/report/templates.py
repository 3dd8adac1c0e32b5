"""The report's template, compiled once: translating it takes longer than a page's pictures."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.core.files import atomic_path
from tlcli.core.locations import cache_folder
from tlcli.errors import OutputError

if TYPE_CHECKING:
    import jinja2
    from jinja2.bccache import Bucket

FOLDER = "templates"
# Raise it when the environment of `tlcli.report.page` changes what the template compiles to.
_FORMAT = 1
_DIGEST = hashlib.sha256().digest_size


def source(name: str) -> str:
    """Return the text of a template of this package."""
    return resources.files("tlcli.report").joinpath(name).read_text("utf-8")


def compiled() -> jinja2.BytecodeCache | None:
    """Return where compiled templates are kept; None where no place is safe.

    What lies there is run as code, so it must be a folder that nobody else can write, as
    those of Python's own compiled modules are. A file's name says which versions made it and
    from which text, its first bytes the SHA-256 of the rest.
    """
    import jinja2

    class Cache(jinja2.BytecodeCache):
        def _path(self, bucket: Bucket) -> Path:
            versions = f"{jinja2.__version__}.{sys.implementation.cache_tag}"
            return folder / f"{_FORMAT}.{versions}.{bucket.checksum}"

        def load_bytecode(self, bucket: Bucket) -> None:
            with contextlib.suppress(OSError):
                data = self._path(bucket).read_bytes()
                if hashlib.sha256(data[_DIGEST:]).digest() == data[:_DIGEST]:
                    bucket.bytecode_from_string(data[_DIGEST:])

        def dump_bytecode(self, bucket: Bucket) -> None:
            data = bucket.bytecode_to_string()
            # Without it the next report takes a tenth of a second more, that is all.
            failures = contextlib.suppress(OSError, OutputError)
            with failures, atomic_path(self._path(bucket)) as temporary:
                temporary.write_bytes(hashlib.sha256(data).digest() + data)

    folder = cache_folder() / FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Cache() if _is_ours_alone(folder) else None
    except OSError:
        return None


def _is_ours_alone(folder: Path) -> bool:
    if not hasattr(os, "geteuid"):  # no owners to be told apart
        return False
    found = folder.lstat()
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.geteuid()
        and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )
