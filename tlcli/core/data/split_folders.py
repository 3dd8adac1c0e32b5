"""Folders named train, val and test: published data give their split this way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tlcli.core.images.formats import IMAGE_SUFFIXES
from tlcli.errors import UsageError
from tlcli.text import counted, joined

_SPLIT_OF = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "testing"),
}
KNOWN_NAMES = "train, training, val, valid, validation, dev, test and testing"
"""All names of splits, for messages."""
_NAMES_SHOWN = 4


def split_named(name: str) -> str | None:
    """Return "training", "validation" or "testing" for one of its usual names, in any case."""
    return _SPLIT_OF.get(name.strip().lower())


def find_splits(
    image_dir: Path,
    files: Mapping[str, Sequence[str]],
    beside: Sequence[str],
    label_of: Callable[[str], str],
) -> dict[str, str] | None:
    """Return the split of each folder in ``image_dir``, or None where the folders are labels.

    Folders are splits where they have the names of splits and contain folders of images. Labels
    that happen to be called "train" and "test" contain images.

    Args:
        image_dir: the folder.
        files: of each folder in it, all files below, as "FOLDER/.../NAME".
        beside: names of images directly in it.
        label_of: the label of a folder's name, for comparing the folders of two splits.

    Raises:
        UsageError: the folders resemble splits but cannot be used as such: which one and why.
    """
    splits = {folder: split for folder in files if (split := split_named(folder))}
    labels = {folder: _label_folders(files[folder]) for folder in splits}
    loose = {folder: _loose_images(files[folder]) for folder in splits}
    divided = [folder for folder in splits if labels[folder]]
    others = [folder for folder in files if folder not in splits]
    if not splits:
        _check_no_splits_below(image_dir, files)
    # A label's folder may contain folders too, beside its images.
    if not divided or len(files) < 2 or (others and any(loose[folder] for folder in divided)):
        return None
    train = next((folder for folder, split in splits.items() if split == "training"), None)
    advice = f"; or give --image_dir {image_dir / (train or divided[0])} alone"
    if others:
        raise UsageError(
            f"{image_dir} contains {_named(divided)} with folders of labels "
            f"({_some(labels[divided[0]])}) and {_named(others)} beside: move "
            f"{'it' if len(others) == 1 else 'them'} away if {_named(divided)} "
            f"{'is a split' if len(divided) == 1 else 'are splits'} (known names are "
            f"{KNOWN_NAMES}), or rename {_named(divided)} if not{advice}"
        )
    named = dict.fromkeys(splits.values(), "")
    for folder, split in splits.items():
        if named[split]:
            raise UsageError(
                f"{image_dir} contains {_named([named[split], folder])}, which both name the "
                f"{split} images; put the images of one into the other{advice}"
            )
        named[split] = folder
    for folder in splits:
        found = loose[folder] or ([] if labels[folder] else list(files[folder]))
        if found:
            raise UsageError(
                f"{image_dir / folder} contains {counted(len(found), 'image')} without a folder of "
                f"a label ({Path(found[0]).name}), but {_named(divided)} in {image_dir} "
                f"{'contains' if len(divided) == 1 else 'contain'} such folders; sort the images "
                f"into folders or move them away{advice}"
            )
    if beside:
        raise UsageError(
            f"{image_dir} contains the splits {_named(list(splits))} and "
            f"{counted(len(beside), 'image')} beside them ({beside[0]}); move the images away"
        )
    if train is None:
        raise UsageError(
            f"{image_dir} contains the splits {_named(divided)} and no training images; add a "
            f"folder named train, or give --image_dir {image_dir / divided[0]}"
        )
    known = {label_of(label) for label in labels[train]}
    for folder in splits:
        missing = sorted(label for label in labels[folder] if label_of(label) not in known)
        if missing:
            raise UsageError(
                f"{image_dir / folder} has the label {_some(missing)}, of which "
                f"{image_dir / train} has no images (its labels: {_some(labels[train])}); rename "
                f"or remove that folder{advice}"
            )
    return splits


def _check_no_splits_below(image_dir: Path, files: Mapping[str, Sequence[str]]) -> None:
    """Raise UsageError where each label contains its splits, as in ``daisy/train``."""
    below = [_label_folders(names) for names in files.values()]
    if len(files) < 2 or any(_loose_images(names) for names in files.values()):
        return
    if len({split_named(name) for names in below for name in names} - {None}) < 2 or not all(
        names and all(split_named(name) for name in names) for names in below
    ):
        return
    label, split = next(iter(files)), below[0][0]
    raise UsageError(
        f"the labels in {image_dir} contain splits ({label}/{below[0][0]}); put the splits above "
        f"the labels, as in {split}/{label}, or give the split of each image in a table "
        "(--manifest)"
    )


def _label_folders(names: Sequence[str]) -> list[str]:
    """Return the folders of labels in a split's folder."""
    return sorted({name.split("/", 2)[1] for name in names if name.count("/") > 1})


def _loose_images(names: Sequence[str]) -> list[str]:
    """Return the images directly in a folder; lists and texts do not count."""
    return [
        name for name in names if name.count("/") == 1 and name.lower().endswith(IMAGE_SUFFIXES)
    ]


def _named(folders: Sequence[str]) -> str:
    return joined([repr(folder) for folder in folders])


def _some(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
