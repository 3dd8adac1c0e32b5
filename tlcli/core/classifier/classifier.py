"""A graph, its labels and its preprocessing in one object, so that they always fit."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from PIL import Image

from tlcli.arrays import Array, Floats
from tlcli.core.classifier.outputs import (
    Prediction,
    Predictions,
    Scores,
    activation_of,
    attempt,
    ranked,
)
from tlcli.core.data.image_files import ImageLike, Named, as_list, fetched, named
from tlcli.core.images.decoding import Source
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.model_spec.input_spec import InputSpec
from tlcli.core.unknown.reading import UnknownReader
from tlcli.errors import GraphError, ImageError, UsageError
from tlcli.litert.pool import LiteRTPool
from tlcli.notebook import block
from tlcli.runtime.prefetch import Prefetcher
from tlcli.system.closing import Closing
from tlcli.system.cpus import available_cpus
from tlcli.text import counted

if TYPE_CHECKING:
    from tlcli.core.classifier.explanations import Explanation
    from tlcli.core.export.model_card import ModelCard

# Decoding is fast compared to the network; more threads would only take its processors.
_DECODERS = 4
# Images that a thread decodes before it runs them. Going back and forth for each costs a
# quarter of the decoder's time.
_GROUP = 16


class Engine(Protocol):
    """What runs a graph: `GraphEngine`, `LiteRTPool` or `SavedModelEngine`."""

    def run(self, batch: Array) -> Array:
        """Return the scores [n, L] for a batch [n, height, width, 3]."""
        ...

    def close(self) -> None:
        """Release the resources of the engine."""
        ...


class Explainer(Protocol):
    """What makes the heat maps of a graph: `explanations.GraphExplainer`."""

    def __call__(self, name: str, source: Source, label: str | None) -> Explanation:
        """Return what ``Classifier.explain`` returns."""
        ...

    def close(self) -> None:
        """Release the resources of the explainer."""
        ...


@dataclass(frozen=True)
class ImageInput:
    """How images become the batches that a graph takes.

    Attributes:
        preprocessing: how an image file becomes pixels, and those the graph's input.
        dtype: of the graph's input: "float32", "uint8" or "int8".
        batch_size: images that run at once.
        reader: returns what ``preprocessing.read`` returns, by another decoder; None: that.
        has_channel_axis: False for a graph that takes grey images [n, height, width].
    """

    preprocessing: Preprocessing
    dtype: str = "float32"
    batch_size: int = 1
    reader: Callable[[Source], Array] | None = None
    has_channel_axis: bool = True


class Classifier(Closing):
    """A loaded graph.

    Attributes:
        graph: its path.
        labels: in output order.
        preprocessing: how an image file becomes its input.
        batch_size: images that run at once.
        spec: its input specification, if it was loaded from a file.
        labels_source: where its labels come from.
        card: its model card, if it was loaded from a file with a valid one.
        explainer: makes heat maps, if it was loaded from a file.
        thresholds: where an image may have several labels: the score from which on it has each,
            by label; else None.
        unknown: reads how unlike the training images an image is, where that was asked for.
    """

    def __init__(
        self,
        graph: Path,
        labels: Sequence[str],
        engine: Engine,
        images: ImageInput,
        activation: str | None = "softmax",
    ) -> None:
        self.graph = graph
        self.labels = tuple(labels)
        self.preprocessing = images.preprocessing
        self.batch_size = images.batch_size
        self.spec: InputSpec | None = None
        self.labels_source = ""
        self.card: ModelCard | None = None
        self.explainer: Explainer | None = None
        self.thresholds: Mapping[str, float] | None = None
        self.unknown: UnknownReader | None = None
        self._engine = engine
        self._dtype = images.dtype
        self._has_channel_axis = images.has_channel_axis
        self._scores = Scores(graph, len(self.labels), activation)
        self._reader = images.reader or images.preprocessing.read
        # New memory for each image would cost a tenth of a small network's time.
        self._buffers = threading.local()

    def use_thresholds(self, thresholds: Sequence[float]) -> None:
        """Let an image have all labels with a score of at least theirs, in output order."""
        self.thresholds = dict(zip(self.labels, thresholds, strict=True))

    def label(
        self,
        images: ImageLike | Iterable[ImageLike],
        top_k: int | None = 5,
        threshold: float | None = None,
    ) -> Predictions:
        """Label images.

        Args:
            images: one image or several: a path, a folder (all images in it and below it, in the
                order of names), the bytes of a file, a Pillow image, or a uint8 array [height,
                width], [height, width, 3] (RGB) or [height, width, 4] (RGBA).
            top_k: how many labels to return per image, best first; None for all.
            threshold: lower scores are left out; None: those below `thresholds`, where there are
                any, else none.

        Returns:
            A list of one prediction per image, in order. One that cannot be read has an ``error``;
            one without a score of at least ``threshold`` has its best score in ``unsure``.

        Raises:
            UsageError: an image of another type, or an array of another type or shape.
            GraphError: the graph cannot be run.
        """
        found = self.stream(as_list(images))
        return Predictions(prediction.top(top_k, threshold) for prediction in found)

    def predict_proba(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        unreadable: Literal["raise", "nan"] = "raise",
    ) -> Floats:
        """Return the scores of images as one array.

        Args:
            images: as for `label`.
            unreadable: what an image without scores gives: "raise" an error, or a row of "nan".

        Returns:
            float32 [N, L], columns in the order of `labels`; [0, L] without images.

        Raises:
            ImageError: an image cannot be read; with its name, unlike elsewhere.
            UsageError: as for `label`.
            GraphError: the graph cannot be run.
        """
        rows = []
        for image, scores, error in self.probabilities(as_list(images)):
            if scores is None and unreadable != "nan":
                raise ImageError(f"{image}: {error}; leave it out, or give unreadable='nan'")
            rows.append(np.full(len(self.labels), np.nan) if scores is None else scores)
        return np.asarray(rows, np.float32).reshape(len(rows), len(self.labels))

    def explain(self, image: ImageLike, label: str | None = None) -> Explanation:
        """Show where in an image the network sees a label.

        Args:
            image: one image, as for `label`.
            label: one of `labels`; None: the best one.

        Raises:
            ImageError: the image cannot be read.
            UsageError: there is no such label, or it is not one image.
            GraphError: the graph has no heat maps (`NoActivationMapError`), or cannot be run.
        """
        if self.explainer is None:
            raise GraphError(f"{self.graph} was not loaded from a file; use tlcli.load")
        if label is not None and label not in self.labels:
            raise UsageError(f"there is no label {label!r}; choose one of {', '.join(self.labels)}")
        found = list(islice(named([image]), 2))
        if len(found) != 1:
            raise UsageError(f"{image!r} is a folder; give one image")
        ((name, source),) = found
        if isinstance(source, ImageError):
            raise ImageError(f"{name}: {source}")
        return self.explainer(name, source, label)

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Prediction]:
        """Yield the prediction of each image with all labels, in order, in bounded memory.

        ``images`` may be endless or slow: an image is labelled as soon as it is there.

        Raises:
            UsageError: as for `label`.
            GraphError: the graph cannot be run.
        """
        for image, row, error in self.rows(images):
            if row is None:
                yield Prediction(image, error=error)
                continue
            unknown = None if self.unknown is None else self.unknown.outcome(row)
            scores = ranked(self.labels, row)
            yield Prediction(image, scores, thresholds=self.thresholds, unknown=unknown)

    def probabilities(
        self, images: Iterable[ImageLike]
    ) -> Iterator[tuple[str, Array | None, str | None]]:
        """Yield ``(image, scores, error)`` for each image, in order.

        ``scores`` is float32 [L] in the order of `labels`; None when there is an ``error``.

        Raises:
            GraphError: the graph cannot be run.
        """
        for image, row, error in self.rows(images):
            yield image, None if row is None else row[: len(self.labels)], error

    def rows(self, images: Iterable[ImageLike]) -> Iterator[tuple[str, Array | None, str | None]]:
        """Yield what `probabilities` does, with what `UnknownReader.joined` adds to the scores."""
        given = fetched(named(images))
        for (name, _), value in (
            self._pooled(given, self._engine)
            if isinstance(self._engine, LiteRTPool)
            else self._batched(given)
        ):
            if isinstance(value, ImageError):
                yield name, None, str(value)
            elif np.isfinite(value).all():
                yield name, value, None
            else:
                yield name, None, "the model returned NaN or infinity"

    def _pooled(
        self, images: Iterable[Named], pool: LiteRTPool
    ) -> Iterator[tuple[Named, Array | ImageError]]:
        """Yield the scores of each image; the thread that decoded it runs it too."""

        def work(group: Sequence[Named]) -> Iterator[Array | ImageError]:
            for pixels in [attempt(self._read, image) for image in group]:
                yield pixels if isinstance(pixels, ImageError) else attempt(run, pixels)

        def run(pixels: Array) -> Array:
            image = pixels[np.newaxis]
            if self._dtype == "float32" and self._has_channel_axis:
                given = pool.run_one(image, prefetcher.is_crowded, self.preprocessing.scale)
            else:
                given = pool.run_one(self._scaled(image), prefetcher.is_crowded)
            scores: Array = self._scored(given, 1)[0]
            return scores

        threads = max(pool.workers, min(_DECODERS, available_cpus()))
        prefetcher = Prefetcher(images, work, threads, group=lambda: _GROUP)
        return iter(prefetcher)

    def _batched(self, images: Iterable[Named]) -> Iterator[tuple[Named, Array | ImageError]]:
        """Yield the scores of each image; threads decode while the engine runs a batch."""

        def work(group: Sequence[Named]) -> Iterator[Array | ImageError]:
            return (attempt(self._read, image) for image in group)

        threads = min(_DECODERS, available_cpus())
        for batch in Prefetcher(images, work, threads, self.batch_size).batches():
            pixels = [value for _, value in batch if not isinstance(value, ImageError)]
            rows: Iterator[Array] = iter(())
            if pixels:
                given = self._engine.run(self._scaled(np.stack(pixels)))
                rows = iter(self._scored(given, len(pixels)))
            for image, value in batch:
                yield image, value if isinstance(value, ImageError) else next(rows)

    def read(self, image: Source) -> Array:
        """Return one image [1, height, width, 3] as the graph takes it.

        Raises:
            ImageError: the reason alone, without the path.
        """
        batch: Array = self._scaled(self._reader(image)[None]).copy()
        return batch

    @property
    def runs_at_once(self) -> int:
        """How many threads may call `scores` at the same time: 1 for an engine that is not shared.

        `read` may be called by any number of threads.
        """
        return self._engine.workers if isinstance(self._engine, LiteRTPool) else 1

    def scores(self, batch: Array, crowded: bool = False) -> Array:
        """Return float32 [n, L], in the order of `labels`, for images as `read` returns them.

        Where unknown images were asked for, a row goes on as `UnknownReader.outcome` takes it.

        Args:
            batch: float32 [n, height, width, 3] in the range that the graph takes,
                [0, 1] for graphs made by tlcli.
            crowded: other threads have batches too, so that one processor per batch is best.

        Raises:
            GraphError: the graph cannot be run.
        """
        step = self.batch_size
        parts = [batch[start : start + step] for start in range(0, len(batch), step)]
        return np.concatenate(
            [self._scored(self._run(self._typed(part), crowded), len(part)) for part in parts]
        )

    def settle_scores(self) -> str | None:
        """Find out what the scores are by those of a grey image, and return it.

        For a graph that does not show it. All images are then treated in the same way, whichever
        of them comes first.

        Raises:
            GraphError: the graph cannot be run.
        """
        file = io.BytesIO()
        Image.new("RGB", (8, 8), (127, 127, 127)).save(file, "PNG")
        pixels = self._reader(file.getvalue())[np.newaxis]
        self._scores.activation = activation_of(np.asarray(self._engine.run(self._scaled(pixels))))
        return self._scores.activation

    def close(self) -> None:
        """Release the graph; nothing can be labelled afterwards."""
        self._engine.close()
        if self.explainer is not None:
            self.explainer.close()

    def __repr__(self) -> str:
        return f"<Classifier {self.graph}: {counted(len(self.labels), 'label')}>"

    def _repr_html_(self) -> str:
        # Imported here: only notebooks show it.
        from tlcli.core.classifier.describing import rows

        facts = () if self.spec is None else rows(self)
        return block(f"{self.graph}: {counted(len(self.labels), 'label')}", facts)

    def _scored(self, given: Array, images: int) -> Array:
        if self.unknown is None:
            return self._scores(given, images)
        return self.unknown.joined(given, lambda part: self._scores(part, images))

    def _run(self, batch: Array, crowded: bool) -> Array:
        if isinstance(self._engine, LiteRTPool):
            return self._engine.run(batch, crowded)
        return self._engine.run(batch)

    def _read(self, image: Named) -> Array:
        if isinstance(image[1], ImageError):
            raise image[1]
        return self._reader(image[1])

    def _scaled(self, pixels: Array) -> Array:
        """Return the graph's input; valid until this thread's next call."""
        if self._dtype == "string":
            return pixels
        out: Array | None = getattr(self._buffers, "scaled", None)
        if out is None or out.shape != pixels.shape:
            out = self._buffers.scaled = np.empty(pixels.shape, np.float32)
        batch: Array = self.preprocessing.scale(pixels, out)
        return self._typed(batch)

    def _typed(self, batch: Array) -> Array:
        if not self._has_channel_axis:
            batch = batch.reshape(batch.shape[:3])
        if self._dtype == "float32":
            return batch
        limits = np.iinfo(self._dtype)
        whole: Array = np.clip(np.rint(batch), limits.min, limits.max).astype(self._dtype)
        return whole
