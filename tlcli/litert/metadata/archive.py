"""The zip at the end of a LiteRT file: labels and the like, for whoever reads its metadata."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

# The first moment that a zip can state: the same files give the same bytes.
_TIME = (1980, 1, 1, 0, 0, 0)
_READ_BY_ALL = 0o644 << 16
_LARGEST = 16 << 20


class _Behind(io.BytesIO):
    """A stream whose positions begin behind ``before`` bytes that it does not hold."""

    def __init__(self, before: int) -> None:
        super().__init__()
        self._before = before

    def tell(self) -> int:
        return super().tell() + self._before

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        before = self._before if whence == io.SEEK_SET else 0
        return super().seek(offset - before, whence) + self._before


def append_files(content: bytes, files: Mapping[str, bytes], comment: bytes = b"") -> bytes:
    """Return ``content`` with a zip at its end; the parameters are those of `zip_behind`."""
    return content + zip_behind(len(content), files, comment)


def zip_behind(before: int, files: Mapping[str, bytes], comment: bytes = b"") -> bytes:
    """Return a zip for the end of a file; the same files give the same bytes.

    The files in it are stored as they are, as clients read them in place, and positions count
    from the beginning of the whole file, as Android's reader expects.

    Args:
        before: how many bytes of the file are before the zip.
        files: contents by name.
        comment: what the zip, and so the file, ends with.
    """
    stream = _Behind(before)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = comment
        for name, each in files.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = _READ_BY_ALL
            entry.create_system = 3  # on every system the same
            archive.writestr(entry, each)
    return stream.getvalue()


def split_files(content: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Return what is before the zip at the end of a file, and the files in it.

    A zip that is damaged or too large stays where it is.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            plain = all(each.compress_type == zipfile.ZIP_STORED for each in entries)
            if not plain or sum(each.file_size for each in entries) > _LARGEST:
                return content, {}
            start = min((each.header_offset for each in entries), default=len(content))
            return content[:start], {each.filename: archive.read(each) for each in entries}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, NotImplementedError):
        return content, {}
