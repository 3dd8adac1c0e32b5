"""Images in a bucket: their names as those of a folder, and the facts of each from one listing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath

from tlcli.core.images.formats import IMAGE_SUFFIXES, TABLE_SUFFIXES
from tlcli.errors import DataError, UsageError
from tlcli.storage.locations import Entry, below, shown, text_of
from tlcli.storage.objects import entries


class ObjectName(str):
    """The name of an image that is an object, relative to its root, with what is known of it.

    Attributes:
        size: in bytes; None where no listing gave it.
        change: what changes with the content, such as an ETag; "" where it is unknown.
        location: of the object, where that is not the name below the root.
    """

    __slots__ = ("change", "location", "size")
    size: int | None
    change: str
    location: str

    def __new__(
        cls, name: str, size: int | None = None, change: str = "", location: str = ""
    ) -> ObjectName:
        """Return the name with its facts."""
        made = super().__new__(cls, name)
        made.size, made.change, made.location = size, change, location
        return made

    def __getnewargs__(self) -> tuple[str, int | None, str, str]:  # type: ignore[override]
        return str(self), self.size, self.change, self.location

    def entry(self, root: str) -> Entry:
        """Return where the object is, with its facts."""
        return Entry(self.location or below(root, self), self.size, self.change)


def list_objects(
    image_dir: PurePath, is_ignored: Callable[[str], bool]
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the images of ``image_dir/LABEL/...``, and those directly in it.

    Args:
        image_dir: the URL of a prefix.
        is_ignored: whether a name of a folder or an object is left out, with all below it.

    Returns:
        For each folder the names of all objects below it, as `ObjectName`; names of images
        without a folder.

    Raises:
        DataError: it cannot be listed, or there is nothing.
        UsageError: an object in place of a folder.
    """
    root = text_of(image_dir)
    start = len(root.rstrip("/")) + 1
    files: dict[str, list[str]] = {}
    beside: list[str] = []
    ignored: dict[str, bool] = {}
    for found in entries(root):
        name = found.location[start:]
        folder, _, own = name.rpartition("/")
        if folder not in ignored:
            ignored[folder] = any(is_ignored(part) for part in folder.split("/") if folder)
        if ignored[folder] or is_ignored(own):
            continue
        if folder:
            label = folder.partition("/")[0]
            files.setdefault(label, []).append(ObjectName(name, found.size, found.change))
        elif own.lower().endswith(IMAGE_SUFFIXES):
            beside.append(own)
    if not files and not beside:
        raise _nothing(root)
    return dict(sorted(files.items())), beside


def _nothing(root: str) -> DataError | UsageError:
    lower = root.lower()
    if lower.endswith(TABLE_SUFFIXES):
        return UsageError(
            f"--image_dir {shown(root)} is a file; a table of images and labels is given as "
            f"--manifest {shown(root)}"
        )
    return DataError(
        f"there is nothing in {shown(root)}; check --image_dir, which is a folder with one folder "
        "of images per label"
    )
