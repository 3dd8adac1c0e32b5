"""The labels of a graph: where their file is, and how it is read."""

from __future__ import annotations

import codecs
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlcli.errors import DataError, GraphError
from tlcli.text import counted

# In the order of the originals' generations.
NAMES = ("output_labels.txt", "retrained_labels.txt", "labels.txt")
"""Names of the labels files that the original tools wrote."""

# A label is a word or two: a larger file is no labels file.
_LARGEST_FILE = 16 << 20
# Longest mark first: the one of UTF-16 begins that of UTF-32.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Labels:
    """Labels in output order.

    Attributes:
        names: one for each score.
        source: where they come from, for messages.
    """

    names: tuple[str, ...]
    source: str

    def check(self, count: int, graph: Path) -> None:
        """Check that there is one label for each of ``count`` scores of ``graph``.

        Raises:
            GraphError: names both numbers and both files.
        """
        if len(self.names) != count:
            raise GraphError(
                f"{self.source} names {counted(len(self.names), 'label')} but {graph} gives "
                f"{counted(count, 'score')}; "
                "name the labels file that belongs to the graph with --labels"
            )


def decode_labels(content: bytes, source: str) -> tuple[str, ...]:
    """Return the labels of a file's content, one per line.

    Windows line ends, a byte order mark and empty lines at the end are skipped; an
    empty line between others is a label, because the lines are counted.

    Raises:
        DataError: no text, or no label at all.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise DataError(
            f"{source} is not text in UTF-8; save it as UTF-8, one label per line"
        ) from None
    if "\0" in text:
        raise DataError(f"{source} is no labels file; give a text file with one label per line")
    # Not splitlines(): a label may contain one of the rarer separators.
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(f"{source} contains no labels; give a text file with one label per line")
    return tuple(lines)


def read_labels(path: Path) -> Labels:
    """Return the labels of a file.

    Raises:
        DataError: absent, unreadable or no labels file.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise DataError(
            f"cannot read the labels file {path}: {error.strerror or error}; "
            "give its path with --labels"
        ) from error
    if len(content) > _LARGEST_FILE:
        raise DataError(f"{path} is too large for a labels file; give one label per line")
    return Labels(decode_labels(content, str(path)), str(path))


def candidates(graph: Path) -> list[Path]:
    """Return the possible paths of the labels file of ``graph``, the likeliest first."""
    adjacent = [graph.parent / name for name in NAMES]
    adjacent += [graph.with_suffix(".txt"), graph.with_name(graph.name + ".txt")]
    if not graph.is_dir():
        return adjacent
    inside = [graph / "assets.extra" / "labels.txt"]
    inside += [folder / name for folder in (graph, graph / "assets") for name in NAMES]
    return inside + adjacent


def find_labels(graph: Path) -> Labels:
    """Return the labels inside or next to a graph that has no model card.

    Raises:
        DataError: a labels file that cannot be read.
        GraphError: there is none; the message lists the names that were tried.
    """
    packed = _packed_labels(graph)
    if packed is not None:
        return packed
    paths = candidates(graph)
    for path in paths:
        if path.is_file():
            return read_labels(path)
    names = ", ".join(dict.fromkeys(path.relative_to(graph.parent).as_posix() for path in paths))
    raise GraphError(
        f"no labels for {graph}: looked for {names} in {graph.parent}; "
        "name the labels file with --labels"
    )


def fitting_labels(labels: Labels | None, count: int | None, graph: Path) -> Labels:
    """Return the labels of a graph.

    Args:
        labels: None: those that `find_labels` finds.
        count: how many scores the graph returns; None if unknown before it runs.
        graph: its path.

    Raises:
        DataError: a labels file that cannot be read.
        GraphError: there is none, or it does not fit the graph.
    """
    labels = labels or find_labels(graph)
    if count is not None:
        labels.check(count, graph)
    return labels


def as_labels(given: Path | str | Sequence[str]) -> Labels:
    """Return labels that the caller gave: the path of a file, or the labels themselves.

    Raises:
        DataError: a labels file that cannot be read.
    """
    if isinstance(given, (str, Path)):
        return read_labels(Path(given))
    return Labels(tuple(given), "the given list")


def _packed_labels(graph: Path) -> Labels | None:
    """Return the labels in the zip at the end of a LiteRT file with metadata."""
    if graph.suffix != ".tflite" or not zipfile.is_zipfile(graph):
        return None
    try:
        with zipfile.ZipFile(graph) as archive:
            texts = [info for info in archive.infolist() if info.filename.endswith(".txt")]
            if len(texts) != 1 or texts[0].file_size > _LARGEST_FILE:
                return None
            source = f"{texts[0].filename} in {graph}"
            return Labels(decode_labels(archive.read(texts[0]), source), source)
    except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return None
