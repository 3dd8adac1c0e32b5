"""What is said of the preset of a run and of the next one."""

from __future__ import annotations

import pytest

from retrain.presets.costs import (
    FOLLOWING,
    Timing,
    fine_tuning_fits,
    relative_work,
    rough_time,
    usage,
)

OPTIONS = {"preset": "original", "layers": "head", "solver": "sgd"}


def test_the_estimate_is_made_of_the_seconds_of_this_run() -> None:
    found = usage(OPTIONS, "efficientnet_lite0", Timing(500, 0, 500, 5.0))
    assert (found.following, found.seconds) == ("standard", 5.0)
    used, following = found.lines()
    assert used == "Preset: original (efficientnet_lite0, head, sgd)"
    assert following.startswith("--preset standard reads several layers")
    assert ": about 10 s for 500 images, estimated from 10 ms per image in this run." in following
    assert "may be more accurate" in following


def test_without_a_measured_time_a_known_network_is_estimated_by_its_size() -> None:
    for timing in (Timing(500, 500, 0, 0.1), Timing(500, 499, 1, 3.0)):
        found = usage(OPTIONS, "efficientnet_lite0", timing)
        assert found.seconds == pytest.approx(500 / 150)
        assert "500 images, estimated from 7 ms per image on two cores." in found.lines()[1]
        unknown = usage(OPTIONS, "resnet50", timing)
        assert unknown.seconds is None
        assert "compares the solvers. It may be more accurate" in unknown.lines()[1]


def test_imported_vectors_and_the_last_preset_have_no_next_one() -> None:
    assert len(usage(OPTIONS, "imported", None).lines()) == 1
    best = usage({**OPTIONS, "preset": "best"}, "a+b", Timing(10, 0, 10, 1.0))
    assert best.following is None
    assert set(FOLLOWING) == {"original", "fast", "standard"}


def test_larger_networks_cost_more() -> None:
    assert relative_work("standard", "efficientnet_lite0", 500) == 1
    # Lite1 and Lite2 beside Lite0, whose vectors are in the cache by then
    many = 1_000_000
    assert relative_work("best", "efficientnet_lite0", many) == pytest.approx(3.76, abs=0.01)
    assert relative_work("best", "resnet50", many) == 0
    # of joined networks the first is fine-tuned
    assert relative_work("best", "efficientnet_lite0", 500) == pytest.approx(3.76 + 36, abs=0.01)


def test_a_fine_tuning_that_takes_hours_is_left_out_whatever_the_machine_does() -> None:
    joined = "efficientnet_lite0+efficientnet_lite1+efficientnet_lite2"
    assert fine_tuning_fits(joined, 500)
    assert not fine_tuning_fits(joined, 20_000)
    assert fine_tuning_fits("efficientnet_lite0", 10_000)
    assert not fine_tuning_fits("resnet50", 10_000)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "10 s"), (44, "40 s"), (58, "1 minute"), (600, "10 minutes"), (8000, "2 hours")],
)
def test_an_estimate_is_rounded(seconds: float, text: str) -> None:
    assert rough_time(seconds) == text
