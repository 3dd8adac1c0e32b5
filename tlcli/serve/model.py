"""The served model: one classifier, used by one thread; others decode images."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tlcli.arrays import Array
from tlcli.core.classifier.activation_maps import ActivationMapper, NoActivationMapError, overlay
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.loading import load
from tlcli.core.images.decoding import open_image, orientation
from tlcli.core.images.thumbnails import picture
from tlcli.errors import GraphError, ImageError
from tlcli.report.collect import data_uri
from tlcli.serve.threads import Threads

# More than processors: each may be busy with an image for seconds.
_DECODERS = 16
# Pixels. Four images of 100 megapixels take 1.2 GB.
_LARGE, _LARGE_AT_ONCE = 12_000_000, 4
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

    LiteRT's interpreter is not thread-safe, and one run uses all CPUs anyway: requests wait for
    one another in one thread for it. Images are decoded in other threads, so that a slow one
    delays no other request.

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
        self._runner = Threads("tlcli-run", 1)
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
            scores = iter(
                await self._runner.run(self._classifier.scores, np.concatenate(whole))
                if whole
                else ()
            )
            found += [
                batch if isinstance(batch, str) else _plain(next(scores)) for batch in batches
            ]
        return found

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
        batch = await self._decoded(content)
        scores = _plain((await self._runner.run(self._classifier.scores, batch))[0])
        if isinstance(scores, str):
            raise ImageError(scores)
        best = np.argsort(-np.array(scores), kind="stable")[:top_k].tolist()
        shown, caption = await self._decoders.run(self._shown, content)
        maps = None if shown is None else await self._runner.run(self._maps, batch, best)
        return {
            "picture": None if shown is None else data_uri(shown),
            "caption": caption,
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

    def close(self) -> None:
        """Release the graph, unless it is still running after a moment."""
        self._decoders.close(_CLOSE_SECONDS / 2)
        if not self._runner.close(_CLOSE_SECONDS / 2):
            return
        self._classifier.close()
        if self._mapper is not None:
            self._mapper.close()

    async def _attempt(self, instance: bytes | Array) -> Array | str:
        """Return the graph's input for an instance, or why there is none."""
        if not isinstance(instance, bytes):
            return instance[None]
        try:
            return await self._decoded(instance)
        except ImageError as error:
            return str(error)

    async def _decoded(self, content: bytes) -> Array:
        pixels = await self._decoders.run(self._pixels, content)
        if pixels <= _LARGE:
            return await self._decoders.run(self._read, content)
        async with self._large:
            return await self._decoders.run(self._read, content)

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

    def _pixels(self, content: bytes) -> int:
        """Return the size of an image; raise ImageError for one that would take too much memory."""
        with open_image(content, decode=False) as image:
            width, height = image.size
        if width * height > self._max_pixels:
            raise ImageError(
                f"too large: {width} x {height} pixels (limit {self._max_pixels} pixels)"
            )
        return width * height


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
