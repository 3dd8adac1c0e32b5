"""The training data of a run: images, their splits and their bottleneck vectors."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from retrain.arguments.options import RetrainOptions
from retrain.large.imported import stack_imported
from retrain.large.rows import allocator, check_large, final_order, take_rows
from retrain.sources import (
    GivenSplit,
    Sources,
    Vectors,
    divide,
    in_its_precision,
    log_split,
    report_skipped,
    warn_of_duplicates,
    warn_of_few,
)
from tlcli.backbone import Backbone, FeatureBlock
from tlcli.core.data.image_folder import Dataset
from tlcli.core.data.image_list import ImageFile
from tlcli.core.data.label_sets import label_marks, merged_copies, names_in
from tlcli.core.data.splits import SPLITS, cross_label_duplicates
from tlcli.errors import DataError, ImageError, UsageError
from tlcli.progress import Progress, Watcher
from tlcli.report.data import SkippedFile
from tlcli.storage import recent
from tlcli.system.digests import sha256_bytes
from tlcli.system.gc_pause import gc_paused
from tlcli.text import counted

if TYPE_CHECKING:
    from tlcli.core.bottlenecks.cache import BottleneckStore
    from tlcli.core.bottlenecks.vector_store import Allocate

# Content of an empty file.
_EMPTY = sha256_bytes(b"")


@dataclass(frozen=True)
class Inputs:
    """All that the final layer is fitted and tested on; rows of all fields belong together.

    Rows are those of training, then validation, then testing, by name within each: a split
    is a slice of ``vectors``, which may be gigabytes, and is never copied.

    Attributes:
        labels: label names in output order.
        images: the images that have a vector.
        contents: SHA-256 of each image's file, None where only an imported vector exists.
        targets: index of each image's label, int64 [N]; without meaning where there are marks.
        splits: "training", "validation" or "testing" of each image.
        vectors: undistorted bottlenecks, float32 [N, D].
        views: distorted bottlenecks of training images, then of all others where there is a
            cross-validation, which trains on them too, float32 [M, D]; empty without distortions.
        view_rows: the image that each view shows, int64 [M], rising.
        skipped: unreadable images with reasons.
        duplicates: names of images with the same content under different labels.
        cache: counts of vectors by where they came from.
        backbone: what computed the vectors, in the precision they have; None: all imported.
        given_split: what is known of the split where the data give it, else None.
        blocks: the layers that a vector joins, in order; empty where it is one layer's.
        marks: of ``--multi_label``: which image has which label, bool [N, L]; else None.
    """

    labels: tuple[str, ...]
    images: tuple[ImageFile, ...]
    contents: tuple[str | None, ...]
    targets: npt.NDArray[np.int64]
    splits: tuple[str, ...]
    vectors: Vectors
    views: Vectors
    view_rows: npt.NDArray[np.int64]
    skipped: tuple[SkippedFile, ...] = ()
    duplicates: tuple[tuple[str, ...], ...] = ()
    cache: dict[str, int] = field(default_factory=dict)
    backbone: Backbone | None = None
    given_split: GivenSplit | None = None
    blocks: tuple[FeatureBlock, ...] = ()
    marks: npt.NDArray[np.bool_] | None = None

    def part(self, split: str) -> slice:
        """Return where the rows of one split are."""
        start = sum(self.splits.count(before) for before in SPLITS[: SPLITS.index(split)])
        return slice(start, start + self.splits.count(split))

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Return the row numbers of one split, rising."""
        part = self.part(split)
        return np.arange(part.start, part.stop)

    def vectors_at(self, rows: npt.NDArray[np.int64]) -> Vectors:
        """Return the vectors of rows; not a copy where the rows follow one another."""
        if len(rows) and (np.diff(rows) == 1).all():
            return self.vectors[rows[0] : rows[-1] + 1]
        return self.vectors[rows]

    def counts(self, split: str | None = None) -> npt.NDArray[np.int64]:
        """Return the number of images by label, of one split or of all."""
        part = slice(None) if split is None else self.part(split)
        if self.marks is not None:
            return np.asarray(self.marks[part].sum(axis=0), np.int64)
        targets = self.targets[part]
        return np.bincount(targets, minlength=len(self.labels))

    @property
    def bottleneck_size(self) -> int:
        """D, the number of values in a vector."""
        return int(self.vectors.shape[1])


@dataclass(frozen=True)
class _Found:
    """Images that have a vector; ``rows`` are theirs in ``vectors``, int64 [N]."""

    images: Sequence[ImageFile]
    contents: Sequence[str | None]
    vectors: Vectors
    rows: npt.NDArray[np.int64]


def gather(
    options: RetrainOptions,
    sources: Sources,
    backbone: Backbone | None,
    watcher: Watcher | None = None,
) -> Inputs:
    """Collect the vector of each image, computing only what no cache contains.

    Raises:
        DataError: one is unreadable under ``strict``, or too few images are left.
        UsageError: imported vectors do not fit the backbone.
        CacheError: the cache cannot be used.
    """
    watcher = watcher or Watcher()
    if backbone is None:
        watcher.end(_read_line(sources))
        return _from_imports_alone(options, sources)
    # Imported vectors alone need neither the cache nor what decodes images.
    from tlcli.core.bottlenecks.cache import BottleneckStore

    fingerprints = [each.fingerprint for each in backbone.parts or (backbone,)]
    with (
        BottleneckStore(options.bottleneck_dir, fingerprints) as store,
        contextlib.closing(recent),
    ):
        return _with_store(options, sources, backbone, store, watcher)


def _read_line(sources: Sources) -> str:
    dataset = sources.dataset
    return f"{counted(len(dataset.images), 'image')} of {counted(len(dataset.labels), 'label')}"


def _vectors_line(backbone: Backbone, hits: int, computed: int) -> str:
    return f"{backbone.name}, {hits} cached, {computed} new"


def _from_imports_alone(options: RetrainOptions, sources: Sources) -> Inputs:
    images = sources.dataset.images
    vectors = [sources.imported_vector(image) for image in images]
    matrix = stack_imported([vector for vector in vectors if vector is not None], None)
    count = len(matrix)
    found = _Found(images, [None] * count, matrix, np.arange(count))
    return _assemble(options, sources, found, {"imported": count})


def _with_store(
    options: RetrainOptions,
    sources: Sources,
    backbone: Backbone,
    store: BottleneckStore,
    watcher: Watcher,
) -> Inputs:
    from tlcli.core.bottlenecks.extraction import Request, compute
    from tlcli.core.bottlenecks.vector_store import in_memory

    dataset = sources.dataset
    from_text: dict[int, Vectors] = {}
    for number, image in enumerate(dataset.images if sources.imported else ()):
        if (vector := sources.imported_vector(image)) is not None:
            from_text[number] = vector
    contents, unreadable = _contents(dataset, store, from_text, watcher)
    if options.multi_label and options.manifest is None:
        dataset, contents = merged_copies(dataset, contents)
        sources = replace(sources, dataset=dataset)
    watcher.end(_read_line(sources))
    numbers = [
        number
        for number, (image, content) in enumerate(zip(dataset.images, contents, strict=True))
        if image.root is not None and content is not None and number not in from_text
    ]
    allocate = in_memory if from_text else allocator(options, backbone, len(numbers), store)
    if allocate is not in_memory:
        numbers = final_order(options, dataset, numbers, contents)
    requests = [
        Request(dataset.images[number].file or "", contents[number] or "") for number in numbers
    ]
    watcher.begin("bottlenecks", backbone.name)
    in_float32 = backbone
    backbone = in_its_precision(options, backbone, requests, store)
    plain = compute(backbone, requests, store, progress=watcher, allocate=allocate)
    watcher.end(_vectors_line(backbone, plain.hits, plain.computed))
    check_large(options, plain.vectors)
    unreadable.update(plain.failures)
    skipped = tuple(SkippedFile(path, reason) for path, reason in sorted(unreadable.items()))
    report_skipped(options, skipped)

    # -1: the image has no vector.
    rows = np.full(len(dataset.images), -1, np.int64)
    rows[np.array(numbers, np.int64)[plain.found]] = np.flatnonzero(plain.found)
    vectors = plain.vectors
    if from_text:
        rows[list(from_text)] = len(vectors) + np.arange(len(from_text))
        texts = stack_imported(list(from_text.values()), backbone, vectors.shape[1] or None)
        vectors = np.concatenate([vectors, texts]) if len(vectors) else texts
    usable = np.flatnonzero(rows >= 0).tolist()
    found = _Found(
        [dataset.images[number] for number in usable],
        [contents[number] for number in usable],
        vectors,
        rows[usable],
    )
    counts = {"hits": plain.hits, "computed": plain.computed, "imported": len(from_text)}
    inputs = _assemble(options, sources, found, counts, skipped)
    inputs = replace(inputs, backbone=backbone, blocks=backbone.blocks)
    if options.distorts:
        inputs = _with_views(options, inputs, store, watcher, allocate)
    if backbone.int8:
        from retrain.precision.int8 import described, matched

        watcher.begin("bottlenecks", described(inputs))
        inputs = matched(inputs, in_float32, store, watcher, options.seed)
        watcher.end(described(inputs))
    return inputs


def _contents(
    dataset: Dataset,
    store: BottleneckStore,
    from_text: Container[int],
    progress: Progress | None,
) -> tuple[list[str | None], dict[str, str]]:
    files = [image.file for image in dataset.images if image.file is not None]
    found = iter(store.contents(files, progress))
    contents: list[str | None] = []
    unreadable: dict[str, str] = {}
    for number, image in enumerate(dataset.images):
        content = None if image.root is None else next(found)
        has_vector = number in from_text
        if isinstance(content, ImageError):
            if not has_vector:
                unreadable[image.shown] = str(content)
            content = None
        # Empty stand-ins all have the same content and are not copies of each other.
        contents.append(None if has_vector and content == _EMPTY else content)
    return contents, unreadable


@gc_paused()
def _assemble(
    options: RetrainOptions,
    sources: Sources,
    found: _Found,
    cache: dict[str, int],
    skipped: Sequence[SkippedFile] = (),
) -> Inputs:
    """Split the images and sort all by split."""
    images, contents, dataset = found.images, found.contents, sources.dataset
    _check_labels(options, dataset, images, skipped)
    names = [image.name for image in images]
    labels = [image.label for image in images]
    marks = label_marks(labels, dataset.labels) if options.multi_label else None
    splits, given = divide(options, dataset, images, contents)
    if given is not None:
        log_split(options, given, splits)
    duplicates = cross_label_duplicates(names, labels, contents)
    warn_of_duplicates(duplicates)
    index = {label: position for position, label in enumerate(dataset.labels)}
    order = [row for split in SPLITS for row, own in enumerate(splits) if own == split]
    inputs = Inputs(
        labels=dataset.labels,
        images=tuple(images[row] for row in order),
        contents=tuple(contents[row] for row in order),
        targets=np.array([index.get(labels[row], 0) for row in order], np.int64),
        marks=None if marks is None else marks[order],
        splits=tuple(splits[row] for row in order),
        vectors=take_rows(found.vectors, found.rows[order]),
        views=np.zeros((0, found.vectors.shape[1]), np.float32),
        view_rows=np.zeros(0, np.int64),
        skipped=(*sources.skipped, *skipped),
        duplicates=tuple(duplicates),
        cache={"hits": 0, "computed": 0, "imported": 0, **cache},
        given_split=given,
    )
    warn_of_few(inputs.labels, inputs.counts("training").tolist())
    return inputs


def _check_labels(
    options: RetrainOptions,
    dataset: Dataset,
    images: Sequence[ImageFile],
    skipped: Sequence[SkippedFile],
) -> None:
    present = {image.label for image in images}
    present = names_in(present) if options.multi_label else present
    for label in dataset.labels:
        if label not in present:
            advice = "add images to its folder or remove the folder"
            if options.manifest is not None:
                advice = "check its paths, which are relative to the manifest, or remove its rows"
            reason = f" (the first: {skipped[0].path}, {skipped[0].reason})" if skipped else ""
            raise DataError(
                f"no image of the label {label!r} in {dataset.source or options.image_dir} can be "
                f"read{reason}; {advice}"
            )


def _with_views(
    options: RetrainOptions,
    inputs: Inputs,
    store: BottleneckStore,
    watcher: Watcher,
    allocate: Allocate,
) -> Inputs:
    """Add the distorted views of the images that something is trained on."""
    from tlcli.core.bottlenecks.extraction import Request, compute
    from tlcli.core.images.augmentation import Augmentation

    distortions = Augmentation(
        flip_left_right=options.flip_left_right,
        random_crop=options.random_crop,
        random_scale=options.random_scale,
        random_brightness=options.random_brightness,
        seed=options.seed,
    )
    rows, requests = [], []
    everything = options.cross_validate is not None
    # Training images come first.
    for row in range(len(inputs.images)) if everything else inputs.rows("training"):
        path, content = inputs.images[row].file, inputs.contents[row]
        if path is None or content is None:
            raise UsageError(
                f"{inputs.images[row].name} has an imported bottleneck and no image, so it cannot "
                "be distorted; leave --flip_left_right and --random_... out"
            )
        for view in range(options.distortion_views):
            rows.append(int(row))
            requests.append(Request(path, content, view))
    assert inputs.backbone is not None
    what = "image" if everything else "training image"
    watcher.begin("views", f"{options.distortion_views} of each {what}")
    found = compute(inputs.backbone, requests, store, distortions, watcher, allocate=allocate)
    watcher.end(_vectors_line(inputs.backbone, found.hits, found.computed))
    if found.failures:
        changed, reason = next(iter(found.failures.items()))
        raise DataError(f"{changed} changed while it was read ({reason}); run the command again")
    cache = dict(inputs.cache)
    cache["hits"] += found.hits
    cache["computed"] += found.computed
    return replace(inputs, views=found.vectors, view_rows=np.array(rows, np.int64), cache=cache)
