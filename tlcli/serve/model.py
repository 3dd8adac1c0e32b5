"""The served model: one classifier, used by one thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from tlcli.arrays import Array
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.loading import load
from tlcli.core.evaluation.activation_maps import ActivationMapper, NoActivationMapError, overlay
from tlcli.core.images.decoding import open_image, orientation
from tlcli.core.images.thumbnails import picture
from tlcli.errors import GraphError, ImageError
from tlcli.report.collect import data_uri

_Result = TypeVar("_Result")

# Longest side of the pictures that the page shows, in pixels; twice that of the screen.
_PICTURE_SIDE = 480
_AS_GIVEN = "as it was given"
_NOT_TURNED = "as the network saw it: this graph ignores the camera's orientation (EXIF)"


class ServedModel:
    """A classifier for any number of requests at the same time.

    LiteRT's interpreter is not thread-safe, and one run uses all CPUs anyway: requests wait for
    one another in one thread.

    Args:
        classifier: closed with `close`.
        name: of the model in its URL.
        max_pixels: larger images are refused before they are decoded.
        mapper: of the heat maps, also closed with `close`; or why there are none, in a few words.

    Attributes:
        no_heat_maps: why there are none, or None.
    """

    def __init__(
        self,
        classifier: Classifier,
        name: str,
        max_pixels: int,
        mapper: ActivationMapper | str = "they were not asked for",
    ) -> None:
        self.name = name
        self.labels = classifier.labels
        self.height = classifier.preprocessing.height
        self.width = classifier.preprocessing.width
        self._classifier = classifier
        self._max_pixels = max_pixels
        self._mapper = None if isinstance(mapper, str) else mapper
        self.no_heat_maps = mapper if isinstance(mapper, str) else None
        self._thread = ThreadPoolExecutor(1, "tlcli-serve")

    async def predict(self, instances: Sequence[bytes | Array]) -> list[list[float] | str]:
        """Return the scores of each instance in the order of the labels, or why it has none.

        Args:
            instances: the bytes of an image file, or float32 [height, width, 3], each.

        Raises:
            GraphError: the graph cannot be run.
        """
        return await self._run(self._predict, list(instances))

    async def label(self, content: bytes, top_k: int) -> dict[str, Any]:
        """Return the best labels of one image file.

        Returns:
            ``predictions``, a list of ``label``, ``score`` and ``heat_map``, best first, and
            ``picture``; pictures are data URIs, None where there are none. ``caption`` is about the
            orientation of the picture.

        Raises:
            ImageError: it cannot be labelled; the reason alone.
            GraphError: the graph cannot be run.
        """
        return await self._run(self._label, content, top_k)

    def close(self) -> None:
        """Wait for the running request and release the graph."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._classifier.close()
        if self._mapper is not None:
            self._mapper.close()

    async def _run(self, work: Callable[..., _Result], *arguments: Any) -> _Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work, *arguments)

    def _predict(self, instances: list[bytes | Array]) -> list[list[float] | str]:
        found: list[list[float] | str] = [""] * len(instances)
        files: dict[int, bytes] = {}
        for position, instance in enumerate(instances):
            if not isinstance(instance, bytes):
                found[position] = _plain(self._classifier.scores(instance[None])[0])
                continue
            try:
                self._check_size(instance)
                files[position] = instance
            except ImageError as error:
                found[position] = str(error)
        results = self._classifier.probabilities(files.values())
        for position, (_, scores, reason) in zip(files, results, strict=True):
            found[position] = str(reason) if scores is None else _plain(scores)
        return found

    def _label(self, content: bytes, top_k: int) -> dict[str, Any]:
        self._check_size(content)
        batch = self._classifier.read(content)
        scores = _plain(self._classifier.scores(batch)[0])
        if isinstance(scores, str):
            raise ImageError(scores)
        best = np.argsort(-np.array(scores), kind="stable")[:top_k].tolist()
        # In the network's orientation, so that the heat map matches it.
        upright = self._classifier.preprocessing.turns_upright
        shown = picture(content, _PICTURE_SIDE, upright=upright)
        maps = self._maps(batch, best) if shown is not None else None
        return {
            "picture": None if shown is None else data_uri(shown),
            "caption": _NOT_TURNED
            if shown is not None and self._is_not_turned(content, shown)
            else _AS_GIVEN,
            "predictions": [
                {
                    "label": self.labels[index],
                    "score": scores[index],
                    "heat_map": None
                    if maps is None or shown is None
                    else data_uri(overlay(shown, maps[rank])),
                }
                for rank, index in enumerate(best)
            ],
        }

    def _is_not_turned(self, content: bytes, shown: Image.Image) -> bool:
        """Return whether the picture ignores its EXIF orientation."""
        if self._classifier.preprocessing.turns_upright:
            return False
        with open_image(content) as image:
            if orientation(image) == 1:
                return False
        # Pillow rotates some formats by itself.
        upright = picture(content, _PICTURE_SIDE)
        return upright is not None and upright.tobytes() != shown.tobytes()

    def _maps(self, batch: Array, labels: list[int]) -> Array | None:
        """Return the maps of labels, [K, gh, gw]."""
        if self._mapper is None:
            return None
        try:
            found = np.moveaxis(self._mapper.maps(batch)[0][..., labels], -1, 0)
        except NoActivationMapError as error:
            # This shows only when the graph runs, and is the same for every image.
            self._mapper.close()
            self._mapper, self.no_heat_maps = None, str(error)
            return None
        return np.asarray(found)

    def _check_size(self, content: bytes) -> None:
        """Raise ImageError for an image that would take too much memory once decoded."""
        with open_image(content) as image:
            width, height = image.size
        if width * height > self._max_pixels:
            raise ImageError(
                f"too large: {width} x {height} pixels (limit {self._max_pixels} pixels)"
            )


def open_model(graph: Path, name: str, max_pixels: int, **options: Any) -> ServedModel:
    """Load a graph to serve; ``options`` are those of `tlcli.load`.

    Raises:
        TlcliError: as from `tlcli.load`.
    """
    classifier = load(graph, **options)
    mapper: ActivationMapper | str
    try:
        mapper = ActivationMapper.for_classifier(classifier, options)
    except (GraphError, OSError) as error:
        mapper = str(error)
    return ServedModel(classifier, name, max_pixels, mapper)


def _plain(scores: Array) -> list[float] | str:
    """Return JSON numbers, each the shortest that is the same float32."""
    if not np.isfinite(scores).all():
        return "the model returned NaN or infinity"
    return [float(str(score)) for score in scores]
