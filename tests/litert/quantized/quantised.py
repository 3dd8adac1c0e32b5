"""What the tests of quantised files share: photos, and whether the quantiser is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tlcli.core.images.preprocessing import Preprocessing

needs_quantizer = pytest.mark.skipif(
    find_spec("ai_edge_quantizer") is None, reason="needs pip install 'tlcli[int8]'"
)


def photos(folder: Path, side: int = 224) -> np.ndarray:
    """Return the readable photos of a folder of folders as float32 [n, side, side, 3]."""
    preprocessing = Preprocessing("tlcli-1", side, side)
    files = sorted(path for path in folder.rglob("*.jpg") if path.stat().st_size)
    return preprocessing.scale(np.stack([preprocessing.read(path) for path in files]))
