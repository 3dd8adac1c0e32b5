"""Pictures that explain a label: the image, a heat map of the label, and the scores."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from label.fonts import FONT_SIZE, Fonts
from tlcli.arrays import Array
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.explanations import classifier_maps
from tlcli.core.classifier.outputs import Prediction
from tlcli.core.heat_maps.activation_maps import ActivationMapper
from tlcli.core.heat_maps.linear_head import NoActivationMapError
from tlcli.core.heat_maps.overlay import overlay
from tlcli.core.images.thumbnails import picture
from tlcli.errors import GraphError, ImageError
from tlcli.storage.locations import name_of
from tlcli.system.atomic_files import write_bytes
from tlcli.system.closing import Closing

_log = logging.getLogger("tlcli")

SUFFIX = ".explained.jpg"
# Longest side of each of the two pictures, and width of the scores next to them, in pixels.
SIDE, PANEL, MARGIN = 384, 320, 16
_ROW = 46
_TEXT, _SOFT, _BAR, _GROUND = (26, 30, 36), (84, 93, 105), (10, 92, 173), (228, 231, 235)
_QUALITY = 88


class Explainer(Closing):
    """Writes a picture for each image that has scores.

    Where the graph has no activation maps, a warning gives the reason, and the pictures show the
    scores alone.

    Args:
        classifier: of the scores.
        folder: for the pictures.
        top_k: labels per picture.
        options: those of `tlcli.load` that the classifier was loaded with.

    Attributes:
        folder: as given.
        written: pictures so far.

    Raises:
        GraphError: the graph's file cannot be read any more.
    """

    def __init__(
        self,
        classifier: Classifier,
        folder: Path,
        top_k: int = 5,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._classifier = classifier
        self.folder = folder
        self._top_k = top_k
        self._numbers = {label: number for number, label in enumerate(classifier.labels)}
        self._fonts = Fonts()
        self._taken: set[str] = set()
        self._mapper: ActivationMapper | None = None
        self.written = 0
        try:
            self._mapper = classifier_maps(classifier, options, allow_tensorflow=True)
        except NoActivationMapError as error:
            self._warn(error)

    def write(self, prediction: Prediction, location: str | None = None) -> Path | None:
        """Write the picture of one image and return its path; None for an image without scores.

        Args:
            prediction: of the image.
            location: where it can be read; None: at the path of the prediction.

        Raises:
            OutputError: it cannot be written.
        """
        label = prediction.label
        if label is None:
            return None
        # In the network's orientation, so that the heat map matches it.
        upright = self._classifier.preprocessing.turns_upright
        location = location or prediction.image
        image = picture(location, SIDE, upright=upright)
        if image is None:
            return None
        activation = self._activation(location, self._numbers[label])
        shown = [(score.label, score.score) for score in prediction.scores[: self._top_k]]
        drawn = draw(image, activation, shown, self._numbers, self._fonts)
        stream = io.BytesIO()
        drawn.save(stream, "JPEG", quality=_QUALITY, optimize=True)
        path = self.folder / self._name(prediction.image)
        write_bytes(path, stream.getvalue())
        self.written += 1
        return path

    def close(self) -> None:
        """Release the graph."""
        if self._mapper is not None:
            self._mapper.close()
            self._mapper = None

    def _activation(self, image: str, label: int) -> Array | None:
        """Return the map [h, w] of a label, given by its number."""
        if self._mapper is None:
            return None
        try:
            batch = self._classifier.read(image)
            found: Array = self._mapper.maps(batch, [label])[0]
            return found
        except ImageError:
            return None
        except NoActivationMapError as error:
            self._warn(error)
            self.close()
            return None

    def _warn(self, error: GraphError) -> None:
        _log.warning(
            "%s gives no heat maps: %s; the pictures show the scores alone",
            self._classifier.graph,
            error,
        )

    def _name(self, image: str) -> str:
        """Return a unique name for the picture; images of one name in two folders get numbers."""
        stem = Path(name_of(image)).stem[:80]
        name, number = stem + SUFFIX, 2
        while name.casefold() in self._taken:
            name = f"{stem}-{number}{SUFFIX}"
            number += 1
        self._taken.add(name.casefold())
        return name


def draw(
    image: Image.Image,
    activation: Array | None,
    scores: Sequence[tuple[str, float]],
    numbers: dict[str, int],
    fonts: Fonts,
) -> Image.Image:
    """Return the image, its heat map where there is one, and the scores, side by side.

    Args:
        image: RGB, at most `SIDE` pixels on a side.
        activation: [h, w], or None.
        scores: (label, score), best first.
        numbers: of labels, shown for a label without a font.
        fonts: for the text.
    """
    pictures = [image] if activation is None else [image, overlay(image, activation)]
    rows = _ROW * len(scores) + (0 if activation is None else 2 * FONT_SIZE)
    height = max(image.height, rows) + 2 * MARGIN
    width = sum(each.width + MARGIN for each in pictures) + PANEL + 2 * MARGIN
    canvas = Image.new("RGB", (width, height), "white")
    left = MARGIN
    for each in pictures:
        canvas.paste(each, (left, MARGIN))
        left += each.width + MARGIN
    pen = ImageDraw.Draw(canvas)
    top = MARGIN
    for label, score in scores:
        percent = f"{score:.1%}"
        text, font = fonts.of_label(label, numbers.get(label, 0))
        figure = fonts.of(percent)
        end = left + PANEL
        room = PANEL - pen.textlength(percent, font=figure) - MARGIN
        pen.text((left, top + 17), _cut(pen, text, font, room), fill=_TEXT, font=font, anchor="ls")
        pen.text((end, top + 17), percent, fill=_TEXT, font=figure, anchor="rs")
        pen.rectangle((left, top + 24, end, top + 32), fill=_GROUND)
        part = min(max(score, 0.0), 1.0)
        if part * PANEL >= 1:
            pen.rectangle((left, top + 24, left + part * PANEL, top + 32), fill=_BAR)
        top += _ROW
    if activation is not None and scores:
        text, font = fonts.of_label(scores[0][0], numbers.get(scores[0][0], 0))
        text = f"heat: {text}"
        pen.text((left, top + 17), _cut(pen, text, font, PANEL), fill=_SOFT, font=font, anchor="ls")
    return canvas


def _cut(pen: Any, text: str, font: Any, room: float) -> str:
    if pen.textlength(text, font=font) <= room:
        return text
    while text and pen.textlength(text + "...", font=font) > room:
        text = text[:-1]
    return text + "..."
