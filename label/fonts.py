"""Fonts for labels of every script: Pillow's own, then those of the system."""

from __future__ import annotations

import functools
import logging
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tlcli.text import printable

_log = logging.getLogger("tlcli")

FONT_SIZE = 16
FONT_FOLDERS = (
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
    *("/System/Library/Fonts", "/Library/Fonts", "C:/Windows/Fonts"),
)
# Tried in this order where Pillow's own font lacks a letter.
_FONT_NAMES = (
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKkr-Regular.otf", "NotoSansCJKjp-Regular.otf"),
    *("NanumGothic.ttf", "DroidSansFallbackFull.ttf", "unifont.otf", "unifont.ttf"),
    *("AppleSDGothicNeo.ttc", "Hiragino Sans GB.ttc", "Arial Unicode.ttf", "malgun.ttf"),
    *("meiryo.ttc", "msyh.ttc", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "segoeui.ttf"),
)


class Fonts:
    """The fonts of this machine, loaded when a text needs them.

    Args:
        folders: searched for system fonts; missing ones are skipped.
    """

    def __init__(self, folders: Iterable[str] = FONT_FOLDERS) -> None:
        self._folders = tuple(folders)
        self._found: dict[str, Any | None] = {}
        self._warned: set[str] = set()

    def of_label(self, label: str, number: int) -> tuple[str, Any]:
        """Return the text to draw for a label, and a font with all of its letters.

        Without such a font the text is the label's ``number``, which counts from 0; a warning
        names the label once.
        """
        shown = printable(unicodedata.normalize("NFC", label))
        font = self.of(shown)
        if font is not None:
            return shown, font
        if label not in self._warned:
            self._warned.add(label)
            _log.warning(
                "no font on this machine has all letters of %r; pictures show the label's number",
                label,
            )
        return f"label {number + 1}", self._own

    def of(self, text: str) -> Any | None:
        """Return the first font that has every letter of ``text``, or None."""
        if text not in self._found:
            fonts = (self._own,) if text.isascii() else (self._own, *self._system)
            self._found[text] = next((font for font in fonts if _has_all(font, text)), None)
        return self._found[text]

    @functools.cached_property
    def _own(self) -> Any:
        from PIL import ImageFont

        return ImageFont.load_default(FONT_SIZE)

    @functools.cached_property
    def _system(self) -> tuple[Any, ...]:
        from PIL import ImageFont

        paths: dict[str, Path] = {}
        for folder in self._folders:
            for path in Path(folder).expanduser().rglob("*.[to]t[fc]"):
                paths.setdefault(path.name, path)
        fonts = []
        for name in _FONT_NAMES:
            if name in paths:
                try:
                    fonts.append(ImageFont.truetype(str(paths[name]), FONT_SIZE))
                except OSError:
                    _log.debug("%s is no font", paths[name])
        return tuple(fonts)


def _has_all(font: Any, text: str) -> bool:
    # The glyph of a code point that can never be a letter.
    missing = bytes(font.getmask("\U0010ffff"))
    return all(
        letter.isspace() or letter.isascii() or bytes(font.getmask(letter)) != missing
        for letter in set(text)
    )
