"""The training of a network's last layers: epochs, learning rates, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Floats, Indices
from tlcli.core.final_layer.sampling import philox
from tlcli.core.fine_tuning.checkpoint import FineTuningCheckpoint, State
from tlcli.core.fine_tuning.trainable_network import TrainableNetwork, Values
from tlcli.errors import TlcliError

STAGE = "fine-tuning"
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


Batches = Callable[[Indices, int], list[Floats]]
"""Returns what the trained part reads: of rows, in an epoch."""


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
    # One that was found done is not written again.
    if checkpoint is not None and (found is None or found.steps_done < steps):
        checkpoint.save(State(done, values, []))
    return values
