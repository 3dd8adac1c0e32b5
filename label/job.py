"""The steps of labelling: find the images, label them, write the predictions."""

from __future__ import annotations

import glob
import io
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, TextIO

from label.formats import FORMATS, OutputStyle
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.outputs import Prediction
from tlcli.core.data.image_files import (
    NoImage,
    images_among,
    images_at,
    images_in,
    is_directory,
    reason_against,
)
from tlcli.errors import DataError, StorageError, UsageError
from tlcli.storage.locations import is_url
from tlcli.storage.objects import read

_log = logging.getLogger("tlcli")

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes:
        labelled: number of images with scores.
        failed: number of images without.
        reason: path and reason of the first image without scores.
        suggested: paths of the images to label next, the most important first, where the style
            asks for them.
    """

    labelled: int
    failed: int
    reason: str | None = None
    suggested: tuple[str, ...] = ()


class Images:
    """The images that arguments stand for, found lazily.

    An argument is a file, a folder (recursive, in the order of names), a pattern such as
    ``"photos/*.jpg"``, ``@LIST`` (a file of paths) or ``-`` (paths on standard input).

    Args:
        arguments: as given.
        stdin: input for ``-``; default: the process's standard input.
    """

    def __init__(self, arguments: Sequence[str], stdin: IO[bytes] | None = None) -> None:
        self._arguments = list(arguments)
        self._stdin = stdin
        self._listed: list[str] | None = None

    def listed(self) -> int:
        """Find all images now and return their number; 0 where it cannot be known."""
        if self.is_endless:
            return 0
        self._listed = list(self)
        return len(self._listed)

    @property
    def is_endless(self) -> bool:
        """Whether paths come from standard input."""
        return STANDARD_INPUT in self._arguments

    def __iter__(self) -> Iterator[str]:
        """Yield paths; one at which there is no image is a `NoImage`.

        Raises:
            DataError: a list of paths cannot be read.
        """
        if self._listed is not None:
            yield from self._listed
            return
        for argument in self._arguments:
            if argument == STANDARD_INPUT:
                stdin = _standard_input() if self._stdin is None else self._stdin
                for line in _lines(stdin, "standard input"):
                    yield from self._path(line)
            elif argument.startswith("@") and not os.path.lexists(argument):
                yield from self._list(argument[1:])
            elif is_url(argument):
                yield from images_at(argument)
            elif not os.path.lexists(argument) and glob.has_magic(argument):
                yield from self._pattern(argument)
            else:
                yield from self._path(argument)

    def _path(self, path: str) -> Iterator[str]:
        if is_url(path):
            yield from images_at(path)
        elif is_directory(path):
            yield from images_in(path)
        elif (reason := reason_against(path)) is not None:
            yield NoImage(path, reason)
        else:
            yield path

    def _list(self, path: str) -> Iterator[str]:
        try:
            # Read at once, as the list may change while the images are labelled. Its lines are
            # split lazily: a million strings would take much more memory.
            content = read(path) if is_url(path) else Path(path).read_bytes()
        except (OSError, StorageError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise DataError(
                f"cannot read the list of images {path}: {reason}; give the path of a text file "
                "after @"
            ) from error
        empty = True
        for line in _lines(io.BytesIO(content), path):
            empty = False
            yield from self._path(line)
        if empty:
            raise DataError(f"the list {path} names no images; write one path per line")

    def _pattern(self, pattern: str) -> Iterator[str]:
        found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - keeps the spelling
        if not found:
            yield NoImage(pattern, "no file matches this pattern")
            return
        # "**" finds what is in folders by itself.
        folders = () if "**" in pattern else [path for path in found if is_directory(path)]
        files = (path for path in found if not is_directory(path))
        yield from images_among(files, pattern)
        for folder in folders:
            yield from images_in(folder)


def _standard_input() -> Iterable[bytes]:
    if sys.stdin is None:  # the caller closed it
        return ()
    try:
        # Without Python's buffer: a thread that blocks in it would break the exit of the process.
        raw = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
    except (OSError, ValueError, AttributeError):
        return sys.stdin.buffer
    return _split(raw)


def _split(raw: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while block := raw.read(1 << 16):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _lines(lines: Iterable[bytes], source: str) -> Iterator[str]:
    """Yield the paths in lines without line ends, byte order mark and empty lines.

    Raises:
        DataError: the first line is not text, as when an image is given in place of a list.
    """
    for number, line in enumerate(lines):
        if number == 0 and (b"\0" in line or line.startswith(b"\x89PNG")):
            raise DataError(
                f"{source} contains no list of paths but other data, such as an image; give one "
                "path per line, or name the image itself"
            )
        content = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
        path = os.fsdecode(content.rstrip(b"\r\n"))
        # As shells and spreadsheets quote names with spaces.
        quoted = len(path) > 2 and path[0] == path[-1] and path[0] in "\"'"
        if quoted and not os.path.lexists(path):
            path = path[1:-1]
        if path.strip():
            yield path


def label_images(
    classifier: Classifier,
    images: Images,
    output: TextIO,
    style: OutputStyle,
    on_prediction: Callable[[Prediction, str], None] | None = None,
) -> Outcome:
    """Label images and write the predictions to ``output`` as they come.

    Where images to label next are asked for, only these are written, after all were labelled.

    Args:
        classifier: see `tlcli.core.classifier.loading.load`.
        images: to label.
        output: a text stream.
        style: of the output.
        on_prediction: called with each image's prediction with all labels, once written, and the
            image as it was named: predictions leave the signature of a signed URL out.

    Raises:
        DataError: a list of paths cannot be read.
        GraphError: the graph cannot be run.
        UsageError: images to label next are asked of a graph with several labels per image.
    """
    paths: Iterable[str] = images
    single = False
    if not images.is_endless:
        drawn = iter(images)
        first = list(islice(drawn, 2))
        single = len(first) == 1
        paths = chain(first, drawn)
    writer = FORMATS[style.format](output, style, single)
    suggester = None
    if style.suggest is not None:
        if classifier.thresholds is not None:
            raise UsageError(
                f"--suggest is for one label per image, and {classifier.graph} gives several; "
                "leave it out"
            )
        from label.suggesting import Suggester

        suggester = Suggester(classifier.labels, style.suggest)
    labelled = failed = 0
    reason = None
    named: deque[str] = deque()

    def noted() -> Iterator[str]:
        for path in paths:
            named.append(path)
            yield path

    for prediction in classifier.stream(noted()):
        image = named.popleft()
        if prediction.error is None:
            labelled += 1
        else:
            failed += 1
            sentence = f"{prediction.image}: {prediction.error}"
            reason = reason or sentence
            # Text output has no errors; the caller prints that of a single image.
            if (style.format == "text" or suggester is not None) and not single:
                _log.warning("%s", sentence)
        shown = style.shown(prediction)
        if suggester is None:
            writer.write(shown)
        else:
            suggester.add(prediction, shown)
        if on_prediction is not None:
            on_prediction(prediction, image)
    suggested = () if suggester is None else suggester.chosen()
    for shown in suggested:
        writer.write(shown)
    writer.close()
    return Outcome(labelled, failed, reason, tuple(each.image for each in suggested))
