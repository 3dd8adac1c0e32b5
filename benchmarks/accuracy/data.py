"""Labelled vectors: of the photo sets by any backbone, and those that the originals stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.accuracy.recipes import Recipe
from tlcli.backbone import Backbone, FeatureBlock
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.extraction import Request, compute
from tlcli.core.bottlenecks.text_files import import_folder
from tlcli.core.data.image_folder import scan_folder

PHOTOS = {
    "aerial": "sets/aerial",
    "food": "sets/food",
    "textures": "sets/textures",
    "flowers": "flowers/photos",
    "houses": "houses/photos",
    "digits": "",
}
"""Folders of photos by name; digits are drawn here."""
STORED = ("flowers, Inception-v3", "houses, Inception-v3", "plates, MobileNet v1")
"""Vectors that the original tools wrote; "FOLDER, NETWORK"."""
_DIGITS_PER_LABEL = 60
_DIGITS_SIDE = 224


Vectors = tuple[np.ndarray, tuple[FeatureBlock, ...]]


@dataclass
class Collection:
    """Rows with labels.

    Attributes:
        name: for the table.
        labels: index of each row's label, [N].
        groups: content of each row; equal ones are never on both sides of a division.
        stored: the vectors [N, D] where there are no photos.
    """

    name: str
    labels: np.ndarray
    groups: list[str]
    stored: np.ndarray | None = None
    _images: list[Path] = field(default_factory=list)
    _found: dict[str, Vectors] = field(default_factory=dict)

    def vectors(self, recipe: Recipe, store: BottleneckStore) -> Vectors:
        """Return the vectors that a recipe reads, [N, D], and the layers they join."""
        if self.stored is not None:
            return self.stored, ()
        key = f"{recipe.module} {recipe.layers}"
        if key not in self._found:
            self._found[key] = self._compute(recipe.backbone(), store)
        return self._found[key]

    def _compute(self, backbone: Backbone, store: BottleneckStore) -> Vectors:
        rows = zip(self._images, self.groups, strict=True)
        found = compute(backbone, [Request(path, content) for path, content in rows], store)
        if not found.found.all():
            raise SystemExit(f"unreadable: {next(iter(found.failures.items()))}")
        return found.vectors, backbone.blocks


def load(name: str, data: Path, store: BottleneckStore, scratch: Path) -> Collection:
    """Return a collection of `PHOTOS` or `STORED` out of the folder of reference data.

    Digits are drawn into ``scratch``.
    """
    if name in STORED:
        return _stored(name, data / name.split(",")[0])
    folder = data / PHOTOS[name] if PHOTOS[name] else _drawn_digits(scratch / name)
    images = scan_folder(folder).images
    contents = store.contents([image.path for image in images])
    _, labels = np.unique([image.folder for image in images], return_inverse=True)
    paths = [Path(image.path) for image in images]
    return Collection(name, labels, [str(content) for content in contents], None, paths)


def _stored(name: str, folder: Path) -> Collection:
    if (folder / "bottlenecks").is_dir():
        items = import_folder(folder / "bottlenecks").bottlenecks
        vectors, names = np.array([item.vector for item in items]), [item.name for item in items]
    else:
        archive = np.load(folder / "bottlenecks.npz")
        vectors, names = archive["vectors"], [str(image) for image in archive["names"]]
    _, labels = np.unique([image.split("/")[0] for image in names], return_inverse=True)
    return Collection(name, labels, names, vectors.astype(np.float32))


def _drawn_digits(folder: Path) -> Path:
    """Write the first digits of each label that scikit-learn carries, enlarged."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for label in range(10):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        for row in np.flatnonzero(digits.target == label)[:_DIGITS_PER_LABEL]:
            grey = np.clip(digits.images[row] * 255 / 16, 0, 255).astype(np.uint8)
            side = (_DIGITS_SIDE, _DIGITS_SIDE)
            image = Image.fromarray(grey).resize(side, Image.Resampling.BICUBIC)
            image.convert("RGB").save(folder / str(label) / f"{row:04d}.png")
    return folder
