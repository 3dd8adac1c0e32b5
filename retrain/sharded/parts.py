"""The shards of a run: planned, computed by a runner, and what became of them."""

from __future__ import annotations

import functools
import json
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from retrain.arguments.options import RetrainOptions
from retrain.sources import Sources, find_backbone, find_images
from tlcli.core.data.image_list import ImageFile
from tlcli.core.parts.part_cache import PartIndex, key_of, part_files
from tlcli.core.parts.part_file import import_pyarrow
from tlcli.errors import BackboneError, DataError
from tlcli.progress import Watcher
from tlcli.report.data import SkippedFile
from tlcli.shards.planning import Shard, plan
from tlcli.shards.set_aside import SetAside, listed
from tlcli.storage.locations import Location, is_url, shown
from tlcli.storage.objects import check_writable
from tlcli.system.cache_folders import bottleneck_folder
from tlcli.text import counted

if TYPE_CHECKING:
    from tlcli.backbone import Backbone
    from tlcli.runners.local import Finished
    from tlcli.shards.computing import Done, ShardComputer, Views, Work

logger = logging.getLogger("tlcli")

STAGE = "shards"


@dataclass(frozen=True)
class PartsResult:
    """What became of the shards of a job.

    Attributes:
        folder: of the cache that holds the parts.
        planned: shards of the whole list of images.
        shards: of this job.
        kept: those whose part was there.
        images: of the shards of this job.
        computed: vectors that were computed now.
        skipped: images that have no vector.
        set_aside: shards without a part.
        seconds: of the work.
    """

    folder: str
    planned: int
    shards: int
    kept: int
    images: int
    computed: int
    skipped: tuple[SkippedFile, ...]
    set_aside: tuple[SetAside, ...]
    seconds: float

    def to_json(self) -> str:
        """Return all values as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)

    def to_text(self) -> str:
        """Return a sentence, and a line for each shard that was set aside."""
        done = self.shards - len(self.set_aside)
        line = (
            f"Shards with their parts in {self.folder}: {done} of {self.shards} "
            f"({counted(self.images, 'image')}, {counted(self.computed, 'vector')} computed now, "
            f"{counted(len(self.skipped), 'image')} skipped)."
        )
        lines = [line, *(f"Skipped: {each.path}: {each.reason}" for each in self.skipped)]
        return "\n".join([*lines, *listed(self.set_aside)])


def compute_share(
    options: RetrainOptions, watcher: Watcher, decided: Collection[str] = ()
) -> PartsResult:
    """Compute the parts of one of several jobs, which ``shard_index`` names.

    Args:
        options: of the run.
        watcher: told of the images done.
        decided: names of the options that the preset decided.

    Raises:
        TlcliError: no shard of it can be computed, in one sentence.
    """
    sources = find_images(options)
    backbone = find_backbone(options, may_have_no_maps="layers" in decided)
    return compute_parts(options, sources, backbone, watcher)


def compute_parts(
    options: RetrainOptions, sources: Sources, backbone: Backbone, watcher: Watcher
) -> PartsResult:
    """Compute the parts of all shards, or of those of one job, that are not there yet.

    Args:
        options: of the run.
        sources: its images.
        backbone: of the run; of a joined one, each of its parts has part files of its own.
        watcher: told of the images done.

    Raises:
        TlcliError: no shard can be computed. What goes wrong in one shard sets it aside.
    """
    import_pyarrow()
    from tlcli.shards.computing import options_text

    begun = time.monotonic()
    folder = _folder(options)
    views = _views(options)
    jobs = 1 if options.shard_index is None else options.num_shards or 1
    watcher.begin(STAGE, backbone.name)
    singles = backbone.parts or (backbone,)
    totals = _Totals(len(sources.dataset.images) * len(singles) // jobs)
    for number, single in enumerate(singles):
        make = functools.partial(_make, _Recipe(_portable(options), number, folder, views), single)
        shards = functools.partial(_plan, sources, single.fingerprint, options_text(views))
        there = part_files(folder, single.fingerprint).get(single.fingerprint, ())
        works = _works(options, shards, there, totals)
        for finished in _run(options, make, works):
            totals.add(finished)
            watcher(STAGE, min(totals.done, totals.images), totals.images)
    result = totals.result(shown(folder), time.monotonic() - begun)
    watcher.end(
        f"{counted(result.shards, 'shard')}, {result.kept} cached, {result.computed} new vectors"
    )
    for line in listed(result.set_aside):
        logger.error("%s", line)
    return result


def _folder(options: RetrainOptions) -> Path:
    """Return the folder of the parts, the same for all processes of this machine.

    Raises:
        OutputError: it is in a bucket that cannot be written.
    """
    folder = Path(options.bottleneck_dir or bottleneck_folder())
    if not is_url(folder):
        return folder.absolute()
    check_writable(folder)
    return folder


def check_complete(result: PartsResult) -> None:
    """Refuse to go on where shards were set aside.

    Raises:
        DataError: there are some.
    """
    if result.set_aside:
        raise DataError(
            f"{len(result.set_aside)} of {counted(result.shards, 'shard')} could not be computed, "
            f"the first: {result.set_aside[0].sentence()}; the other parts are kept in "
            f"{result.folder}, so run the command again once the cause is removed"
        )


@dataclass(frozen=True)
class _Recipe:
    """What a process needs to compute shards; small and picklable."""

    options: RetrainOptions
    number: int  # of the single backbone
    folder: Path
    views: Views | None
    working_folder: str = ""


def _portable(options: RetrainOptions) -> RetrainOptions:
    # All else is checked already, and files such as label weights may be missing elsewhere.
    return RetrainOptions(
        image_dir=Path("/"),
        **{
            name: getattr(options, name)
            for name in (
                *("module", "module_input", "module_output", "input_height", "input_width"),
                *("input_mean", "input_std", "model_dir", "trust", "layers"),
            )
        },
    )


def _make(recipe: _Recipe, backbone: Backbone) -> ShardComputer:
    from tlcli.shards.computing import ShardComputer

    return ShardComputer(
        replace(backbone, load_graph=functools.cache(backbone.load_graph)),
        recipe.folder,
        recipe.views,
    )


def _make_elsewhere(recipe: _Recipe, fingerprint: str) -> ShardComputer:
    """Return what `_make` does, in a process of another machine.

    Raises:
        BackboneError: the backbone is another one there.
    """
    with suppress(OSError):  # so that relative paths of backbones are the same
        os.chdir(recipe.working_folder)
    found = find_backbone(recipe.options, may_have_no_maps=True)
    single = (found.parts or (found,))[recipe.number]
    if single.fingerprint != fingerprint:
        raise BackboneError(
            f"the backbone {single.name} is another one on a machine of the cluster; install the "
            "same versions of tlcli and the same weights on all"
        )
    return _make(recipe, single)


def _run(
    options: RetrainOptions, make: functools.partial[ShardComputer], works: Iterable[Work]
) -> Iterator[Finished[Work, Done]]:
    if options.runner == "ray":
        recipe, backbone = make.args
        elsewhere = replace(recipe, working_folder=str(Path.cwd()))
        make = functools.partial(_make_elsewhere, elsewhere, backbone.fingerprint)
    return options.machines.run(make, works)


def _works(
    options: RetrainOptions,
    shards: Callable[[], Iterable[Shard]],
    parts: Iterable[Location],
    totals: _Totals,
) -> Iterator[Work]:
    """Yield the shards of this job, each with the older ones of ``parts`` that have its images."""
    from tlcli.shards.computing import Work

    there = {key_of(path): path for path in parts}
    older: PartIndex | None = None
    if there:
        # Parts of no planned shard: its images are in others since some were added.
        keys = {shard.key for shard in shards()}
        older = PartIndex(path for key, path in there.items() if key not in keys)
    for shard in totals.counted(shards()):
        if not options.machines.has(shard.number):
            continue
        earlier: Sequence[Location] = ()
        if older is not None and shard.key not in there:
            earlier = older.overlapping(shard.first, shard.last)
        yield Work(shard, tuple(earlier))


def _plan(sources: Sources, fingerprint: str, options: str) -> Iterator[Shard]:
    return plan(map(_absolute, sources.dataset.images), fingerprint, options)


def _absolute(image: ImageFile) -> ImageFile:
    if image.root is None or is_url(image.root) or os.path.isabs(image.root):  # noqa: PTH117
        return image
    return replace(image, root=os.path.abspath(image.root))  # noqa: PTH100 - links stay


def _views(options: RetrainOptions) -> Views | None:
    if not options.distorts:
        return None
    from tlcli.core.images.augmentation import Augmentation
    from tlcli.shards.computing import Views

    return Views(
        Augmentation(
            flip_left_right=options.flip_left_right,
            random_crop=options.random_crop,
            random_scale=options.random_scale,
            random_brightness=options.random_brightness,
            seed=options.seed,
        ),
        options.distortion_views,
        options.testing_percentage,
        options.validation_percentage,
        options.cross_validate is not None,
    )


class _Totals:
    """Counts what became of the shards."""

    def __init__(self, images: int) -> None:
        self.images, self.done = images, 0
        self._planned = self._shards = self._kept = self._computed = 0
        self._skipped: dict[str, str] = {}
        self._set_aside: list[SetAside] = []

    def counted(self, shards: Iterable[Shard]) -> Iterator[Shard]:
        for shard in shards:
            self._planned += 1
            yield shard

    def add(self, finished: Finished[Work, Done]) -> None:
        shard, done = finished.item.shard, finished.value
        self._shards += 1
        self.done += len(shard.images)
        if done is None:
            names = shard.images[0].name, shard.images[-1].name
            self._set_aside.append(
                SetAside(shard.number, *names, len(shard.images), finished.reason)
            )
            return
        self._kept += done.was_there
        self._computed += done.computed
        self._skipped.update(done.unreadable)

    def result(self, folder: str, seconds: float) -> PartsResult:
        # Ray's order is that in which shards end.
        return PartsResult(
            folder,
            self._planned,
            self._shards,
            self._kept,
            self.done,
            self._computed,
            tuple(SkippedFile(*each) for each in sorted(self._skipped.items())),
            tuple(sorted(self._set_aside, key=lambda each: each.shard)),
            round(seconds, 3),
        )
