"""Odd photos: black, white, blurred, tiny, of an extreme shape, or unlike all others.

Whether a photo is turned by a quarter is not reported: aerial photos, textures and close-ups look
the same from all sides, and vectors do not show it reliably, as `benchmarks.check` measures.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tlcli.arrays import Array, Doubles, Floats
from tlcli.core.photos.facts import Facts

TINY = 64
"""Pixels of the shorter side, below which a photo is reported."""
EXTREME = 4.0
"""Times that one side is longer than the other, above which a photo is reported."""
_DARK, _BRIGHT, _FLAT = 14.0, 241.0, 8.0
# Below this sharpness, and this far below that of most of the photos.
_BLURRED, _LESS_THAN_MOST = -5.0, 2.5
# Deviations below the usual nearness, and nearness itself, below which a photo is far from all.
_DEVIATIONS, _NORMAL, _NEAR_ENOUGH = 4.0, 1.4826, 0.3
_NEIGHBOURS = 3


def odd_photos(facts: Facts, cosines: Floats | None = None) -> Iterator[tuple[int, str]]:
    """Yield rows with the reason why they are odd, by row; only the most serious one of each.

    Args:
        facts: of N images.
        cosines: of the angles to the nearest photos, nearest first, [N, K]; NaN where unknown.
    """
    reasons: dict[int, str] = {}

    def add(found: Array, text: str) -> None:
        for row in np.flatnonzero(found & facts.known).tolist():
            reasons.setdefault(row, text)

    grey = (facts.column("red") + facts.column("green") + facts.column("blue")) / 3
    deviation, sharpness = facts.column("deviation"), facts.column("sharpness")
    short = np.minimum(facts.column("width"), facts.column("height"))
    ratio = np.maximum(facts.column("width"), facts.column("height")) / np.maximum(short, 1)
    flat = deviation < _FLAT
    add(flat & (grey < _DARK), "almost black")
    add(flat & (grey > _BRIGHT), "almost white")
    add(deviation < _FLAT / 2, "one colour")
    add(short < TINY, f"a side below {TINY} pixels")
    add(ratio > EXTREME, f"one side more than {EXTREME:g} times the other")
    usual = float(np.median(sharpness[facts.known & ~flat])) if (facts.known & ~flat).any() else 0.0
    add((sharpness < _BLURRED) & (sharpness < usual - _LESS_THAN_MOST), "blurred")
    if cosines is not None and cosines.shape[1]:
        add(far_from_all(cosines), "unlike all other photos")
    yield from sorted(reasons.items())


def far_from_all(cosines: Floats) -> Array:
    """Return which photos are much farther from their nearest ones than others are, bool [N].

    Args:
        cosines: of the angles to the nearest photos, nearest first, [N, K]; NaN where unknown.
    """
    nearness: Doubles = cosines[:, :_NEIGHBOURS].mean(axis=1, dtype=np.float64)
    known = nearness[np.isfinite(nearness)]
    if not len(known):
        return np.zeros(len(cosines), np.bool_)
    middle = float(np.median(known))
    spread = _NORMAL * float(np.median(np.abs(known - middle)))
    limit = min(_NEAR_ENOUGH, middle - _DEVIATIONS * spread)
    found: Array = nearness < limit
    return found
