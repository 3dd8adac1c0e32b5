"""What a retraining learns from: images, their splits and their bottleneck vectors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from retrain.options import DEFAULT_MODULE, Options
from retrain.result import Skipped
from tlcli.backbones.base import Backbone
from tlcli.core.dataset import (
    Dataset,
    ImageFile,
    assign_splits,
    cross_label_duplicates,
    scan_folder,
    with_imported,
)
from tlcli.core.splits import sort_key
from tlcli.core.text_bottlenecks import import_folder
from tlcli.errors import DataError, ImageError, UsageError

if TYPE_CHECKING:
    from tlcli.core.store import BottleneckStore

logger = logging.getLogger("tlcli")

Progress = Callable[[str, int, int], None]
Vectors = npt.NDArray[np.float32]
Imported = dict[tuple[str, str], Vectors]


@dataclass(frozen=True)
class Inputs:
    """All that the final layer is fitted and tested on; rows of all fields belong together.

    Attributes:
        labels: label names in output order.
        images: the images that have a vector.
        contents: SHA-256 of each image's file, None where only an imported vector exists.
        targets: index of each image's label, int64 [N].
        splits: "training", "validation" or "testing" of each image.
        vectors: undistorted bottlenecks, float32 [N, D].
        views: distorted bottlenecks of training images, float32 [M, D]; empty without distortions.
        view_rows: the image that each view shows, int64 [M].
        skipped: unreadable images with reasons.
        duplicates: names of images with the same content under different labels.
        cache: counts of vectors by where they came from.
    """

    labels: tuple[str, ...]
    images: tuple[ImageFile, ...]
    contents: tuple[str | None, ...]
    targets: npt.NDArray[np.int64]
    splits: tuple[str, ...]
    vectors: Vectors
    views: Vectors
    view_rows: npt.NDArray[np.int64]
    skipped: tuple[Skipped, ...] = ()
    duplicates: tuple[tuple[str, ...], ...] = ()
    cache: dict[str, int] = field(default_factory=dict)

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Return the row numbers of one split."""
        return np.flatnonzero(np.array(self.splits) == split)

    def counts(self, split: str | None = None) -> npt.NDArray[np.int64]:
        """Return the number of images by label, of one split or of all."""
        targets = self.targets if split is None else self.targets[self.rows(split)]
        return np.bincount(targets, minlength=len(self.labels))

    @property
    def bottleneck_size(self) -> int:
        """D, the number of values in a vector."""
        return int(self.vectors.shape[1])


def find_images(options: Options) -> tuple[Dataset, Imported, tuple[Skipped, ...]]:
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
        texts = import_folder(options.import_bottlenecks)
        skipped += [Skipped(str(path), reason) for path, reason in texts.skipped]
        imported = {
            (sort_key(text.folder), sort_key(text.image_name)): text.vector
            for text in texts.bottlenecks
        }
    dataset = None
    if options.image_dir is not None and not (imported and _is_empty_folder(options)):
        dataset = scan_folder(
            options.image_dir, options.keep_label_names, minimum_labels=0 if imported else 2
        )
        if dataset.ignored:
            logger.warning(
                "%d images directly in %s are ignored; put each into the folder of its label",
                len(dataset.ignored),
                options.image_dir,
            )
    if imported:
        dataset = with_imported(dataset, list(imported), options.keep_label_names)
    assert dataset is not None
    return dataset, imported, tuple(skipped)


def _is_empty_folder(options: Options) -> bool:
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


def needs_backbone(options: Options, dataset: Dataset, imported: Imported) -> bool:
    """Return whether anything must be computed by, or exported with, a backbone."""
    if not options.final_layer_only or options.distorts:
        return True
    return any(imported_vector(image, imported) is None for image in dataset.images)


def find_backbone(options: Options) -> Backbone:
    """Find the backbone that the options name.

    Raises:
        BackboneError: it cannot be found.
    """
    from tlcli.backbones import resolve

    return resolve(
        options.module or DEFAULT_MODULE,
        model_dir=options.model_dir,
        module_input=options.module_input,
        module_output=options.module_output,
        input_height=options.input_height,
        input_width=options.input_width,
        input_mean=options.input_mean,
        input_std=options.input_std,
        trust=options.trust,
    )


def gather(
    options: Options,
    dataset: Dataset,
    imported: Imported,
    backbone: Backbone | None,
    progress: Progress | None = None,
) -> Inputs:
    """Bring every image's vector together, computing only what no cache holds.

    Raises:
        DataError: an image is unreadable under ``strict``, or too few images are left.
        UsageError: imported vectors do not fit the backbone.
        CacheError: the cache cannot be used.
    """
    if backbone is None:
        return _from_imports_alone(options, dataset, imported)
    # Imported vectors alone need neither the cache nor what decodes images.
    from tlcli.core.store import BottleneckStore

    with BottleneckStore(options.bottleneck_dir) as store:
        return _with_store(options, dataset, imported, backbone, store, progress)


def _from_imports_alone(options: Options, dataset: Dataset, imported: Imported) -> Inputs:
    vectors = [imported_vector(image, imported) for image in dataset.images]
    matrix = _stack([vector for vector in vectors if vector is not None], None)
    return _assemble(
        options, dataset, dataset.images, [None] * len(matrix), matrix, {"imported": len(matrix)}
    )


def _with_store(
    options: Options,
    dataset: Dataset,
    imported: Imported,
    backbone: Backbone,
    store: BottleneckStore,
    progress: Progress | None,
) -> Inputs:
    from tlcli.core.bottlenecks import Request, compute

    contents, unreadable = _contents(dataset, store, imported, progress)
    requests = [
        Request(image.path, content)
        for image, content in zip(dataset.images, contents, strict=True)
        if content is not None
        and image.path is not None
        and imported_vector(image, imported) is None
    ]
    plain = compute(backbone, requests, store, progress=progress)
    unreadable.update({str(path): reason for path, reason in plain.failures.items()})

    images, kept, vectors = [], [], []
    from_text = 0
    for image, content in zip(dataset.images, contents, strict=True):
        vector = imported_vector(image, imported)
        from_text += vector is not None
        if vector is None and content is not None:
            vector = plain.vectors.get((content, None))
        if vector is not None:
            images.append(image)
            kept.append(content)
            vectors.append(vector)
    skipped = tuple(Skipped(path, reason) for path, reason in sorted(unreadable.items()))
    _report_skipped(options, skipped)
    inputs = _assemble(
        options,
        dataset,
        tuple(images),
        kept,
        _stack(vectors, backbone),
        {"hits": plain.hits, "computed": plain.computed, "imported": from_text},
        skipped,
    )
    if options.distorts:
        inputs = _with_views(options, inputs, backbone, store, progress)
    return inputs


def _contents(
    dataset: Dataset,
    store: BottleneckStore,
    imported: Imported,
    progress: Progress | None,
) -> tuple[list[str | None], dict[str, str]]:
    paths = [image.path for image in dataset.images if image.path is not None]
    found = dict(zip(paths, store.contents(paths, progress), strict=True))
    contents: list[str | None] = []
    unreadable: dict[str, str] = {}
    for image in dataset.images:
        content = found[image.path] if image.path is not None else None
        has_vector = imported_vector(image, imported) is not None
        if isinstance(content, ImageError):
            if not has_vector:
                unreadable[str(image.path)] = str(content)
            content = None
        if has_vector and image.path is not None and _is_empty(image):
            # Empty stand-ins all have the same content and are not copies of each other.
            content = None
        contents.append(content)
    return contents, unreadable


def _is_empty(image: ImageFile) -> bool:
    try:
        return image.path is not None and image.path.stat().st_size == 0
    except OSError:
        return True


def _report_skipped(options: Options, skipped: Sequence[Skipped]) -> None:
    if skipped and options.strict:
        first = skipped[0]
        raise DataError(
            f"{first.path} cannot be used: {first.reason}"
            + (f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else "")
            + "; repair or remove it, or leave --strict out to skip such files"
        )
    for bad in skipped:
        logger.warning("%s is skipped: %s", bad.path, bad.reason)


def _stack(vectors: Sequence[Vectors], backbone: Backbone | None) -> Vectors:
    sizes = sorted({len(vector) for vector in vectors})
    expected = backbone.bottleneck_size if backbone is not None else None
    if len(sizes) > 1 or (sizes and expected is not None and sizes != [expected]):
        assert backbone is not None
        wrong = next(size for size in sizes if size != expected)
        raise UsageError(
            f"the imported bottlenecks have {wrong} values, those of {backbone.name} have "
            f"{expected or sizes[0]}; name the backbone that made them with --module, or give "
            "--final_layer_only and no other images"
        )
    if not vectors:
        return np.zeros((0, expected or 0), np.float32)
    return np.stack(vectors).astype(np.float32, copy=False)


def _assemble(
    options: Options,
    dataset: Dataset,
    images: Sequence[ImageFile],
    contents: Sequence[str | None],
    vectors: Vectors,
    cache: dict[str, int],
    skipped: Sequence[Skipped] = (),
) -> Inputs:
    _check_labels(options, dataset, images, skipped)
    names = [image.name for image in images]
    splits = assign_splits(
        names,
        [image.label for image in images],
        contents,
        options.testing_percentage,
        options.validation_percentage,
    )
    duplicates = cross_label_duplicates(names, [image.label for image in images], contents)
    for group in duplicates:
        logger.warning("the same image lies under different labels: %s", ", ".join(group))
    index = {label: position for position, label in enumerate(dataset.labels)}
    return Inputs(
        labels=dataset.labels,
        images=tuple(images),
        contents=tuple(contents),
        targets=np.array([index[image.label] for image in images], np.int64),
        splits=tuple(splits),
        vectors=vectors,
        views=np.zeros((0, vectors.shape[1]), np.float32),
        view_rows=np.zeros(0, np.int64),
        skipped=tuple(skipped),
        duplicates=tuple(tuple(group) for group in duplicates),
        cache={"hits": 0, "computed": 0, "imported": 0, **cache},
    )


def _check_labels(
    options: Options,
    dataset: Dataset,
    images: Sequence[ImageFile],
    skipped: Sequence[Skipped],
) -> None:
    present = {image.label for image in images}
    for label in dataset.labels:
        if label not in present:
            reason = f" (the first: {skipped[0].path}, {skipped[0].reason})" if skipped else ""
            raise DataError(
                f"no image of the label {label!r} in {options.image_dir} can be read{reason}; "
                "add images to its folder or remove the folder"
            )


def _with_views(
    options: Options,
    inputs: Inputs,
    backbone: Backbone,
    store: BottleneckStore,
    progress: Progress | None,
) -> Inputs:
    """Add the distorted views of the training images."""
    from tlcli.core.bottlenecks import Request, compute
    from tlcli.core.distortions import Distortions

    distortions = Distortions(
        flip_left_right=options.flip_left_right,
        random_crop=options.random_crop,
        random_scale=options.random_scale,
        random_brightness=options.random_brightness,
        seed=options.seed,
    )
    keys = []
    requests = []
    for row in inputs.rows("training"):
        path, content = inputs.images[row].path, inputs.contents[row]
        if path is None or content is None:
            raise UsageError(
                f"{inputs.images[row].name} has an imported bottleneck and no image, so it cannot "
                "be distorted; leave --flip_left_right and --random_... out"
            )
        for view in range(options.distortion_views):
            keys.append((int(row), content, view))
            requests.append(Request(path, content, view))
    found = compute(backbone, requests, store, distortions=distortions, progress=progress)
    if found.failures:
        path, reason = next(iter(found.failures.items()))
        raise DataError(f"{path} changed while it was read ({reason}); run the command again")
    cache = dict(inputs.cache)
    cache["hits"] += found.hits
    cache["computed"] += found.computed
    return Inputs(
        **{
            **vars(inputs),
            "views": np.stack([found.vectors[content, view] for _, content, view in keys]),
            "view_rows": np.array([row for row, _, _ in keys], np.int64),
            "cache": cache,
        }
    )
