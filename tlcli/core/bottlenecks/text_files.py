"""The original tools' bottleneck files: one text file of comma-separated floats per image.

Four generations named them differently, all under DIR/LABEL/:

    photo.jpg.txt                                        2015
    photo.jpg_inception_v3.txt                           --architecture inception_v3
    photo.jpg_mobilenet_0.25_128_quantized.txt           --architecture mobilenet_...
    photo.jpg_https~tfhub.dev~google~imagenet~...~1.txt  --tfhub_module
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlcli.arrays import Floats
from tlcli.errors import DataError, OutputError
from tlcli.progress import Progress
from tlcli.system.atomic_files import TEMPORARY_PREFIX, atomic_path, sweep_temporary
from tlcli.text import counted

# 32 characters for each of a quarter of a million floats: far beyond any bottleneck.
_LARGEST_FILE = 8 << 20
_BLOCK_BYTES = 16 << 20
_EXTENSION = r"\.(?:jpe?g|png|gif|bmp|webp|tiff?)"
_ENDS_IN_EXTENSION = re.compile(rf".*{_EXTENSION}", re.IGNORECASE | re.DOTALL)
_EXTENSION_AND_MODULE = re.compile(rf"(.*{_EXTENSION})_(.+)", re.IGNORECASE | re.DOTALL)
# For names without an extension, only what is surely a module is cut off.
_KNOWN_MODULE = re.compile(
    r"(.+?)_(inception_v3|mobilenet_[0-9.]+_[0-9]+(?:_quantized)?|(?:https?|gs|file)~.+)", re.DOTALL
)


@dataclass(frozen=True)
class TextBottleneck:
    """One vector that was read.

    Attributes:
        folder: the label's folder.
        image_name: the image's name in that folder, "photo.jpg" or "sub/photo.jpg".
        vector: float32 [D], finite.
        path: the text file.
    """

    folder: str
    image_name: str
    vector: Floats
    path: Path

    @property
    def name(self) -> str:
        """The image's name as data sets know it, "FOLDER/photo.jpg"."""
        return f"{self.folder}/{self.image_name}"


@dataclass(frozen=True)
class TextImport:
    """The content of a folder of text files.

    Attributes:
        bottlenecks: sorted by name, all of one length and one module; their vectors are the rows
            of one matrix.
        skipped: (file, reason) of each file that was left out.
        module: the module part of the file names, "" for the form of 2015.
        size: D.
    """

    bottlenecks: tuple[TextBottleneck, ...]
    skipped: tuple[tuple[Path, str], ...]
    module: str
    size: int


def module_suffix(module: str) -> str:
    """Return a module's name, URL or path as the original wrote it into file names."""
    return re.sub(r"[/:\\]", "~", module.replace("://", "~"))


def parse_file_name(file_name: str) -> tuple[str, str] | None:
    """Return (image name, module suffix) of a text file's name; None if it is no such file."""
    if not file_name.lower().endswith(".txt") or file_name.startswith("."):
        return None
    stem = file_name[:-4]
    if _ENDS_IN_EXTENSION.fullmatch(stem):
        return stem, ""
    match = _EXTENSION_AND_MODULE.fullmatch(stem) or _KNOWN_MODULE.fullmatch(stem)
    return (match[1], match[2]) if match else (stem, "")


def import_folder(
    directory: Path,
    module: str | None = None,
    progress: Progress | None = None,
    block_bytes: int = _BLOCK_BYTES,
) -> TextImport:
    """Read the text bottlenecks under ``directory``/LABEL/.

    Args:
        directory: the original's --bottleneck_dir.
        module: read only files of this module, as typed or as in file names; "" for the form
            of 2015. None: there must be one only.
        progress: called with ("import", done, total).
        block_bytes: size of the blocks that vectors are read into.

    Raises:
        DataError: no folder, no bottleneck in it, or files of several modules.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise DataError(f"{directory} is not a folder; --import_bottlenecks takes one")
    files, skipped = _list_files(directory)
    files = _of_one_module(files, module)
    found: list[TextBottleneck] = []
    blocks = _Blocks(block_bytes)
    for done, file in enumerate(files, 1):
        try:
            vector = read_vector(file.path)
        except DataError as error:
            skipped.append((file.path, str(error)))
        else:
            vector = blocks.add(vector)
            found.append(TextBottleneck(file.folder, file.image_name, vector, file.path))
        if progress is not None:
            progress("import", done, len(files))
    if not found:
        reason = (
            f"; the first file, {skipped[0][0]}, is not one: {skipped[0][1]}" if skipped else ""
        )
        raise DataError(f"no text bottleneck was found in folders of {directory}{reason}")
    # A file cut short has its own length; of equally many the longer ones are whole.
    lengths = Counter(len(item.vector) for item in found)
    size = max(lengths, key=lambda length: (lengths[length], length))
    for item in found:
        if len(item.vector) != size:
            skipped.append(
                (item.path, f"{counted(len(item.vector), 'value')} where most files have {size}")
            )
    del blocks, item
    found = [each for each in found if len(each.vector) == size]
    return TextImport(
        bottlenecks=_in_one_matrix(found, size),
        skipped=tuple(sorted(skipped)),
        module=files[0].module,
        size=size,
    )


class _Blocks:
    """Blocks that vectors are copied into as they are read.

    A million arrays of their own would fragment the heap; a block is freed as a whole once
    none of its vectors is used.
    """

    def __init__(self, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._block = np.empty((0, 0), np.float32)
        self._used = 0

    def add(self, vector: Floats) -> Floats:
        """Return a copy of the vector within a block."""
        if self._used == len(self._block) or len(vector) != self._block.shape[1]:
            rows = max(1, self._block_bytes // max(1, vector.nbytes))
            self._block, self._used = np.empty((rows, len(vector)), np.float32), 0
        row: Floats = self._block[self._used]
        row[:] = vector
        self._used += 1
        return row


def _in_one_matrix(found: list[TextBottleneck], size: int) -> tuple[TextBottleneck, ...]:
    """Return them sorted by name, vectors as rows of one matrix; ``found`` is emptied."""
    found.sort(key=lambda item: item.name, reverse=True)
    matrix = np.empty((len(found), size), np.float32)
    result = []
    for row in matrix:
        item = found.pop()  # so that blocks are freed while the matrix fills
        row[:] = item.vector
        result.append(TextBottleneck(item.folder, item.image_name, row, item.path))
    return tuple(result)


@dataclass(frozen=True)
class _File:
    path: Path
    folder: str
    image_name: str
    module: str


def _list_files(directory: Path) -> tuple[list[_File], list[tuple[Path, str]]]:
    files: list[_File] = []
    skipped: list[tuple[Path, str]] = []
    for holder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith((".", TEMPORARY_PREFIX)):
                continue
            path = Path(holder, name)
            parts = path.relative_to(directory).parts
            parsed = parse_file_name(name)
            if parsed is None:
                skipped.append((path, "not a .txt file"))
            elif len(parts) == 1:
                skipped.append((path, "not in the folder of a label"))
            else:
                image_name, module = parsed
                image_name = "/".join((*parts[1:-1], image_name))
                files.append(_File(path, parts[0], image_name, module))
    return files, skipped


def _of_one_module(files: list[_File], module: str | None) -> list[_File]:
    if module is not None:
        suffix = module_suffix(module)
        return [file for file in files if file.module == suffix]
    first: dict[str, _File] = {}
    images: dict[tuple[str, str], _File] = {}
    for file in files:
        other = images.setdefault((file.folder, file.image_name), file)
        if other.module != file.module:
            raise _several_modules(other, file)
        first.setdefault(file.module, file)
    # Vectors of two networks must not be mixed, also where no image has both. Notes named like
    # files of 2015 ("readme.txt") are distinguished from vectors by reading them.
    if len(first) > 1 and "" in first and not any(map(_looks_like_vector, _plain(files))):
        return [file for file in files if file.module]
    if len(first) > 1:
        raise _several_modules(*list(first.values())[:2])
    return files


def _plain(files: list[_File]) -> Iterable[Path]:
    return (file.path for file in files if not file.module)


def _looks_like_vector(path: Path) -> bool:
    try:
        read_vector(path)
    except DataError:
        return False
    return True


def _several_modules(one: _File, other: _File) -> DataError:
    return DataError(
        f"{one.path} and {other.path} are bottlenecks of two modules; import a folder that holds "
        "those of one, or name it with --module"
    )


_SEPARATORS = frozenset(range(0x1C, 0x20))


def read_vector(path: Path) -> Floats:
    """Return the floats of one text file, float32 [D].

    Raises:
        DataError: the reason alone, without the path.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise DataError("too large for a bottleneck")
        text = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}") from error
    if not text.strip():
        raise DataError("empty")
    try:
        if not _SEPARATORS.isdisjoint(text):
            raise ValueError("characters that text counts as whitespace and bytes do not")
        # The text as one row: any whitespace in it is that around a number.
        row = b" ".join(text.split()).decode("ascii")
        values = np.loadtxt([row], delimiter=",", comments=None, ndmin=1)
    except ValueError as error:
        raise DataError("not comma-separated numbers, or cut short") from error
    with np.errstate(over="ignore"):
        vector = values.astype(np.float32)
    if not np.isfinite(vector).all():
        raise DataError("holds nan or infinite values")
    return vector


def format_vector(vector: Floats) -> str:
    """Return a vector in one line that reads back to the same float32 values."""
    return ",".join(np.asarray(vector, dtype=np.float32).astype(str).tolist())


def export_folder(
    directory: Path,
    items: Iterable[tuple[str, Floats]],
    module: str | None,
    progress: Progress | None = None,
) -> int:
    """Write vectors as the original did and return how many were written.

    Args:
        directory: files go to ``directory``/LABEL/NAME.jpg_MODULE.txt.
        items: ("LABEL/NAME.jpg", float32 [D]) each.
        module: name, URL or path of the backbone; None or "" for the form of 2015.
        progress: called with ("export", done, total).

    Raises:
        OutputError: a file cannot be written.
    """
    ending = f"_{module_suffix(module)}.txt" if module else ".txt"
    listed = list(items)
    swept: set[Path] = set()
    for done, (name, vector) in enumerate(listed, 1):
        parts = name.split("/")
        if len(parts) < 2 or any(part in ("", ".", "..") for part in parts):
            raise OutputError(f"cannot export the bottleneck of {name!r}: not a LABEL/NAME")
        path = Path(directory, *parts[:-1], parts[-1] + ending)
        if path.parent not in swept:
            sweep_temporary(path.parent)
            swept.add(path.parent)
        with atomic_path(path) as temporary:
            temporary.write_text(format_vector(vector), encoding="ascii")
        if progress is not None:
            progress("export", done, len(listed))
    return len(listed)
