"""Folders of files that stand for images."""

from __future__ import annotations

from pathlib import Path


def fill(root: Path, *names: str) -> Path:
    """Make files below a folder, each with one byte."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root
