"""Frames of one film: photos that follow one another by name and look alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tlcli.arrays import Floats, Indices

FEWEST = 3
"""Photos in a row that make a film."""
# Cosine of the vectors' directions and correlation of coarse thumbnails from one to the next.
_ALIKE, _CORRELATED = 0.7, 0.5
_DIGITS = re.compile(r"[0-9]+")
_MOST_DIGITS = 20


def films(
    paths: Sequence[str], targets: Indices, directions: Floats, thumbnails: Floats
) -> list[Indices]:
    """Return runs of at least `FEWEST` photos of one label, in the order of their names.

    Args:
        paths: of the photos, [N].
        targets: index of each label, [N].
        directions: of the vectors, length 1, float32 [N, A].
        thumbnails: centred, length 1, float32 [N, P].
    """
    order = sorted(range(len(paths)), key=lambda row: (targets[row], natural(paths[row])))
    if not order:
        return []
    one, next_one = np.array(order[:-1], np.intp), np.array(order[1:], np.intp)
    alike = targets[one] == targets[next_one]
    alike &= np.einsum("nd,nd->n", directions[one], directions[next_one]) > _ALIKE
    alike &= np.einsum("nd,nd->n", thumbnails[one], thumbnails[next_one]) > _CORRELATED
    runs, run = [], [order[0]]
    for follows, row in zip(alike.tolist(), order[1:], strict=True):
        if not follows:
            runs.append(run)
            run = []
        run.append(row)
    runs.append(run)
    return [np.array(run, np.intp) for run in runs if len(run) >= FEWEST]


def natural(path: str) -> str:
    """Return a key that sorts frame_9 before frame_10."""
    return _DIGITS.sub(lambda found: found[0].zfill(_MOST_DIGITS), path)
