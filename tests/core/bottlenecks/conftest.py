"""What the tests of extraction share."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from tests.core.bottlenecks.fake_backbone import FakeEngine
from tlcli.core.bottlenecks import extraction
from tlcli.core.bottlenecks.cache import BottleneckStore


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[FakeEngine]:
    class Engine(FakeEngine):
        batches: ClassVar[list[int]] = []

    monkeypatch.setattr(extraction, "backbone_engine", Engine)
    return Engine


@pytest.fixture
def store(tmp_path: Path) -> BottleneckStore:
    return BottleneckStore(tmp_path / "cache")
