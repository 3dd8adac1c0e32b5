"""What the runtimes are made to do; the runtime here is one that counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.peers import engines, extraction


class Counting:
    """Keeps the batches that it is given."""

    opened: list[Counting] = []  # noqa: RUF012

    def __init__(self, graph: str, **settings: str) -> None:
        assert graph == "graph.pb"
        self.batches: list[np.ndarray[Any, Any]] = []
        self.settings = settings
        self.opened.append(self)

    def submit(self, batch: np.ndarray[Any, Any]) -> None:
        self.batches.append(batch)

    def wait(self) -> None:
        pass


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> list[Counting]:
    monkeypatch.setattr(Counting, "opened", [])
    monkeypatch.setitem(engines.KINDS, "counting", Counting)
    return Counting.opened


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for number in range(22):
        path = tmp_path / ("a", "b")[number % 2] / f"{number:02d}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), (255, number, 0)).save(path)
    return str(tmp_path)


def test_a_runtime_gets_every_whole_batch_of_photos(folder: str, counting: list[Counting]) -> None:
    answer = extraction.peer(
        "counting", {"graph": "graph.pb"}, folder, 22, 16, 24, batch=4, settings={"hint": "x"}
    )
    (opened,) = counting
    assert opened.settings == {"hint": "x"}
    # 5 whole batches decoded by threads, then the same without threads.
    assert [batch.shape for batch in opened.batches] == [(4, 16, 24, 3)] * 10
    first = opened.batches[0]
    assert first.dtype == np.float32
    assert first[..., 0].max() == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(opened.batches[3], opened.batches[8])
    assert answer["rate"] == max(answer["threads"], answer["loop"]) > 0


def test_a_trial_takes_the_quickest_batch(
    folder: str, counting: list[Counting], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {1: 10.0, 8: 30.0}
    monkeypatch.setattr(extraction, "bare_rate", lambda engine, pixels, size: rates[size])
    best = extraction.tune("counting", {"graph": "graph.pb"}, folder, 16, 16, trial=20)
    assert best == {"bare": 30.0, "batch": 8, "settings": {}}
    assert len(counting) == 1


def test_openvino_is_tried_with_both_hints() -> None:
    assert [setting["hint"] for setting in engines.settings_of("openvino", "bf16")] == [
        "LATENCY",
        "THROUGHPUT",
    ]
    assert {setting["precision"] for setting in engines.settings_of("openvino", None)} == {"f32"}
