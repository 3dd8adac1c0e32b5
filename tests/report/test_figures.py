from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from tests.report import samples
from tlcli.report import figures
from tlcli.report.data import Curve


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 25, 50, 75, 100]),
        (0, 4000, [0, 1000, 2000, 3000, 4000]),
        (0, 1.61, [0, 0.5, 1, 1.5]),
        (50, 100, [60, 80, 100]),
        (3, 3, [3]),
        (0, math.nan, [0]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    found = figures.ticks(low, high)
    assert set(expected) <= set(found)
    assert found == sorted(found)
    assert len(found) <= 7


def test_thinning_keeps_the_ends_and_the_level() -> None:
    steps = list(range(4000))
    found = figures.thin(steps, [float(step % 2) for step in steps])
    assert len(found) == figures.POINTS
    assert found[0] == (0, 0)
    assert found[-1] == (3999, 1)
    assert all(abs(value - 0.5) < 0.06 for _, value in found[1:-1])


def test_what_is_not_finite_is_left_out() -> None:
    assert figures.thin([0, 1, 2], [1.0, math.nan, math.inf]) == [(0, 1.0)]


@pytest.mark.parametrize(
    "curve",
    [
        Curve([0, 10, 20], [0.2, 0.9, 0.95], [1.6, 0.4, 0.3]),
        Curve([5], [1.0], [0.0]),
        Curve([0, 1], [math.nan, math.nan], [math.inf, math.nan]),
        Curve([], [], []),
        None,
    ],
)
def test_charts_are_well_formed_and_stay_inside(curve: Curve | None) -> None:
    for draw in (figures.accuracy_chart, figures.cross_entropy_chart):
        root = ElementTree.fromstring(str(draw(curve, curve)))
        assert root.get("role") == "img"
        assert [child.tag for child in root][:2] == ["title", "desc"]
        for line in root.iter("polyline"):
            for point in line.attrib["points"].split():
                x, y = map(float, point.split(","))
                assert figures.LEFT <= x <= figures.WIDTH - figures.RIGHT
                assert figures.TOP <= y <= figures.HEIGHT - figures.BOTTOM


def test_charts_say_their_ends_in_words() -> None:
    drawn = str(figures.accuracy_chart(None, Curve([0, 20], [0.25, 0.9], [1.0, 0.1])))
    assert "validation: 25% at step 0, 90% at step 20" in drawn


def test_confusion_grid_draws_only_what_is_there() -> None:
    drawn = str(figures.confusion_grid(samples.confusion_of([[3, 1], [0, 2]]), ["<b>", "a&b"]))
    root = ElementTree.fromstring(drawn)
    squares = [rect for rect in root.iter("rect") if rect.get("class") in ("right", "wrong")]
    assert [square.get("class") for square in squares] == ["right", "wrong", "right"]
    assert root.findall(".//rect/title")[1].text == "<b>: 1 labelled a&b"
    assert "1 of 6 images" in drawn


def test_interval_mark() -> None:
    assert figures.interval_mark(None, None) == ""
    root = ElementTree.fromstring(str(figures.interval_mark(0.5, (0.25, 0.75))))
    line = root.findall("line")[1]
    assert (line.get("x1"), line.get("x2")) == ("29.0", "79.0")
    assert root.get("aria-hidden") == "true"
