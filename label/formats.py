"""Predictions as text, JSON, JSON lines or CSV, written one at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from tlcli.spreadsheet import CsvRows
from tlcli.text import printable

if TYPE_CHECKING:
    from tlcli.core.classifier.outputs import Prediction

_BOLD, _DIM, _GREEN, _YELLOW, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[0m"


LABELS_SHOWN = 5
"""Labels per image, unless another number is asked for."""


@dataclass(frozen=True)
class OutputStyle:
    """How predictions are written.

    Attributes:
        format: one of `FORMATS`.
        top_k: labels per image; None: `LABELS_SHOWN`, or of a graph with several labels per image
            all that reach their thresholds.
        threshold: lower scores are not written; None: all are.
        colour: "text" is for a terminal with colours.
        spreadsheet: "csv" is for a spreadsheet; see `tlcli.spreadsheet`.
        unknown: predictions say whether an image is unknown.
        suggest: only so many images are written, those to label next; None: all are.
    """

    format: str = "text"
    top_k: int | None = None
    threshold: float | None = None
    colour: bool = False
    spreadsheet: bool = False
    suggest: int | None = None
    unknown: bool = False

    def shown(self, prediction: Prediction) -> Prediction:
        """Return a prediction with the scores that are written."""
        top_k = self.top_k
        if top_k is None and prediction.thresholds is None:
            top_k = LABELS_SHOWN
        return prediction.top(top_k, self.threshold)


class Writer:
    """Writes predictions to a stream as they come.

    Args:
        stream: where to write.
        style: of the output; the caller selects the scores.
        single: there is one image only, whose path "text" omits.
    """

    def __init__(self, stream: TextIO, style: OutputStyle, single: bool) -> None:
        self._stream, self._style, self._single = stream, style, single
        self._started = False

    def write(self, prediction: Prediction) -> None:
        """Write one prediction."""
        self._write(prediction)
        self._stream.flush()

    def close(self) -> None:
        """Write what follows the last prediction."""
        self._stream.flush()

    def _write(self, prediction: Prediction) -> None:
        raise NotImplementedError


class TextWriter(Writer):
    """``daisy (score=0.99123)``, best first; with several images, each below its path.

    An image without a score that reaches the threshold has the line ``unsure (best: daisy,
    0.913)``, and one like no training image first the line ``unknown (nothing like it ...)``.
    Images with an error have no scores and are left out. With colour the best label is green, or
    yellow when it is unsure, unknown or its score is below one half, and the others are dim.
    Control characters in names are escaped: they would break lines, or control the terminal.
    """

    def _write(self, prediction: Prediction) -> None:
        if prediction.error is not None:
            return
        indent = ""
        if not self._single:
            path = self._painted(printable(prediction.image), _BOLD)
            self._stream.write(f"\n{path}\n" if self._started else f"{path}\n")
            indent = "  "
        unknown = prediction.is_unknown
        if prediction.unknown is not None and unknown:
            line = printable(prediction.unknown.sentence)
            self._stream.write(f"{indent}{self._painted(line, _YELLOW)}\n")
        for rank, score in enumerate(prediction.scores):
            best = _GREEN if score.score >= 0.5 and not unknown else _YELLOW
            line = f"{printable(score.label)} (score={score.score:.5f})"
            self._stream.write(f"{indent}{self._painted(line, _DIM if rank else best)}\n")
        line = printable(unsure_text(prediction, self._style.threshold))
        if line:
            self._stream.write(f"{indent}{self._painted(line, _YELLOW)}\n")
        self._started = True

    def _painted(self, text: str, code: str) -> str:
        return f"{code}{text}{_PLAIN}" if self._style.colour else text


class JsonLinesWriter(Writer):
    """One JSON object per line."""

    def _write(self, prediction: Prediction) -> None:
        self._stream.write(_json(prediction) + "\n")


class JsonWriter(Writer):
    """A list of objects, also for one image; one object per line."""

    def _write(self, prediction: Prediction) -> None:
        self._stream.write((",\n" if self._started else "[\n") + _json(prediction))
        self._started = True

    def close(self) -> None:
        """Close the list."""
        self._stream.write("\n]\n" if self._started else "[]\n")
        super().close()


class CsvWriter(Writer):
    """``image,label,score,rank,error``: one row per label, and one for an image without labels.

    The reason why there are none is in the column "error". An image without a score that reaches
    the threshold is no error: its row has the path alone. Where unknown images are asked for, every
    row ends with ``unknown`` (yes or no), ``unknown_score`` and ``nearest``.
    """

    def __init__(self, stream: TextIO, style: OutputStyle, single: bool) -> None:
        super().__init__(stream, style, single)
        self._rows = CsvRows(stream, style.spreadsheet)
        more = ["unknown", "unknown_score", "nearest"] if style.unknown else []
        self._rows.write(["image", "label", "score", "rank", "error", *more])

    def _write(self, prediction: Prediction) -> None:
        for rank, score in enumerate(prediction.scores, 1):
            row: list[Any] = [prediction.image, score.label, score.score, rank, ""]
            self._rows.write([*row, *self._unknown(prediction)])
        if not prediction.scores:
            row = [prediction.image, "", "", "", prediction.error or ""]
            self._rows.write([*row, *self._unknown(prediction)])

    def _unknown(self, prediction: Prediction) -> list[Any]:
        if not self._style.unknown:
            return []
        found = prediction.unknown
        if found is None:  # an error
            return ["", "", ""]
        return ["yes" if found.is_unknown else "no", found.score, found.nearest or ""]


FORMATS = {"text": TextWriter, "json": JsonWriter, "jsonl": JsonLinesWriter, "csv": CsvWriter}
"""The writer of each format."""


def unsure_text(prediction: Prediction, threshold: float | None) -> str:
    """Return ``unsure (best: daisy, 0.913)``; "" for a prediction that is not unsure.

    The score has three decimals, or as many as show that it is below the threshold.
    """
    best = prediction.unsure
    if best is None:
        return ""
    if threshold is None and prediction.thresholds is not None:
        threshold = prediction.thresholds[best.label]
    digits = 3
    # 0.9996 must not read as 1.000 where the threshold is 0.9999.
    while digits < 9 and threshold is not None and float(f"{best.score:.{digits}f}") >= threshold:
        digits += 1
    return f"unsure (best: {best.label}, {best.score:.{digits}f})"


def _json(prediction: Prediction) -> str:
    """Return the JSON object of a prediction."""
    value: dict[str, Any] = {"image": prediction.image}
    if prediction.error is not None:
        value["error"] = prediction.error
    else:
        scores = [{"label": score.label, "score": score.score} for score in prediction.scores]
        value["predictions"] = scores
        if prediction.unsure is not None:
            value["best"] = {"label": prediction.unsure.label, "score": prediction.unsure.score}
        if prediction.unknown is not None:
            value["unknown"] = prediction.unknown.to_dict()
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # A file name that is not UTF-8: escaped, it is valid JSON and can be decoded.
        return json.dumps(value)
    return text
