"""A folder of photos with faults, and its review."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.review.reviewing import Client, reviewing, with_faults
from tests.support import Trained


@pytest.fixture
def photos(trained: Trained, tmp_path: Path) -> Path:
    return with_faults(trained, tmp_path)


@pytest.fixture
def client(photos: Path, trained: Trained) -> Iterator[Client]:
    with reviewing(photos, trained) as found:
        yield found
