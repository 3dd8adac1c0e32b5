"""Runs on many workers, simulated event by event with measured costs.

The shards are those of the real planner, and go to workers as Ray gives them: the driver lists,
then plans and submits one shard after another, and whoever is free takes the next. The time of all
workers together is divided by what each was doing, so that the parts add up to the whole.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import cycle

from benchmarks.machines.names import PER_LABEL, images


@dataclass(frozen=True)
class Costs:
    """What each thing takes, in seconds.

    Attributes:
        list_page: of 1000 objects: its request and answer.
        list_entry: of the driver for an object of a listing.
        plan: of the driver for an image.
        submit: of the driver for a shard, its result included.
        start: from a new process of a worker to its first image.
        hash: of a core for an image.
        decode: the same, resizing included.
        engine: the same: the backbone.
        write: the same: its row of the part.
        shard: of a worker for a shard beside its images.
        open: of the driver for a part, after the workers.
        read: the same for a vector: found in its part and read.
        fit: the same for a vector: a fit on sums.
        image_bytes: of an image on average.
        worker_bandwidth: bytes per second that reach one worker.
        store_bandwidth: bytes per second that the store gives to all.
    """

    list_page: float
    list_entry: float
    plan: float
    submit: float
    start: float
    hash: float
    decode: float
    engine: float
    write: float
    shard: float
    open: float
    read: float
    fit: float
    image_bytes: float
    worker_bandwidth: float
    store_bandwidth: float

    @property
    def compute(self) -> float:
        """Seconds of a core for an image."""
        return self.hash + self.decode + self.engine + self.write

    def network(self, workers: int) -> float:
        """Return the seconds in which an image reaches one of so many workers at work."""
        share = min(self.worker_bandwidth, self.store_bandwidth / workers)
        return self.image_bytes / share

    @classmethod
    def from_json(cls, found: dict[str, float]) -> Costs:
        """Return the costs out of what was measured, which may have more values."""
        return cls(**{each.name: float(found[each.name]) for each in fields(cls)})


WAITS = ("listing", "starting workers", "network", "planning", "last shards", "merging and fitting")
"""What a run waits for beside the computing itself."""


@dataclass(frozen=True)
class Run:
    """A simulated run.

    Attributes:
        images: of the run.
        workers: of one core each.
        computing: seconds, those of all workers divided by their number.
        waits: seconds of each of `WAITS`; with ``computing`` they are the time of the run.
    """

    images: int
    workers: int
    computing: float
    waits: dict[str, float]

    @property
    def seconds(self) -> float:
        """From the command to the graph."""
        return self.computing + sum(self.waits.values())

    @property
    def core_hours(self) -> float:
        """Of the workers, from their start to the last part, and of the driver all the time."""
        alone = self.waits["listing"] + self.waits["merging and fitting"]
        return (self.workers * (self.seconds - alone) + self.seconds) / 3600

    @property
    def efficiency(self) -> float:
        """The share of all core hours that is computing."""
        return self.workers * self.computing / 3600 / self.core_hours

    @property
    def bottleneck(self) -> str:
        """What takes most of the time beside the computing; "" while that takes 90%."""
        if self.computing >= 0.9 * self.seconds:
            return ""
        return max(self.waits, key=lambda name: self.waits[name])


def planned_sizes(count: int, labels: int = 20) -> Iterator[int]:
    """Yield the images of the shards of a run, by the real planner.

    It plans the first ``labels`` folders; further ones repeat their shards.
    """
    left = count
    for size in cycle(_sizes(min(count, labels * PER_LABEL))):
        yield min(size, left)
        left -= size
        if left <= 0:
            return


@functools.cache
def _sizes(count: int) -> list[int]:
    from tlcli.shards.planning import plan

    return [len(shard.images) for shard in plan(images(count), "", "{}")]


def simulate(sizes: Iterable[int], workers: int, costs: Costs) -> Run:
    """Return how a run goes.

    Args:
        sizes: images of each shard, in the order of the plan.
        workers: of one core each; they start when the listing is done.
        costs: of everything.
    """
    sizes = list(sizes)
    count = sum(sizes)
    listing = -(-count // 1000) * costs.list_page + count * costs.list_entry
    # Times from here on are after the listing. A worker takes its shard when both are there.
    free = [costs.start] * workers
    heapq.heapify(free)
    network = max(0.0, costs.network(min(workers, len(sizes))) - costs.compute)
    ready = waiting = computing = stalled = 0.0
    for size in sizes:
        ready += size * costs.plan + costs.submit
        at = heapq.heappop(free)
        waiting += max(0.0, ready - at)
        computing += size * costs.compute + costs.shard
        stalled += size * network
        end = max(at, ready) + size * (costs.compute + network) + costs.shard
        heapq.heappush(free, end)
    last = max(free)
    after = len(sizes) * costs.open + count * (costs.read + costs.fit)
    per_worker = dict(
        zip(
            WAITS,
            (
                listing,
                costs.start,
                stalled / workers,
                waiting / workers,
                # What ended before the last worker, those without any shard included.
                sum(last - each for each in free) / workers,
                after,
            ),
            strict=True,
        )
    )
    return Run(count, workers, computing / workers, per_worker)


def curve(counts: Sequence[int], workers: Sequence[int], costs: Costs) -> list[Run]:
    """Return a run for each number of images and of workers."""
    return [
        simulate(sizes, each, costs)
        for sizes in (list(planned_sizes(count)) for count in counts)
        for each in workers
    ]


def table(runs: Sequence[Run]) -> str:
    """Return the runs as a Markdown table."""
    lines = [
        "| images | workers | hours | core hours | efficiency | first bottleneck |",
        "|---:|---:|---:|---:|---:|---|",
    ]
    for run in runs:
        held = run.bottleneck
        share = f"{held} ({run.waits[held] / run.seconds:.0%} of the time)" if held else "computing"
        lines.append(
            f"| {run.images:,} | {run.workers:,} | {run.seconds / 3600:,.2f} "
            f"| {run.core_hours:,.1f} | {run.efficiency:.0%} | {share} |"
        )
    return "\n".join(lines)
