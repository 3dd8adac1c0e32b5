"""What is said of the preset of a run and of the next one."""

from __future__ import annotations

import pytest

from retrain.presets.costs import FOLLOWING, Timing, relative_work, rough_time, usage

OPTIONS = {"preset": "original", "solver": "sgd"}


def test_the_estimate_is_made_of_the_seconds_of_this_run() -> None:
    found = usage(OPTIONS, "efficientnet_lite0", Timing(0, 500, 5.0))
    assert (found.following, found.seconds) == ("standard", 5.0)
    used, following = found.lines()
    assert used == "Preset: original (efficientnet_lite0, sgd)"
    assert following.startswith("--preset standard reads several layers")
    assert "It computes 500 vectors in about 10 s (10 ms each in this run)" in following
    assert "may be more accurate" in following


def test_without_a_measured_time_there_is_no_estimate() -> None:
    for timing in (Timing(500, 0, 0.1), Timing(499, 1, 3.0)):
        found = usage(OPTIONS, "efficientnet_lite0", timing)
        assert found.seconds is None
        assert "computes 500 vectors (of unknown cost" in found.lines()[1]


def test_imported_vectors_and_the_last_preset_have_no_next_one() -> None:
    assert len(usage(OPTIONS, "imported", None).lines()) == 1
    best = usage({**OPTIONS, "preset": "best"}, "a+b", Timing(0, 10, 1.0))
    assert best.following is None
    assert set(FOLLOWING) == {"original", "fast", "standard"}


def test_larger_networks_cost_more() -> None:
    assert relative_work("standard", "efficientnet_lite0") == 1
    # lite1 and lite2 beside lite0, whose vectors are in the cache by then
    assert relative_work("best", "efficientnet_lite0") == pytest.approx(3.76, abs=0.01)
    assert relative_work("best", "resnet50") == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "10 s"), (44, "40 s"), (58, "1 minute"), (600, "10 minutes"), (8000, "2 hours")],
)
def test_an_estimate_is_rounded(seconds: float, text: str) -> None:
    assert rough_time(seconds) == text
