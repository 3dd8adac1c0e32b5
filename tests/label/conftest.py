"""The reference photos and the graph for them."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def plates(shared: Path) -> Path:
    return shared / "legacy" / "plates_128"


@pytest.fixture
def photo(plates: Path) -> Path:
    return plates / "photos" / "newyorkTest1.jpg"
