"""Drawn photos with several labels each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import ROOT


def draw(folder: Path, count: int, seed: int = 0) -> Path:
    """Draw photos into a folder, and return their list."""
    script = str(ROOT / "examples" / "draw_houses.py")
    options = ["--count", str(count), "--seed", str(seed), "--multi_label"]
    subprocess.run([sys.executable, script, "--output", str(folder), *options], check=True)
    return folder / "labels.csv"
