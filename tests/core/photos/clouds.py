"""Labelled vectors in clouds, with wrong labels among them."""

from __future__ import annotations

import numpy as np

from tlcli.arrays import Floats, Indices


def clouds(per_label: int, labels: int, size: int = 12, seed: int = 0) -> tuple[Floats, Indices]:
    """Return vectors [N, size] in one cloud per label, and their labels, [N]."""
    draw = np.random.default_rng(seed)
    targets = np.repeat(np.arange(labels), per_label)
    centres = 4 * draw.standard_normal((labels, size))
    vectors = centres[targets] + draw.standard_normal((len(targets), size))
    return vectors.astype(np.float32), targets
