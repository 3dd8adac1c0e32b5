"""Pictures that explain a label: the image, where the network saw it, and the scores beside."""

from __future__ import annotations

import io
import logging
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.core.classifier.classifier import Classifier, Prediction
from tlcli.core.classifier.input_spec import InputOverrides
from tlcli.errors import GraphError, ImageError
from tlcli.system.atomic_files import write_bytes
from tlcli.text import printable

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from tlcli.core.evaluation.activation_maps import ActivationMapper

_log = logging.getLogger("tlcli")

SUFFIX = ".explained.jpg"
# Longest side of each of the two pictures, and width of the scores beside them, in pixels.
SIDE, PANEL, MARGIN = 384, 320, 16
_FONT_SIZE, _ROW = 16, 46
_TEXT, _SOFT, _BAR, _GROUND = (26, 30, 36), (84, 93, 105), (10, 92, 173), (228, 231, 235)
_QUALITY = 88

# Tried where Pillow's own font lacks a letter; the first that has all of a text is taken.
_FONT_FOLDERS = (
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
    *("/System/Library/Fonts", "/Library/Fonts", "C:/Windows/Fonts"),
)
_FONT_NAMES = (
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKkr-Regular.otf", "NotoSansCJKjp-Regular.otf"),
    *("NanumGothic.ttf", "DroidSansFallbackFull.ttf", "unifont.otf", "unifont.ttf"),
    *("AppleSDGothicNeo.ttc", "Hiragino Sans GB.ttc", "Arial Unicode.ttf", "malgun.ttf"),
    *("meiryo.ttc", "msyh.ttc", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "segoeui.ttf"),
)


class Explainer:
    """Writes a picture for each image that got scores.

    Args:
        classifier: what gives the scores.
        folder: where the pictures go.
        options: what the classifier was loaded with.
        trust: likewise.
        top_k: labels beside the picture.

    Attributes:
        written: pictures so far.
        has_maps: False where the graph has no activation maps, which is said in a warning;
            the pictures then show the scores alone.

    Raises:
        GraphError: the graph's file cannot be read any more.
    """

    def __init__(
        self,
        classifier: Classifier,
        folder: Path,
        options: InputOverrides,
        trust: bool = False,
        top_k: int = 5,
    ) -> None:
        self._classifier = classifier
        self._folder = folder
        self._top_k = top_k
        self._numbers = {label: number for number, label in enumerate(classifier.labels)}
        self._taken: set[str] = set()
        self._mapper = self._load(options, trust)
        self.written = 0

    @property
    def has_maps(self) -> bool:
        """Whether the pictures have heat maps."""
        return self._mapper is not None

    def write(self, prediction: Prediction) -> Path | None:
        """Write the picture of one image; None where there is nothing to show.

        Raises:
            OutputError: it cannot be written.
        """
        from tlcli.core.images.thumbnails import picture

        if prediction.label is None:
            return None
        # As the network saw it, or the heat map would lie across it.
        upright = self._classifier.preprocessing.turns_upright
        image = picture(prediction.image, SIDE, upright=upright)
        if image is None:
            return None
        activation = self._activation(prediction)
        shown = [(score.label, score.score) for score in prediction.scores[: self._top_k]]
        drawn = draw(image, activation, shown, self._numbers)
        stream = io.BytesIO()
        drawn.save(stream, "JPEG", quality=_QUALITY, optimize=True)
        place = self._folder / self._name(prediction.image)
        write_bytes(place, stream.getvalue())
        self.written += 1
        return place

    def close(self) -> None:
        """Release the graph."""
        if self._mapper is not None:
            self._mapper.close()
            self._mapper = None

    def __enter__(self) -> Explainer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _load(self, options: InputOverrides, trust: bool) -> ActivationMapper | None:
        from tlcli.core.evaluation.activation_maps import ActivationMapper, NoActivationMapError

        try:
            return ActivationMapper.for_classifier(
                self._classifier, options, trust=trust, allow_tensorflow=True
            )
        except NoActivationMapError as error:
            self._warn(error)
            return None

    def _activation(self, prediction: Prediction) -> np.ndarray[Any, Any] | None:
        from tlcli.core.evaluation.activation_maps import NoActivationMapError

        if self._mapper is None or prediction.label is None:
            return None
        try:
            batch = self._classifier.read(prediction.image)
            found: np.ndarray[Any, Any] = self._mapper.maps(
                batch, [self._numbers[prediction.label]]
            )[0]
        except ImageError:
            return None
        except NoActivationMapError as error:
            self._warn(error)
            self.close()
            return None
        return found

    def _warn(self, error: GraphError) -> None:
        _log.warning(
            "%s gives no heat maps: %s; the pictures show the scores alone",
            self._classifier.graph,
            error,
        )

    def _name(self, image: str) -> str:
        """Return a name of the picture's own; images of one name in two folders get numbers."""
        stem = Path(image).stem[:80]
        name, number = stem + SUFFIX, 2
        while name.casefold() in self._taken:
            name = f"{stem}-{number}{SUFFIX}"
            number += 1
        self._taken.add(name.casefold())
        return name


def draw(
    image: Image.Image,
    activation: np.ndarray[Any, Any] | None,
    scores: Sequence[tuple[str, float]],
    numbers: dict[str, int],
) -> Image.Image:
    """Return the image, its heat map where there is one, and the scores, side by side.

    Args:
        image: RGB, at most `SIDE` pixels on a side.
        activation: [h, w], or None.
        scores: (label, score), best first.
        numbers: of labels, for one that no font here can spell.
    """
    from PIL import Image, ImageDraw

    from tlcli.core.evaluation.activation_maps import overlay

    pictures = [image] if activation is None else [image, overlay(image, activation)]
    rows = _ROW * len(scores) + (0 if activation is None else 2 * _FONT_SIZE)
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
        spelled, font = _spelled(label, numbers.get(label, 0))
        figure = _font(percent)
        assert figure is not None
        end = left + PANEL
        room = PANEL - pen.textlength(percent, font=figure) - MARGIN
        pen.text(
            (left, top + 17), _cut(pen, spelled, font, room), fill=_TEXT, font=font, anchor="ls"
        )
        pen.text((end, top + 17), percent, fill=_TEXT, font=figure, anchor="rs")
        bar = (left, top + 24, end, top + 32)
        pen.rectangle(bar, fill=_GROUND)
        part = min(max(score, 0.0), 1.0)
        if part * PANEL >= 1:
            pen.rectangle((left, top + 24, left + part * PANEL, top + 32), fill=_BAR)
        top += _ROW
    if activation is not None and scores:
        spelled, font = _spelled(scores[0][0], numbers.get(scores[0][0], 0))
        spelled = f"heat: {spelled}"
        pen.text(
            (left, top + 17), _cut(pen, spelled, font, PANEL), fill=_SOFT, font=font, anchor="ls"
        )
    return canvas


def _spelled(text: str, number: int) -> tuple[str, Any]:
    """Return what is drawn for a text, and the font that has its letters."""
    shown = printable(unicodedata.normalize("NFC", text))
    font = _font(shown)
    if font is not None:
        return shown, font
    _say_once(text)
    instead = f"label {number + 1}"
    return instead, _font(instead)


@lru_cache(maxsize=4096)
def _say_once(text: str) -> None:
    _log.warning("no font on this machine can spell %r; pictures show the label's number", text)


def _cut(pen: Any, text: str, font: Any, room: float) -> str:
    if pen.textlength(text, font=font) <= room:
        return text
    while text and pen.textlength(text + "...", font=font) > room:
        text = text[:-1]
    return text + "..."


@lru_cache(maxsize=4096)
def _font(text: str) -> Any | None:
    """Return the first font that has every letter of ``text``, or None."""
    for font in (_own_font(), *_system_fonts()) if not text.isascii() else (_own_font(),):
        if _has_all(font, text):
            return font
    return None


@lru_cache(maxsize=1)
def _own_font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(_FONT_SIZE)


@lru_cache(maxsize=1)
def _system_fonts() -> tuple[Any, ...]:
    from PIL import ImageFont

    places: dict[str, Path] = {}
    for folder in _FONT_FOLDERS:
        for place in Path(folder).expanduser().rglob("*.[to]t[fc]"):
            places.setdefault(place.name, place)
    fonts = []
    for name in _FONT_NAMES:
        if name in places:
            try:
                fonts.append(ImageFont.truetype(str(places[name]), _FONT_SIZE))
            except OSError:
                _log.debug("%s is no font", places[name])
    return tuple(fonts)


def _has_all(font: Any, text: str) -> bool:
    # What a font draws for a code that can never be a letter.
    missing = bytes(font.getmask("\U0010ffff"))
    return all(
        letter.isspace() or letter.isascii() or bytes(font.getmask(letter)) != missing
        for letter in set(text)
    )
