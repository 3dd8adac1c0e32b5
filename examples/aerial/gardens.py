"""Pools, and blue or round objects that are not pools."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from aerial.colours import DECKS, WATER, shift
from aerial.scene import METRE, Scene
from aerial.shapes import Point, blob, grow, pool_outline, rectangle


def pool(scene: Scene, x: float, y: float, width: float, depth: float) -> None:
    """Draw water with a rim, a paved surround, and light on the floor."""
    kind = scene.random.choice(["box", "round", "kidney", "oval", "angle"])
    outline = pool_outline(kind, x, y, width, depth, scene.random)
    deck, water = scene.vary(scene.pick(DECKS), 8), scene.vary(scene.pick(WATER), 10)
    border = scene.random.uniform(0.7, 2.0)
    if scene.chance(0.7):
        scene.box(x, y, width + 2 * border, depth + 2 * border, deck)
        tint = shift(deck, -14)
        for a in np.arange(x - width / 2 - border, x + width / 2 + border, 1.2):
            ends = [(a, y - depth / 2 - border), (a, y + depth / 2 + border)]
            scene.line(ends, 0.06, tint)
    scene.polygon(grow(outline, x, y, 0.45), scene.vary((228, 224, 214), 8))
    bounds = [int((x - width / 2 - 1) * METRE), int((y - depth / 2 - 1) * METRE)]
    size = (int((width + 2) * METRE), int((depth + 2) * METRE))
    ripple = scene.random.normal(0, 1, (max(3, size[1] // 9), max(3, size[0] // 9)))
    light = Image.fromarray(np.clip(128 + 26 * ripple, 0, 255).astype(np.uint8))
    light = light.resize(size, Image.Resampling.BICUBIC)
    slope = np.linspace(18, -34, size[0])[None, :, None] * scene.random.choice([-1, 1])
    values = np.array(water)[None, None] + slope + (np.asarray(light)[:, :, None] / 128 - 1) * 24
    surface = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    mask = Image.new("L", size)
    inner = [(a * METRE - bounds[0], b * METRE - bounds[1]) for a, b in outline]
    ImageDraw.Draw(mask).polygon(inner, 255)
    scene.image.paste(surface, (bounds[0], bounds[1]), mask)
    rim_shadow(scene, outline)
    if scene.chance(0.6):
        steps = shift(water, 34)
        scene.box(x - width * 0.36, y, 0.9, depth * 0.36, steps)
    for _ in range(int(scene.random.integers(0, 4))):
        a = x + scene.random.uniform(-0.5, 0.5) * width
        side = scene.random.choice([-1, 1])
        chair = scene.pick([(246, 246, 244), (200, 60, 50), (240, 226, 180)])
        scene.box(a, y + side * (depth / 2 + border * 0.6), 0.65, 1.6, chair)


def rim_shadow(scene: Scene, outline: list[Point]) -> None:
    """Darken the water along the rim on the side of the sun."""
    dx, dy = scene.sun[0] * 0.8, scene.sun[1] * 0.8
    left, top = int(min(x for x, _ in outline) * METRE), int(min(y for _, y in outline) * METRE)
    size = (
        int(max(x for x, _ in outline) * METRE) - left + 2,
        int(max(y for _, y in outline) * METRE) - top + 2,
    )
    shadow = Image.new("L", size)
    pen = ImageDraw.Draw(shadow)
    pen.polygon([(x * METRE - left, y * METRE - top) for x, y in outline], 70)
    pen.polygon([((x + dx) * METRE - left, (y + dy) * METRE - top) for x, y in outline], 0)
    scene.image.paste((10, 40, 60), (left, top, left + size[0], top + size[1]), shadow)


def tarpaulin(scene: Scene, x: float, y: float) -> None:
    width, depth = scene.random.uniform(2.5, 5), scene.random.uniform(2, 4)
    points = [
        (a + scene.random.normal(0, 0.25), b + scene.random.normal(0, 0.25))
        for a, b in rectangle(x, y, width, depth)
    ]
    blue = scene.vary((44, 92, 190), 14)
    scene.shade(points, 0.6)
    scene.polygon(points, blue)
    for _ in range(5):
        a, b = (scene.random.uniform(-0.4, 0.4, 2) * (width, depth)).tolist()
        c, d = (scene.random.uniform(-0.4, 0.4, 2) * (width, depth)).tolist()
        crease = shift(blue, scene.random.choice([-26, 24]))
        scene.line([(x + a, y + b), (x + c, y + d)], 0.12, crease)


def trampoline(scene: Scene, x: float, y: float) -> None:
    radius = scene.random.uniform(1.3, 2.2)
    scene.shade([(x + radius * np.cos(t), y + radius * np.sin(t)) for t in range(6)], 0.9)
    scene.disc(
        x, y, radius, scene.vary(scene.pick([(50, 110, 190), (60, 140, 90), (40, 70, 150)]), 9)
    )
    scene.disc(x, y, radius * 0.8, (34, 34, 38))


def pond(scene: Scene, x: float, y: float) -> None:
    outline = blob(x, y, scene.random.uniform(1.5, 3.6), scene.random)
    scene.polygon(grow(outline, x, y, 0.5), scene.vary((120, 112, 96), 10))
    scene.polygon(outline, scene.vary(scene.pick([(48, 66, 58), (62, 80, 84), (70, 76, 54)]), 8))
    for _ in range(int(scene.random.integers(2, 8))):
        a, b = scene.random.normal(0, 0.8, 2).tolist()
        scene.disc(x + a, y + b, scene.random.uniform(0.15, 0.4), scene.vary((84, 110, 60), 8))


def court(scene: Scene, x: float, y: float) -> None:
    colour = scene.vary(scene.pick([(60, 104, 150), (70, 120, 90), (164, 98, 76)]), 8)
    scene.box(x, y, 12, 7, shift(colour, -18))
    scene.box(x, y, 10, 5.2, colour)
    white = (232, 232, 228)
    for ends in (
        rectangle(x, y, 10, 5.2) + rectangle(x, y, 10, 5.2)[:1],
        [(x, y - 2.9), (x, y + 2.9)],
        [(x - 2.7, y), (x + 2.7, y)],
    ):
        scene.line(ends, 0.12, white)


def patio(scene: Scene, x: float, y: float) -> None:
    colour = scene.vary(scene.pick(DECKS), 10)
    scene.box(x, y, scene.random.uniform(3, 6), scene.random.uniform(2.4, 4), colour)
    if scene.chance(0.6):
        scene.disc(x + 0.2, y + 0.25, 1.3, shift(colour, -70))
        parasol = scene.pick([(190, 60, 54), (240, 236, 226), (60, 110, 170), (70, 110, 80)])
        scene.disc(x, y, 1.3, parasol)
