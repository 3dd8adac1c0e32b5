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
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlcli.arrays import Floats
from tlcli.errors import DataError, OutputError
from tlcli.system.atomic_files import TEMPORARY_PREFIX, atomic_path
from tlcli.text import counted

# 32 characters for each of a quarter of a million floats: far beyond any bottleneck.
_LARGEST_FILE = 8 << 20
# The last extension ends the image's name.
_EXTENSION_AND_MODULE = re.compile(
    r"(.*\.(?:jpe?g|png|gif|bmp|webp|tiff?))(?:_(.+))?", re.IGNORECASE | re.DOTALL
)
# For names without an extension, only what is surely a module is cut off.
_KNOWN_MODULE = re.compile(
    r"(.+?)_(inception_v3|mobilenet_[0-9.]+_[0-9]+(?:_quantized)?|(?:https?|gs|file)~.+)", re.DOTALL
)


@dataclass(frozen=True)
class TextFile:
    """A file that may contain a vector.

    Attributes:
        path: the text file.
        folder: the label's folder.
        image_name: the image's name in that folder, "photo.jpg" or "sub/photo.jpg".
        module: the module part of the file name, "" for the form of 2015.
    """

    path: Path
    folder: str
    image_name: str
    module: str

    @property
    def name(self) -> str:
        """The image's name as data sets know it, "FOLDER/photo.jpg"."""
        return f"{self.folder}/{self.image_name}"


@dataclass(frozen=True)
class TextBottleneck(TextFile):
    """A file with its vector, float32 [D], finite."""

    vector: Floats


@dataclass(frozen=True)
class TextImport:
    """The content of a folder of text files.

    Attributes:
        bottlenecks: sorted by name, all of one length and one module; their vectors are the rows
            of one matrix.
        skipped: (file, reason) of each file that was left out.
    """

    bottlenecks: tuple[TextBottleneck, ...]
    skipped: tuple[tuple[Path, str], ...]


def module_suffix(module: str) -> str:
    """Return a module's name, URL or path as the original wrote it into file names."""
    return re.sub(r"[/:\\]", "~", module.replace("://", "~"))


def parse_file_name(file_name: str) -> tuple[str, str] | None:
    """Return (image name, module suffix) of a text file's name; None if it is no such file."""
    if not file_name.lower().endswith(".txt") or file_name.startswith("."):
        return None
    stem = file_name[:-4]
    match = _EXTENSION_AND_MODULE.fullmatch(stem) or _KNOWN_MODULE.fullmatch(stem)
    return (match[1], match[2] or "") if match else (stem, "")


def import_folder(directory: Path, module: str | None = None) -> TextImport:
    """Read the text bottlenecks under ``directory``/LABEL/.

    Args:
        directory: the original's --bottleneck_dir.
        module: read only files of this module, as typed or as in file names; "" for the form
            of 2015. None: there must be one only.

    Raises:
        DataError: no folder, no bottleneck in it, or files of several modules.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise DataError(f"{directory} is not a folder; --import_bottlenecks takes one")
    files, skipped = _list_files(directory)
    files = _of_one_module(files, module)
    found: list[tuple[TextFile, int]] = []
    # By length. A million arrays of their own would fragment the heap.
    values: defaultdict[int, bytearray] = defaultdict(bytearray)
    for file in files:
        try:
            vector = read_vector(file.path)
        except DataError as error:
            skipped.append((file.path, str(error)))
        else:
            values[len(vector)].extend(vector.tobytes())
            found.append((file, len(vector)))
    if not found:
        reason = (
            f"; the first file, {skipped[0][0]}, is not one: {skipped[0][1]}" if skipped else ""
        )
        raise DataError(f"no text bottleneck was found in folders of {directory}{reason}")
    # A file cut short has its own length; of equally many the longer ones are whole.
    lengths = Counter(length for _, length in found)
    size = max(lengths, key=lambda length: (lengths[length], length))
    rows = iter(np.frombuffer(values[size], np.float32).reshape(-1, size))
    bottlenecks: list[TextBottleneck] = []
    for file, length in found:
        if length == size:
            bottlenecks.append(TextBottleneck(**vars(file), vector=next(rows)))
        else:
            reason = f"{counted(length, 'value')} where most files have {size}"
            skipped.append((file.path, reason))
    bottlenecks.sort(key=lambda item: item.name)
    return TextImport(tuple(bottlenecks), tuple(sorted(skipped)))


def _list_files(directory: Path) -> tuple[list[TextFile], list[tuple[Path, str]]]:
    files: list[TextFile] = []
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
                files.append(TextFile(path, parts[0], image_name, module))
    return files, skipped


def _of_one_module(files: list[TextFile], module: str | None) -> list[TextFile]:
    if module is not None:
        suffix = module_suffix(module)
        return [file for file in files if file.module == suffix]
    first: dict[str, TextFile] = {}
    images: dict[str, TextFile] = {}
    for file in files:
        other = images.setdefault(file.name, file)
        if other.module != file.module:
            raise _several_modules(other, file)
        first.setdefault(file.module, file)
    # Vectors of two networks must not be mixed, also where no image has both. Notes named like
    # files of 2015 ("readme.txt") are distinguished from vectors by reading them.
    plain = [file for file in files if not file.module]
    if len(first) > 1 and plain and not any(map(_looks_like_vector, plain)):
        return [file for file in files if file.module]
    if len(first) > 1:
        raise _several_modules(*list(first.values())[:2])
    return files


def _looks_like_vector(file: TextFile) -> bool:
    try:
        read_vector(file.path)
    except DataError:
        return False
    return True


def _several_modules(one: TextFile, other: TextFile) -> DataError:
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


def export_folder(directory: Path, items: Iterable[tuple[str, Floats]], module: str | None) -> None:
    """Write vectors as the original did.

    Args:
        directory: files go to ``directory``/LABEL/NAME.jpg_MODULE.txt.
        items: ("LABEL/NAME.jpg", float32 [D]) each.
        module: name, URL or path of the backbone; None or "" for the form of 2015.

    Raises:
        OutputError: a file cannot be written.
    """
    ending = f"_{module_suffix(module)}.txt" if module else ".txt"
    for name, vector in items:
        parts = name.split("/")
        if len(parts) < 2 or any(part in ("", ".", "..") for part in parts):
            raise OutputError(f"cannot export the bottleneck of {name!r}: not a LABEL/NAME")
        path = Path(directory, *parts[:-1], parts[-1] + ending)
        with atomic_path(path) as temporary:
            temporary.write_text(format_vector(vector), encoding="ascii")
