from __future__ import annotations

import math
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.report import samples
from tlcli.core.evaluation.thresholds import threshold_figures
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
def test_charts_are_well_formed_and_stayinside(curve: Curve | None) -> None:
    for draw in (figures.accuracy_chart, figures.cross_entropy_chart):
        root = ElementTree.fromstring(str(draw(curve, curve)))
        assert root.get("role") == "img"
        assert [child.tag for child in root][:2] == ["title", "desc"]
        for line in root.iter("polyline"):
            for point in line.attrib["points"].split():
                x, y = map(float, point.split(","))
                assert figures.LEFT <= x <= figures.WIDTH - figures.RIGHT
                assert figures.TOP <= y <= figures.HEIGHT - figures.BOTTOM


def heights(drawn: str) -> list[float]:
    """Return the marks of the upright axis."""
    texts = ElementTree.fromstring(drawn).iter("text")
    return [float(str(text.text).rstrip("%")) for text in texts if text.get("x") == "40"]


def test_the_axis_is_near_the_later_steps() -> None:
    steps = list(range(0, 1001, 20))
    late = Curve(
        steps, [0.2 + 0.7 * (step > 100) for step in steps], [0.3 + (step < 100) for step in steps]
    )
    assert heights(str(figures.accuracy_chart(None, late)))[0] >= 80
    assert max(heights(str(figures.cross_entropy_chart(None, late)))) < 0.5
    low = Curve(steps, [0.3] * len(steps), [3.0] * len(steps))
    assert 20 < heights(str(figures.accuracy_chart(None, low)))[0] < 30
    perfect = Curve(steps, [1.0] * len(steps), [0.0] * len(steps))
    assert heights(str(figures.accuracy_chart(None, perfect)))[-1] == 100


def test_a_line_is_cut_at_the_axis_and_not_bent() -> None:
    steps = [0, 10, 100, 110]
    drawn = figures.accuracy_chart(None, Curve(steps, [0.0, 0.9, 0.9, 0.92], [1.0] * 4))
    (line,) = ElementTree.fromstring(str(drawn)).iter("polyline")
    (x, y), *_ = [tuple(map(float, each.split(","))) for each in line.attrib["points"].split()]
    assert y == figures.HEIGHT - figures.BOTTOM
    # It rises from 0 at step 0, so it enters the picture between there and step 10.
    across = (x - figures.LEFT) / (figures.WIDTH - figures.LEFT - figures.RIGHT) * 110
    lowest = heights(str(drawn))[0]
    assert across == pytest.approx(10 * lowest / 90, abs=0.1)
    # Two pieces where it leaves and comes back.
    pieces = figures.inside([(0, 1), (1, 3), (2, 1), (3, 1)], 0, 2)
    assert pieces == [[(0, 1), (0.5, 2)], [(1.5, 2), (2, 1), (3, 1)]]


def test_thresholds_are_drawn_with_their_interval() -> None:
    found = threshold_figures([0.5, 0.7, 0.9], [False, True, True], [0.0, 0.6, 0.95])
    root = ElementTree.fromstring(str(figures.threshold_chart(found)))
    names = [line.get("class") for line in root.iter("polyline")]
    assert names == ["line labelled", "line right"]
    assert len([band for band in root.iter("polygon") if band.get("class") == "band"]) == 1
    assert "get a label: 100% at threshold 0, 0% at threshold 0.95" in str(
        figures.threshold_chart(found)
    )
    ElementTree.fromstring(str(figures.threshold_chart([])))


def test_small_counts_have_different_shades() -> None:
    strength = figures.shades(samples.confusion_of([[90, 1, 2], [3, 92, 12], [0, 0, 0]]))
    assert strength[0, 0] == pytest.approx(90 / 93)
    wrong = [strength[cell] for cell in ((0, 1), (0, 2), (1, 0), (1, 2))]
    assert wrong == sorted(wrong)
    assert wrong[-1] == 1
    assert min(np.diff(wrong)) > 0.08
    # Single mistakes alone are not drawn as the worst.
    assert figures.shades(samples.confusion_of([[9, 1], [1, 9]]))[0, 1] == 0.5


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
    assert root.get("role") == "img"


def test_squares_lead_to_their_images() -> None:
    matrix = samples.confusion_of([[3, 1], [2, 2]])
    root = ElementTree.fromstring(str(figures.confusion_grid(matrix, ["<b>", "a&b"], {(0, 1)})))
    assert root.get("role") == "group"
    assert [(a.get("href"), a.get("aria-label")) for a in root.iter("a")] == [
        ("#m-0-1", "<b>: 1 labelled a&b")
    ]


def test_interval_mark() -> None:
    assert figures.interval_mark(None, None) == ""
    root = ElementTree.fromstring(str(figures.interval_mark(0.5, (0.25, 0.75))))
    line = root.findall("line")[1]
    assert (line.get("x1"), line.get("x2")) == ("29.0", "79.0")
    assert root.get("aria-hidden") == "true"


def test_the_learning_curve_has_its_points_its_trend_and_an_interval() -> None:
    drawn = str(figures.learning_chart(samples.FORECAST))
    assert drawn.count('class="dot measured"') == 5
    assert 'class="line trend"' in drawn
    assert 'class="band"' in drawn
    assert "measured: 82% at training images 80, 88% at training images 400" in drawn
    assert "power law: 82% at training images 80, 90.4% at training images 800" in drawn
