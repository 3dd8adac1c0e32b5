"""The training of a network's last layers: epochs, learning rates, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Array, Floats, Indices
from tlcli.core.final_layer.sampling import philox
from tlcli.core.fine_tuning.checkpoint import FineTuningCheckpoint, State
from tlcli.core.fine_tuning.pictures import Pictures
from tlcli.core.fine_tuning.trainable_network import TrainableNetwork, Values
from tlcli.errors import TlcliError

STAGE = "fine-tuning"
BATCH_SIZE = 32
"""Images at once where nothing is trained."""
VIEWS = 6
"""Views of each photo that are cached where the trained part is small."""
CACHED_BYTES = 1 << 30
"""Bytes that these views may take; with more photos there are fewer views of each, or none."""

_ORDER = 102


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a network is trained.

    Attributes:
        epochs: how often each photo is seen.
        batch_size: photos in a step.
        learning_rate: the highest; it falls to 0 along a cosine.
        warm_up: share of the steps over which the rate rises to that. The final layer knows no
            flips and crops, and Adam's first steps are as long as any: at the full rate they lead
            to where no average with the start works (Goyal et al., 2017, "Accurate, large
            minibatch SGD").
        seed: of the order of the photos.
    """

    epochs: int = 8
    batch_size: int = 16
    learning_rate: float = 3e-4
    warm_up: float = 1 / 8
    seed: int = 0

    def steps(self, count: int) -> int:
        """Return the number of steps for so many photos."""
        return self.epochs * self.steps_per_epoch(count)

    def steps_per_epoch(self, count: int) -> int:
        """Return the number of steps in which each photo is seen once."""
        return math.ceil(count / self.batch_size)

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        risen = min(1.0, (step + 1) / (self.warm_up * steps)) if self.warm_up else 1.0
        return self.learning_rate * risen * 0.5 * (1 + math.cos(math.pi * step / steps))


Batches = Callable[[Indices, int], "Array | list[Floats]"]
"""Returns what a step reads: of rows, in an epoch."""


@dataclass(frozen=True)
class Watched:
    """What a training reports to.

    Attributes:
        progress: called with (stage, steps done, steps).
        note: called with a line about what was reached.
    """

    progress: Callable[[str, int, int], None] = lambda stage, done, total: None
    note: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Lesson:
    """What is learned, in which order.

    Attributes:
        batches: what a step reads.
        labels: index of the label by row.
        rows: the training rows.
        schedule: steps and rates.
    """

    batches: Batches
    labels: Indices
    rows: Indices
    schedule: Schedule


def train(
    network: TrainableNetwork,
    lesson: Lesson,
    watched: Watched,
    checkpoint: FineTuningCheckpoint | None = None,
) -> Values:
    """Train the network and return the values of its variables.

    An interrupt leaves the checkpoint, from which the next call goes on to the same values.

    Args:
        network: in its first state.
        lesson: photos, labels and schedule.
        watched: notified after each step.
        checkpoint: where the state is kept.

    Raises:
        TlcliError: the training diverged.
    """
    rows, schedule = lesson.rows, lesson.schedule
    per_epoch, steps = schedule.steps_per_epoch(len(rows)), schedule.steps(len(rows))
    done = 0
    found = None if checkpoint is None else checkpoint.load(network.start)
    if found is not None:
        network.restore(found.values, found.moments)
        done = found.steps_done
    watched.progress(STAGE, done, steps)
    epoch, order = -1, rows
    while done < steps:
        if done // per_epoch != epoch:
            epoch = done // per_epoch
            words = philox(schedule.seed, _ORDER, epoch).random_raw(len(rows))
            order = rows[np.argsort(words, kind="stable")]
        start = done % per_epoch * schedule.batch_size
        batch = order[start : start + schedule.batch_size]
        rate = schedule.rate(done, steps)
        loss = network.train(lesson.batches(batch, epoch), lesson.labels[batch], rate, done + 1)
        if not math.isfinite(loss):
            raise TlcliError(
                "the fine-tuning diverged: the loss is no longer a number; leave --fine_tune out "
                "for this backbone"
            )
        done += 1
        watched.note(f"epoch {epoch + 1} of {schedule.epochs}, loss {loss:.2f}")
        watched.progress(STAGE, done, steps)
        if checkpoint is not None and checkpoint.is_due():
            checkpoint.save(State(done, network.values(), network.moments()))
    values = network.values()
    if checkpoint is not None:
        checkpoint.save(State(done, values, network.moments()))
    return values


class CachedViews:
    """What the trained part reads for a few views of each photo, computed once.

    The first view of a photo is the plain one.

    Args:
        network: whose untrained part is run.
        pictures: the photos.
        rows: those that are trained on.
        views: how many of each.
        progress: called with (stage, done, total), in views.
    """

    def __init__(
        self,
        network: TrainableNetwork,
        pictures: Pictures,
        rows: Indices,
        views: int,
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._place = {row: place for place, row in enumerate(rows.tolist())}
        self._views: list[list[Floats]] = []
        total = views * len(rows)
        for view in range(views):
            parts: list[list[Floats]] = []
            for start in range(0, len(rows), BATCH_SIZE):
                batch = rows[start : start + BATCH_SIZE]
                pixels = pictures.plain(batch) if view == 0 else pictures.view(batch, view)
                parts.append(network.boundary(pixels))
                progress("views", view * len(rows) + start + len(batch), total)
            self._views.append([np.concatenate(each) for each in zip(*parts, strict=True)])

    def batch(self, rows: Indices, epoch: int) -> list[Floats]:
        """Return the arrays of a step; the photos of one step are in different views."""
        places = [self._place[row] for row in rows.tolist()]
        chosen = [(place + epoch) % len(self._views) for place in places]
        count = len(self._views[0])
        return [
            np.stack([self._views[view][each][p] for p, view in zip(places, chosen, strict=True)])
            for each in range(count)
        ]


def views_in_memory(network: TrainableNetwork, count: int, largest: int = CACHED_BYTES) -> int:
    """Return how many views of so many photos fit, up to `VIEWS`; 0: not even one of each."""
    sizes = network.part.sizes
    if any(size is None for size in sizes):
        return 0
    return min(VIEWS, largest // max(1, 4 * count * sum(size or 0 for size in sizes)))


def features_of(network: TrainableNetwork, pictures: Pictures, rows: Indices) -> Floats:
    """Return the vectors of plain photos, [n, D]."""
    found = [
        network.features(pictures.plain(rows[start : start + BATCH_SIZE]))
        for start in range(0, len(rows), BATCH_SIZE)
    ]
    return np.concatenate(found)
