"""Images that are given to be labelled, in any form: paths, folders, contents, pictures, arrays."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from typing import Union

import numpy as np
from PIL import Image

from tlcli.arrays import Array
from tlcli.core.images.decoding import Source, open_image
from tlcli.core.images.encoded import file_of_array, file_of_picture
from tlcli.core.images.formats import ARCHIVE_SUFFIXES, IMAGE_SUFFIXES, TABLE_SUFFIXES
from tlcli.errors import ImageError, StorageError, UsageError
from tlcli.storage.ahead import read_ahead
from tlcli.storage.locations import Entry, scheme_of, shown
from tlcli.storage.objects import entries, entry
from tlcli.system.regular_files import is_folder
from tlcli.text import KNOWN_URLS, has_scheme, is_readable_url

_log = logging.getLogger("tlcli")

ImageLike = Union[str, "os.PathLike[str]", bytes, Image.Image, Array]
"""A path of a file or folder, the content of a file, a Pillow image, or a uint8 array."""

Named = tuple[str, Source | ImageError]
"""What an image is called in predictions, and what can be read of it, or why nothing can."""

# A file with one of these suffixes always gets a result or an error.
_SUFFIXES = (*IMAGE_SUFFIXES, ".ico")
_MAGIC = re.compile(r"[*?]")
# Reasons of `open_image` for files that are no images.
_NO_IMAGES = frozenset({"not an image", "empty file", "not a regular file"})


class NoImage(str):
    """A path at which there is no image.

    Attributes:
        reason: why.
    """

    __slots__ = ("reason",)
    reason: str

    def __new__(cls, path: str, reason: str) -> NoImage:
        """Return the path with its reason."""
        made = super().__new__(cls, path)
        made.reason = reason
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        return str(self), self.reason


def as_list(images: ImageLike | Iterable[ImageLike]) -> Iterable[ImageLike]:
    """Return images that may be a single one as an iterable.

    An array of four dimensions is a batch of images.

    Raises:
        UsageError: it is neither an image nor an iterable.
    """
    if isinstance(images, np.ndarray):
        return images if images.ndim == 4 else [images]
    if isinstance(images, (str, bytes, os.PathLike, Image.Image)):
        return [images]
    if isinstance(images, Iterable):
        return images
    raise UsageError(f"{_refused('images', images)}, or a list of these")


def named(images: Iterable[ImageLike]) -> Iterator[Named]:
    """Yield the name of each image and what can be read, or why it cannot.

    A folder stands for the images in it. Pictures and arrays are copied here, so that a caller
    may change or close one as soon as it asks for the next.

    Raises:
        UsageError: an image of another type.
    """
    for number, image in enumerate(images, 1):
        name = f"image {number}"
        if isinstance(image, bytes):
            yield getattr(image, "name", name), image
        elif isinstance(image, Image.Image):
            # Set by Image.open, with a path; a picture that was made has no such attribute.
            path = getattr(image, "filename", "")
            yield path if isinstance(path, str) and path else name, _attempt(image)
        elif isinstance(image, np.ndarray):
            yield name, file_of_array(image, name)
        elif isinstance(image, (str, os.PathLike)):
            path = os.fspath(image)
            if not isinstance(path, str):
                raise UsageError(_refused(name, image))
            for found in images_at(path):
                reason = getattr(found, "reason", None)
                yield shown(found), found if reason is None else ImageError(reason)
        else:
            raise UsageError(_refused(name, image))


def fetched(images: Iterable[Named]) -> Iterator[Named]:
    """Yield images; for one in a bucket its content, which threads read ahead."""

    def url(image: Named) -> str | None:
        source = image[1]
        return source if isinstance(source, str) and is_readable_url(source) else None

    for image, content in read_ahead(images, url):
        if content is None:
            yield image
        elif isinstance(content, StorageError):
            yield image[0], ImageError(content.reason)
        else:
            yield image[0], content


class NamedBytes(bytes):
    """The content of an image file, with the name that its predictions have."""

    name: str

    def __new__(cls, content: bytes, name: str) -> NamedBytes:
        """Return the content with its name."""
        made = super().__new__(cls, content)
        made.name = name
        return made


def images_at(path: str) -> Iterable[str]:
    """Return the images that a path or a URL stands for: one, or those of a folder or a prefix."""
    if isinstance(path, (NoImage, Entry)):
        return [path]
    if is_readable_url(path):
        return _objects_at(path)
    return images_in(path) if is_directory(path) else [path]


def _objects_at(url: str) -> Iterator[str]:
    """Yield the object at a URL, or those below it, or those that match it as a pattern.

    Objects are known as images by their suffixes: reading the others would download them. They
    come in the order of their keys. Where there is none, or none can be listed, is a `NoImage`.
    """
    lists = scheme_of(url) != "http"
    magic = _MAGIC.search(url) if lists else None
    if not lists or (magic is None and url.lower().endswith(_SUFFIXES)):
        yield url
        return
    empty = True
    try:
        found = entry(url) if magic is None else None
        if found is not None:
            yield found
            return
        folder = url if magic is None else url[: url.rindex("/", 0, magic.start()) + 1]
        pattern = None if magic is None else _regular(url)
        for each in entries(folder):
            if each.lower().endswith(_SUFFIXES) and (pattern is None or pattern.match(each)):
                empty = False
                yield each
    except StorageError as error:
        yield NoImage(url, error.reason)
        return
    if empty:
        matches = "no images there" if magic is None else "no object matches this pattern"
        yield NoImage(url, matches)


def _regular(pattern: str) -> re.Pattern[str]:
    """Return a pattern of paths as a regular expression: "**/" is any number of folders."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    found = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(parts.get(part, re.escape(part)) for part in found) + r"\Z")


def images_in(folder: str) -> Iterator[str]:
    """Yield the images in a folder and below it, in the order of names; hidden files are left out.

    A folder that cannot be read, and one without images, is a `NoImage`.
    """
    if isinstance(folder, NoImage):
        yield folder
        return
    empty = True
    for path in images_among(_walk(folder), folder):
        empty = False
        yield path
    if empty:
        yield NoImage(folder, "no images in this folder")


def images_among(paths: Iterable[str], where: str) -> Iterator[str]:
    """Yield the paths that may be images or are `NoImage`; log how many others there are."""
    others = 0
    for path in paths:
        if isinstance(path, NoImage) or _may_be_image(path):
            yield path
        else:
            others += 1
    if others:
        _log.info("%s: files that are no images and were left out: %d.", where, others)


def reason_against(path: str) -> str | None:
    """Return why a path that was given as an image is none, and what to do; None: it may be one.

    Only names are looked at: what is wrong with a content is found on reading.
    """
    lower = path.lower()
    if lower.endswith(IMAGE_SUFFIXES) and ":" not in path:
        return None
    if has_scheme(path) and not os.path.lexists(path):
        return f"a URL of an unknown kind: known are {KNOWN_URLS}"
    if lower.endswith(ARCHIVE_SUFFIXES):
        return "an archive: unpack it and give the folder"
    if lower.endswith(TABLE_SUFFIXES):
        return (
            "a table: write the paths of its images to a file, one per line, and give it as @FILE"
        )
    return None


def is_directory(path: str) -> bool:
    """Return whether there is a folder at a path."""
    # Not by Path: a name that the system does not allow is an image that cannot be read.
    return os.path.isdir(path)  # noqa: PTH112


def _walk(folder: str, entered: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the files below a folder that are not hidden, in the order of names."""
    # Links may lead back up: no folder is entered within itself.
    entered |= {os.path.realpath(folder)}
    try:
        with os.scandir(folder) as found:
            inside = [each for each in found if not each.name.startswith(".")]
    except OSError as error:
        yield NoImage(folder, f"the folder cannot be read: {error.strerror or error}")
        return
    for each in sorted(inside, key=lambda each: each.name):
        if not is_folder(each):
            yield each.path
        elif os.path.realpath(each.path) not in entered:
            yield from _walk(each.path, entered)


def _may_be_image(path: str) -> bool:
    if path.lower().endswith(_SUFFIXES):
        return True
    try:
        with open_image(path, decode=False):
            return True
    except ImageError as error:
        # A damaged image is an image; its result is the error.
        return str(error) not in _NO_IMAGES


def _attempt(image: Image.Image) -> bytes | ImageError:
    try:
        return file_of_picture(image)
    except ImageError as error:
        return error


def _refused(name: str, image: object) -> str:
    return (
        f"{name} is of the type {type(image).__name__}; give a path, the bytes of a file, a "
        "Pillow image or a uint8 array"
    )
