"""Where a retraining's images and vectors come from: folders, imported text, a backbone."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from retrain.options import DEFAULT_MODULE, RetrainOptions
from retrain.result import Skipped
from tlcli.backbone import Backbone
from tlcli.core.bottlenecks.text_files import TextImport, import_folder
from tlcli.core.data.image_folder import Dataset, ImageFile, scan_folder, with_imported
from tlcli.core.data.splits import sort_key
from tlcli.errors import DataError

logger = logging.getLogger("tlcli")

Vectors = npt.NDArray[np.float32]
Imported = dict[tuple[str, str], Vectors]


def find_images(options: RetrainOptions) -> tuple[Dataset, Imported, tuple[Skipped, ...]]:
    """List the images of a run and read the vectors imported for them.

    Returns:
        The dataset, the imported vectors by (folder, image name), and the text files that
        could not be used.

    Raises:
        DataError: there is too little to learn from, or two folders share a label.
    """
    imported: Imported = {}
    skipped: list[Skipped] = []
    if options.import_bottlenecks is not None:
        texts = _import(options)
        skipped += [Skipped(str(path), reason) for path, reason in texts.skipped]
        imported = {
            (sort_key(text.folder), sort_key(text.image_name)): text.vector
            for text in texts.bottlenecks
        }
        report_skipped(options, skipped)
    dataset = None
    if options.image_dir is not None and not (imported and _is_empty_folder(options)):
        dataset = scan_folder(
            options.image_dir, options.keep_label_names, minimum_labels=0 if imported else 2
        )
        if dataset.ignored:
            logger.warning(
                "images directly in %s are ignored (%d); put each into the folder of its label",
                options.image_dir,
                len(dataset.ignored),
            )
    if imported:
        dataset = with_imported(dataset, list(imported), options.keep_label_names)
    assert dataset is not None
    return dataset, imported, tuple(skipped)


def _import(options: RetrainOptions) -> TextImport:
    folder = options.import_bottlenecks
    assert folder is not None
    try:
        return import_folder(folder)
    except DataError:
        if options.module is None:
            raise
        # A folder of several modules' vectors, as one --bottleneck_dir of the original became.
        return import_folder(folder, options.module)


def _is_empty_folder(options: RetrainOptions) -> bool:
    folder = options.image_dir
    assert folder is not None
    return folder.is_dir() and not any(folder.iterdir())


def imported_vector(image: ImageFile, imported: Imported) -> Vectors | None:
    """Return the vector imported for an image, whether or not its file is there."""
    folder = sort_key(image.folder)
    below_label = sort_key(image.name.removeprefix(f"{image.folder}/"))
    vector = imported.get((folder, below_label))
    # The originals knew no nested folders: a file of theirs has the image's own name only.
    return vector if vector is not None else imported.get((folder, below_label.rsplit("/", 1)[-1]))


def needs_backbone(options: RetrainOptions, dataset: Dataset, imported: Imported) -> bool:
    """Return whether anything must be computed by, or exported with, a backbone."""
    if not options.final_layer_only or options.distorts:
        return True
    return any(imported_vector(image, imported) is None for image in dataset.images)


def find_backbone(options: RetrainOptions) -> Backbone:
    """Find the backbone that the options name.

    Raises:
        BackboneError: it cannot be found.
    """
    from tlcli.backbones import ModelOptions, resolve

    asked = ModelOptions(
        input_layer=options.module_input,
        bottleneck_layer=options.module_output,
        input_height=options.input_height,
        input_width=options.input_width,
        input_mean=options.input_mean,
        input_std=options.input_std,
        trust=options.trust,
    )
    backbone = resolve(options.module or DEFAULT_MODULE, asked, model_dir=options.model_dir)
    # Extraction and export both need the graph; building it once takes seconds for Keras.
    return replace(backbone, load_graph=functools.cache(backbone.load_graph))


def report_skipped(options: RetrainOptions, skipped: Sequence[Skipped]) -> None:
    """Warn of files that are left out.

    Raises:
        DataError: there is one, under ``strict``.
    """
    if skipped and options.strict:
        first = skipped[0]
        raise DataError(
            f"{first.path} cannot be used: {first.reason}"
            + (f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else "")
            + "; repair or remove it, or leave --strict out to skip such files"
        )
    for bad in skipped:
        logger.warning("%s is skipped: %s", bad.path, bad.reason)
