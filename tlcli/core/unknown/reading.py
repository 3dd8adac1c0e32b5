"""What a graph with a score of unknown images says of an image."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.core.unknown.model import THRESHOLD, UnknownModel, nearest_reference
from tlcli.text import counted


@dataclass(frozen=True)
class Unknown:
    """How unlike the training images of its graph an image is.

    Attributes:
        score: 0 for a typical training image.
        threshold: an image with a higher score is like none of them.
        nearest: path of the training image that it is most like; None where that is not known.
        images: how many trained the graph; None where that is not known.
    """

    score: float
    threshold: float
    nearest: str | None = None
    images: int | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether the score is above the threshold."""
        return self.score > self.threshold

    @property
    def sentence(self) -> str:
        """``unknown (nothing like it among 397 training photos; nearest: PATH)``."""
        among = (
            "the training photos" if self.images is None else counted(self.images, "training photo")
        )
        nearest = "" if self.nearest is None else f"; nearest: {self.nearest}"
        return f"unknown (nothing like it among {among}{nearest})"

    def to_dict(self) -> dict[str, Any]:
        """Return score, threshold and nearest image as JSON types."""
        return {"score": self.score, "threshold": self.threshold, "nearest": self.nearest}


@dataclass(frozen=True)
class UnknownReader:
    """Reads the rows that a graph with all its outputs in one tensor gives.

    Attributes:
        labels: L, how many scores come first.
        references: of training images, [M, P]; see `UnknownModel`. None where they are not known.
        paths: of these images, M of them.
        images: that trained the graph; None where that is not known.
    """

    labels: int
    references: Array | None = None
    paths: tuple[str, ...] = ()
    images: int | None = None

    @classmethod
    def of_card(cls, labels: int, facts: Mapping[str, Any]) -> UnknownReader:
        """Return the reader for a graph, with what its model card has of training images."""
        images = facts.get("images")
        known = images if isinstance(images, int) else None
        try:
            paths = tuple(map(str, facts["nearest"]["paths"]))
            values = base64.b64decode(facts["nearest"]["references"], validate=True)
            references = np.frombuffer(values, "<f2").reshape(len(paths), -1)
        except (KeyError, TypeError, ValueError):  # none, or changed by hand
            return cls(labels, images=known)
        return cls(labels, references, paths, known)

    def joined(self, given: Array, scored: Callable[[Array], Array]) -> Array:
        """Return float32 [n, L + 1 + P]: scores, unknown score, y.

        Args:
            given: the same, see `tlcli.core.unknown.model.ALL_OUTPUTS`.
            scored: makes scores [n, L] of the first L columns.
        """
        return np.column_stack([scored(given[:, : self.labels]), given[:, self.labels :]])

    def outcome(self, row: Array) -> Unknown:
        """Return what a row of `joined` says."""
        score, place = float(str(np.float32(row[self.labels]))), row[self.labels + 1 :]
        nearest = None
        if self.references is not None and self.references.shape[1] == len(place):
            nearest = self.paths[nearest_reference(place, self.references)]
        return Unknown(score, THRESHOLD, nearest, self.images)


def to_card(model: UnknownModel, paths: Sequence[str]) -> dict[str, Any]:
    """Return what a model card keeps of the references of a model, as JSON types.

    Args:
        model: with M references.
        paths: of these images.
    """
    values = np.ascontiguousarray(model.references, "<f2").tobytes()
    return {"paths": list(paths), "references": base64.b64encode(values).decode("ascii")}
