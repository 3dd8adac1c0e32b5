"""What came out of a fine-tuning, as figures and as a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tlcli.arrays import Floats
from tlcli.backbone import Backbone
from tlcli.core.final_layer.sgd import FinalLayer

PARTS = {
    "all": "all weights from the first third of the network on",
    "head_blocks": "the last third of the network",
}
"""What is trained, for people, by name."""


@dataclass(frozen=True)
class FineTuned:
    """What came out of a fine-tuning.

    Attributes:
        kept: whether the fine-tuned network is used.
        before: validation cross entropy of the frozen network, at its best temperature; None
            without validation images.
        after: that of the fine-tuned one; None where nothing was trained, too.
        part: "all", "head_blocks", or "none" where nothing was trained.
        share: of the end of the training in the average with its start.
        refitted: whether the final layer was fitted again on the new vectors.
        seconds_per_epoch: of the training; None where it was finished by an earlier run.
        backbone: to use from now on; beside a partner the one whose vectors come first.
        layer: the final layer for it; beside a partner for the vectors of both.
        vectors: of all photos, float32 [N, D], or [N, D + P] beside a partner.
        gains: whether the validation images show that the training helped.
        tried: validation cross entropy by part, of each that "auto" trained.
    """

    kept: bool
    before: float | None
    after: float | None
    part: str
    share: float
    refitted: bool
    seconds_per_epoch: float | None
    backbone: Backbone
    layer: FinalLayer
    vectors: Floats
    gains: bool = False
    tried: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        names = ("kept", "before", "after", "part", "share", "refitted", "seconds_per_epoch")
        found = {name: getattr(self, name) for name in names}
        return {**found, "tried": dict(self.tried)}

    def sentence(self) -> str:
        """Return what was found and done, in one sentence."""
        if self.before is not None and self.part == "none":
            return (
                f"Not fine-tuned: a validation cross entropy of {self.before:.3f} leaves nothing "
                "to gain"
            )
        what = PARTS[self.part]
        if self.before is None or self.after is None:
            return f"Fine-tuned {what}; without validation images, nothing shows what it gained"
        figures = f"validation cross entropy {self.before:.3f} before, {self.after:.3f} after"
        others = [
            f"{entropy:.3f} with {PARTS[part]}"
            for part, entropy in self.tried.items()
            if part != self.part
        ]
        if others:
            figures += f" ({', '.join(others)})"
        if self.kept:
            return f"Fine-tuned {what}: {figures}"
        return f"Fine-tuning of {what} is not kept: {figures}"
