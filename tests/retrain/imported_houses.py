"""The vectors of houses whose photos were never published, and what is asked of them."""

from __future__ import annotations

from pathlib import Path

IMPORT_ONLY = ["--final_layer_only", "--how_many_training_steps", "500"]


def houses(shared: Path) -> Path:
    return shared / "houses" / "bottlenecks"
