"""Shards that could not be done, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tlcli.text import counted

_LISTED = 20


@dataclass(frozen=True)
class SetAside:
    """A shard that could not be done.

    Attributes:
        shard: its number in the plan.
        first: name of its first image.
        last: name of its last image.
        images: how many it has.
        reason: why.
    """

    shard: int
    first: str
    last: str
    images: int
    reason: str

    def sentence(self) -> str:
        """Return the shard and the reason."""
        images = counted(self.images, "image")
        return f"shard {self.shard} ({images}, {self.first} to {self.last}): {self.reason}"


def listed(found: Sequence[SetAside]) -> list[str]:
    """Return a line for each shard that was set aside, and how many more there are."""
    lines = [f"Set aside: {each.sentence()}" for each in found[:_LISTED]]
    if len(found) > _LISTED:
        lines.append(f"Set aside: {len(found) - _LISTED} more")
    return lines
