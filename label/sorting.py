"""Images copied or linked into folders by label, without overwriting files."""

from __future__ import annotations

import errno
import filecmp
import logging
import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tlcli.errors import OutputError, StorageError, UsageError
from tlcli.storage.locations import is_url, name_of, shown
from tlcli.storage.objects import read
from tlcli.system.atomic_files import output_error, temporary_folder
from tlcli.system.closing import Closing
from tlcli.system.digests import sha256_bytes

_log = logging.getLogger("tlcli")

UNSURE, UNKNOWN = "unsure", "unknown"

# Characters that are special or forbidden in file names of some system.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f/\\<>:"|?*\u2028\u2029\ud800-\udfff]')
# Devices of Windows, with any suffix.
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
# File systems allow 255 bytes; the rest is room for a number and a suffix.
_LONGEST = 200
# These end the run: the next image would fail too.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def folder_name(label: str) -> str:
    """Return a folder name that is valid on every system, as close to ``label`` as possible."""
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
    """Return a folder name for each label, all different even where case is ignored."""
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


class Sorter(Closing):
    """Puts images into ``folder/LABEL/NAME`` one by one.

    A name that is taken gets a number (``a-2.jpg``); an existing file of the same content is
    reused, so a run can be repeated. Nothing is overwritten, and no file is ever incomplete.

    Args:
        folder: made where missing.
        labels: of the graph.
        link: make hard links instead of copies; symbolic links where hard ones are impossible.
        threshold: images whose best score is lower go to the folder "unsure"; None: no image does.
            Images that are unknown go to "unknown" in any case.

    Attributes:
        folder: as given.
        counts: images by folder name, including those that were there already.
        failed: images that could not be copied or linked.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        labels: Sequence[str],
        link: bool = False,
        threshold: float | None = None,
    ) -> None:
        self.folder = folder
        self._link = link
        self._threshold = threshold
        *names, self._unsure, self._unknown = folder_names([*labels, UNSURE, UNKNOWN])
        self._names = dict(zip(labels, names, strict=True))
        self.counts: Counter[str] = Counter()
        self.failed = 0
        self._symbolic = False
        self._temporary = ExitStack()
        self._holder = self._temporary.enter_context(temporary_folder(folder))

    def put(self, image: str, label: str, score: float, unknown: bool = False) -> Path | None:
        """Put the image at a path into the folder of its best label, or of unknown images.

        Returns:
            Its new path; None where the system refused, after a warning.

        Raises:
            OutputError: the disk is full, or the folder cannot be written at all.
        """
        unsure = self._threshold is not None and score < self._threshold
        name = self._unsure if unsure else self._names[label]
        return self._put_into(image, self._unknown if unknown else name)

    def put_unsure(self, image: str) -> Path | None:
        """Put the image at a path into the folder of unsure ones, as `put` does."""
        return self._put_into(image, self._unsure)

    def _put_into(self, image: str, name: str) -> Path | None:
        try:
            path = self._put(image, self.folder / name)
        except StorageError as error:
            self.failed += 1
            _log.warning("%s is not copied: %s", shown(image), error.reason)
            return None
        except OSError as error:
            if error.errno in _FULL:
                raise output_error(self.folder / name, error) from error
            self.failed += 1
            _log.warning("%s stays where it is: %s", image, error.strerror or error)
            return None
        self.counts[name] += 1
        return path

    def close(self) -> None:
        """Remove the temporary folder."""
        self._temporary.close()

    def _put(self, given: str, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        image = Path(given)
        if is_url(given):  # always a copy
            source = content = self._holder / "copy"
            source.write_bytes(read(given))
        else:
            source = image.resolve(strict=True)
            content = source if self._link else self._copied(source)
        try:
            stem, suffix = _safe_stem(Path(name_of(given)))
            number = 1
            while True:
                path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
                if _is_same(source, path):
                    return path
                try:
                    self._create(content, path)
                except FileExistsError:
                    number += 1
                else:
                    return path
        finally:
            if content != source or is_url(given):
                content.unlink(missing_ok=True)

    def _copied(self, source: Path) -> Path:
        copy = self._holder / "copy"
        shutil.copyfile(source, copy)
        # Times and permissions; some file systems store neither.
        try:
            shutil.copystat(source, copy)
        except OSError:
            _log.debug("the times and permissions of %s could not be copied", source)
        return copy

    def _create(self, content: Path, path: Path) -> None:
        """Create ``path`` atomically; `FileExistsError` where it exists."""
        if self._link and self._symbolic:
            path.symlink_to(content)
            return
        try:
            os.link(content, path)
        except FileExistsError:
            raise
        except OSError:
            if not self._link:
                _claim(content, path)
                return
            path.symlink_to(content)
            self._symbolic = True
            _log.info("No hard links from %s to %s: links are symbolic.", content.parent, path)


def _safe_stem(image: Path) -> tuple[str, str]:
    """Return stem and suffix of the name, the stem cut to leave room for a number."""
    if len(os.fsencode(image.name)) <= _LONGEST:
        return image.stem, image.suffix
    cut = os.fsdecode(os.fsencode(image.stem)[: _LONGEST - len(os.fsencode(image.suffix))])
    return cut, image.suffix


def _is_same(source: Path, path: Path) -> bool:
    try:
        return path.is_file() and (
            path.samefile(source) or filecmp.cmp(source, path, shallow=False)
        )
    except OSError:
        return False


def _claim(content: Path, path: Path) -> None:
    """Rename without overwriting, on a file system without hard links."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
        content.replace(path)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def check_output_folder(folder: Path, arguments: Sequence[str], option: str) -> None:
    """Refuse a file, and a folder within an input folder: its files would become inputs.

    Raises:
        OutputError: it is a file.
        UsageError: it is within an input folder.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(
            f"cannot write {folder}: it is a file; give {option} the name of a folder"
        )
    path = folder.resolve()
    for argument in arguments:
        if Path(argument).is_dir() and path.is_relative_to(Path(argument).resolve()):
            raise UsageError(
                f"{option} {folder} is in {argument}, whose images are the input; choose a folder "
                "outside of it"
            )
