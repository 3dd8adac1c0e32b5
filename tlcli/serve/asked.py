"""What a request asks for beside its body: the type of the body, and the query of the address."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tlcli.serve.limits import RequestError

MOST_LABELS = 100
"""Per image, as for ``--top_k``."""

# What curl and other clients send unless a type is given.
_FORM = "application/x-www-form-urlencoded"
_UNSPECIFIC = ("", "application/octet-stream", _FORM)
BY_CURL = "curl --data-binary @photo.jpg"
"""Sends a file as it is; -d leaves its line ends out."""


@dataclass(frozen=True)
class Shown:
    """Which labels of an image are returned.

    Attributes:
        top_k: how many, best first; None: five, or of several labels per image all that reach
            their thresholds.
        threshold: lower scores are left out, and an image without any other is unsure; None:
            no score is left out, also none below 0.
    """

    top_k: int | None = None
    threshold: float | None = None


class Query:
    """The parameters of an address, checked; others are ignored."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given

    def shown(self, default: Shown) -> Shown:
        """Return ``top_k`` and ``threshold``.

        Raises:
            RequestError: 400.
        """
        top_k = self._whole("top_k", 1, MOST_LABELS)
        threshold = self._given.get("threshold")
        return Shown(
            default.top_k if top_k is None else top_k,
            default.threshold if threshold is None else _number(threshold),
        )

    def index(self, name: str, count: int) -> int | None:
        """Return a parameter that is the index of one of ``count`` labels, None if it is absent.

        Raises:
            RequestError: 400.
        """
        return self._whole(name, 0, count - 1)

    def _whole(self, name: str, low: int, high: int) -> int | None:
        text = self._given.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            raise RequestError(400, f"{name} is {text[:20]!r}; give {low} to {high}")
        return int(text)


def is_image_type(headers: Mapping[str, str]) -> bool:
    """Return whether a body is declared to be an image file."""
    return _media_type(headers).startswith("image/")


def check_image_type(headers: Mapping[str, str]) -> None:
    """Refuse a body that is declared to be anything but one file; what it is, its bytes show.

    Raises:
        RequestError: 415.
    """
    found = _media_type(headers)
    if found in _UNSPECIFIC or found.startswith("image/"):
        return
    if found == "application/json":
        raise RequestError(
            415,
            "this address takes the bytes of one image file; send JSON to /v1/models/NAME:predict",
        )
    raise RequestError(
        415,
        f"this address takes the bytes of one image file, not {_shown(found)}; with curl: "
        f"{BY_CURL}",
    )


def hint_of_form(headers: Mapping[str, str]) -> str:
    """Return what to add to the error for an image, or "": ``curl -d`` changes files."""
    return f"; with curl: {BY_CURL} (-d changes it)" if _media_type(headers) == _FORM else ""


def check_json_type(headers: Mapping[str, str]) -> None:
    """Refuse a body that is declared to be a form with files, or another kind of file.

    Any other type is accepted, as TensorFlow Serving does: clients declare JSON as text or form.

    Raises:
        RequestError: 415.
    """
    found = _media_type(headers)
    if found.partition("/")[0] in ("multipart", "audio", "video", "font"):
        raise RequestError(
            415,
            f"this address takes JSON, or one image file with its type, not {_shown(found)}; "
            f"with curl: {BY_CURL} -H 'Content-Type: image/jpeg'",
        )


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _shown(media_type: str) -> str:
    kind = media_type[:60]
    return kind if kind.isascii() and kind.isprintable() else "that"


def _number(text: str) -> float:
    """Return a threshold: a number, or a percentage such as 80%."""
    percent = text.endswith("%")
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RequestError(400, f"threshold is {text[:20]!r}; give a number such as 0.8")
    return value / 100 if percent else value
