"""Backbones on the same few images: a cross-validated classifier on the vectors of each."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tlcli.arrays import Doubles
from tlcli.backbone import INPUT, Backbone, BackboneGraph, FeatureBlock
from tlcli.backbones import catalogue
from tlcli.backbones.layers.pooled_maps import NoStageMapsError, with_pooled_maps
from tlcli.backbones.model_options import ModelOptions
from tlcli.backbones.probe.operation_count import multiplications
from tlcli.backbones.probe.ranking import Candidate, ModuleComparison, faster, order
from tlcli.backbones.probe.sample import MOST_IMAGES, draw
from tlcli.backbones.resolve import resolve
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.engine_choice import backbone_engine
from tlcli.core.bottlenecks.extraction import Request, compute
from tlcli.core.data.image_list import ImageFile
from tlcli.core.evaluation.metrics import Proportion, wilson_interval
from tlcli.core.final_layer.samples import INNER_FOLDS, Samples, inner_folds
from tlcli.core.final_layer.sampling import philox
from tlcli.core.fitting.fit_layer import FitSettings, fit_layer
from tlcli.errors import DataError, ImageError, TlcliError
from tlcli.progress import Progress
from tlcli.runtime.blas_threads import one_blas_thread
from tlcli.text import counted

logger = logging.getLogger("tlcli")

_FEWEST_IMAGES = 20
# Each time with other folds.
_REPEATS = 3
_FOLDS_STREAM = 9
# How long the network is run for its speed, and on how many images at once.
_SPEED_SECONDS, _SPEED_IMAGES = 0.5, 8


@dataclass(frozen=True)
class ProbeSettings:
    """What is compared, and how.

    Attributes:
        modules: names or paths of backbones; empty: those of the catalogue on this machine.
        model_dir: folder of downloaded or hand-placed backbones.
        bottleneck_dir: folder of the cache.
        trust: allow backbones with operations that inference does not need.
        seed: of the images that are drawn.
        images: at most so many are drawn.
        layers: "head" or "ms", as the classifier will have them; a backbone whose graph shows no
            maps beside its bottleneck gives the bottleneck alone.
        measures_speed: run each network for its images per second.
    """

    modules: tuple[str, ...] = ()
    model_dir: Path | None = None
    bottleneck_dir: Path | None = None
    trust: bool = False
    seed: int = 0
    images: int = MOST_IMAGES
    layers: str = "head"
    measures_speed: bool = True


def modules_here(model_dir: Path | None = None) -> tuple[str, ...]:
    """Return the names of the catalogue whose backbones are on this machine."""
    return tuple(
        entry.name
        for entry in catalogue.entries().values()
        if catalogue.on_this_machine(entry, model_dir)
    )


def compare_modules(
    images: Sequence[ImageFile],
    settings: ProbeSettings = ProbeSettings(),
    progress: Progress | None = None,
) -> ModuleComparison:
    """Compare backbones by a classifier on the vectors of some images.

    The classifier is a discriminant analysis, tested over five folds of the same images.

    Args:
        images: all that may be used; see `draw` for those that are.
        settings: what to compare.
        progress: called with (name of the backbone, done, total).

    Raises:
        DataError: too few images can be read.
        TlcliError: no backbone could be measured; the error is that of the first.
    """
    modules = settings.modules or modules_here(settings.model_dir)
    chosen = [
        image for image in draw(images, settings.seed, settings.images) if image.file is not None
    ]
    with BottleneckStore(settings.bottleneck_dir, ()) as store:
        files = [image.file for image in chosen if image.file is not None]
        contents = store.contents(files, None)
        requests, targets, names, skipped = [], [], [], []
        for image, file, content in zip(chosen, files, contents, strict=True):
            if isinstance(content, ImageError):
                skipped.append((image.shown, str(content)))
                continue
            requests.append(Request(file, content))
            targets.append(image.label)
            names.append(content)
        labels, rows = np.unique(targets, return_inverse=True)
        _, groups = np.unique(names, return_inverse=True)
        probe = _Probe(
            settings,
            store,
            requests,
            Samples(np.zeros((len(rows), 0), np.float32), rows, None, groups),
        )
        candidates, first_error = [], None
        for module in dict.fromkeys(modules):
            try:
                candidates.append(probe.measure(module, progress))
            except DataError:
                raise
            except TlcliError as error:
                logger.warning("%s is left out: %s", module, error)
                first_error = first_error or error
                candidates.append(Candidate(module, reason=str(error)))
    measured = [each for each in candidates if each.accuracy is not None]
    if not measured:
        raise first_error or DataError(
            "no backbone is on this machine; `tlcli modules fetch NAME` downloads one"
        )
    measured.sort(key=order)
    failed = [each for each in candidates if each.accuracy is None]
    skipped += list(probe.failures.items())
    best, quick = measured[0], faster(measured)
    tested = 0 if best.right is None else len(best.right)
    return ModuleComparison(
        (*measured, *failed),
        best.module,
        None if quick is None else quick.module,
        tested,
        len(labels),
        tuple(sorted(skipped)),
    )


class _Probe:
    """Measures one backbone after the other on the same images.

    Attributes:
        failures: the reason, by path of each image that could not be decoded.
    """

    def __init__(
        self,
        settings: ProbeSettings,
        store: BottleneckStore,
        requests: Sequence[Request],
        images: Samples,
    ) -> None:
        self._settings, self._store = settings, store
        self._requests, self._images = requests, images
        self.failures: dict[str, str] = {}

    def measure(self, module: str, progress: Progress | None) -> Candidate:
        """Return how a backbone did.

        Raises:
            TlcliError: it cannot be found or run.
            DataError: too few images can be read.
        """
        settings = self._settings
        options = ModelOptions(trust=settings.trust)
        backbone = resolve(module, options, model_dir=settings.model_dir)
        if settings.layers == "ms":
            with contextlib.suppress(NoStageMapsError):
                backbone = with_pooled_maps(backbone)

        def report(_: str, done: int, total: int) -> None:
            if progress is not None:
                progress(module, done, total)

        found = compute(backbone, self._requests, self._store, progress=report)
        self.failures.update(found.failures)
        images = self._images
        groups = images.groups
        assert groups is not None
        usable = Samples(
            found.vectors[found.found],
            images.labels[found.found],
            groups=groups[found.found],
        )
        if len(usable) < _FEWEST_IMAGES:
            raise DataError(
                f"only {counted(len(usable), 'image')} can be read, and a comparison needs "
                f"{_FEWEST_IMAGES}; add images"
            )
        graph = backbone.load_graph()
        blocks = graph.blocks or (FeatureBlock(backbone.name, graph.bottleneck_size),)
        right, losses = _cross_validated(usable, blocks)
        low, high = wilson_interval(float(right.sum()), len(right))
        candidate = Candidate(
            module,
            Proportion(float(right.mean()), low, high),
            float(losses.mean()),
            graph_bytes=graph.graph.ByteSize(),
            multiplications=multiplications(
                graph.graph, INPUT, (1, backbone.height, backbone.width, 3)
            ),
            right=right,
        )
        if settings.measures_speed:
            speed = _images_per_second(backbone, graph)
            candidate = replace(candidate, images_per_second=speed)
        return candidate


@one_blas_thread()
def _cross_validated(samples: Samples, blocks: Sequence[FeatureBlock]) -> tuple[Doubles, Doubles]:
    """Return how each image fares in fits without its fold, on average, [N] each.

    Images whose label has no others are trained on and not tested.

    Returns:
        How often it got its label, 0 to 1, and its cross entropy in nats.
    """
    labels, targets = np.unique(samples.labels, return_inverse=True)
    settings = FitSettings(len(labels), "lda")
    everything = Samples(samples.vectors, targets, groups=samples.groups)
    groups = np.arange(len(samples)) if samples.groups is None else samples.groups
    _, group_of = np.unique(groups, return_inverse=True)
    right, losses, tested = np.zeros((3, len(samples)))
    for repeat in range(_REPEATS):
        # Folds are dealt in the order of the groups' numbers.
        words = philox(0, _FOLDS_STREAM, repeat).random_raw(int(group_of.max()) + 1)
        folds = inner_folds(targets, words.argsort()[group_of])
        for fold in range(INNER_FOLDS):
            held_out = folds == fold
            if held_out.any():
                layer = fit_layer(everything.subset(~held_out), None, blocks, settings).layer
                logits = layer.logits(samples.vectors[held_out]).astype(np.float64)
                own = np.take_along_axis(logits, targets[held_out, None], axis=1)[:, 0]
                right[held_out] += logits.argmax(axis=1) == targets[held_out]
                losses[held_out] += np.logaddexp.reduce(logits, axis=1) - own
                tested[held_out] += 1
    shown = tested > 0
    if not shown.any():
        raise DataError("a comparison needs labels with two images or more; add images")
    return right[shown] / tested[shown], losses[shown] / tested[shown]


def _images_per_second(backbone: Backbone, graph: BackboneGraph) -> float:
    """Return how many images the network takes in a second here, decoding not included."""
    count = _SPEED_IMAGES if graph.any_batch else 1
    engine = backbone_engine(graph, backbone.height, backbone.width, count)
    pixels = np.random.default_rng(0).random(
        (count, backbone.height, backbone.width, 3), dtype=np.float32
    )
    try:
        engine.run(pixels)
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < _SPEED_SECONDS:
            engine.run(pixels)
            done += count
        return done / (time.perf_counter() - start)
    finally:
        engine.close()
