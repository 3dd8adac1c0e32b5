"""The images that a graph is evaluated on: those of the test split, where the data give one."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from tlcli.core.data.archives import as_folder
from tlcli.core.data.image_folder import Dataset, scan_folder
from tlcli.core.data.manifest import read_manifest
from tlcli.errors import DataError
from tlcli.text import counted

_log = logging.getLogger("tlcli")


def images_to_evaluate(
    image_dir: Path | None, manifest: Path | None = None, several: bool = False
) -> Dataset:
    """Return the labelled images of a folder or a manifest, each label as it is written.

    Of splits that folders or a manifest give, those for testing are returned, or those for
    validation where there are none.

    Args:
        image_dir: a folder of folders, or an archive of it; None: there is a manifest.
        manifest: see `read_manifest`.
        several: an image of the manifest may have several labels, or none.

    Raises:
        DataError: they cannot be read, or there are none.
        UsageError: no folder and no archive, or folders that resemble splits.
    """
    # Names as they are: they are matched to a graph's labels, however it writes them.
    if manifest is not None:
        dataset = read_manifest(manifest, minimum_labels=1, several=several)
    else:
        assert image_dir is not None
        folder = as_folder(image_dir)
        archive = None if folder == image_dir else image_dir
        dataset = scan_folder(folder, keep_label_names=True, minimum_labels=1, source=archive)
    if dataset.split_by == "names":
        return dataset
    for split in ("testing", "validation"):
        images = tuple(image for image in dataset.images if image.split == split)
        if images:
            what = "test" if split == "testing" else split
            where = _folder(images[0].name) if dataset.split_by == "folders" else None
            _log.info(
                "%s gives splits: its %s are evaluated%s",
                dataset.source,
                counted(len(images), f"{what} image"),
                "" if where is None else f", those in {Path(dataset.source) / where}",
            )
            return replace(dataset, images=images)
    raise DataError(
        f"{dataset.source} lists training images and no others for an evaluation; add rows with "
        "the split test"
    )


def _folder(name: str) -> str:
    return name.partition("/")[0]
