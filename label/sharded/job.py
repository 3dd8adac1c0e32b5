"""Images labelled into part files: planned, done by a runner, and what became of them."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from label.formats import LABELS_SHOWN, OutputStyle
from label.sharded.labelling import ShardLabeller, Target, make_labeller
from label.sharded.part_files import check_format
from label.sharded.planning import LabelShard, PartName, plan
from tlcli.commands.machines.model import Model
from tlcli.core.classifier.loading import load
from tlcli.core.data.image_files import NoImage
from tlcli.errors import OutputError, StorageError
from tlcli.progress import Progress
from tlcli.runners.local import Finished
from tlcli.runners.machines import Machines
from tlcli.shards.set_aside import SetAside, listed
from tlcli.storage.locations import below, is_url, shown
from tlcli.storage.objects import check_writable, entries, remove
from tlcli.system.atomic_files import output_error
from tlcli.text import counted


@dataclass(frozen=True)
class Call:
    """What is asked for.

    Attributes:
        graph: a path or a URL.
        options: of `load`.
        target: of the parts.
        machines: who labels.
    """

    graph: Path
    options: dict[str, Any]
    target: Target
    machines: Machines


@dataclass
class LabelledShards:
    """What became of the shards of a call.

    Attributes:
        folder: of the parts.
        planned: shards of all images.
        shards: of this job.
        kept: those whose part was there.
        images: of the shards of this job.
        errors: images with an error in their row.
        set_aside: shards without a part.
        removed: parts that were removed, as their images changed since.
        seconds: of the work.
    """

    folder: str
    planned: int = 0
    shards: int = 0
    kept: int = 0
    images: int = 0
    errors: int = 0
    set_aside: list[SetAside] = field(default_factory=list)
    removed: int = 0
    seconds: float = 0.0

    def to_text(self) -> str:
        """Return a sentence, and a line for each shard that was set aside."""
        parts = [counted(self.images, "image"), f"{self.kept} cached"]
        if self.errors:
            parts.append(f"{self.errors} with an error")
        if self.removed:
            parts.append(f"{self.removed} obsolete removed")
        done = self.shards - len(self.set_aside)
        line = f"Parts in {shown(self.folder)}: {done} of {self.shards} ({', '.join(parts)})."
        return "\n".join([line, *listed(self.set_aside)])


def label_shards(
    call: Call, arguments: list[str], progress: Progress | None = None
) -> LabelledShards:
    """Label the images that arguments stand for, and write a part for each shard.

    A shard whose part is there is not labelled again. Parts of the same series whose images are
    others now are removed once all shards are done.

    Args:
        call: what is asked for.
        arguments: as for `Images`.
        progress: called with ("labelling", images done, 0).

    Raises:
        TlcliError: the graph cannot be loaded, the folder cannot be written, or the cluster
            cannot be used. What goes wrong in one shard sets it aside.
    """
    begun = time.monotonic()
    check_format(call.target.style.format)
    there = _parts(call.target.folder)
    model = Model.of(call.graph, call.options)
    result = LabelledShards(call.target.folder)
    planned = _Planned(result, call.machines, {part.key: part for part in there.values()})
    shards = planned.missing(plan(arguments, _settings(model, call.target.style)))
    with ExitStack() as stack:
        make: Callable[[], ShardLabeller]
        if call.machines.runner == "ray":
            make = functools.partial(make_labeller, model, call.target)
        else:
            make = functools.partial(_make_here, call, stack)
        for finished in call.machines.run(make, shards):
            _add(result, finished)
            if progress is not None:
                progress("labelling", result.images, 0)
    if not result.set_aside and call.machines.shard_index is None:
        for name, part in there.items():
            if planned.is_obsolete(part):
                remove(below(call.target.folder, name))
                result.removed += 1
    result.set_aside.sort(key=lambda each: each.shard)
    result.seconds = time.monotonic() - begun
    return result


def _make_here(call: Call, stack: ExitStack) -> ShardLabeller:
    """Load the graph in this process, until ``stack`` closes it."""
    return ShardLabeller(stack.enter_context(load(call.graph, **call.options)), call.target)


def _settings(model: Model, style: OutputStyle) -> str:
    # What is not asked for is the default of every version.
    return json.dumps([model.digest, {**asdict(style), "top_k": style.top_k or LABELS_SHOWN}])


def _parts(folder: str) -> dict[str, PartName]:
    """Return what the names of the parts in a folder say; make the folder where it is absent.

    Raises:
        OutputError: nothing can be written there.
    """
    if is_url(folder):
        check_writable(folder)
        try:
            names = [each[len(folder.rstrip("/")) + 1 :] for each in entries(folder)]
        except StorageError as error:
            raise OutputError(f"cannot write {error}") from error
    else:
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            names = [each.name for each in Path(folder).iterdir()]
        except OSError as error:
            raise output_error(Path(folder), error) from error
    found = {name: PartName.of(name) for name in names}
    return {name: part for name, part in found.items() if part is not None}


class _Planned:
    """Counts the shards of a plan, and leaves out those that need no work."""

    def __init__(
        self, result: LabelledShards, machines: Machines, there: dict[str, PartName]
    ) -> None:
        self._result, self._machines, self._there = result, machines, there
        self._keys: set[str] = set()
        # Whether all images of a series were found.
        self._whole: dict[str, bool] = {}

    def is_obsolete(self, part: PartName) -> bool:
        """Return whether the images of a part are in others now, once all shards were seen."""
        return self._whole.get(part.series, False) and part.key not in self._keys

    def missing(self, shards: Iterable[LabelShard]) -> Iterator[LabelShard]:
        for shard in shards:
            self._keys.add(shard.key)
            # A listing that breaks ends in a `NoImage`.
            found = not any(isinstance(image, NoImage) for image in shard.images)
            self._whole[shard.series] = self._whole.get(shard.series, True) and found
            self._result.planned += 1
            if not self._machines.has(shard.number):
                continue
            part = self._there.get(shard.key)
            if part is None:
                yield shard
                continue
            self._result.shards += 1
            self._result.kept += 1
            self._result.images += len(shard.images)
            self._result.errors += part.errors


def _add(result: LabelledShards, finished: Finished[LabelShard, int]) -> None:
    images = finished.item.images
    result.shards += 1
    result.images += len(images)
    if finished.value is None:
        ends = shown(images[0]), shown(images[-1])
        result.set_aside.append(SetAside(finished.item.number, *ends, len(images), finished.reason))
    else:
        result.errors += finished.value
