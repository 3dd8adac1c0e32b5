"""Fine-tune a backbone from its fitted final layer, and keep what the validation images allow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tlcli.arrays import Array, Floats, Indices
from tlcli.backbone import Backbone
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.fine_tuning.averaging import FEWEST_IMAGES, SHARES, Tempered, tempered
from tlcli.core.fine_tuning.checkpoint import FineTuningCheckpoint, training_digest
from tlcli.core.fine_tuning.pictures import Photo, Pictures
from tlcli.core.fine_tuning.trainable_network import (
    TrainableNetwork,
    Values,
    averaged,
    final_layer,
    fingerprint,
    tensorflow_version,
)
from tlcli.core.fine_tuning.trained_part import trained_part
from tlcli.core.fine_tuning.training import (
    Batches,
    CachedViews,
    Lesson,
    Schedule,
    Watched,
    features_of,
    train,
    views_in_memory,
)
from tlcli.errors import BackboneError
from tlcli.system.closing import Closing
from tlcli.system.cpus import available_cpus

_log = logging.getLogger("tlcli")


@dataclass(frozen=True)
class FineTuneSettings:
    """What is fine-tuned, and how.

    Attributes:
        part: one of `choices.FINE_TUNES`, not "none"; "auto" is "all", kept only where the
            validation cross entropy falls.
        schedule: epochs, batches, rates, and the seed of the order, the flips and the crops.
        refit: fits a final layer on new vectors of all photos, [N, D]; it replaces the trained one
            where the validation images prefer it.
        checkpoints: whether the state is kept in the cache folder.
    """

    part: str
    schedule: Schedule = field(default_factory=Schedule)
    refit: Callable[[Floats], FinalLayer] | None = None
    checkpoints: bool = True


@dataclass(frozen=True)
class FineTuneData:
    """Photos with their labels, splits and vectors; rows of all fields belong together.

    Attributes:
        photos: N of them.
        labels: index of each one's label, [N].
        training: rows that are trained on, rising.
        validation: rows that choose, rising; may be empty.
        vectors: of the frozen backbone, float32 [N, D].
    """

    photos: Sequence[Photo]
    labels: Indices
    training: Indices
    validation: Indices
    vectors: Floats


@dataclass(frozen=True)
class FineTuned:
    """What came out of a fine-tuning.

    Attributes:
        kept: whether the fine-tuned network is used.
        before: validation cross entropy of the frozen network, at its best temperature; None
            without validation images.
        after: that of the fine-tuned one.
        part: "all" or "head_blocks".
        share: of the end of the training in the average with its start.
        refitted: whether the final layer was fitted again on the new vectors.
        seconds_per_epoch: of the training; None where it was finished by an earlier run.
        backbone: to use from now on.
        layer: the final layer for it.
        vectors: of all photos, float32 [N, D].
    """

    kept: bool
    before: float | None
    after: float | None
    part: str
    share: float
    refitted: bool
    seconds_per_epoch: float | None
    backbone: Backbone
    layer: FinalLayer
    vectors: Floats

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        names = ("kept", "before", "after", "part", "share", "refitted", "seconds_per_epoch")
        return {name: getattr(self, name) for name in names}

    def sentence(self) -> str:
        """Return what was found and done, in one sentence."""
        part = {"all": "all weights from the first third of the network on"}
        what = part.get(self.part, "the last third of the network")
        if self.before is None or self.after is None:
            return f"Fine-tuned {what}; without validation images, nothing shows what it gained"
        figures = f"validation cross entropy {self.before:.3f} before, {self.after:.3f} after"
        if self.kept:
            return f"Fine-tuned {what}: {figures}"
        return f"Fine-tuning of {what} is not kept: {figures}"


def check_trainable(backbone: Backbone | None) -> Backbone:
    """Return the backbone if its weights can be trained.

    Raises:
        BackboneError: they cannot.
    """
    if backbone is None:
        raise BackboneError(
            "imported bottlenecks cannot be fine-tuned, as there is no network to train; leave "
            "--fine_tune out or retrain on the photos"
        )
    for part in backbone.parts or (backbone,):
        if not part.trainable:
            raise BackboneError(
                f"{part.name} cannot be fine-tuned: frozen graphs, SavedModels and Hub modules "
                "contain no weights to train; leave --fine_tune out, or choose an "
                "EfficientNet-Lite, a Keras Application or a Keras file with --module"
            )
    return backbone


def fine_tune(
    backbone: Backbone,
    layer: FinalLayer,
    data: FineTuneData,
    settings: FineTuneSettings,
    watched: Watched,
) -> FineTuned:
    """Train the last layers of a network together with its fitted final layer.

    Args:
        backbone: see `check_trainable`.
        layer: fitted on the vectors of the training rows.
        data: photos and vectors.
        settings: what is trained and how.
        watched: notified of the progress.

    Raises:
        BackboneError: the network cannot be trained.
        DataError: a photo changed meanwhile.
        TlcliError: the training diverged.
    """
    with _Job(backbone, layer, data, settings, watched) as job:
        end, seconds = job.train()
        return job.choose(end, seconds)


class _Job(Closing):
    """One fine-tuning: the network in TensorFlow, the photos, and what they are used for."""

    def __init__(
        self,
        backbone: Backbone,
        layer: FinalLayer,
        data: FineTuneData,
        settings: FineTuneSettings,
        watched: Watched,
    ) -> None:
        self._backbone, self._layer, self._data = backbone, layer, data
        self._settings, self._watched = settings, watched
        self._part = "all" if settings.part == "auto" else settings.part
        self._graph = backbone.load_graph()
        size = backbone.height, backbone.width
        part = trained_part(self._graph, *size, self._part)
        self._network = TrainableNetwork(self._graph, part, layer)
        self._pictures = Pictures(data.photos, size, settings.schedule.seed)

    def close(self) -> None:
        self._pictures.close()
        self._network.close()

    def train(self) -> tuple[Values, float | None]:
        """Return the values at the end, and the seconds of an epoch where any was trained."""
        network, rows = self._network, self._data.training
        views = 0
        if self._part == "head_blocks":
            views = views_in_memory(network, len(rows))
        checkpoint = None
        if self._settings.checkpoints:
            checkpoint = FineTuningCheckpoint(self._digest(views))
        batches: Batches = self._pictures.view
        done = 0 if checkpoint is None else checkpoint.steps_done
        if views and done < self._steps:
            progress = self._watched.progress
            batches = CachedViews(network, self._pictures, rows, views, progress).batch
        schedule, begun = self._settings.schedule, time.monotonic()
        lesson = Lesson(batches, self._data.labels, rows, schedule)
        values = train(network, lesson, self._watched, checkpoint)
        epochs = (self._steps - done) / schedule.steps_per_epoch(len(rows))
        return values, (time.monotonic() - begun) / epochs if epochs >= 1 else None

    @property
    def _steps(self) -> int:
        return self._settings.schedule.steps(len(self._data.training))

    def _digest(self, views: int) -> str:
        """Return a SHA-256 over all that decides the values at the end."""
        data, rows = self._data, self._data.training
        contents = [data.photos[row].content for row in rows.tolist()]
        facts: list[Any] = [
            self._backbone.fingerprint, self._network.part, self._settings.schedule, views,
            contents, tensorflow_version(), available_cpus(),
        ]  # fmt: skip
        arrays: list[Array] = [data.labels[rows], rows, self._layer.weights, self._layer.biases]
        return training_digest(facts, list(arrays))

    def choose(self, end: Values, seconds: float | None) -> FineTuned:
        """Return the better network: an average of start and end, or the start."""
        network, data = self._network, self._data
        few = len(data.validation) < FEWEST_IMAGES
        share = SHARES[0] if few else self._best_share(end)
        values = averaged(network.start, end, share)
        network.restore(values)
        everything = np.arange(len(data.photos))
        vectors = features_of(network, self._pictures, everything)
        layer, refitted = final_layer(values), False
        before: float | None = None
        after: float | None = None
        if len(data.validation):
            before = self._measured(self._layer, data.vectors).cross_entropy
            found = self._measured(layer, vectors)
            if self._settings.refit is not None and not few:
                again = self._settings.refit(vectors)
                other = self._measured(again, vectors)
                if other.cross_entropy < found.cross_entropy:
                    layer, found, refitted = again, other, True
            if not few:
                layer = found.cooled(layer)
            after = found.cross_entropy
        kept = self._settings.part != "auto" or (
            before is not None and after is not None and after < before
        )
        backbone = self._backbone
        if kept:
            backbone = self._trained(values)
        else:
            layer, vectors = self._layer, data.vectors
        return FineTuned(
            kept, before, after, self._part, share, refitted, seconds, backbone, layer, vectors
        )

    def _best_share(self, end: Values) -> float:
        """Return the share of the end with the lowest validation cross entropy."""
        network, rows = self._network, self._data.validation
        entropies: dict[float, float] = {}
        for share in SHARES:
            values = averaged(network.start, end, share)
            network.restore(values)
            vectors = features_of(network, self._pictures, rows)
            found = tempered(final_layer(values), vectors, self._data.labels[rows])
            entropies[share] = found.cross_entropy
            _log.debug("share %.2f: validation cross entropy %.4f", share, found.cross_entropy)
        return min(SHARES, key=lambda share: entropies[share])

    def _measured(self, layer: FinalLayer, vectors: Floats) -> Tempered:
        rows = self._data.validation
        return tempered(layer, vectors[rows], self._data.labels[rows])

    def _trained(self, values: Values) -> Backbone:
        graph = self._network.written_back(self._graph, values)
        source = f"{self._backbone.source}, fine-tuned"
        return replace(
            self._backbone,
            source=source,
            fingerprint=fingerprint(self._backbone.fingerprint, values),
            load_graph=lambda: graph,
            bfloat16=None,
            parts=(),
        )
