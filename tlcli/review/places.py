"""Where the photos of a folder may be moved: to the folder of another label, or out of the way."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tlcli.check.moving import absolute, free_path
from tlcli.core.data.image_list import ImageFile
from tlcli.errors import OutputError, UsageError


def default_folder(image_dir: Path) -> Path:
    """Return where photos are removed to unless a folder is given: beside theirs."""
    folder = absolute(image_dir)
    return folder.with_name(f"{folder.name or 'photos'}_removed")


def check_folders(image_dir: Path, remove_to: Path) -> None:
    """Refuse folders that lie in one another: what is removed would become a label.

    Raises:
        UsageError: they do, or the photos are not in a folder.
    """
    if not image_dir.is_dir():
        raise UsageError(
            f"--check {image_dir} is no folder; give the folder with one folder of images per label"
        )
    photos, removed = image_dir.resolve(), remove_to.resolve()
    if removed.is_relative_to(photos) or photos.is_relative_to(removed):
        raise UsageError(
            f"--remove_to {remove_to} and the photos in {image_dir} lie in one another; name a "
            "folder outside of the photos"
        )


@dataclass(frozen=True)
class Places:
    """The folders of labels in a folder of photos, and the folder for removed ones.

    Attributes:
        image_dir: absolute path of the photos.
        remove_to: absolute path for removed ones.
        depth: how many folders lead to the photos of a label: 1, or 2 where the first is a split.
        folders: label to its folder, by split ("" where there are none).
    """

    image_dir: Path
    remove_to: Path
    depth: int
    folders: dict[tuple[str, str], str]

    @classmethod
    def of(cls, folders: tuple[Path, Path], images: Iterable[ImageFile], in_splits: bool) -> Places:
        """Return the places of a check.

        Args:
            folders: of the photos, and for removed ones.
            images: that were checked.
            in_splits: whether the first folder of a name is a split.
        """
        depth = 2 if in_splits else 1
        found: dict[tuple[str, str], str] = {}
        for image in images:
            parts = image.name.split("/")
            found.setdefault((parts[0] if in_splits else "", image.label), parts[depth - 1])
        return cls(absolute(folders[0]), absolute(folders[1]), depth, found)

    @property
    def labels(self) -> list[str]:
        """All labels, sorted."""
        return sorted({label for _, label in self.folders})

    def shown(self, path: Path) -> str:
        """Return a path for people: relative to the folder of photos where it is in it."""
        return str(path.relative_to(self.image_dir) if self._holds(path) else path)

    def label(self, path: Path) -> str:
        """Return the label of the folder that a photo is in; "" where it is in none."""
        if not self._holds(path):
            return ""
        parts = path.relative_to(self.image_dir).parts
        if len(parts) <= self.depth:
            return ""
        split = parts[0] if self.depth > 1 else ""
        names = {folder: label for (of, label), folder in self.folders.items() if of == split}
        return names.get(parts[self.depth - 1], "")

    def in_label(self, path: Path, label: str) -> Path:
        """Return where a photo goes that gets another label, in the same split.

        Raises:
            OutputError: it cannot go there.
        """
        parts = path.relative_to(self.image_dir).parts
        split = parts[0] if self.depth > 1 else ""
        elsewhere = (folder for (_, name), folder in self.folders.items() if name == label)
        folder = self.folders.get((split, label)) or next(elsewhere, None)
        if folder is None or len(parts) <= self.depth:
            raise OutputError(f"there is no label {label!r}")
        start = (split, folder) if split else (folder,)
        return self._free(path, self.image_dir.joinpath(*start, *parts[self.depth :]))

    def removed(self, path: Path) -> Path:
        """Return where a photo goes that is removed: with the folders that it is in.

        Raises:
            OutputError: it cannot go there.
        """
        return self._free(path, self.remove_to / path.relative_to(self.image_dir))

    def _holds(self, path: Path) -> bool:
        return path.is_relative_to(self.image_dir)

    def _free(self, source: Path, target: Path) -> Path:
        """Return a path like the target at which nothing is; both must be in these folders."""
        root = os.path.realpath(self.image_dir)
        allowed = (root, os.path.realpath(self.remove_to))
        for path in (source, target):
            # A folder that is a link may lead anywhere.
            folder = Path(os.path.realpath(path.parent))
            if not any(folder.is_relative_to(each) for each in allowed):
                raise OutputError(
                    f"{path.parent} is a link to {folder}; move the photo there by hand"
                )
        return free_path(target)
