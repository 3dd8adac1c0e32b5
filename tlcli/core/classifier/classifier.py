"""A graph, its labels and its preprocessing in one object, so that they always fit."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from tlcli.arrays import Array
from tlcli.core.classifier.outputs import Scores, activation_of
from tlcli.core.images.decoding import Source
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.model_spec.input_spec import InputSpec
from tlcli.errors import GraphError, ImageError, UsageError
from tlcli.litert.pool import LiteRTPool
from tlcli.runtime.prefetch import Prefetcher
from tlcli.system.closing import Closing
from tlcli.system.cpus import available_cpus

if TYPE_CHECKING:
    from tlcli.core.export.model_card import ModelCard

_Named = tuple[str, Source]
"""An image and what it is called in predictions."""

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


@dataclass(frozen=True)
class Score:
    """One label's score.

    Attributes:
        label: as in the labels file.
        score: as the graph returns it, 0 to 1 for a softmax.
    """

    label: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """The scores of one image.

    Attributes:
        image: the path as it was given; "image N" for the N-th of images given as bytes.
        scores: best first; empty when there is an error, or when no score reaches the threshold.
        error: why the image could not be labelled, or None.
        unsure: the best score, where a threshold was given and even that is below it; else None.
    """

    image: str
    scores: tuple[Score, ...] = ()
    error: str | None = None
    unsure: Score | None = None

    @property
    def label(self) -> str | None:
        """The best label; None when there is none."""
        return self.scores[0].label if self.scores else None

    @property
    def score(self) -> float | None:
        """The score of the best label; None when there is none."""
        return self.scores[0].score if self.scores else None

    @property
    def best(self) -> Score | None:
        """The best score, also one below the threshold; None where there is an error."""
        return self.scores[0] if self.scores else self.unsure

    def top(self, top_k: int | None = 5, threshold: float | None = None) -> Prediction:
        """Return the ``top_k`` best scores (None: all) that reach ``threshold`` (None: any do)."""
        best = self.scores if top_k is None else self.scores[:top_k]
        if threshold is None:
            return replace(self, scores=best)
        reached = tuple(score for score in best if score.score >= threshold)
        unsure = None if reached or not best else best[0]
        return replace(self, scores=reached, unsure=unsure or self.unsure)


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
        self._engine = engine
        self._dtype = images.dtype
        self._has_channel_axis = images.has_channel_axis
        self._scores = Scores(graph, len(self.labels), activation)
        self._reader = images.reader or images.preprocessing.read
        # New memory for each image would cost a tenth of a small network's time.
        self._buffers = threading.local()

    def label(
        self,
        images: Source | Iterable[Source],
        top_k: int | None = 5,
        threshold: float | None = None,
    ) -> list[Prediction]:
        """Label images.

        Args:
            images: paths, or the bytes of image files; or one of these alone.
            top_k: how many labels to return per image, best first; None for all.
            threshold: lower scores are left out; None: all are returned, also those below 0.

        Returns:
            One prediction per image, in order. One that cannot be read has an ``error``; one
            without a score of at least ``threshold`` has its best score in ``unsure``.

        Raises:
            GraphError: the graph cannot be run.
        """
        if isinstance(images, (str, bytes, Path)):
            images = [images]
        return [prediction.top(top_k, threshold) for prediction in self.stream(images)]

    def stream(self, images: Iterable[Source]) -> Iterator[Prediction]:
        """Yield the prediction of each image with all labels, in order, in bounded memory.

        ``images`` may be endless or slow: an image is labelled as soon as it is there.

        Raises:
            GraphError: the graph cannot be run.
        """
        for image, scores, error in self.probabilities(images):
            if scores is None:
                yield Prediction(image, error=error)
                continue
            # Stable: of equal scores the first in the labels file comes first.
            order = np.argsort(-scores, kind="stable")
            yield Prediction(image, tuple(Score(self.labels[i], _number(scores[i])) for i in order))

    def probabilities(
        self, images: Iterable[Source]
    ) -> Iterator[tuple[str, Array | None, str | None]]:
        """Yield ``(image, scores, error)`` for each image, in order.

        ``scores`` is float32 [L] in the order of `labels`; None when there is an ``error``.

        Raises:
            GraphError: the graph cannot be run.
        """
        named = _named(images)
        for (name, _), value in (
            self._pooled(named, self._engine)
            if isinstance(self._engine, LiteRTPool)
            else self._batched(named)
        ):
            if isinstance(value, ImageError):
                yield name, None, str(value)
            elif np.isfinite(value).all():
                yield name, value, None
            else:
                yield name, None, "the model returned NaN or infinity"

    def _pooled(
        self, named: Iterable[_Named], pool: LiteRTPool
    ) -> Iterator[tuple[_Named, Array | ImageError]]:
        """Yield the scores of each image; the thread that decoded it runs it too."""

        def work(group: Sequence[_Named]) -> Iterator[Array | ImageError]:
            for pixels in [_attempt(self._read, image) for image in group]:
                yield pixels if isinstance(pixels, ImageError) else _attempt(run, pixels)

        def run(pixels: Array) -> Array:
            image = pixels[np.newaxis]
            if self._dtype == "float32" and self._has_channel_axis:
                given = pool.run_one(image, prefetcher.is_crowded, self.preprocessing.scale)
            else:
                given = pool.run_one(self._scaled(image), prefetcher.is_crowded)
            scores: Array = self._scores(given, 1)[0]
            return scores

        threads = max(pool.workers, min(_DECODERS, available_cpus()))
        prefetcher = Prefetcher(named, work, threads, group=lambda: _GROUP)
        return iter(prefetcher)

    def _batched(self, named: Iterable[_Named]) -> Iterator[tuple[_Named, Array | ImageError]]:
        """Yield the scores of each image; threads decode while the engine runs a batch."""

        def work(group: Sequence[_Named]) -> Iterator[Array | ImageError]:
            return (_attempt(self._read, image) for image in group)

        threads = min(_DECODERS, available_cpus())
        for batch in Prefetcher(named, work, threads, self.batch_size).batches():
            pixels = [value for _, value in batch if not isinstance(value, ImageError)]
            rows: Iterator[Array] = iter(())
            if pixels:
                given = self._engine.run(self._scaled(np.stack(pixels)))
                rows = iter(self._scores(given, len(pixels)))
            for image, value in batch:
                yield image, value if isinstance(value, ImageError) else next(rows)

    def read(self, image: Source) -> Array:
        """Return one image [1, height, width, 3] as the graph takes it.

        Raises:
            ImageError: the reason alone, without the path.
        """
        batch: Array = self._scaled(self._reader(image)[None]).copy()
        return batch

    def scores(self, batch: Array) -> Array:
        """Return float32 [n, L], in the order of `labels`, for images as `read` returns them.

        Args:
            batch: float32 [n, height, width, 3] in the range that the graph takes,
                [0, 1] for graphs made by tlcli.

        Raises:
            GraphError: the graph cannot be run.
        """
        step = self.batch_size
        parts = [batch[start : start + step] for start in range(0, len(batch), step)]
        return np.concatenate(
            [self._scores(self._engine.run(self._typed(part)), len(part)) for part in parts]
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

    def _read(self, image: _Named) -> Array:
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


def _attempt(work: Callable[[Any], Array], given: Any) -> Array | ImageError:
    """Return what ``work`` makes of ``given``, or why it cannot; a `GraphError` passes."""
    try:
        return work(given)
    except ImageError as error:
        return error
    except GraphError:
        raise
    except MemoryError:
        return ImageError("too large for the memory of this machine")
    except Exception as error:
        return ImageError(f"cannot be read ({type(error).__name__}: {error})")


def _named(images: Iterable[Source]) -> Iterator[_Named]:
    for number, image in enumerate(images, 1):
        if not isinstance(image, (str, bytes, os.PathLike)):
            raise UsageError(
                f"image {number} is of the type {type(image).__name__}; give its path, or the "
                "bytes of its file"
            )
        yield (f"image {number}" if isinstance(image, bytes) else os.fspath(image)), image


def _number(score: np.floating[Any]) -> float:
    """Return the shortest decimal number that is this float32: 0.9 and not 0.8999999761581421."""
    return float(str(score))
