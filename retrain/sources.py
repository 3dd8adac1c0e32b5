"""Where a retraining's images and vectors come from: folders, imported text, a backbone."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from retrain.arguments.options import DEFAULT_MODULE, RetrainOptions
from tlcli.backbone import Backbone
from tlcli.core.bottlenecks.text_files import TextImport, import_folder
from tlcli.core.data.archives import as_folder
from tlcli.core.data.image_folder import Dataset, scan_folder, with_imported
from tlcli.core.data.image_list import ImageFile
from tlcli.core.data.label_sets import check_folder_labels, label_sets
from tlcli.core.data.manifest import read_manifest
from tlcli.core.data.splits import SPLITS, assign_splits, complete_splits, drawn_splits, sort_key
from tlcli.errors import DataError, UsageError
from tlcli.report.data import SkippedFile
from tlcli.text import counted, joined

if TYPE_CHECKING:
    from tlcli.core.bottlenecks.cache import BottleneckStore
    from tlcli.core.bottlenecks.extraction import Request

logger = logging.getLogger("tlcli")

Vectors = npt.NDArray[np.float32]

# With fewer training images of a label, one more or less changes what is learned.
_FEW_IMAGES = 5
_LABELS_SHOWN = 5
# What a warning of duplicates names; the report holds all of them.
_GROUPS_SHOWN = 20
_NAMES_SHOWN = 10


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


@dataclass(frozen=True)
class GivenSplit:
    """A split that the data give.

    Attributes:
        by: "folders" or "manifest".
        source: the folder or the manifest.
        drawn: the splits that were drawn, as the data do not give them.
        copies: training images left out as copies of validation or testing images.
        complete: each image has a split.
    """

    by: str
    source: str
    drawn: tuple[str, ...]
    copies: int
    complete: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON and the model card."""
        return {"by": self.by, "drawn": list(self.drawn), "copies_left_out": self.copies}

    def sentence(self) -> str:
        """Return who gave the split, what was drawn, and what was left out."""
        of = "the folders of " if self.by == "folders" else "the manifest "
        parts = [f"The split is given by {of}{Path(self.source).name}"]
        if self.drawn:
            splits = joined(self.drawn)
            parts.append(f"{splits} images are drawn from {self.divided}")
        if self.copies:
            parts.append(f"{self.described_copies()} left out")
        return "; ".join(parts) + "."

    @property
    def divided(self) -> str:
        """The images that were divided by the rule of names."""
        return "its training images" if self.complete else "the images without a split"

    def described_copies(self) -> str:
        """Return how many training images are copies."""
        is_or_are = "is a copy" if self.copies == 1 else "are copies"
        images = counted(self.copies, "training image")
        return f"{images} {is_or_are} of validation or testing images and"


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
    if options.manifest is not None:
        dataset = read_manifest(options.manifest, several=options.multi_label)
        _check_percentages(options, dataset)
        return Sources(dataset, {})
    folder = None if options.image_dir is None else as_folder(options.image_dir)
    is_empty = folder is not None and folder.is_dir() and not any(folder.iterdir())
    if folder is not None and not (imported and is_empty):
        minimum = 0 if imported else 2
        archive = None if folder == options.image_dir else options.image_dir
        dataset = scan_folder(folder, options.keep_label_names, minimum, archive)
        if dataset.ignored:
            logger.warning(
                "images directly in %s are ignored (%d); put each into the folder of its label",
                folder,
                len(dataset.ignored),
            )
    if imported:
        if dataset is not None and dataset.split_by != "names":
            raise UsageError(
                f"--import_bottlenecks knows no splits, and {folder} has folders of them; name "
                "one of these folders with --image_dir"
            )
        dataset = with_imported(dataset, list(imported), options.keep_label_names)
    assert dataset is not None
    if options.multi_label:
        check_folder_labels(dataset)
    _check_percentages(options, dataset)
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


def find_backbone(options: RetrainOptions, *, may_have_no_maps: bool = False) -> Backbone:
    """Find the backbone that the options name, with the layers that they ask for.

    Args:
        options: of the run.
        may_have_no_maps: a backbone whose graph shows no maps beside its bottleneck gives the
            bottleneck alone, under ``layers`` "ms" too.

    Raises:
        BackboneError: it cannot be found, or has not these layers.
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
    backbone = replace(backbone, load_graph=functools.cache(backbone.load_graph))
    if options.layers != "ms":
        return backbone
    from tlcli.backbones.layers.pooled_maps import NoStageMapsError, with_pooled_maps

    try:
        found = with_pooled_maps(backbone)
    except NoStageMapsError as error:
        if not may_have_no_maps:
            raise
        logger.info("Only the bottleneck of %s is used: %s", error.name, error.reason)
        return backbone
    return replace(found, load_graph=functools.cache(found.load_graph))


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


def divide(
    options: RetrainOptions,
    dataset: Dataset,
    images: Sequence[ImageFile],
    contents: Sequence[str | None],
) -> tuple[list[str], GivenSplit | None]:
    """Return the split of each image, and facts about a split that the data give.

    Training images that are left out as copies have the split "".

    Args:
        options: have the percentages.
        dataset: says what decides.
        images: those that have vectors.
        contents: their SHA-256, None where unknown.

    Raises:
        UsageError: a percentage for a split that the data give.
        DataError: too few images.
    """
    names = [image.name for image in images]
    texts = [image.label for image in images]
    labels = label_sets(texts) if options.multi_label else texts
    percentages = {
        "testing": options.testing_percentage,
        "validation": options.validation_percentage,
    }
    if dataset.split_by == "names":
        return assign_splits(names, labels, contents, *percentages.values()), None
    given = [image.split for image in images]
    drawn = drawn_splits(given)
    if dataset.split_by == "folders":
        # The part of the name that the rule takes: as if the training folder were the whole.
        names = [name.partition("/")[2] for name in names]
    splits = complete_splits(names, labels, contents, given, percentages)
    facts = GivenSplit(
        dataset.split_by,
        dataset.source,
        tuple(split for split in drawn if percentages[split] and split in splits),
        splits.count(""),
        None not in given,
    )
    return splits, facts


def _check_percentages(options: RetrainOptions, dataset: Dataset) -> None:
    """Refuse a percentage for a split that the data give.

    Raises:
        UsageError: there is one.
    """
    if dataset.split_by == "names":
        return
    drawn = drawn_splits([image.split for image in dataset.images])
    for split in ("testing", "validation"):
        value = getattr(options, f"{split}_percentage")
        if split not in drawn and value != getattr(RetrainOptions, f"{split}_percentage"):
            raise UsageError(
                f"--{split}_percentage {value} has nothing to divide, as {dataset.source} gives "
                f"the {split} images itself; leave the option out"
            )


def log_split(options: RetrainOptions, facts: GivenSplit, splits: Sequence[str]) -> None:
    """Log the sizes of a split that the data give, and what was drawn."""
    counts = [f"{splits.count(split)} {split}" for split in SPLITS]
    line = f"The split of {facts.source}: {joined(counts)} images"
    if facts.drawn:
        shares = joined(
            [f"{getattr(options, f'{split}_percentage')}% {split}" for split in facts.drawn]
        )
        line += f" ({shares} drawn from {facts.divided})"
    logger.info("%s", line)
    if facts.copies:
        logger.info("%s left out of training", facts.described_copies())


def warn_of_few(labels: Sequence[str], training: Sequence[int]) -> None:
    """Warn of labels with fewer than five training images.

    Args:
        labels: in output order.
        training: the number of training images of each.
    """
    few = [(label, count) for label, count in zip(labels, training, strict=True)]
    few = [each for each in few if each[1] < _FEW_IMAGES]
    if few:
        named = [f"{label!r} ({count})" for label, count in few[:_LABELS_SHOWN]]
        more = f" and {len(few) - _LABELS_SHOWN} more labels" if len(few) > _LABELS_SHOWN else ""
        logger.warning(
            "fewer than %d training images: %s%s; about 30 images per label are a workable minimum",
            _FEW_IMAGES,
            joined(named) if not more else ", ".join(named),
            more,
        )


def warn_of_duplicates(groups: Sequence[Sequence[str]]) -> None:
    """Warn of images that have the same content and different labels, group by group."""
    for group in groups[:_GROUPS_SHOWN]:
        more = f" and {len(group) - _NAMES_SHOWN} more" if len(group) > _NAMES_SHOWN else ""
        names = ", ".join(group[:_NAMES_SHOWN])
        logger.warning("the same image has different labels: %s%s", names, more)
    if len(groups) > _GROUPS_SHOWN:
        rest = len(groups) - _GROUPS_SHOWN
        have = "image has" if rest == 1 else "images have"
        logger.warning("%d more %s different labels; the report lists them", rest, have)


def in_its_precision(
    options: RetrainOptions, backbone: Backbone, requests: Sequence[Request], store: BottleneckStore
) -> Backbone:
    """Return a float32 backbone in the requested precision, or the one that pays.

    ``requests`` are the undistorted vectors that the run needs.
    """
    if options.precision == "float32" or options.import_bottlenecks is not None:
        return backbone
    # These imports load the image readers, which the lines above do not need.
    if options.precision == "int8":
        from tlcli.core.bottlenecks.eight_bits.backbone import in_int8

        return in_int8(backbone)
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
        # Views are cached with the plain image, or not at all. Vectors are those of the parts.
        least = min(store.count(each.fingerprint, contents) for each in found.parts or [found])
        return views * (len(contents) - least)

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
