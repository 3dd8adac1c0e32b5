"""Pictures of the report as inline SVG; colours come from the page's style sheet.

Each value passes through `markupsafe`, so no name can break out of a picture.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tlcli.core.calibration.reliability import Calibration, Reliability
from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.core.evaluation.learning_curve import Forecast
from tlcli.core.evaluation.metrics import wilson_interval
from tlcli.core.evaluation.thresholds import ThresholdFigures
from tlcli.report.data import Curve

# A polyline of more points than the picture has pixels shows nothing more.
POINTS = 300
# A wrong cell with so many images is drawn strong even if it is the largest.
_PALE_UP_TO = 4
# The part of the steps that may be beyond the axes.
_FIRST_STEPS = 0.15
# Drawn at this size on a phone and scaled up elsewhere, so that its text stays readable.
WIDTH, HEIGHT = 440, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 38


# Lines whose points are few and measured, each worth a dot.
_DOTTED = ("measured",)


@dataclass(frozen=True)
class Line:
    """One line of a chart: its name, which is its style class too, all its steps, its points.

    In its description it is called ``words``, if given, instead of its name.
    """

    name: str
    steps: Sequence[float]
    points: list[tuple[float, float]]
    words: str = ""


@dataclass(frozen=True)
class Axes:
    """What a chart is called, its id, what lies across, and the ends of its height."""

    key: str
    title: str
    across: str
    low: float
    high: float
    unit: str = ""


def thin(
    steps: Sequence[float], values: Sequence[float], count: int = POINTS
) -> list[tuple[float, float]]:
    """Return at most ``count`` points: means of neighbours, with the first and last unchanged."""
    points = [
        (float(step), float(value))
        for step, value in zip(steps, values, strict=True)
        if math.isfinite(value)
    ]
    if len(points) <= count:
        return points
    inner = points[1:-1]
    groups = count - 2
    thinned = [points[0]]
    for index in range(groups):
        group = inner[index * len(inner) // groups : (index + 1) * len(inner) // groups]
        thinned.append(
            (sum(p[0] for p in group) / len(group), sum(p[1] for p in group) / len(group))
        )
    return [*thinned, points[-1]]


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers from ``low`` to ``high``, about ``count`` of them."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def accuracy_chart(training: Curve | None, validation: Curve | None) -> Markup:
    """Draw accuracy over steps; the axis covers the later steps, not 0 to 100%."""
    lines = _lines(training, validation, lambda curve: [100 * value for value in curve.accuracy])
    values = _later(lines)
    low, high = _near(min(values, default=0.0), max(values, default=100.0), 4, 100)
    return _chart(Axes("accuracy", "Accuracy over the steps", "step", low, high, "%"), lines)


def cross_entropy_chart(training: Curve | None, validation: Curve | None) -> Markup:
    """Draw cross entropy over steps; the axis covers the later steps."""
    lines = _lines(training, validation, lambda curve: curve.cross_entropy)
    values = _later(lines)
    low, high = _near(min(values, default=0.0), max(values, default=1.0), 0.01, math.inf)
    return _chart(Axes("cross-entropy", "Cross entropy over the steps", "step", low, high), lines)


def threshold_chart(figures: Sequence[ThresholdFigures]) -> Markup:
    """Draw, over the threshold, how many images get a label and how many of those are right.

    Around the second is its 95% interval.
    """
    shares = [(each.threshold, 100 * each.labelled) for each in figures]
    right = [(each.threshold, 100 * each.accuracy) for each in figures if each.accuracy is not None]
    band = [
        (each.threshold, 100 * each.interval[0], 100 * each.interval[1])
        for each in figures
        if each.interval is not None
    ]
    lowest = min((value for _, value in (*shares, *right)), default=0.0)
    low, high = _near(lowest, 100.0, 4, 100)
    lines = [
        Line("labelled", [0.0, 1.0], shares, "get a label"),
        Line("right", [0.0, 1.0], right, "of those right"),
    ]
    title = "Images with a label, and right ones among them, by threshold"
    return _chart(Axes("thresholds", title, "threshold", low, high, "%"), lines, band)


def learning_chart(forecast: Forecast) -> Markup:
    """Draw accuracy over the number of training images, and its trend to twice as many.

    Around the end of the trend is its 95% interval.
    """
    measured = [(float(count), 100 * accuracy) for count, accuracy in forecast.points]
    trend = [(float(count), 100 * accuracy) for count, accuracy in forecast.trend]
    band = [
        (float(count), 100 * each.low, 100 * each.high)
        for count, each in ((forecast.images, forecast.now), (2 * forecast.images, forecast.twice))
    ]
    values = [value for _, value in (*measured, *trend)] + [
        end for each in band for end in each[1:]
    ]
    low, high = _near(min(values), max(values), 4, 100)
    lines = [
        Line("trend", [0.0, 2.0 * forecast.images], trend, "power law"),
        Line("measured", [], measured),
    ]
    title = "Accuracy by number of training images"
    return _chart(Axes("learning", title, "training images", low, high, "%"), lines, band)


def reliability_chart(calibration: Calibration) -> Markup:
    """Draw how often predictions are right by their score, before and after a temperature.

    Around the second is the 95% interval of each of its points.
    """

    def points(found: Reliability) -> list[tuple[float, float]]:
        return [(100 * each.score, 100 * each.accuracy) for each in found.bins]

    after = calibration.after
    ends = (wilson_interval(each.accuracy * each.count, each.count) for each in after.bins)
    band = [
        (100 * each.score, 100 * low, 100 * high)
        for each, (low, high) in zip(after.bins, ends, strict=True)
    ]
    lines = [Line("trend", [0.0, 100.0], [(0.0, 0.0), (100.0, 100.0)], "exact scores")]
    if calibration.temperature != 1:
        lines.append(Line("before", [], points(calibration.before)))
    lines.append(Line("measured", [], points(after), "after"))
    title = "Right predictions by their score"
    return _chart(Axes("reliability", title, "score, %", 0.0, 100.0, "%"), lines, band)


def _later(lines: Sequence[Line]) -> list[float]:
    """Return the values after the first steps, which start from chance and need much room."""
    steps = [step for line in lines for step, _ in line.points]
    start = min(steps) + _FIRST_STEPS * (max(steps) - min(steps)) if steps else 0.0
    return [value for line in lines for step, value in line.points if step >= start]


def _near(lowest: float, highest: float, least: float, limit: float) -> tuple[float, float]:
    """Return round ends of an axis just around values, at least ``least`` apart, 0 to ``limit``."""
    lowest = max(0.0, min(lowest, highest - least))
    highest = max(highest, lowest + least)
    raw = (highest - lowest) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    return (
        math.floor(lowest / step + 1e-9) * step,
        min(limit, math.ceil(highest / step - 1e-9) * step),
    )


def _lines(
    training: Curve | None, validation: Curve | None, values: Callable[[Curve], list[float]]
) -> list[Line]:
    named = (("training", training), ("validation", validation))
    return [
        Line(name, curve.steps, thin(curve.steps, values(curve)))
        for name, curve in named
        if curve and curve.steps
    ]


def _chart(
    axes: Axes, lines: Sequence[Line], band: Sequence[tuple[float, float, float]] = ()
) -> Markup:
    low, high, unit = axes.low, axes.high, axes.unit
    steps = [step for line in lines for step in line.steps]
    first, last = (min(steps), max(steps)) if steps else (0.0, 1.0)
    wide = (last - first) or 1.0
    up = (high - low) or 1.0

    def x(step: float) -> float:
        return LEFT + (step - first) / wide * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        inside = min(max(value, low), high)
        return HEIGHT - BOTTOM - (inside - low) / up * (HEIGHT - TOP - BOTTOM)

    parts = [
        Markup(
            '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-labelledby="{k}-t {k}-d">'
            '<title id="{k}-t">{}</title><desc id="{k}-d">{}</desc>'
        ).format(WIDTH, HEIGHT, axes.title, _describe(lines, unit, axes.across), k=axes.key)
    ]
    for mark in ticks(low, high):
        parts.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>'
                '<text class="tick end" x="{}" y="{t:.1f}">{}{}</text>'
            ).format(LEFT, WIDTH - RIGHT, LEFT - 6, f"{mark:g}", unit, y=y(mark), t=y(mark) + 4)
        )
    for mark in ticks(first, last):
        near_end = x(mark) > WIDTH - RIGHT - 16
        parts.append(
            Markup('<text class="tick {}" x="{x:.1f}" y="{}">{}</text>').format(
                "end" if near_end else "middle",
                HEIGHT - BOTTOM + 17,
                f"{mark:,g}" if mark < 1e6 else f"{mark:g}",
                x=WIDTH - RIGHT if near_end else x(mark),
            )
        )
    parts.append(
        Markup('<text class="tick middle" x="{}" y="{}">{}</text>').format(
            (LEFT + WIDTH - RIGHT) // 2, HEIGHT - 5, axes.across
        )
    )
    if band:
        around = [*((at, end) for at, _, end in band), *((at, end) for at, end, _ in band[::-1])]
        positions = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in around)
        parts.append(Markup('<polygon class="band" points="{}"/>').format(positions))
    for line in lines:
        for piece in inside(line.points, low, high):
            positions = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in piece)
            drawn = Markup('<polyline class="line {}" points="{}"/>')
            parts.append(drawn.format(line.name, positions))
        for step, value in line.points if len(line.points) == 1 or line.name in _DOTTED else ():
            dot = Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3"/>')
            parts.append(dot.format(line.name, x(step), y(value)))
    return Markup("").join(parts) + Markup("</svg>")


def inside(
    points: Sequence[tuple[float, float]], low: float, high: float
) -> list[list[tuple[float, float]]]:
    """Return the pieces of a line between two heights, cut where it crosses them."""
    pieces: list[list[tuple[float, float]]] = []
    end: tuple[float, float] | None = None
    for first, second in itertools.pairwise(points):
        if max(first[1], second[1]) < low or min(first[1], second[1]) > high:
            continue
        start, stop = (
            point
            if low <= point[1] <= high
            else _crossing(first, second, low if point[1] < low else high)
            for point in (first, second)
        )
        if end != start:
            pieces.append([start])
        pieces[-1].append(stop)
        end = stop
    return pieces


def _crossing(
    first: tuple[float, float], second: tuple[float, float], height: float
) -> tuple[float, float]:
    """Return where the line between two points has this height."""
    part = (height - first[1]) / (second[1] - first[1])
    return first[0] + part * (second[0] - first[0]), height


def _describe(lines: Sequence[Line], unit: str, across: str) -> str:
    parts = []
    for line in lines:
        if line.points:
            ends = (line.points[0], line.points[-1])
            said = (f"{value:.3g}{unit} at {across} {step:g}" for step, value in ends)
            parts.append(f"{line.words or line.name}: {', '.join(said)}")
    return "; ".join(parts) or "no points"


def interval_mark(value: float | None, interval: tuple[float, float] | None) -> Markup:
    """Draw a value in [0, 1] as a dot and its interval as a line; the numbers are next to it."""
    if value is None or not math.isfinite(value):
        return Markup("")
    low, high = interval if interval is not None else (value, value)
    return Markup(
        '<svg class="whisker" viewBox="0 0 108 14" aria-hidden="true" focusable="false">'
        '<line class="axis" x1="4" x2="104" y1="7" y2="7"/>'
        '<line class="range" x1="{:.1f}" x2="{:.1f}" y1="7" y2="7"/>'
        '<circle class="point" cx="{:.1f}" cy="7" r="3.5"/></svg>'
    ).format(4 + 100 * low, 4 + 100 * high, 4 + 100 * value)


def shades(confusion: ConfusionMatrix) -> dict[tuple[int, int], float]:
    """Return how strongly each cell is coloured, in (0, 1], by true and predicted label.

    Right ones by their proportion of the row. Wrong ones by the root of their count against that
    of the largest wrong one, so that one, two and three images can be told apart.
    """
    sizes = confusion.row_sums()
    most = max((count for row, column, count in confusion.cells if row != column), default=1)
    # Where all wrong cells have one image or two, none of them is alarming.
    most = max(most, _PALE_UP_TO)
    return {
        (row, column): count / sizes[row] if row == column else math.sqrt(count / most)
        for row, column, count in confusion.cells
    }


def confusion_grid(
    confusion: ConfusionMatrix,
    labels: Sequence[str],
    linked: Container[tuple[int, int]] = frozenset(),
) -> Markup:
    """Draw a confusion matrix too large for numbers: one square a cell, shaded by `shades`.

    Hovering over a square shows what it counts. Those in ``linked`` lead to ``#m-ROW-COLUMN``.
    """
    count = len(labels)
    strength = shades(confusion)
    wrong = sum(cell for row, column, cell in confusion.cells if row != column)
    parts = [
        Markup(
            '<svg class="matrix-grid" viewBox="-0.5 -0.5 {n} {n}" role="{}" '
            'aria-labelledby="matrix-t matrix-d"><title id="matrix-t">Confusion matrix</title>'
            '<desc id="matrix-d">{} true labels by {} predicted labels; off the diagonal: {} of {} '
            'images.</desc><rect class="ground" width="{}" height="{}"/>'
        ).format(
            # What is inside an image cannot be reached with the keyboard.
            "group" if linked else "img",
            *(count, count, wrong, sum(confusion.row_sums().values()), count, count),
            n=count + 1,
        )
    ]
    for row, column, cell in confusion.cells:
        about = f"{labels[row]}: {cell} labelled {labels[column]}"
        square = Markup(
            '<rect class="{}" x="{}" y="{}" width="1" height="1" '
            'fill-opacity="{:.2f}"><title>{}</title></rect>'
        ).format(
            "right" if row == column else "wrong",
            column,
            row,
            0.15 + 0.85 * strength[row, column],
            about,
        )
        if (row, column) in linked:
            link = Markup('<a href="#m-{}-{}" aria-label="{}">{}</a>')
            square = link.format(row, column, about, square)
        parts.append(square)
    return Markup("").join(parts) + Markup("</svg>")
