"""Houses, and what is on them or next to them."""

from __future__ import annotations

import numpy as np

from aerial.colours import BLUE_ROOFS, ROOFS, Colour, shift
from aerial.scene import Scene
from aerial.shapes import rectangle


def house(scene: Scene, x: float, y: float, width: float, depth: float) -> None:
    colour = scene.vary(scene.pick(BLUE_ROOFS if scene.chance(0.14) else ROOFS), 10)
    parts = [(x, y, width, depth)]
    if scene.chance(0.6):
        side = scene.random.choice([-1, 1])
        wing = (width * scene.random.uniform(0.32, 0.48), depth * scene.random.uniform(0.5, 0.8))
        parts.append((x + side * (width - wing[0]) / 2, y - (depth + wing[1]) / 2 + 0.6, *wing))
    for part in parts:
        scene.shade(rectangle(*part), scene.random.uniform(5, 7), 0.55)
    for a, b, c, d in reversed(parts):
        scene.taken.append((a - c / 2, b - d / 2, a + c / 2, b + d / 2))
        roof(scene, a, b, c, d, colour)
    if scene.chance(0.22):
        solar(scene, x, y + depth * 0.24, width * 0.5, depth * 0.26)


def roof(scene: Scene, x: float, y: float, width: float, depth: float, colour: Colour) -> None:
    """Draw a roof of one of four kinds, lit by the sun."""
    left, right, top, bottom = x - width / 2, x + width / 2, y - depth / 2, y + depth / 2
    lights = [
        sum(a * b for a, b in zip(side, scene.sun, strict=True)) * -70
        for side in ((0, -1), (1, 0), (0, 1), (-1, 0))
    ]
    north, east, south, west = (shift(colour, light) for light in lights)
    kind = scene.random.choice(["gable", "hip", "hip", "flat"])
    if kind == "flat":
        scene.box(x, y, width, depth, shift(colour, 34))
        scene.box(x, y, width - 0.7, depth - 0.7, shift(colour, 12))
        for _ in range(int(scene.random.integers(0, 4))):
            a = scene.random.uniform(left + 1, right - 1)
            b = scene.random.uniform(top + 1, bottom - 1)
            scene.box(a + 0.2, b + 0.2, 1.1, 0.9, shift(colour, -40))
            scene.box(a, b, 1.1, 0.9, (206, 206, 204))
        return
    inset = min(width, depth) / 2 if kind == "hip" else 0.0
    if width >= depth:
        one, two = (left + inset, y), (right - inset, y)
        scene.polygon([(left, top), (right, top), two, one], north)
        scene.polygon([(left, bottom), (right, bottom), two, one], south)
        scene.polygon([(left, top), (left, bottom), one], west)
        scene.polygon([(right, top), (right, bottom), two], east)
    else:
        one, two = (x, top + inset), (x, bottom - inset)
        scene.polygon([(left, top), (left, bottom), two, one], west)
        scene.polygon([(right, top), (right, bottom), two, one], east)
        scene.polygon([(left, top), (right, top), one], north)
        scene.polygon([(left, bottom), (right, bottom), two], south)
    rows(scene, left, right, top, bottom, colour, width >= depth)
    scene.line([one, two], 0.22, shift(colour, 24))
    if scene.chance(0.5):
        a, b = x + scene.random.uniform(-0.3, 0.3) * width, y + depth * 0.12
        scene.box(a + scene.sun[0], b + scene.sun[1], 0.9, 0.9, shift(colour, -46))
        scene.box(a, b, 0.8, 0.8, (148, 104, 88))


def rows(
    scene: Scene, left: float, right: float, top: float, bottom: float, colour: Colour, across: bool
) -> None:
    """Draw faint rows of tiles."""
    tint = shift(colour, -12)
    start, end = (top, bottom) if across else (left, right)
    for position in np.arange(start + 0.6, end, 0.9):
        ends = (
            [(left + 0.3, position), (right - 0.3, position)]
            if across
            else [(position, top + 0.3), (position, bottom - 0.3)]
        )
        if scene.chance(0.8):
            scene.line(ends, 0.08, tint)


def solar(scene: Scene, x: float, y: float, width: float, depth: float) -> None:
    scene.box(x, y, width, depth, scene.vary((32, 44, 84), 8))
    for a in np.arange(x - width / 2, x + width / 2, 1.0):
        scene.line([(a, y - depth / 2), (a, y + depth / 2)], 0.07, (126, 134, 156))
    scene.line([(x - width / 2, y), (x + width / 2, y)], 0.07, (126, 134, 156))


def shed(scene: Scene, x: float, y: float) -> None:
    width, depth = scene.random.uniform(2, 3.2), scene.random.uniform(2, 3.2)
    scene.shade(rectangle(x, y, width, depth), 2.2)
    roof(scene, x, y, width, depth, scene.vary(scene.pick(ROOFS + BLUE_ROOFS[:1]), 10))
