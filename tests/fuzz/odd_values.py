"""Values that kernels meet rarely: what the fuzzers of model files put in place of sound ones."""

from __future__ import annotations

import random

INTEGERS = (
    *(-(1 << 31), -(1 << 31) + 1, -1000, -8, -2, -1, 0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 64, 127),
    *(128, 255, 256, 1000, 4096, 65535, 65536, 1 << 20, 1 << 24, 1 << 30, (1 << 31) - 1),
)
FLOATS = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 255.0, 1e-45, 1e-20, 1e20, 3.4e38, -3.4e38),
    *(float("inf"), float("-inf"), float("nan")),
)
TEXTS = (
    "",
    "SAME",
    "VALID",
    "EXPLICIT",
    "NCHW",
    "NHWC",
    "NHWC_VECT_C",
    "REFLECT",
    "ij,jk->ik",
    "\0",
)


def integer(chance: random.Random, sound: int = 1) -> int:
    """Return an odd integer, or one beside a sound one."""
    if chance.random() < 0.3:
        return sound + chance.randint(-3, 3)
    return chance.choice(INTEGERS)


def integers(chance: random.Random, sound: list[int]) -> list[int]:
    """Return a list like a sound one with one value changed, or another length."""
    found = list(sound)
    kind = chance.random()
    if kind < 0.6 and found:
        at = chance.randrange(len(found))
        found[at] = integer(chance, found[at])
    elif kind < 0.75 and found:
        del found[chance.randrange(len(found))]
    elif kind < 0.9:
        found.insert(chance.randint(0, len(found)), integer(chance))
    else:
        found = [chance.choice(INTEGERS) for _ in range(chance.randint(0, 6))]
    return found
