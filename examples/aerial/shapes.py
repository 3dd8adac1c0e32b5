"""Outlines of things, in metres."""

from __future__ import annotations

import numpy as np

Point = tuple[float, float]


def rectangle(x: float, y: float, width: float, depth: float) -> list[Point]:
    """Return the four corners around a centre."""
    a, b = width / 2, depth / 2
    return [(x - a, y - b), (x + a, y - b), (x + a, y + b), (x - a, y + b)]


def hull(points: list[Point]) -> list[Point]:
    """Return the convex hull of points, in order."""
    ordered = sorted((float(x), float(y)) for x, y in points)

    def chain(sequence: list[Point]) -> list[Point]:
        kept: list[Point] = []
        for x, y in sequence:
            while len(kept) > 1:
                (ax, ay), (bx, by) = kept[-2], kept[-1]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    return chain(ordered) + chain(ordered[::-1])


def blob(x: float, y: float, radius: float, random: np.random.Generator) -> list[Point]:
    """Return a smooth closed line with random bulges."""
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    wave = 1 + sum(
        random.normal(0, 0.16 / k) * np.cos(k * t + random.uniform(0, 6)) for k in (1, 2, 3)
    )
    return list(
        zip(
            (x + radius * wave * np.cos(t)).tolist(),
            (y + radius * wave * np.sin(t)).tolist(),
            strict=True,
        )
    )


def grow(outline: list[Point], x: float, y: float, border: float) -> list[Point]:
    """Return the outline with each point moved away from the centre."""
    result = []
    for a, b in outline:
        distance = float(np.hypot(a - x, b - y)) or 1.0
        factor = 1 + border / distance
        result.append((x + (a - x) * factor, y + (b - y) * factor))
    return result


def pool_outline(
    kind: str, x: float, y: float, width: float, depth: float, random: np.random.Generator
) -> list[Point]:
    """Return the water's edge."""
    a, b = width / 2, depth / 2
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    if kind == "box":
        return rectangle(x, y, width, depth)
    if kind == "angle":
        return [
            (x - a, y - b), (x + a, y - b), (x + a, y + b),
            (x + a * 0.1, y + b), (x + a * 0.1, y + b * 0.1), (x - a, y + b * 0.1),
        ]  # fmt: skip
    power = {"round": 0.4, "oval": 1.0, "kidney": 0.8}[kind]
    across = np.sign(np.cos(t)) * np.abs(np.cos(t)) ** power * a
    down = np.sign(np.sin(t)) * np.abs(np.sin(t)) ** power * b
    if kind == "kidney":
        dent = b * random.uniform(0.5, 0.8) * np.exp(-((across / (a * 0.45)) ** 2))
        down = np.where(np.sin(t) > 0, down - dent, down)
    return list(zip((x + across).tolist(), (y + down).tolist(), strict=True))
