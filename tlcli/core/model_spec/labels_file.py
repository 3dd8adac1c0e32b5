"""The labels of a graph: where their file is, and how it is read."""

from __future__ import annotations

import codecs
import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli.core.model_spec.adjacent_files import AUTOML_LABELS, LOBE_SIGNATURE, find_adjacent_files
from tlcli.core.model_spec.packed_files import PackedFiles
from tlcli.errors import DataError, GraphError, TlcliError
from tlcli.system.regular_files import GIT_LFS_ADVICE, is_git_lfs_pointer
from tlcli.text import counted

# In the order of the originals' generations.
NAMES = ("output_labels.txt", "retrained_labels.txt", "labels.txt")
"""Names of the labels files that the original tools wrote."""
OTHER_NAMES = (
    *(AUTOML_LABELS, "class_indices.json", "class_names.json", "labels.json", "classes.json"),
    *("class_names.txt", "classes.txt"),
)
"""Names of the labels files of other tools."""

# "0 cat", "1: dog": the line's own number, and the label.
_INDEXED = re.compile(r"(\d{1,6})[ \t:;,]+(\S.*)")
_NUMBER = re.compile(r"\d{1,6}")
# A label is a word or two: a larger file is no labels file.
_LARGEST_FILE = 16 << 20
# Below these, JSON of other tools lists labels; "id2label" is Hugging Face's.
_KEYS = ("classes", "labels", "names", "class_names", "Label", "class_indices", "id2label")
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
        indexed: each line of their file begins with its own number, which is not in ``names``.
    """

    names: tuple[str, ...]
    source: str
    indexed: bool = False

    def check(self, count: int, graph: Path, pair: bool = False) -> None:
        """Check that there is one label for each of ``count`` scores of ``graph``.

        Args:
            count: number of scores.
            graph: its path.
            pair: one score may stand for two labels, as a sigmoid's does.

        Raises:
            GraphError: names both numbers and both files.
        """
        if len(self.names) != count and not (pair and (count, len(self.names)) == (1, 2)):
            raise GraphError(
                f"{self.source} names {counted(len(self.names), 'label')} but {graph} gives "
                f"{counted(count, 'score')}; "
                "name the labels file that belongs to the graph with --labels"
            )


def decode_labels(content: bytes, source: str) -> Labels:
    """Return the labels of a file's content.

    The content is text with one label per line, or JSON: a list of labels, or a map from labels to
    numbers or from numbers to labels. Windows line ends, a byte order mark and empty lines at the
    end are skipped; an empty line between others is a label, because the lines are counted. Where
    each line begins with its own number ("0 cat", "1 dog"), the numbers are taken off, and empty
    lines do not count.

    Raises:
        DataError: no text, or no label at all.
    """
    if is_git_lfs_pointer(content):
        raise DataError(f"{source} is {GIT_LFS_ADVICE}")
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise DataError(
            f"{source} is not text in UTF-8; save it as UTF-8, one label per line"
        ) from None
    if "\0" in text:
        raise DataError(f"{source} is no labels file; give a text file with one label per line")
    if text.lstrip()[:1] in ("{", "["):
        listed = _labels_in_json(text, source)
        if listed is not None:
            return Labels(listed, source)
    # Not splitlines(): a label may contain one of the rarer separators.
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(f"{source} contains no labels; give a text file with one label per line")
    # Lines with numbers need not be counted.
    indexed = [_INDEXED.fullmatch(line) for line in lines if line]
    if all(found and int(found[1]) == number for number, found in enumerate(indexed)):
        return Labels(tuple(found[2] for found in indexed if found), source, indexed=True)
    return Labels(tuple(lines), source)


def _labels_in_json(text: str, source: str) -> tuple[str, ...] | None:
    """Return the labels in JSON; None where the text is no JSON, and so may be lines of labels.

    Raises:
        DataError: JSON that is no list or map of labels.
    """
    try:
        found = _listed_labels(json.loads(text))
    except (ValueError, RecursionError):
        return None
    if found is None:
        raise DataError(
            f"{source} is JSON but neither a list of labels nor a map between labels and their "
            "numbers from 0 on; give one of these, or a text file with one label per line"
        )
    return found


def _listed_labels(content: Any) -> tuple[str, ...] | None:
    """Return the labels of a list or map, also below one of the usual keys."""
    if isinstance(content, list):
        names = [_name_of(each) for each in content]
        return tuple(names) if names and None not in names else None  # type: ignore[arg-type]
    if not isinstance(content, dict) or not content:
        return None
    for key in _KEYS:
        if isinstance(content.get(key), (list, dict)):
            return _listed_labels(content[key])
    numbered: dict[int, str | None] = {}
    for key, value in content.items():
        if isinstance(value, int) and not isinstance(value, bool):
            numbered[value] = str(key)
        elif _NUMBER.fullmatch(key):
            # ImageNet's class index gives each number a pair: its WordNet name and its label.
            numbered[int(key)] = _name_of(value[-1] if isinstance(value, list) and value else value)
        else:
            return None
    names = [numbered.get(number) for number in range(len(content))]
    return tuple(names) if None not in names else None  # type: ignore[arg-type]


def _name_of(value: Any) -> str | None:
    """Return a label of JSON: a text, or an object with a name."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("name", "label", "displayName") if key in value), None)
    return value if isinstance(value, str) else None


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
    return decode_labels(content, str(path))


def candidates(graph: Path) -> list[Path]:
    """Return the possible paths of the labels file of ``graph``, the likeliest first."""
    adjacent = [graph.parent / name for name in NAMES]
    adjacent += [graph.with_suffix(".txt"), graph.with_name(graph.name + ".txt")]
    adjacent += [graph.parent / name for name in OTHER_NAMES]
    if not graph.is_dir():
        return adjacent
    inside = [graph / "assets.extra" / "labels.txt"]
    inside += [
        folder / name for folder in (graph, graph / "assets") for name in (*NAMES, *OTHER_NAMES)
    ]
    return inside + adjacent


def find_labels(
    graph: Path, fits: Callable[[Labels], bool] = lambda labels: True, named: Sequence[str] = ()
) -> Labels:
    """Return the labels inside or next to a graph that has no model card.

    Args:
        graph: its path.
        fits: whether labels are as many as the graph has scores; the first that do are taken.
        named: names of labels files in the zip at the graph's end, as its metadata give them.

    Returns:
        The first labels where none fit.

    Raises:
        DataError: a labels file that cannot be read.
        GraphError: there is none; the message lists the names that were tried.
    """
    first, damaged = None, None
    for read in _all_labels(graph, named):
        try:
            labels = read()
        except DataError as error:  # of another file next to it, perhaps
            damaged = damaged or error
            continue
        if fits(labels):
            return labels
        first = first or labels
    if first is not None:
        return first
    if damaged is not None:
        raise damaged
    usual = [path for path in candidates(graph) if path.name not in OTHER_NAMES]
    names = [path.relative_to(graph.parent).as_posix() for path in usual]
    listed = ", ".join([*names, LOBE_SIGNATURE, *OTHER_NAMES[:2]])
    raise GraphError(
        f"no labels for {graph}: looked for {listed} and others in {graph.parent}; "
        "name the labels file with --labels"
    )


def _all_labels(graph: Path, named: Sequence[str]) -> Iterator[Callable[[], Labels]]:
    """Yield what reads each labels file inside and next to a graph, the likeliest first."""
    adjacent = find_adjacent_files(graph)
    if adjacent.ultralytics is not None:
        found = Labels(adjacent.ultralytics.labels, adjacent.ultralytics.source)
        yield lambda: found
    for source, content in _packed_labels(graph, named):
        yield functools.partial(decode_labels, content, source)
    if adjacent.signature_labels:
        signed = Labels(adjacent.signature_labels, str(adjacent.signature_path))
        yield lambda: signed
    for path in candidates(graph):
        if path.is_file():
            yield functools.partial(read_labels, path)


def fitting_labels(
    labels: Labels | None,
    count: int | None,
    graph: Path,
    *,
    pair: bool = False,
    named: Sequence[str] = (),
) -> Labels:
    """Return the labels of a graph.

    Args:
        labels: None: those that `find_labels` finds.
        count: how many scores the graph returns; None if unknown before it runs.
        graph: its path.
        pair: one score may stand for two labels.
        named: see `find_labels`.

    Raises:
        DataError: a labels file that cannot be read.
        GraphError: there is none, or it does not fit the graph.
    """

    def fits(found: Labels) -> bool:
        return count in (None, len(found.names)) or (pair and len(found.names) == 2)

    labels = labels or find_labels(graph, fits, named)
    if count is not None:
        labels.check(count, graph, pair)
    return labels


def count_labels(labels: Labels | None, graph: Path) -> int | None:
    """Return how many labels a graph has, by those given or found, to choose among its outputs."""
    try:
        return len((labels or find_labels(graph)).names)
    except TlcliError:
        return None


def as_labels(given: Path | str | Sequence[str]) -> Labels:
    """Return labels that the caller gave: the path of a file, or the labels themselves.

    Raises:
        DataError: a labels file that cannot be read.
    """
    if isinstance(given, (str, Path)):
        return read_labels(Path(given))
    return Labels(tuple(given), "the given list")


def _packed_labels(graph: Path, named: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the labels files in the zip at the end of a LiteRT file."""
    packed = PackedFiles(graph)
    texts = [name for name in packed.names if name.endswith(".txt")]
    # Metadata that were damaged, or name none: the only text it may be.
    chosen = [name for name in named if name in texts] or (texts if len(texts) == 1 else [])
    for name, content in packed.read(chosen):
        yield f"{name} in {graph}", content
