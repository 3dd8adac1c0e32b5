"""Lawn, street, cars, trees and hedges."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from aerial.colours import CARS, shift
from aerial.scene import CANVAS, METRE, Scene
from aerial.shapes import Point, rectangle


def ground(scene: Scene) -> None:
    """Give the lawn patches, mowing stripes and bare spots."""
    total = np.full((100, 100), 128.0, np.float32)
    for cells, strength in ((8, 7), (28, 6), (100, 5)):
        noise = scene.random.normal(0, strength, (cells, cells)).astype(np.float32)
        total += np.asarray(Image.fromarray(noise).resize((100, 100), Image.Resampling.BICUBIC))
    small = Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))
    layer = small.resize(scene.image.size, Image.Resampling.BICUBIC)
    lawn = ImageChops.add(scene.image, Image.merge("RGB", (layer, layer, layer)), offset=-128)
    scene.image.paste(lawn)
    if scene.chance(0.25):
        wide = scene.random.uniform(0.8, 1.6)
        stripes = Image.new("L", scene.image.size)
        pen = ImageDraw.Draw(stripes)
        for number in range(0, int(scene.side / wide), 2):
            pen.rectangle([number * wide * METRE, 0, (number + 1) * wide * METRE, CANVAS], 22)
        scene.image.paste((210, 230, 160), (0, 0), stripes)


def road(scene: Scene) -> float:
    """Draw the street along the lower edge; return where it begins."""
    wide = scene.random.uniform(5, 8)
    top = scene.side - wide - scene.random.uniform(1, 5)
    grey = int(scene.random.uniform(84, 142))
    middle = top + wide / 2
    pavement = scene.vary((188, 184, 176), 10)
    scene.box(scene.side / 2, middle, scene.side, wide + 3.2, pavement)
    scene.box(scene.side / 2, middle, scene.side, wide, (grey, grey, grey + 3))
    if scene.chance(0.5):
        for x in np.arange(0, scene.side, 5):
            scene.line([(x, middle), (x + 2.4, middle)], 0.2, (222, 220, 206))
    scene.taken.append((0, top - 1.6, scene.side, scene.side))
    for _ in range(int(scene.random.integers(0, 3))):
        side = scene.random.choice([0.25, 0.75])
        car(scene, scene.random.uniform(4, scene.side - 4), top + wide * side, along=True)
    return top - 1.6


def car(scene: Scene, x: float, y: float, along: bool) -> None:
    long, wide = scene.random.uniform(4.0, 4.9), scene.random.uniform(1.75, 2.0)
    a, b = (long, wide) if along else (wide, long)
    colour = scene.vary(scene.pick(CARS), 8)
    scene.shade(rectangle(x, y, a, b), 1.3)
    scene.draw.rounded_rectangle(
        [(x - a / 2) * METRE, (y - b / 2) * METRE, (x + a / 2) * METRE, (y + b / 2) * METRE],
        5, colour,
    )  # fmt: skip
    glass = (46, 54, 64)
    ahead = 0.1 * long
    cx, cy = (x + ahead, y) if along else (x, y + ahead)
    scene.box(cx, cy, a * (0.52 if along else 0.86), b * (0.86 if along else 0.52), glass)
    scene.box(cx, cy, a * (0.34 if along else 0.8), b * (0.8 if along else 0.34), colour)


def tree(scene: Scene, x: float, y: float, radius: float) -> None:
    base = scene.vary(scene.pick([(52, 82, 44), (66, 98, 50), (40, 68, 42), (88, 106, 58)]), 9)
    ring = [(x + radius * np.cos(t), y + radius * np.sin(t)) for t in np.linspace(0, 6, 9)]
    scene.shade(ring, radius * 2.2, 0.5)
    scene.disc(x, y, radius * 0.9, shift(base, -16))
    for _ in range(int(14 + radius * 8)):
        t, r = scene.random.uniform(0, 2 * np.pi), radius * np.sqrt(scene.random.random())
        a, b = float(r * np.cos(t)), float(r * np.sin(t))
        light = -(a * scene.sun[0] + b * scene.sun[1]) / radius * 46 + scene.random.normal(0, 9)
        size = radius * scene.random.uniform(0.14, 0.3)
        scene.disc(x + a * 0.92, y + b * 0.92, size, shift(base, light))


def hedge(scene: Scene, start: Point, end: Point) -> None:
    length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
    if scene.chance(0.35):
        scene.line([start, end], 0.2, scene.vary((168, 156, 138), 12))
        return
    base = scene.vary((58, 84, 46), 9)
    for t in np.arange(0, 1, 0.55 / length):
        if not scene.chance(0.94):
            continue
        x, y = start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1])
        scene.disc(x, y, scene.random.uniform(0.4, 0.7), shift(base, scene.random.normal(0, 9)))
