"""The part file of one shard: computed by whoever gets the shard, the same wherever that is."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Array
from tlcli.backbone import Backbone
from tlcli.core.bottlenecks.cache import reader
from tlcli.core.bottlenecks.extraction import Request, compute
from tlcli.core.data.content_hashes import FileState, hash_files, object_state
from tlcli.core.data.image_list import ImageFile
from tlcli.core.data.splits import hash_percentage, split_of
from tlcli.core.images.augmentation import Augmentation
from tlcli.core.parts.part_cache import Parts, open_parts, part_path
from tlcli.core.parts.part_file import PartFacts, PartRows, Unreadable, write_part
from tlcli.errors import ImageError
from tlcli.shards.planning import Shard
from tlcli.storage.locations import Location, below, is_url, shown


@dataclass(frozen=True)
class Views:
    """Which distorted views are computed beside the undistorted images.

    A view of an image that turns out to be in another split is computed later, where it is needed.

    Attributes:
        distortions: of the views.
        count: of each training image.
        testing_percentage: by which images without a given split are divided.
        validation_percentage: the same.
        of_all: of all images, not only of those for training.
    """

    distortions: Augmentation
    count: int
    testing_percentage: float
    validation_percentage: float
    of_all: bool = False

    def wanted(self, image: ImageFile) -> bool:
        """Return whether views of an image are computed."""
        split = image.split or split_of(
            hash_percentage(image.name), self.testing_percentage, self.validation_percentage
        )
        return self.of_all or split == "training"


def options_text(views: Views | None) -> str:
    """Return what decides the content of a part beside images and backbone, for `plan`."""
    return json.dumps({"views": None if views is None else asdict(views)}, sort_keys=True)


@dataclass(frozen=True)
class Work:
    """A shard to compute.

    Attributes:
        shard: of a plan.
        earlier: other parts that have images of it, whose vectors are taken over.
    """

    shard: Shard
    earlier: tuple[Location, ...] = ()


@dataclass(frozen=True)
class Done:
    """A shard that has its part.

    Attributes:
        key: of the shard.
        images: of the shard.
        computed: vectors that were computed now.
        was_there: whether the part was there, for the files as they are.
        unreadable: path and reason of each image that has no vector.
        seconds: of the work.
    """

    key: str
    images: int
    computed: int
    was_there: bool
    unreadable: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0


class ShardComputer:
    """Computes parts into the folder of a cache; the backbone's graph is loaded once.

    Args:
        backbone: a single one; its ``load_graph`` should remember its result.
        folder: of the cache, on a drive or in a bucket.
        views: to compute too.
    """

    def __init__(self, backbone: Backbone, folder: Path, views: Views | None = None) -> None:
        self._backbone, self._folder, self._views = backbone, folder, views

    def __call__(self, work: Work) -> Done:
        """Make sure that the part of a shard is there and belongs to the files as they are.

        Raises:
            BackboneError: the backbone cannot be loaded or run.
            OutputError: the part cannot be written.
            StorageError: a bucket cannot be read at this time.
            CacheError: pyarrow is missing.
        """
        begun, shard = time.monotonic(), work.shard
        path = part_path(self._folder, self._backbone.fingerprint, shard.key)
        kept = _as_it_is(path, shard)
        if kept is not None:
            return kept
        # Of objects in buckets, each with its facts.
        files = [image.file or "" for image in shard.images]
        hashed: dict[str, tuple[FileState, str]] = {}
        contents = hash_files(files, {}, [shown(file) for file in files], hashed)
        images, requests = self._requests(shard.images, files, contents)
        views = self._views
        store = ShardStore(Parts([each for each in (path, *work.earlier) if _may_be(each)]))
        found = compute(
            self._backbone, requests, store, None if views is None else views.distortions
        )
        unreadable = _unreadable(shard, contents, found.failures)
        rows = np.flatnonzero(found.found)
        view_of: dict[int | None, str] = {None: ""}
        if views is not None:
            view_of |= {view: views.distortions.view_key(view) for view in range(views.count)}
        write_part(
            path,
            PartRows(
                names=[images[row].name for row in rows],
                marks=[_mark(hashed, shown(requests[row].path)) for row in rows],
                contents=[requests[row].content for row in rows],
                labels=[images[row].label for row in rows],
                splits=[images[row].split or "" for row in rows],
                views=[view_of[requests[row].view] for row in rows],
                vectors=found.vectors[rows],
            ),
            PartFacts(
                key=shard.key,
                fingerprint=self._backbone.fingerprint,
                backbone=self._backbone.name,
                options=options_text(views),
                root=shard.root,
                first=shard.first,
                last=shard.last,
                rows=len(rows),
                bottleneck_size=max(1, found.vectors.shape[1]),
                reader=reader(),
                unreadable=tuple(unreadable),
            ),
        )
        return Done(
            shard.key,
            len(shard.images),
            found.computed,
            False,
            _paths(shard.root, unreadable),
            time.monotonic() - begun,
        )

    def _requests(
        self,
        images: Sequence[ImageFile],
        files: Sequence[str],
        contents: Sequence[str | ImageError],
    ) -> tuple[list[ImageFile], list[Request]]:
        """Return what is to be computed, and the image of each request."""
        owners: list[ImageFile] = []
        requests: list[Request] = []
        for image, file, content in zip(images, files, contents, strict=True):
            if isinstance(content, ImageError):
                continue
            numbers: list[int | None] = [None]
            if self._views is not None and self._views.wanted(image):
                numbers += range(self._views.count)
            for number in numbers:
                owners.append(image)
                requests.append(Request(file, content, number))
        return owners, requests


@dataclass
class ShardStore:
    """The vectors of one shard in memory, and those of earlier parts.

    Attributes:
        parts: with vectors of the same backbone.
        vectors: by view and content.
    """

    parts: Parts
    vectors: dict[tuple[str, str], Array] = field(default_factory=dict)

    def mark_used(self, fingerprint: str, name: str) -> None:
        """Do nothing: parts are not listed by their last use."""

    def bottleneck_size(self, fingerprint: str) -> int | None:
        """Return D of the earlier parts, or None."""
        return self.parts.bottleneck_size()

    def fill(
        self,
        fingerprint: str,
        view: str | None,
        contents: Sequence[str],
        matrix: Array,
        rows: Sequence[int] | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Write the vectors of the earlier parts, see `BottleneckStore.fill`."""
        return self.parts.fill(view or "", contents, matrix, rows)

    def put(self, fingerprint: str, view: str | None, vectors: Mapping[str, Array]) -> None:
        """Do nothing: the part is written when the shard is done."""

    def failures(self, contents: Iterable[str]) -> dict[str, str]:
        """Return nothing: an image that failed is tried again."""
        return {}

    def record_failure(self, content: str, reason: str) -> None:
        """Do nothing: the part lists what failed."""


def _mark(hashed: Mapping[str, tuple[FileState, str]], file: str) -> str:
    return hashed[file][0].mark if file in hashed else ""


def _unreadable(
    shard: Shard, contents: Sequence[str | ImageError], failures: Mapping[str, str]
) -> list[Unreadable]:
    """Return the images without a vector."""
    found: list[Unreadable] = []
    for image, content in zip(shard.images, contents, strict=True):
        file, name = image.file or "", str(image.name)
        if isinstance(content, ImageError):
            found.append(Unreadable(name, "", str(content), _state(file)))
        elif shown(file) in failures:
            found.append(Unreadable(name, content, failures[shown(file)], _state(file)))
    return found


def _paths(root: str, unreadable: Iterable[Unreadable]) -> tuple[tuple[str, str], ...]:
    return tuple((shown(below(root, each.name)), each.reason) for each in unreadable)


def _as_it_is(path: Path, shard: Shard) -> Done | None:
    """Return the result of a part that is there and whose files are unchanged, else None."""
    for part in open_parts([path] if _may_be(path) else ()):
        facts = part.facts
        if facts.key != shard.key or facts.reader != reader():
            return None
        marks = dict(zip(part.texts("name"), part.texts("mark"), strict=True))
        # A file that could not even be looked at has no mark, and is tried again.
        marks |= {each.name: each.mark for each in facts.unreadable}
        for image in shard.images:
            mark = marks.get(image.name)
            if not mark or mark != _state(image.file or ""):
                return None
        return Done(shard.key, len(shard.images), 0, True, _paths(shard.root, facts.unreadable))
    return None


def _may_be(path: Location) -> bool:
    # Whether an object is there is known once it is read.
    return is_url(path) or Path(path).is_file()


def _state(file: str) -> str:
    if is_url(file):
        state = object_state(file)
        return "" if state is None else state.mark
    try:
        return FileState.of(os.stat(file)).mark  # noqa: PTH116 - no Path is made
    except OSError:
        return ""
