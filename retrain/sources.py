"""Where a retraining's images and vectors come from: folders, imported text, a backbone."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from retrain.options import DEFAULT_MODULE, RetrainOptions
from tlcli.backbone import Backbone
from tlcli.core.bottlenecks.text_files import TextImport, import_folder
from tlcli.core.data.image_folder import Dataset, ImageFile, scan_folder, with_imported
from tlcli.core.data.splits import sort_key
from tlcli.errors import DataError
from tlcli.report.data import SkippedFile

if TYPE_CHECKING:
    from tlcli.core.bottlenecks.cache import BottleneckStore
    from tlcli.core.bottlenecks.extraction import Request

logger = logging.getLogger("tlcli")

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sources:
    """The images and imported vectors of a run, before any vector is computed.

    Attributes:
        dataset: the images and their labels.
        imported: vectors imported as text, by (folder, image name).
        skipped: text files that could not be used.
    """

    dataset: Dataset
    imported: dict[tuple[str, str], Vectors]
    skipped: tuple[SkippedFile, ...] = ()

    def imported_vector(self, image: ImageFile) -> Vectors | None:
        """Return the vector imported for an image, whether or not its file is there."""
        folder = sort_key(image.folder)
        below_label = sort_key(image.name.removeprefix(f"{image.folder}/"))
        vector = self.imported.get((folder, below_label))
        if vector is not None:
            return vector
        # The originals knew no nested folders: a file of theirs has the image's own name only.
        return self.imported.get((folder, below_label.rsplit("/", 1)[-1]))


def find_images(options: RetrainOptions) -> Sources:
    """List the images of a run and read the vectors imported for them.

    Raises:
        DataError: there is too little to learn from, or two folders share a label.
    """
    imported: dict[tuple[str, str], Vectors] = {}
    skipped: list[SkippedFile] = []
    if options.import_bottlenecks is not None:
        texts = _import(options.import_bottlenecks, options.module)
        skipped += [SkippedFile(str(path), reason) for path, reason in texts.skipped]
        imported = {
            (sort_key(text.folder), sort_key(text.image_name)): text.vector
            for text in texts.bottlenecks
        }
        report_skipped(options, skipped)
    dataset = None
    folder = options.image_dir
    is_empty = folder is not None and folder.is_dir() and not any(folder.iterdir())
    if folder is not None and not (imported and is_empty):
        minimum = 0 if imported else 2
        dataset = scan_folder(folder, options.keep_label_names, minimum_labels=minimum)
        if dataset.ignored:
            logger.warning(
                "images directly in %s are ignored (%d); put each into the folder of its label",
                folder,
                len(dataset.ignored),
            )
    if imported:
        dataset = with_imported(dataset, list(imported), options.keep_label_names)
    assert dataset is not None
    return Sources(dataset, imported, tuple(skipped))


def _import(folder: Path, module: str | None) -> TextImport:
    try:
        return import_folder(folder)
    except DataError:
        if module is None:
            raise
        # A folder of several modules' vectors, as one --bottleneck_dir of the original became.
        return import_folder(folder, module)


def needs_backbone(options: RetrainOptions, sources: Sources) -> bool:
    """Return whether anything must be computed by, or exported with, a backbone."""
    if not options.final_layer_only or options.distorts:
        return True
    return any(sources.imported_vector(image) is None for image in sources.dataset.images)


def find_backbone(options: RetrainOptions) -> Backbone:
    """Find the backbone that the options name.

    Raises:
        BackboneError: it cannot be found.
    """
    from tlcli.backbones.model_options import ModelOptions
    from tlcli.backbones.resolve import resolve

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


def report_skipped(options: RetrainOptions, skipped: Sequence[SkippedFile]) -> None:
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


def in_its_precision(
    options: RetrainOptions, backbone: Backbone, requests: Sequence[Request], store: BottleneckStore
) -> Backbone:
    """Return a float32 backbone in the requested precision, or the one that pays.

    ``requests`` are the undistorted vectors that the run needs.
    """
    if options.precision == "float32" or options.import_bottlenecks is not None:
        return backbone
    # These imports load the image readers, which the lines above do not need.
    from tlcli.core.bottlenecks import precision
    from tlcli.core.bottlenecks.engine_choice import bfloat16_backend
    from tlcli.core.bottlenecks.engines import NO_BACKEND

    if options.precision == "bfloat16":
        backend = bfloat16_backend()
        if backend == NO_BACKEND:
            logger.warning(
                "this machine has no instructions for bfloat16, so that --precision bfloat16 is "
                "slower here than float32"
            )
        logger.debug("precision bfloat16, as asked for, computed by: %s", backend)
        return precision.in_bfloat16(backbone, backend)

    views = 1 + (options.distortion_views if options.distorts else 0)
    contents = list(dict.fromkeys(request.content for request in requests))

    def new(found: Backbone) -> int:
        # Views are cached with the plain image, or not at all.
        return views * (len(contents) - store.count(found.fingerprint, contents))

    # Few images need no look into the cache.
    new_in_float32 = views * len(contents)
    if new_in_float32 >= precision.WORTH_MEASURING:
        new_in_float32 = new(backbone)
    trial = precision.Trial(backbone, [request.path for request in requests], new_in_float32)
    choice = precision.choose(
        new_in_float32,
        lambda backend: new(precision.in_bfloat16(backbone, backend)),
        bfloat16_backend,
        trial.float32,
        trial.bfloat16,
    )
    if choice.backend is None:
        logger.debug("precision float32: %s", choice.reason)
        return backbone
    logger.info("Precision bfloat16 (%s): %s", choice.backend, choice.reason)
    return precision.in_bfloat16(backbone, choice.backend)
