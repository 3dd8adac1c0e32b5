"""A folder with one folder of images per label: its labels, and the images of each."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from tlcli.core.data.image_list import Group, ImageFile, images_of, sorted_images
from tlcli.core.data.image_objects import ObjectName, ObjectNames, list_objects
from tlcli.core.data.split_folders import find_splits, split_named
from tlcli.core.data.splits import sort_key
from tlcli.core.images.formats import IMAGE_SUFFIXES
from tlcli.errors import DataError
from tlcli.storage.locations import is_url, shown, text_of
from tlcli.system.gc_pause import gc_paused
from tlcli.system.regular_files import is_folder
from tlcli.text import joined

logger = logging.getLogger("tlcli")

# Files that operating systems create in folders; names beginning with a dot are ignored as well.
_SYSTEM_NAMES = frozenset(
    {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "$recycle.bin"}
)


@dataclass(frozen=True)
class Dataset:
    """The images of a folder or a manifest.

    Attributes:
        images: sorted by name.
        labels: in output order, which is that of the folders' names.
        ignored: names of images directly in the root, which have no label.
        source: path of the folder or the manifest, for messages.
        split_by: what decides the splits: "names" (the rule of `tlcli.core.data.splits`),
            "folders" (train, val, test) or "manifest" (its column ``split``).
    """

    images: Sequence[ImageFile]
    labels: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    source: str = ""
    split_by: str = "names"


def label_from_folder(name: str) -> str:
    """Return the label of a folder by the original's rule, extended to every script.

    Lower case; each run of characters that are neither letters, digits nor their marks
    becomes one space. Accents that are separate characters (as macOS stores them) give the same
    label as composed ones.
    """
    label = ""
    for char in unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).lower()):
        kind = unicodedata.category(char)[0]
        # A mark belongs to the letter before it; after a symbol it would be invisible.
        if kind in "LN" or (kind == "M" and label and label[-1] != " "):
            label += char
        elif not label.endswith(" "):
            label += " "
    return label


@gc_paused()
def scan_folder(
    image_dir: Path,
    keep_label_names: bool = False,
    minimum_labels: int = 2,
    source: Path | None = None,
) -> Dataset:
    """List the images of ``image_dir/LABEL/...`` without opening them.

    Where the folders are splits, as in ``image_dir/train/LABEL/...``, the images have theirs.

    Every file that is not hidden counts; files that are no images are found on reading.
    Folders within a label's folder are read as well, links to folders once. A label's
    folder without files is left out with a warning (silently when ``minimum_labels`` is
    below 2, as imported vectors may fill it).

    Args:
        image_dir: the folder.
        keep_label_names: labels are the names of the folders as they are.
        minimum_labels: the fewest labels.
        source: the archive that the folder was unpacked from, which messages name.

    Raises:
        DataError: the folder is missing, unreadable or no folder; it has fewer labels
            than ``minimum_labels``; or two folders give one label.
        UsageError: its folders resemble splits, see `find_splits`.
    """
    image_dir = Path(image_dir)
    files: Mapping[str, Sequence[str]]
    if is_url(image_dir):
        files, ignored = list_objects(image_dir, _is_ignored)
    else:
        files, ignored = _list_files(image_dir, warns=minimum_labels >= 2)
    splits = find_splits(image_dir, files, ignored, label_from_folder)
    named = shown(image_dir if source is None else source)
    if splits is not None:
        dataset = _with_splits(image_dir, files, splits, keep_label_names)
        return replace(dataset, source=named)
    images = images_of(
        text_of(image_dir),
        [
            Group(folder, _label(folder, keep_label_names), names, f"{folder}/")
            for folder, names in files.items()
        ],
    )
    labels = _labels(files, keep_label_names)
    if len(labels) < minimum_labels:
        raise DataError(_too_few_labels(named, labels, ignored) + _deeper(image_dir, images))
    return Dataset(images, labels, tuple(ignored), named)


def _list_files(image_dir: Path, *, warns: bool) -> tuple[dict[str, list[str]], list[str]]:
    """Return the names of all files below each folder, and of images beside the folders."""
    files: dict[str, list[str]] = {}
    ignored: list[str] = []
    for entry in _entries(image_dir):
        if not is_folder(entry):
            if entry.name.lower().endswith(IMAGE_SUFFIXES):
                ignored.append(entry.name)
            continue
        found = list(_walk(image_dir, entry.name))
        if found:
            files[entry.name] = found
        elif warns:
            logger.warning("the folder %s has no images and is left out", image_dir / entry.name)
    return files, ignored


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def _with_splits(
    image_dir: Path,
    files: Mapping[str, Sequence[str]],
    splits: Mapping[str, str],
    keep_label_names: bool,
) -> Dataset:
    """Return the images of ``image_dir/SPLIT/LABEL/...``; the training folder has all labels."""
    root = text_of(image_dir)
    train = next(folder for folder, split in splits.items() if split == "training")
    own = dict.fromkeys(name.split("/")[1] for name in files[train] if name.count("/") > 1)
    labels = _labels(own, keep_label_names)
    label_of = {folder: _label(folder, keep_label_names) for folder in own}
    # A split may write the folder of a label in another way.
    plain = {label_from_folder(folder): label for folder, label in label_of.items()}
    groups: list[Group] = []
    for folder, split in splits.items():
        for inner, names in _by_inner_folder(files[folder]).items():
            label = label_of.get(inner) or plain[label_from_folder(inner)]
            groups.append(Group(inner, label, names, f"{folder}/{inner}/", split))
    return Dataset(images_of(root, groups), labels, (), shown(root), "folders")


def _by_inner_folder(names: Sequence[str]) -> dict[str, Sequence[str]]:
    """Return the names "SPLIT/LABEL/..." by LABEL, without those directly in SPLIT."""
    paths: defaultdict[str, list[str]] = defaultdict(list)
    objects: defaultdict[str, ObjectNames] = defaultdict(ObjectNames)
    for name in names:
        if name.count("/") < 2:
            continue
        inner = name.split("/", 2)[1]
        if isinstance(name, ObjectName):
            objects[inner].append(name, name.size, name.change)
        else:
            paths[inner].append(name)
    return {**paths, **objects}


def with_imported(
    dataset: Dataset | None,
    folders_and_names: Iterable[tuple[str, str]],
    keep_label_names: bool = False,
) -> Dataset:
    """Return the dataset plus an image for every imported vector without one.

    ``folders_and_names`` are ("house_with_pool", "photo.jpg"): the label's folder and the
    image's own name. A vector stands for an image of that folder with that name, at any
    depth. A folder that only the import has is a label too.

    Raises:
        DataError: fewer than two labels, or two folders that give one label.
    """
    images = list(dataset.images) if dataset is not None else []
    # macOS encodes the same names differently; the folder on disk decides.
    folder_of = {sort_key(image.folder): image.folder for image in images}
    # The original tools read no nested folders: their vectors name an image by its last part.
    present: set[tuple[str, str]] = set()
    for image in images:
        below = image.name.removeprefix(f"{image.folder}/")
        names = (below, below.rsplit("/", 1)[-1])
        present.update((sort_key(image.folder), sort_key(name)) for name in names)
    for folder, name in folders_and_names:
        folder = folder_of.setdefault(sort_key(folder), folder)
        key = (sort_key(folder), sort_key(name))
        if key in present:
            continue
        present.add(key)
        image_name = f"{folder}/{name}"
        images.append(ImageFile(None, folder, image_name, _label(folder, keep_label_names)))
    labels = _labels(folder_of.values(), keep_label_names)
    if len(labels) < 2:
        raise DataError(_too_few_labels("the folder of imported bottlenecks", labels, ()))
    return Dataset(sorted_images(images), labels, dataset.ignored if dataset is not None else ())


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder that are not hidden, in the order of names.

    Raises:
        DataError: it cannot be listed.
    """
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not _is_ignored(entry.name)]
    except FileNotFoundError as error:
        raise DataError(f"there is no folder {folder}; check --image_dir") from error
    except NotADirectoryError as error:
        raise DataError(
            f"{folder} is no folder; give a folder that contains one folder of images per label"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"the folder {folder} cannot be read: {reason}") from error
    return sorted(entries, key=lambda entry: (sort_key(entry.name), entry.name))


def _walk(root: Path, folder: str) -> Iterator[str]:
    """Yield the names, relative to ``root``, of all files below ``root/folder``."""
    # Links may lead back up or to one another: no folder is entered twice.
    entered = {_identity(root), _identity(root / folder)}
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        for entry in _entries(root / current):
            name = f"{current}/{entry.name}"
            if not is_folder(entry):
                yield name
            elif (identity := _identity(root / name)) not in entered:
                entered.add(identity)
                waiting.append(name)


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"the folder {folder} cannot be read: {reason}") from error
    return status.st_dev, status.st_ino


def _label(folder: str, keep_label_names: bool) -> str:
    if not keep_label_names:
        label = label_from_folder(folder)
        if not label.strip():
            raise DataError(
                f"the folder name {folder!r} has no letter or digit to make a label of; rename "
                "it or give --keep_label_names"
            )
        return label
    # A label is one line of a UTF-8 file.
    if len(folder.splitlines()) > 1 or any("\ud800" <= char <= "\udfff" for char in folder):
        raise DataError(
            f"the folder name {folder!r} cannot be a label, which is one line of UTF-8 text; "
            "rename the folder or leave --keep_label_names out"
        )
    if not folder.strip():
        raise DataError(f"the folder name {folder!r} has only spaces; rename it")
    return folder


def _labels(folders: Iterable[str], keep_label_names: bool) -> tuple[str, ...]:
    """Return the labels of folders, in the order of the folders' names."""
    owner: dict[str, str] = {}
    labels: list[str] = []
    for folder in sorted(folders, key=lambda name: (sort_key(name), name)):
        label = _label(folder, keep_label_names)
        # Readers of a labels file drop spaces at the end of lines.
        name = label.rstrip()
        if name in owner:
            raise DataError(
                f"the folders {owner[name]!r} and {folder!r} give the same label {name!r}; "
                "rename one, or give --keep_label_names to keep the names as they are"
            )
        owner[name] = folder
        labels.append(label)
    return tuple(labels)


def _deeper(image_dir: Path, images: Iterable[ImageFile]) -> str:
    """Return a hint that the labels may be some folders deeper, or ""."""
    names = (image.name for image in images if image.name.lower().endswith(IMAGE_SUFFIXES))
    parents = [name.split("/")[:-1] for name in names]
    if not parents:
        return ""
    # What the first and the last have in common, all between them have.
    pairs = zip(min(parents), max(parents), strict=False)
    shared = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    below = {"".join(parent[len(shared) : len(shared) + 1]) for parent in parents}
    # Images in the folder itself: what is below it are no labels.
    if len(below) < 2 or "" in below:
        return ""
    folder = image_dir.joinpath(*shared)
    if all(split_named(name) for name in below):
        return f"; or give --image_dir {folder}, which contains {joined(sorted(below))}"
    return f"; or give --image_dir {folder}, if its folders are the labels"


def _too_few_labels(source: str, labels: tuple[str, ...], ignored: Iterable[str]) -> str:
    if labels:
        return (
            f"{source} has only the label {labels[0]!r}; a classifier needs at least two: put "
            "the images of each label into a folder of its own"
        )
    misplaced = " (those directly in it have no label)" if any(True for _ in ignored) else ""
    return (
        f"{source} has no folders with images{misplaced}; put the images of each label into a "
        "folder of its own, such as DIR/daisy and DIR/roses"
    )
