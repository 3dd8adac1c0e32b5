"""Predictions as text, JSON, JSON lines or CSV, written one at a time."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TextIO

from tlcli.core.classifier.classifier import Prediction
from tlcli.spreadsheet import CsvRows
from tlcli.text import printable

NAMES = ("text", "json", "jsonl", "csv")

_BOLD, _DIM, _GREEN, _YELLOW, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[0m"


@dataclass(frozen=True)
class OutputStyle:
    """How predictions are written.

    Attributes:
        format: one of `NAMES`.
        top_k: labels per image.
        threshold: lower scores are not written.
        colour: "text" is for a terminal with colours.
        spreadsheet: "csv" is for a spreadsheet; see `tlcli.spreadsheet`.
    """

    format: str = "text"
    top_k: int = 5
    threshold: float = 0.0
    colour: bool = False
    spreadsheet: bool = False


class Writer(ABC):
    """Writes predictions to a stream as they come."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started = False

    @abstractmethod
    def write(self, prediction: Prediction) -> None:
        """Write one prediction."""

    def close(self) -> None:
        """Write what follows the last prediction."""
        self._stream.flush()


def make_writer(style: OutputStyle, stream: TextIO, single: bool = False) -> Writer:
    """Return the writer of a style's format and kind; the caller selects the scores.

    For a ``single`` image, "text" omits the path.
    """
    if style.format == "csv":
        return CsvWriter(stream, style.spreadsheet)
    if style.format == "jsonl":
        return JsonLinesWriter(stream)
    if style.format == "json":
        return JsonWriter(stream)
    return TextWriter(stream, single, style.colour)


def as_dict(prediction: Prediction) -> dict[str, Any]:
    """Return the JSON object of a prediction."""
    if prediction.error is not None:
        return {"image": prediction.image, "error": prediction.error}
    scores = [{"label": score.label, "score": score.score} for score in prediction.scores]
    return {"image": prediction.image, "predictions": scores}


class TextWriter(Writer):
    """``daisy (score=0.99123)``, best first; with several images, each below its path.

    Images with an error have no scores and are left out. With colour the best label is green, or
    yellow when its score is below one half, and the others are dim. Control characters in names
    are escaped: they would break lines, or control the terminal.
    """

    def __init__(self, stream: TextIO, single: bool, colour: bool = False) -> None:
        super().__init__(stream)
        self._single = single
        self._colour = colour

    def write(self, prediction: Prediction) -> None:
        """Write one prediction."""
        if prediction.error is not None:
            return
        indent = ""
        if not self._single:
            path = self._painted(printable(prediction.image), _BOLD)
            self._stream.write(f"\n{path}\n" if self._started else f"{path}\n")
            indent = "  "
        for rank, score in enumerate(prediction.scores):
            best = _GREEN if score.score >= 0.5 else _YELLOW
            line = f"{printable(score.label)} (score={score.score:.5f})"
            self._stream.write(f"{indent}{self._painted(line, _DIM if rank else best)}\n")
        self._started = True
        self._stream.flush()

    def _painted(self, text: str, code: str) -> str:
        return f"{code}{text}{_PLAIN}" if self._colour else text


class JsonLinesWriter(Writer):
    """One JSON object per line, flushed at once."""

    def write(self, prediction: Prediction) -> None:
        """Write one prediction."""
        self._stream.write(_json(as_dict(prediction)) + "\n")
        self._stream.flush()


class JsonWriter(Writer):
    """A list of objects, also for one image; one object per line."""

    def write(self, prediction: Prediction) -> None:
        """Write one prediction."""
        self._stream.write((",\n" if self._started else "[\n") + _json(as_dict(prediction)))
        self._started = True

    def close(self) -> None:
        """Close the list."""
        self._stream.write("\n]\n" if self._started else "[]\n")
        super().close()


class CsvWriter(Writer):
    """``image,label,score,rank,error``: one row per label, and one for an image without labels."""

    def __init__(self, stream: TextIO, spreadsheet: bool = False) -> None:
        super().__init__(stream)
        self._rows = CsvRows(stream, spreadsheet)
        self._rows.write(["image", "label", "score", "rank", "error"])

    def write(self, prediction: Prediction) -> None:
        """Write one prediction."""
        for rank, score in enumerate(prediction.scores, 1):
            self._rows.write([prediction.image, score.label, score.score, rank, ""])
        if not prediction.scores:
            self._rows.write([prediction.image, "", "", "", prediction.error or ""])
        self._stream.flush()


def _json(value: dict[str, Any]) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # A file name that is not UTF-8: escaped, it is valid JSON and can be decoded.
        return json.dumps(value)
    return text
