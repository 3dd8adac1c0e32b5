"""Backbones on the same few images: a cross-validated classifier on the vectors of each."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.arrays import Doubles
from tlcli.backbone import INPUT, Backbone, BackboneGraph, FeatureBlock
from tlcli.backbones import catalogue
from tlcli.backbones.model_options import ModelOptions
from tlcli.backbones.probe.operation_count import multiplications
from tlcli.backbones.probe.sample import MOST_IMAGES, draw
from tlcli.backbones.resolve import resolve
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.engine_choice import backbone_engine
from tlcli.core.bottlenecks.extraction import Request, compute
from tlcli.core.data.image_folder import ImageFile
from tlcli.core.evaluation.metrics import Proportion, predicted_labels, wilson_interval
from tlcli.core.final_layer.samples import INNER_FOLDS, Samples, inner_folds
from tlcli.core.final_layer.sampling import philox
from tlcli.core.fitting.fit_layer import FitSettings, fit_layer
from tlcli.errors import DataError, ImageError, TlcliError
from tlcli.progress import Progress
from tlcli.runtime.blas_threads import one_blas_thread
from tlcli.text import counted

logger = logging.getLogger("tlcli")

MOST_LOST = 0.01
"""How much accuracy, of the images that are compared, is given up for a faster backbone."""
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
        measures_speed: run each network for its images per second.
    """

    modules: tuple[str, ...] = ()
    model_dir: Path | None = None
    bottleneck_dir: Path | None = None
    trust: bool = False
    seed: int = 0
    images: int = MOST_IMAGES
    measures_speed: bool = True


@dataclass(frozen=True)
class Candidate:
    """One backbone and how it did.

    Attributes:
        module: as for ``--module``.
        accuracy: proportion of right labels over the folds, with its interval; None where it
            could not be measured.
        images_per_second: of the network alone on this machine; None where not measured.
        graph_bytes: size of its frozen graph, and about that of an exported graph.
        multiplications: for one image.
        reason: why it could not be measured, or "".
        right: how often each tested image got its label, 0 to 1, [N].
    """

    module: str
    accuracy: Proportion | None = None
    images_per_second: float | None = None
    graph_bytes: int = 0
    multiplications: int = 0
    reason: str = ""
    right: Doubles | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON has them."""
        found = self.accuracy
        return {
            "module": self.module,
            "accuracy": None if found is None else found.value,
            "interval": None if found is None else [found.low, found.high],
            "images_per_second": self.images_per_second,
            "graph_bytes": self.graph_bytes or None,
            "multiplications": self.multiplications or None,
            "reason": self.reason or None,
        }


@dataclass(frozen=True)
class ModuleComparison:
    """Backbones on the same images.

    Attributes:
        candidates: the most accurate first, then those that could not be measured.
        best: the module to use: the most accurate, or one that does with fewer multiplications
            and is no worse by more than chance.
        images: how many images were tested.
        labels: how many labels they have.
        skipped: (path, reason) of images that could not be read.
    """

    candidates: tuple[Candidate, ...]
    best: str
    images: int
    labels: int
    skipped: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON has it."""
        return {
            "best": self.best,
            "images": self.images,
            "labels": self.labels,
            "candidates": [each.to_dict() for each in self.candidates],
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
        }

    def sentence(self) -> str:
        """Return which backbone to use and what was compared, in a sentence."""
        shown = [
            f"{each.module} {each.accuracy.value:.1%}"
            for each in self.candidates
            if each.accuracy is not None
        ]
        tested = f"on {counted(self.images, 'image')} of {counted(self.labels, 'label')}"
        return f"{self.best} is the choice: {', '.join(shown)} {tested}"


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
    with BottleneckStore(settings.bottleneck_dir) as store:
        files = [image.file for image in chosen if image.file is not None]
        contents = store.contents(files, None)
        requests, targets, names, skipped = [], [], [], []
        for image, file, content in zip(chosen, files, contents, strict=True):
            if isinstance(content, ImageError):
                skipped.append((str(file), str(content)))
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
    measured.sort(key=lambda each: -_right(each))
    failed = [each for each in candidates if each.accuracy is None]
    skipped += [(str(path), reason) for path, reason in probe.failures.items()]
    best = choose(measured)
    tested = 0 if best.right is None else len(best.right)
    return ModuleComparison(
        (*measured, *failed), best.module, tested, len(labels), tuple(sorted(skipped))
    )


def choose(measured: Sequence[Candidate]) -> Candidate:
    """Return the candidate to use: the least work among those as good as the most accurate.

    As good is one whose difference to it, on the same images, is at most one standard error (the
    rule of one standard error, L. Breiman and others, Classification and Regression Trees, 1984)
    and at most one point.
    Work is counted in multiplications, not in seconds, so that every run makes the same choice.

    Args:
        measured: with an accuracy each, on the same images.
    """
    top = max(measured, key=lambda each: (_right(each), -each.multiplications, each.module))
    as_good = []
    for each in measured:
        assert each.right is not None
        assert top.right is not None
        difference = top.right - each.right
        error = difference.std() / np.sqrt(len(difference))
        if difference.mean() <= min(error, MOST_LOST):
            as_good.append(each)
    return min(as_good, key=lambda each: (each.multiplications, -_right(each), each.module))


def _right(candidate: Candidate) -> float:
    return 0.0 if candidate.right is None else float(candidate.right.sum())


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
        self.failures: dict[Path, str] = {}

    def measure(self, module: str, progress: Progress | None) -> Candidate:
        """Return how a backbone did.

        Raises:
            TlcliError: it cannot be found or run.
            DataError: too few images can be read.
        """
        settings = self._settings
        options = ModelOptions(trust=settings.trust)
        backbone = resolve(module, options, model_dir=settings.model_dir)

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
        right = _cross_validated(usable, _blocks(backbone, graph))
        low, high = wilson_interval(float(right.sum()), len(right))
        candidate = Candidate(
            module,
            Proportion(float(right.mean()), low, high),
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


def _blocks(backbone: Backbone, graph: BackboneGraph) -> tuple[FeatureBlock, ...]:
    if backbone.parts:
        return tuple(block for part in backbone.parts for block in _blocks(part, part.load_graph()))
    return graph.blocks or (FeatureBlock(backbone.name, graph.bottleneck_size),)


@one_blas_thread()
def _cross_validated(samples: Samples, blocks: Sequence[FeatureBlock]) -> Doubles:
    """Return how often each image got its label from fits without its fold, 0 to 1, [N].

    Images whose label has no others are trained on and not tested.
    """
    labels, targets = np.unique(samples.labels, return_inverse=True)
    settings = FitSettings(len(labels), "lda")
    everything = Samples(samples.vectors, targets, groups=samples.groups)
    groups = np.arange(len(samples)) if samples.groups is None else samples.groups
    _, group_of = np.unique(groups, return_inverse=True)
    right, tested = np.zeros((2, len(samples)))
    for repeat in range(_REPEATS):
        # Folds are dealt in the order of the groups' numbers.
        words = philox(0, _FOLDS_STREAM, repeat).random_raw(int(group_of.max()) + 1)
        folds = inner_folds(targets, words.argsort()[group_of])
        for fold in range(INNER_FOLDS):
            held_out = folds == fold
            if held_out.any():
                layer = fit_layer(everything.subset(~held_out), None, blocks, settings).layer
                guesses = predicted_labels(layer, everything.subset(held_out))
                right[held_out] += guesses == targets[held_out]
                tested[held_out] += 1
    if not tested.any():
        raise DataError("a comparison needs labels with two images or more; add images")
    shares: Doubles = right[tested > 0] / tested[tested > 0]
    return shares


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
