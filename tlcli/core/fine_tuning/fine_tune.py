"""Fine-tune a backbone from its fitted final layer, and keep what the validation images allow."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tlcli.arrays import Array, Floats, Indices
from tlcli.backbone import Backbone
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.fine_tuning.averaging import (
    FEWEST_IMAGES,
    SHARES,
    Tempered,
    gains,
    side_by_side,
    softened,
    tempered,
)
from tlcli.core.fine_tuning.checkpoint import FineTuningCheckpoint, training_digest
from tlcli.core.fine_tuning.fine_tuned import PARTS, FineTuned
from tlcli.core.fine_tuning.pictures import Photo, Pictures
from tlcli.core.fine_tuning.trainable_network import (
    StepSettings,
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
    Lesson,
    Schedule,
    Watched,
    train,
)
from tlcli.core.fine_tuning.untrained_part import BATCH_SIZE, PLAIN, VIEWS, Maps, UntrainedPart
from tlcli.errors import BackboneError
from tlcli.system.closing import Closing
from tlcli.system.cpus import available_cpus

_log = logging.getLogger("tlcli")

NOTHING_TO_GAIN = 0.01
"""Validation cross entropy below which "auto" trains nothing: the network is right and sure."""
# Training images that an average is tried on, and the accuracy it needs, as a share of the end's.
_LOOKED_AT = 200
_AS_GOOD = 0.98
# What "auto" tries, the cheap one first.
_TRIED = ("head_blocks", "all")


@dataclass(frozen=True)
class FineTuneSettings:
    """What is fine-tuned, and how.

    Attributes:
        part: one of `choices.FINE_TUNES`, not "none". "auto" trains the last blocks, and if the
            validation cross entropy falls, all but the first; the better result is kept.
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
class Partner:
    """A frozen classifier of the same photos, whose logits are averaged with the trained ones.

    Attributes:
        layer: its final layer.
        vectors: of all photos, float32 [N, P].
    """

    layer: FinalLayer
    vectors: Floats


@dataclass(frozen=True)
class FineTuneData:
    """Photos with their labels, splits and vectors; rows of all fields belong together.

    Attributes:
        photos: N of them.
        labels: index of each one's label, [N].
        training: rows that are trained on, rising.
        validation: rows that choose, rising; may be empty.
        vectors: of the frozen backbone, float32 [N, D].
        partner: what the result is averaged and compared with; None: the frozen backbone.
    """

    photos: Sequence[Photo]
    labels: Indices
    training: Indices
    validation: Indices
    vectors: Floats
    partner: Partner | None = None

    def measured(self, layer: FinalLayer, vectors: Floats) -> Tempered:
        """Return the cross entropy of a layer on the validation images, of all photos' vectors."""
        rows = self.validation
        return tempered(layer, vectors[rows], self.labels[rows])

    def measured_before(self, layer: FinalLayer) -> Tempered:
        """Return that of what is used without a training; ``layer`` is the backbone's."""
        if self.partner is None:
            return self.measured(layer, self.vectors)
        return self.measured(self.partner.layer, self.partner.vectors)


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
    part = tuned_part(backbone)
    if not part.trainable:
        raise BackboneError(
            f"{part.name} cannot be fine-tuned: frozen graphs, SavedModels and Hub modules "
            "contain no weights to train; leave --fine_tune out, or choose an "
            "EfficientNet-Lite, a Keras Application or a Keras file with --module"
        )
    return backbone


def tuned_part(backbone: Backbone) -> Backbone:
    """Return what of a backbone is fine-tuned: of joined ones the first, the others stay frozen."""
    return (*backbone.parts, backbone)[0]


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
    if settings.part != "auto":
        return _tuned(backbone, layer, data, settings, watched)
    before = data.measured_before(layer)
    enough = len(data.validation) >= FEWEST_IMAGES
    if enough and before.cross_entropy < NOTHING_TO_GAIN:
        entropy = before.cross_entropy
        return FineTuned(
            False, entropy, None, "none", 0.0, False, None, backbone, layer, data.vectors
        )
    best: FineTuned | None = None
    tried: dict[str, float] = {}
    for part in _TRIED:
        found = _tuned(backbone, layer, data, replace(settings, part=part), watched)
        assert found.after is not None
        tried[part] = found.after
        if best is None or (found.gains and found.after < (best.after or 0)):
            best = found
        if not found.gains:
            break
    assert best is not None
    if best.gains:
        return replace(best, tried=tried)
    unchanged = replace(best, kept=False, backbone=backbone, layer=layer, vectors=data.vectors)
    return replace(unchanged, tried=tried)


def _tuned(
    backbone: Backbone,
    layer: FinalLayer,
    data: FineTuneData,
    settings: FineTuneSettings,
    watched: Watched,
) -> FineTuned:
    """Train one part, and return the result, kept or not."""
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
        self._backbone, self._frozen, self._data = backbone, layer, data
        self._settings, self._watched = settings, watched
        self._part = settings.part
        self._graph = backbone.load_graph()
        size = backbone.height, backbone.width
        part = trained_part(self._graph, *size, self._part)
        few = len(data.validation) < FEWEST_IMAGES
        rows, steps = data.training if few else data.validation, StepSettings()
        self._layer = softened(layer, data.vectors[rows], data.labels[rows], steps.label_smoothing)
        self._pictures = Pictures(data.photos, size, settings.schedule.seed)
        # Before TensorFlow is imported, LiteRT needs no comparison with it.
        count = VIEWS * len(data.photos)
        self._untrained = UntrainedPart(self._graph, part, size, count)
        self._maps = Maps(self._untrained, self._pictures)
        self._network = TrainableNetwork(self._graph, part, self._layer, steps)

    def close(self) -> None:
        self._pictures.close()
        self._untrained.close()
        self._network.close()

    def train(self) -> tuple[Values, float | None]:
        """Return the values at the end, and the seconds of an epoch where any was trained."""
        network, rows = self._network, self._data.training
        views = self._maps.views_that_fit if self._part == "head_blocks" else 0
        checkpoint = None
        if self._settings.checkpoints:
            checkpoint = FineTuningCheckpoint(self._digest(views), self._backbone.fingerprint)
        done = 0 if checkpoint is None else checkpoint.steps_done
        _log.info("Fine-tuning %s: step %d of %d", PARTS[self._part], done, self._steps)
        schedule, begun = self._settings.schedule, time.monotonic()
        lesson = Lesson(self._batches(views), self._data.labels, rows, schedule)
        values = train(network, lesson, self._watched, checkpoint)
        epochs = (self._steps - done) / schedule.steps_per_epoch(len(rows))
        return values, (time.monotonic() - begun) / epochs if epochs >= 1 else None

    def _batches(self, views: int) -> Batches:
        """Return what gives a step its photos: in so many views, or with 0 in new ones each time.

        The photos of one step are in different views.
        """

        def batch(rows: Indices, epoch: int) -> list[Floats]:
            if not views:
                return self._maps.of(rows, [PLAIN + 1 + epoch] * len(rows), keep=False)
            return self._maps.of(rows, ((rows + epoch) % views).tolist())

        return batch

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
        share = self._joined_share(end) if few else self._best_share(end)
        values = averaged(network.start, end, share)
        network.restore(values)
        everything = np.arange(len(data.photos))
        vectors = self._features(everything)
        layer, refitted = final_layer(values), False
        before: Tempered | None = None
        after: Tempered | None = None
        if not few and self._settings.refit is not None:
            layers = [layer, self._settings.refit(vectors)]
            entropies = [data.measured(each, vectors).cross_entropy for each in layers]
            refitted = entropies[1] < entropies[0]
            layer = layers[refitted]
        if data.partner is not None:
            frozen = data.partner.layer
            if not few:
                layer = data.measured(layer, vectors).cooled(layer)
                frozen = data.measured_before(frozen).cooled(frozen)
            layer = side_by_side(layer, frozen)
            vectors = np.concatenate([vectors, data.partner.vectors], axis=1)
        if len(data.validation):
            before, after = data.measured_before(self._frozen), data.measured(layer, vectors)
            layer = layer if few else after.cooled(layer)
        return FineTuned(
            kept=True,
            before=None if before is None else before.cross_entropy,
            after=None if after is None else after.cross_entropy,
            part=self._part,
            share=share,
            refitted=refitted,
            seconds_per_epoch=seconds,
            backbone=self._trained(values),
            layer=layer,
            vectors=vectors,
            gains=before is not None and after is not None and gains(before, after),
        )

    def _joined_share(self, end: Values) -> float:
        """Return the smallest share, from one half on, that is as good as the end in training.

        Two states with bad ones between them are no start and end of one basin (Frankle et al.,
        2020, "Linear mode connectivity and the lottery ticket hypothesis").
        """
        rows = self._data.training[:: math.ceil(len(self._data.training) / _LOOKED_AT)]
        right: dict[float, float] = {}
        for share in (SHARES[-1], *sorted(each for each in SHARES if each >= SHARES[0])):
            layer, vectors = self._at(end, share, rows)
            right[share] = (layer.logits(vectors).argmax(axis=1) == self._data.labels[rows]).mean()
            if len(right) > 1 and right[share] >= _AS_GOOD * right[SHARES[-1]]:
                return share
        return SHARES[-1]

    def _at(self, end: Values, share: float, rows: Indices) -> tuple[FinalLayer, Floats]:
        """Return the final layer of an average, and its vectors of some photos."""
        values = averaged(self._network.start, end, share)
        self._network.restore(values)
        return final_layer(values), self._features(rows)

    def _features(self, rows: Indices) -> Floats:
        """Return the vectors of plain photos, [n, D], with the present values."""
        batches = [rows[at : at + BATCH_SIZE] for at in range(0, len(rows), BATCH_SIZE)]
        return np.concatenate([self._network.features(self._maps.plain(each)) for each in batches])

    def _best_share(self, end: Values) -> float:
        """Return the share of the end with the lowest validation cross entropy."""
        rows = self._data.validation
        entropies: dict[float, float] = {}
        for share in SHARES:
            found = tempered(*self._at(end, share, rows), self._data.labels[rows])
            entropies[share] = found.cross_entropy
            _log.debug("share %.2f: validation cross entropy %.4f", share, found.cross_entropy)
        return min(SHARES, key=lambda share: entropies[share])

    def _trained(self, values: Values) -> Backbone:
        graph = self._network.written_back(self._graph, values)
        source = f"{self._backbone.source}, fine-tuned"
        return replace(
            self._backbone,
            source=source,
            fingerprint=fingerprint(self._backbone.fingerprint, values),
            load_graph=lambda: graph,
            bfloat16=None,
            int8=False,
            parts=(),
        )
