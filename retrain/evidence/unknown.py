"""How the graph of a run tells unknown images, and how many known ones it rejects."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrain.fitting import samples
from retrain.inputs import Inputs
from tlcli.core.final_layer.samples import Samples
from tlcli.core.unknown.fitting import FALSE_REJECTS, fit_unknown
from tlcli.core.unknown.model import THRESHOLD, UnknownModel
from tlcli.core.unknown.reading import to_card
from tlcli.runtime.watchdog import first_line
from tlcli.text import counted

logger = logging.getLogger("tlcli")

PART_OF_GRAPH = 0.08
"""Bytes of the block at most, relative to the graph: its file grows by less than a tenth."""
# Characters of paths in a model card; without them there is no nearest image.
_LONGEST_PATHS = 1 << 20


@dataclass(frozen=True)
class UnknownImages:
    """A fitted score of unknown images.

    Attributes:
        model: its numbers.
        images: that it was fitted to.
        nearest: path of each reference; empty where these would make the card too long.
        tested: test images.
        rejected: those of them that it takes for unknown.
    """

    model: UnknownModel
    images: int
    nearest: tuple[str, ...]
    tested: int
    rejected: int

    @property
    def sentence(self) -> str:
        """How often known images are taken for unknown."""
        aim = f"{FALSE_REJECTS:.0%} of the training images are above it when each is held out"
        if not self.tested:
            return f"{aim}."
        share = self.rejected / self.tested
        return f"{aim}; of {counted(self.tested, 'test image')}, {self.rejected} are ({share:.1%})."

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        return {
            "threshold": THRESHOLD,
            "images": self.images,
            "references": len(self.model.rows),
            "bytes": self.model.nbytes,
            "test": {"count": self.tested, "rejected": self.rejected},
        }

    def to_card(self) -> dict[str, Any]:
        """Return what the model card keeps."""
        kept = to_card(self.model, self.nearest) if self.nearest else {}
        return {**self.to_dict(), "nearest": kept}


def learn_unknown(inputs: Inputs, graph_bytes: int, tuned: bool) -> UnknownImages | None:
    """Return the score of a run; None where images, or the bytes of its graph, are too few.

    Args:
        inputs: vectors as the exported graph computes them.
        graph_bytes: size of the graph without it.
        tuned: the network was trained on the training images, so that the validation images set
            the threshold.
    """
    part = inputs.part("training")
    groups: dict[str, int] = {}
    contents = [
        groups.setdefault(content or f"row {row}", len(groups))
        for row, content in enumerate(inputs.contents[part])
    ]
    training = Samples(
        inputs.vectors[part], inputs.targets[part], groups=np.array(contents, np.intp)
    )
    try:
        model = fit_unknown(
            training,
            inputs.blocks,
            int(PART_OF_GRAPH * graph_bytes),
            samples(inputs, "validation") if tuned else None,
        )
        if model is None:
            return None
        scores, _ = model.scores(samples(inputs, "testing"))
    except Exception as error:
        # The graph must not be lost for it, whatever a library makes of odd numbers.
        logger.warning("The graph gets no score of unknown images: %s", first_line(error))
        return None
    paths = tuple(inputs.images[part.start + int(row)].shown for row in model.rows)
    fits = sum(map(len, paths)) <= _LONGEST_PATHS
    rejected = int((scores > THRESHOLD).sum())
    return UnknownImages(model, len(training), paths if fits else (), len(scores), rejected)
