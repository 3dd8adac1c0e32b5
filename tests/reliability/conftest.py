"""What the tests of faults share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.retrainings import Bench


@pytest.fixture(scope="session")
def bench(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Return two finished retrainings of a small backbone, one to be replaced by the other."""
    probes = [
        sorted((shared / "flowers" / "photos" / name).iterdir())[-1] for name in ("daisy", "roses")
    ]
    backbone = shared / "legacy" / "backbones" / "mobilenet_v1_0.25_128" / "frozen_graph.pb"
    bench = Bench(tmp_path_factory.mktemp("kills"), probes, ["--module", str(backbone)])
    bench.prepare(shared, 12)
    return bench
