"""Images into folders by label: copied or linked, never over another file."""

from __future__ import annotations

import errno
import filecmp
import logging
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from tlcli.errors import UsageError
from tlcli.system.atomic_files import output_error, sha256_bytes, temporary_folder

_log = logging.getLogger("tlcli")

UNSURE = "unsure"

# What some system takes for something else than a letter of a name.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f/\\<>:"|?*\u2028\u2029\ud800-\udfff]')
# Devices of Windows, with whatever ending.
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
# File systems take 255 bytes; a number and a suffix find room in the rest.
_LONGEST = 200
# What ends the run: the next image would fare no better.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def folder_name(label: str) -> str:
    """Return a name that every system takes for one folder, as near to ``label`` as can be."""
    name = _UNSAFE.sub("_", label)
    # Windows drops dots and spaces at the end; a dot at the start hides the folder, or is "..".
    name = name.rstrip(". ").lstrip(" ")
    if name.startswith(".") or not name:
        name = "_" + name.lstrip(".")
    if _RESERVED.fullmatch(name):
        name += "_"
    if len(name.encode("utf-8")) > _LONGEST:
        cut = name.encode("utf-8")[: _LONGEST - 9].decode("utf-8", "ignore")
        name = f"{cut.rstrip('. ')}-{sha256_bytes(label.encode('utf-8', 'replace'))[:8]}"
    return name


def folder_names(labels: Sequence[str]) -> list[str]:
    """Return a folder for each label, all different also where case does not count."""
    taken: set[str] = set()
    names = []
    for label in labels:
        plain = name = folder_name(label)
        number = 2
        while name.casefold() in taken:
            name = f"{plain} ({number})"
            number += 1
        taken.add(name.casefold())
        names.append(name)
    return names


class Sorter:
    """Puts images into ``folder/LABEL/NAME`` as their labels come.

    A name that is taken gets a number (``a-2.jpg``); a file of the same content that lies there
    already is left as it is, so a run can be repeated. Nothing is overwritten, and nothing is
    there by halves.

    Args:
        folder: made where it is missing.
        labels: of the graph.
        link: hard links instead of copies; symbolic ones where the file system has none, or is
            another.
        threshold: images whose best score is below go to the folder "unsure".

    Attributes:
        counts: images by folder's name, those that were there already included.
        failed: images that could not be copied or linked.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(
        self, folder: Path, labels: Sequence[str], link: bool = False, threshold: float = 0.0
    ) -> None:
        self._root = folder
        self._link = link
        self._threshold = threshold
        *names, self._unsure = folder_names([*labels, UNSURE])
        self._names = dict(zip(labels, names, strict=True))
        self.counts: dict[str, int] = {}
        self.failed = 0
        self._symbolic = False
        self._temporary = temporary_folder(folder)
        self._holder = self._temporary.__enter__()

    def put(self, image: str, label: str, score: float) -> Path | None:
        """Put one image where it belongs.

        Args:
            image: its path.
            label: its best label.
            score: of that.

        Returns:
            Where it lies now; None where the system refused, which is said in a warning.

        Raises:
            OutputError: there is no room, or the place cannot be written at all.
        """
        name = self._unsure if score < self._threshold else self._names[label]
        try:
            place = self._place(Path(image), self._root / name)
        except OSError as error:
            if error.errno in _FULL:
                raise output_error(self._root / name, error) from error
            self.failed += 1
            _log.warning("%s stays where it is: %s", image, error.strerror or error)
            return None
        self.counts[name] = self.counts.get(name, 0) + 1
        return place

    def close(self) -> None:
        """Remove what was only in passing."""
        self._temporary.__exit__(None, None, None)

    def __enter__(self) -> Sorter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _place(self, image: Path, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        source = image.resolve(strict=True)
        content = source if self._link else self._copied(source)
        try:
            stem, suffix = _safe_stem(image)
            number = 1
            while True:
                place = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
                if _is_same(source, place):
                    return place
                try:
                    self._appear(content, place)
                except FileExistsError:
                    number += 1
                else:
                    return place
        finally:
            if content != source:
                content.unlink(missing_ok=True)

    def _copied(self, source: Path) -> Path:
        copy = self._holder / "copy"
        shutil.copyfile(source, copy)
        # Date and rights; some file systems keep neither.
        try:
            shutil.copystat(source, copy)
        except OSError:
            _log.debug("no date could be given to the copy of %s", source)
        return copy

    def _appear(self, content: Path, place: Path) -> None:
        """Make ``place`` be there, whole and at once; fails where something is."""
        if self._link and self._symbolic:
            place.symlink_to(content)
            return
        try:
            os.link(content, place)
        except FileExistsError:
            raise
        except OSError:
            if not self._link:
                _claim(content, place)
                return
            place.symlink_to(content)
            self._symbolic = True
            _log.info("No hard links from %s to %s: links are symbolic.", content.parent, place)


def _safe_stem(image: Path) -> tuple[str, str]:
    """Return name and ending; a long name leaves room for a number."""
    if len(os.fsencode(image.name)) <= _LONGEST:
        return image.stem, image.suffix
    cut = os.fsdecode(os.fsencode(image.stem)[: _LONGEST - len(os.fsencode(image.suffix))])
    return cut, image.suffix


def _is_same(source: Path, place: Path) -> bool:
    try:
        return place.is_file() and (
            place.samefile(source) or filecmp.cmp(source, place, shallow=False)
        )
    except OSError:
        return False


def _claim(content: Path, place: Path) -> None:
    """Rename without overwriting, on a file system without links."""
    os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
        content.replace(place)
    except OSError:
        place.unlink(missing_ok=True)
        raise


def check_outside(folder: Path, arguments: Sequence[str], option: str) -> None:
    """Refuse a folder for outputs that lies in a folder of inputs: its files would be found.

    Raises:
        UsageError: it does.
    """
    place = folder.resolve()
    for argument in arguments:
        if Path(argument).is_dir() and place.is_relative_to(Path(argument).resolve()):
            raise UsageError(
                f"{option} {folder} lies in {argument}, whose images are asked for; choose a "
                "folder outside of it"
            )
