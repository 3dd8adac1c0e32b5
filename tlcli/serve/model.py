"""The served model: one classifier, used by as many threads as it allows; others decode images."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tlcli.arrays import Array
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.explanations import classifier_maps, note_of_classifier
from tlcli.core.classifier.loading import load
from tlcli.core.heat_maps.activation_maps import ActivationMapper
from tlcli.core.heat_maps.linear_head import NoActivationMapError
from tlcli.core.heat_maps.overlay import overlay
from tlcli.core.images.decoding import open_image, orientation
from tlcli.core.images.thumbnails import picture
from tlcli.errors import GraphError, ImageError
from tlcli.report.collect import data_uri
from tlcli.serve.about import About, about
from tlcli.serve.threads import Threads

# More than processors: each may be busy with an image for seconds.
_DECODERS = 16
# Pixels. Four images of 100 megapixels take 1.2 GB.
_LARGE, _LARGE_AT_ONCE = 12_000_000, 4
# Per image, unless another number is asked for.
_LABELS = 5
# Images of one request that are decoded at once.
_AT_ONCE = 4
# For running work at the end.
_CLOSE_SECONDS = 0.6
# Longest side of the pictures that the page shows, in pixels; twice that of the screen.
_PICTURE_SIDE = 480
_AS_GIVEN = "as it was given"
_NOT_TURNED = "as the network saw it: this graph ignores the camera's orientation (EXIF)"


class ServedModel:
    """A classifier for any number of requests at the same time.

    Images are decoded in threads, so that a slow one delays no other request, and run in further
    ones: in LiteRT one image per processor at a time. Other engines use all processors for one
    run, so requests wait for one another.

    Args:
        classifier: closed with `close`.
        about: what the page states about it.
        max_pixels: larger images are refused before they are decoded.
        mapper: of the heat maps, also closed with `close`; or why there are none, in a few words.

    Attributes:
        thresholds: where an image may have several labels: of each, in order; else None.
        no_heat_maps: why there are none, or None.
        heat_map_layers: of which they have shares, in a sentence; "" where there is one layer.
    """

    def __init__(
        self,
        classifier: Classifier,
        about: About,
        max_pixels: int,
        mapper: ActivationMapper | str = "they were not asked for",
    ) -> None:
        self.about = about
        self.name = about.name
        self.labels = classifier.labels
        self.thresholds: list[float] | None = None
        if classifier.thresholds is not None:
            self.thresholds = [classifier.thresholds[label] for label in classifier.labels]
        self.height = classifier.preprocessing.height
        self.width = classifier.preprocessing.width
        self._classifier = classifier
        self._max_pixels = max_pixels
        self._mapper = None if isinstance(mapper, str) else mapper
        self._maps_fail = False
        self.no_heat_maps = mapper if isinstance(mapper, str) else None
        self.heat_map_layers = (
            "" if self._mapper is None else note_of_classifier(classifier, self._mapper)
        )
        self._runner = Threads("tlcli-run", classifier.runs_at_once)
        self._decoders = Threads("tlcli-decode", _DECODERS)
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def predict(self, instances: Sequence[bytes | Array]) -> list[list[float] | str]:
        """Return the scores of each instance in the order of the labels, or why it has none.

        Args:
            instances: the bytes of an image file, or float32 [height, width, 3], each.

        Raises:
            GraphError: the graph cannot be run.
        """
        found: list[list[float] | str] = []
        step = max(_AT_ONCE, self._classifier.batch_size)
        for start in range(0, len(instances), step):
            # The other images of a request wait, so that it takes no more than its part.
            batches = await asyncio.gather(
                *(self._attempt(instance) for instance in instances[start : start + step])
            )
            whole = [batch for batch in batches if not isinstance(batch, str)]
            rows = await self._scores(np.concatenate(whole)) if whole else np.zeros((0, 0))
            scores = iter(rows[:, : len(self.labels)])
            found += [
                batch if isinstance(batch, str) else _plain(next(scores)) for batch in batches
            ]
        return found

    async def label(
        self, content: bytes, top_k: int | None, threshold: float | None
    ) -> dict[str, Any]:
        """Return the best labels of one image file, as ``tlcli label --format json`` does.

        Returns:
            ``predictions``, a list of ``label`` and ``score``, best first, of those that reach
            ``threshold`` (None: of several labels per image those that reach their own, else all);
            where none does, the best one is ``best``. With an unknown score in the graph also
            ``unknown``, of ``score``, ``threshold`` and ``nearest``.

        Raises:
            ImageError: it cannot be labelled; the reason alone.
            GraphError: the graph cannot be run.
        """
        row = (await self._scores(await self._decoded(content)))[0]
        scores = self._scored(row)
        best = _best(scores, top_k or (_LABELS if self.thresholds is None else len(scores)))
        limits = self.thresholds or [-np.inf] * len(scores)
        if threshold is not None:
            limits = [threshold] * len(scores)
        reached = [i for i in best if scores[i] >= limits[i]]
        found: dict[str, Any] = {"predictions": [self._one(scores, index) for index in reached]}
        if not reached:
            found["best"] = self._one(scores, best[0])
        return found | self._unknown(row)

    def _scored(self, row: Array) -> list[float]:
        """Return the scores of a row as JSON numbers; `ImageError` where they are no numbers."""
        found = _plain(row[: len(self.labels)])
        if isinstance(found, str):
            raise ImageError(found)
        return found

    def _unknown(self, row: Array) -> dict[str, Any]:
        """Return how unlike the training images an image is, where that is asked for."""
        reader = self._classifier.unknown
        return {} if reader is None else {"unknown": reader.outcome(row).to_dict()}

    def _shown_labels(self, scores: list[float], top_k: int | None) -> int:
        """Return how many of the best labels the page shows."""
        if top_k is not None or self.thresholds is None:
            return top_k or _LABELS
        pairs = list(zip(scores, self.thresholds, strict=True))
        # Scores are in another order than what they lack to their thresholds.
        least = min((score for score, limit in pairs if score >= limit), default=np.inf)
        return max(_LABELS, sum(score >= least for score in scores))

    def _counts(self, scores: list[float], index: int) -> dict[str, bool]:
        if self.thresholds is None:
            return {}
        return {"counts": scores[index] >= self.thresholds[index]}

    def _one(self, scores: list[float], index: int) -> dict[str, Any]:
        return {"label": self.labels[index], "score": scores[index]}

    async def show(
        self, content: bytes, top_k: int | None, mapped: int | None = None
    ) -> dict[str, Any]:
        """Return the best labels of one image file with what the page shows of it.

        Args:
            content: of the file.
            top_k: how many labels; None: `_LABELS`, or of several per image at least all that
                reach their thresholds.
            mapped: index of the label whose heat map is returned; None: the best one's.

        Returns:
            ``predictions``, a list of ``label``, ``index`` and ``score``, best first, and of
            several labels per image ``counts``: whether the label reaches its threshold;
            ``picture`` and ``heat_map``, data URIs, None where there are none; ``mapped``.
            ``caption`` is about the orientation of the picture.

        Raises:
            ImageError: it cannot be labelled; the reason alone.
            GraphError: the graph cannot be run.
        """
        batch = await self._decoded(content)
        row, (shown, caption) = await asyncio.gather(
            self._scores(batch), self._decoders.run(self._shown, content)
        )
        scores = self._scored(row[0])
        best = _best(scores, self._shown_labels(scores, top_k))
        mapped = best[0] if mapped is None else mapped
        heat = None if shown is None else await self._runner.run(self._map, batch, mapped)
        picture_uri, heat_uri = await self._decoders.run(_data_uris, shown, heat)
        return {
            "picture": picture_uri,
            "caption": caption,
            "heat_map": heat_uri,
            "mapped": mapped,
            **self._unknown(row[0]),
            "predictions": [
                {**self._one(scores, index), "index": index, **self._counts(scores, index)}
                for index in best
            ],
        }

    def close(self) -> None:
        """Release the graph, unless it is still running after a moment."""
        self._decoders.close(_CLOSE_SECONDS / 2)
        if not self._runner.close(_CLOSE_SECONDS / 2):
            return
        self._classifier.close()
        if self._mapper is not None:
            self._mapper.close()

    async def _scores(self, batch: Array) -> Array:
        crowded = self._runner.is_busy
        return await self._runner.run(self._classifier.scores, batch, crowded)

    async def _attempt(self, instance: bytes | Array) -> Array | str:
        """Return the graph's input for an instance, or why there is none."""
        if not isinstance(instance, bytes):
            return instance[None]
        try:
            return await self._decoded(instance)
        except ImageError as error:
            return str(error)

    async def _decoded(self, content: bytes) -> Array:
        # Handing work to a thread takes as long as decoding a small part of an image.
        found = await self._decoders.run(self._read_unless_large, content)
        if found is not None:
            return found
        async with self._large:
            return await self._decoders.run(self._read, content)

    def _read_unless_large(self, content: bytes) -> Array | None:
        return None if self._pixels(content) > _LARGE else self._read(content)

    def _read(self, content: bytes) -> Array:
        try:
            return self._classifier.read(content)
        except ImageError:
            raise
        except MemoryError as error:
            raise ImageError("too large for the memory of this machine") from error
        except Exception as error:
            raise ImageError(f"cannot be read ({type(error).__name__}: {error})") from error

    def _shown(self, content: bytes) -> tuple[Image.Image | None, str]:
        """Return the picture for the page, and its caption."""
        # In the network's orientation, so that the heat map matches it.
        upright = self._classifier.preprocessing.turns_upright
        shown = picture(content, _PICTURE_SIDE, upright=upright)
        is_turned = shown is not None and self._is_not_turned(content, shown)
        return shown, _NOT_TURNED if is_turned else _AS_GIVEN

    def _is_not_turned(self, content: bytes, shown: Image.Image) -> bool:
        """Return whether the picture ignores its EXIF orientation."""
        if self._classifier.preprocessing.turns_upright:
            return False
        with open_image(content, decode=False) as image:
            if orientation(image) == 1:
                return False
        # Pillow rotates some formats by itself.
        upright = picture(content, _PICTURE_SIDE)
        return upright is not None and upright.tobytes() != shown.tobytes()

    def _map(self, batch: Array, label: int) -> Array | None:
        """Return the map of a label, [gh, gw]."""
        if self._mapper is None or self._maps_fail:
            return None
        try:
            return np.asarray(self._mapper.maps(batch, [label])[0])
        except NoActivationMapError as error:
            # This shows only when the graph runs, and is the same for every image.
            self._maps_fail, self.no_heat_maps = True, str(error)
            return None

    def _pixels(self, content: bytes) -> int:
        """Return the size of an image; raise ImageError for one that would take too much memory."""
        with open_image(content, decode=False) as image:
            width, height = image.size
        if width * height > self._max_pixels:
            raise ImageError(
                f"too large: {width} x {height} pixels (limit {self._max_pixels} pixels)"
            )
        return width * height


def open_model(graph: Path, name: str | None, max_pixels: int, **options: Any) -> ServedModel:
    """Load a graph to serve.

    Args:
        graph: its path.
        name: in its URL; None: "model", and the page shows that of its folder.
        max_pixels: larger images are refused.
        options: those of `tlcli.load`.

    Raises:
        TlcliError: as from `tlcli.load`.
    """
    classifier = load(graph, **options)
    mapper: ActivationMapper | str
    try:
        mapper = classifier_maps(classifier, options)
    except (GraphError, OSError) as error:
        mapper = str(error)
    return ServedModel(classifier, about(classifier, name), max_pixels, mapper)


def _data_uris(shown: Image.Image | None, heat: Array | None) -> tuple[str | None, str | None]:
    """Return the picture, and the picture under its heat map."""
    if shown is None:
        return None, None
    return data_uri(shown), None if heat is None else data_uri(overlay(shown, heat))


def _best(scores: list[float], top_k: int) -> list[int]:
    # Stable: of equal scores the first in the labels file comes first.
    found: list[int] = np.argsort(-np.array(scores), kind="stable")[:top_k].tolist()
    return found


def _plain(scores: Array) -> list[float] | str:
    """Return JSON numbers, each the shortest that is the same float32."""
    if not np.isfinite(scores).all():
        return "the model returned NaN or infinity"
    return [float(str(score)) for score in scores]
