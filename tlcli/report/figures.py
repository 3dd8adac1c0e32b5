"""Pictures of the report as inline SVG; colours come from the page's style sheet.

Each value passes through `markupsafe`, so no name can break out of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.report.data import Curve

# A polyline of more points than the picture has pixels shows nothing more.
POINTS = 300
# Drawn at this size on a phone and scaled up elsewhere, so that its text stays readable.
WIDTH, HEIGHT = 440, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 38


@dataclass(frozen=True)
class Line:
    """One line of a chart: its name, which is its style class too, all its steps, its points."""

    name: str
    steps: Sequence[float]
    points: list[tuple[float, float]]


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
    """Draw accuracy over steps, 0 to 100%."""
    lines = _lines(training, validation, lambda curve: [100 * value for value in curve.accuracy])
    lowest = min((value for line in lines for _, value in line.points), default=0.0)
    # Starting at a round number below the data shows more than always starting at 0.
    low = 0.0 if lowest < 60 else 50.0
    return _chart("accuracy", lines, low, 100.0, "%")


def cross_entropy_chart(training: Curve | None, validation: Curve | None) -> Markup:
    """Draw cross entropy over steps, from 0."""
    lines = _lines(training, validation, lambda curve: curve.cross_entropy)
    highest = max((value for line in lines for _, value in line.points), default=1.0)
    marks = ticks(0, highest) if highest > 0 else [0.0, 1.0]
    high = marks[-1] if marks[-1] >= highest else marks[-1] + marks[1]
    return _chart("cross-entropy", lines, 0.0, high, "")


def _lines(
    training: Curve | None, validation: Curve | None, values: Callable[[Curve], list[float]]
) -> list[Line]:
    named = (("training", training), ("validation", validation))
    return [
        Line(name, curve.steps, thin(curve.steps, values(curve)))
        for name, curve in named
        if curve and curve.steps
    ]


def _chart(key: str, lines: Sequence[Line], low: float, high: float, unit: str) -> Markup:
    title = f"{key.replace('-', ' ').capitalize()} over the steps"
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
        ).format(WIDTH, HEIGHT, title, _describe(lines, unit), k=key)
    ]
    # Six marks divide the upper half into tens, five divide the whole into quarters.
    for mark in ticks(low, high, 5 if low == 0 else 6):
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
        Markup('<text class="tick middle" x="{}" y="{}">step</text>').format(
            (LEFT + WIDTH - RIGHT) // 2, HEIGHT - 5
        )
    )
    for line in lines:
        points = [(x(step), y(value)) for step, value in line.points]
        if len(points) == 1:
            dot = Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3"/>')
            parts.append(dot.format(line.name, *points[0]))
        else:
            positions = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
            drawn = Markup('<polyline class="line {}" points="{}"/>')
            parts.append(drawn.format(line.name, positions))
    return Markup("").join(parts) + Markup("</svg>")


def _describe(lines: Sequence[Line], unit: str) -> str:
    parts = []
    for line in lines:
        if line.points:
            ends = (line.points[0], line.points[-1])
            said = (f"{value:.3g}{unit} at step {step:.0f}" for step, value in ends)
            parts.append(f"{line.name}: {', '.join(said)}")
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


def confusion_grid(confusion: ConfusionMatrix, labels: Sequence[str]) -> Markup:
    """Draw a confusion matrix too large for numbers: one square a cell, shaded by its row.

    Hovering over a square says what it counts.
    """
    count = len(labels)
    sizes = confusion.row_sums()
    wrong = sum(cell for row, column, cell in confusion.cells if row != column)
    parts = [
        Markup(
            '<svg class="matrix-grid" viewBox="-0.5 -0.5 {n} {n}" role="img" '
            'aria-labelledby="matrix-t matrix-d"><title id="matrix-t">Confusion matrix</title>'
            '<desc id="matrix-d">{} true labels by {} predicted labels; off the diagonal: {} of {} '
            'images.</desc><rect class="ground" width="{}" height="{}"/>'
        ).format(count, count, wrong, sum(sizes.values()), count, count, n=count + 1)
    ]
    for row, column, cell in confusion.cells:
        parts.append(
            Markup(
                '<rect class="{}" x="{}" y="{}" width="1" height="1" '
                'fill-opacity="{:.2f}"><title>{}: {} labelled {}</title></rect>'
            ).format(
                "right" if row == column else "wrong",
                column,
                row,
                0.15 + 0.85 * cell / sizes[row],
                escape(labels[row]),
                cell,
                escape(labels[column]),
            )
        )
    return Markup("").join(parts) + Markup("</svg>")
