"""Paint aerial views of houses with and without swimming pools, to try tlcli on.

    python examples/draw_houses.py --output houses --count 200

makes the folders ``houses/house_with_pool`` and ``houses/house_without_pool``. Both have
gardens, roads, neighbours, cars and trees, and blue things that are no pools: roofs, cars,
tarpaulins, trampolines, ponds, solar panels, tennis courts. The same seed gives the same
pictures; picture number N does not depend on how many are made.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Point = tuple[float, float]

LABELS = ("house_with_pool", "house_without_pool")
CANVAS = 760  # side of the drawing, in pixels, before it is turned, cut and made smaller
METRE = 11.0  # pixels of the drawing to a metre

GRASS: list[Colour] = [
    (96, 124, 66),
    (118, 138, 78),
    (82, 108, 62),
    (146, 144, 92),
    (168, 156, 112),
]
ROOFS: list[Colour] = [
    (158, 92, 66), (176, 108, 78), (122, 74, 58), (128, 126, 124), (92, 92, 96),
    (150, 138, 120), (196, 190, 180), (74, 78, 84), (112, 96, 80),
]  # fmt: skip
BLUE_ROOFS: list[Colour] = [(58, 112, 168), (84, 136, 178), (50, 140, 160), (70, 96, 150)]
CARS: list[Colour] = [(240, 240, 240), (30, 30, 34), (150, 152, 156), (160, 32, 30), (40, 80, 170)]
WATER: list[Colour] = [
    (66, 178, 206),
    (50, 150, 200),
    (92, 198, 210),
    (40, 128, 180),
    (88, 176, 172),
]
DECKS: list[Colour] = [(214, 206, 190), (190, 182, 170), (176, 142, 108), (226, 222, 214)]


class Scene:
    """One plot of land, seen from above; lengths are in metres, north is up."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.side = CANVAS / METRE
        angle = random.uniform(0, 2 * np.pi)
        length = random.uniform(0.15, 0.6)
        self.sun = (float(np.cos(angle) * length), float(np.sin(angle) * length))
        self.image = Image.new("RGB", (CANVAS, CANVAS), self.vary(self.pick(GRASS), 14))
        self.draw = ImageDraw.Draw(self.image)
        self.taken: list[tuple[float, float, float, float]] = []

    def pick(self, colours: list[Colour]) -> Colour:
        return colours[int(self.random.integers(len(colours)))]

    def chance(self, probability: float) -> bool:
        return bool(self.random.random() < probability)

    def vary(self, colour: Colour, amount: float) -> Colour:
        light = self.random.normal(0, amount)
        red, green, blue = (value + self.random.normal(0, amount / 3) for value in colour)
        return shift((red, green, blue), light)

    # Places -------------------------------------------------------------------------

    def free(self, box: tuple[float, float, float, float], margin: float = 0.6) -> bool:
        left, top, right, bottom = box
        return all(
            right + margin < l or r + margin < left or bottom + margin < t or b + margin < top
            for l, t, r, b in self.taken  # noqa: E741
        )

    def place(
        self, width: float, height: float, area: tuple[float, float, float, float]
    ) -> tuple[float, float] | None:
        """Return the centre of a free place inside an area, and keep it; None if there is none."""
        left, top, right, bottom = area
        if right - left < width or bottom - top < height:
            return None
        for _ in range(30):
            x = self.random.uniform(left + width / 2, right - width / 2)
            y = self.random.uniform(top + height / 2, bottom - height / 2)
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            if self.free(box):
                self.taken.append(box)
                return x, y
        return None

    # Brushes ------------------------------------------------------------------------

    def polygon(self, points: list[Point], colour: Colour, outline: Colour | None = None) -> None:
        self.draw.polygon([(x * METRE, y * METRE) for x, y in points], colour, outline)

    def box(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
        self.polygon([(x + a * width / 2, y + b * height / 2) for a, b in corners], colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        bounds = [
            (x - radius) * METRE,
            (y - radius) * METRE,
            (x + radius) * METRE,
            (y + radius) * METRE,
        ]
        self.draw.ellipse(bounds, colour)

    def line(self, points: list[Point], width: float, colour: Colour) -> None:
        scaled = [(x * METRE, y * METRE) for x, y in points]
        self.draw.line(scaled, colour, max(1, round(width * METRE)))

    def shade(self, points: list[Point], height: float, strength: float = 0.5) -> None:
        """Darken where something that stands on ``points`` keeps the sun away."""
        dx, dy = self.sun[0] * height, self.sun[1] * height
        outline = hull(points + [(x + dx, y + dy) for x, y in points])
        xs = [x * METRE for x, _ in outline]
        ys = [y * METRE for _, y in outline]
        bounds = (
            max(0, int(min(xs)) - 2), max(0, int(min(ys)) - 2),
            min(CANVAS, int(max(xs)) + 3), min(CANVAS, int(max(ys)) + 3),
        )  # fmt: skip
        if bounds[2] <= bounds[0] or bounds[3] <= bounds[1]:
            return
        mask = Image.new("L", (bounds[2] - bounds[0], bounds[3] - bounds[1]))
        moved = [(x - bounds[0], y - bounds[1]) for x, y in zip(xs, ys, strict=True)]
        ImageDraw.Draw(mask).polygon(moved, int(255 * strength))
        self.image.paste((18, 22, 34), bounds, mask)

    # Things -------------------------------------------------------------------------

    def ground(self) -> None:
        """Give the lawn patches, mowing stripes and bare spots."""
        total = np.full((100, 100), 128.0, np.float32)
        for cells, strength in ((8, 7), (28, 6), (100, 5)):
            noise = self.random.normal(0, strength, (cells, cells)).astype(np.float32)
            total += np.asarray(Image.fromarray(noise).resize((100, 100), Image.Resampling.BICUBIC))
        small = Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))
        layer = small.resize(self.image.size, Image.Resampling.BICUBIC)
        lawn = ImageChops.add(self.image, Image.merge("RGB", (layer, layer, layer)), offset=-128)
        self.image.paste(lawn)
        if self.chance(0.25):
            wide = self.random.uniform(0.8, 1.6)
            stripes = Image.new("L", self.image.size)
            pen = ImageDraw.Draw(stripes)
            for number in range(0, int(self.side / wide), 2):
                pen.rectangle([number * wide * METRE, 0, (number + 1) * wide * METRE, CANVAS], 22)
            self.image.paste((210, 230, 160), (0, 0), stripes)

    def road(self) -> float:
        """Draw the street along the lower edge; return where it begins."""
        wide = self.random.uniform(5, 8)
        top = self.side - wide - self.random.uniform(1, 5)
        grey = int(self.random.uniform(84, 142))
        middle = top + wide / 2
        pavement = self.vary((188, 184, 176), 10)
        self.box(self.side / 2, middle, self.side, wide + 3.2, pavement)
        self.box(self.side / 2, middle, self.side, wide, (grey, grey, grey + 3))
        if self.chance(0.5):
            for x in np.arange(0, self.side, 5):
                self.line([(x, middle), (x + 2.4, middle)], 0.2, (222, 220, 206))
        self.taken.append((0, top - 1.6, self.side, self.side))
        for _ in range(int(self.random.integers(0, 3))):
            side = self.random.choice([0.25, 0.75])
            self.car(self.random.uniform(4, self.side - 4), top + wide * side, along=True)
        return top - 1.6

    def car(self, x: float, y: float, along: bool) -> None:
        long, wide = self.random.uniform(4.0, 4.9), self.random.uniform(1.75, 2.0)
        a, b = (long, wide) if along else (wide, long)
        colour = self.vary(self.pick(CARS), 8)
        self.shade(rectangle(x, y, a, b), 1.3)
        self.draw.rounded_rectangle(
            [(x - a / 2) * METRE, (y - b / 2) * METRE, (x + a / 2) * METRE, (y + b / 2) * METRE],
            5, colour,
        )  # fmt: skip
        glass = (46, 54, 64)
        shift = 0.1 * long
        cx, cy = (x + shift, y) if along else (x, y + shift)
        self.box(cx, cy, a * (0.52 if along else 0.86), b * (0.86 if along else 0.52), glass)
        self.box(cx, cy, a * (0.34 if along else 0.8), b * (0.8 if along else 0.34), colour)

    def roof(self, x: float, y: float, width: float, depth: float, colour: Colour) -> None:
        """Draw one roof of four kinds, lit from where the sun stands."""
        left, right, top, bottom = x - width / 2, x + width / 2, y - depth / 2, y + depth / 2
        lights = [
            sum(a * b for a, b in zip(side, self.sun, strict=True)) * -70
            for side in ((0, -1), (1, 0), (0, 1), (-1, 0))
        ]
        north, east, south, west = (shift(colour, light) for light in lights)
        kind = self.random.choice(["gable", "hip", "hip", "flat"])
        if kind == "flat":
            self.box(x, y, width, depth, shift(colour, 34))
            self.box(x, y, width - 0.7, depth - 0.7, shift(colour, 12))
            for _ in range(int(self.random.integers(0, 4))):
                a = self.random.uniform(left + 1, right - 1)
                b = self.random.uniform(top + 1, bottom - 1)
                self.box(a + 0.2, b + 0.2, 1.1, 0.9, shift(colour, -40))
                self.box(a, b, 1.1, 0.9, (206, 206, 204))
            return
        inset = min(width, depth) / 2 if kind == "hip" else 0.0
        if width >= depth:
            one, two = (left + inset, y), (right - inset, y)
            self.polygon([(left, top), (right, top), two, one], north)
            self.polygon([(left, bottom), (right, bottom), two, one], south)
            self.polygon([(left, top), (left, bottom), one], west)
            self.polygon([(right, top), (right, bottom), two], east)
        else:
            one, two = (x, top + inset), (x, bottom - inset)
            self.polygon([(left, top), (left, bottom), two, one], west)
            self.polygon([(right, top), (right, bottom), two, one], east)
            self.polygon([(left, top), (right, top), one], north)
            self.polygon([(left, bottom), (right, bottom), two], south)
        self.rows(left, right, top, bottom, colour, width >= depth)
        self.line([one, two], 0.22, shift(colour, 24))
        if self.chance(0.5):
            a, b = x + self.random.uniform(-0.3, 0.3) * width, y + depth * 0.12
            self.box(a + self.sun[0], b + self.sun[1], 0.9, 0.9, shift(colour, -46))
            self.box(a, b, 0.8, 0.8, (148, 104, 88))

    def rows(
        self, left: float, right: float, top: float, bottom: float, colour: Colour, across: bool
    ) -> None:
        """Hint at the rows of tiles."""
        tint = shift(colour, -12)
        start, end = (top, bottom) if across else (left, right)
        for position in np.arange(start + 0.6, end, 0.9):
            ends = (
                [(left + 0.3, position), (right - 0.3, position)]
                if across
                else [(position, top + 0.3), (position, bottom - 0.3)]
            )
            if self.chance(0.8):
                self.line(ends, 0.08, tint)

    def house(self, x: float, y: float, width: float, depth: float) -> None:
        colour = self.vary(self.pick(BLUE_ROOFS if self.chance(0.14) else ROOFS), 10)
        parts = [(x, y, width, depth)]
        if self.chance(0.6):
            side = self.random.choice([-1, 1])
            wing = (width * self.random.uniform(0.32, 0.48), depth * self.random.uniform(0.5, 0.8))
            parts.append((x + side * (width - wing[0]) / 2, y - (depth + wing[1]) / 2 + 0.6, *wing))
        for part in parts:
            self.shade(rectangle(*part), self.random.uniform(5, 7), 0.55)
        for a, b, c, d in reversed(parts):
            self.taken.append((a - c / 2, b - d / 2, a + c / 2, b + d / 2))
            self.roof(a, b, c, d, colour)
        if self.chance(0.22):
            self.solar(x, y + depth * 0.24, width * 0.5, depth * 0.26)

    def solar(self, x: float, y: float, width: float, depth: float) -> None:
        self.box(x, y, width, depth, self.vary((32, 44, 84), 8))
        for a in np.arange(x - width / 2, x + width / 2, 1.0):
            self.line([(a, y - depth / 2), (a, y + depth / 2)], 0.07, (126, 134, 156))
        self.line([(x - width / 2, y), (x + width / 2, y)], 0.07, (126, 134, 156))

    def tree(self, x: float, y: float, radius: float) -> None:
        base = self.vary(self.pick([(52, 82, 44), (66, 98, 50), (40, 68, 42), (88, 106, 58)]), 9)
        ring = [(x + radius * np.cos(t), y + radius * np.sin(t)) for t in np.linspace(0, 6, 9)]
        self.shade(ring, radius * 2.2, 0.5)
        self.disc(x, y, radius * 0.9, shift(base, -16))
        for _ in range(int(14 + radius * 8)):
            t, r = self.random.uniform(0, 2 * np.pi), radius * np.sqrt(self.random.random())
            a, b = float(r * np.cos(t)), float(r * np.sin(t))
            light = -(a * self.sun[0] + b * self.sun[1]) / radius * 46 + self.random.normal(0, 9)
            size = radius * self.random.uniform(0.14, 0.3)
            self.disc(x + a * 0.92, y + b * 0.92, size, shift(base, light))

    def hedge(self, start: Point, end: Point) -> None:
        length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
        if self.chance(0.35):
            self.line([start, end], 0.2, self.vary((168, 156, 138), 12))
            return
        base = self.vary((58, 84, 46), 9)
        for t in np.arange(0, 1, 0.55 / length):
            if not self.chance(0.94):
                continue
            x, y = start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1])
            self.disc(x, y, self.random.uniform(0.4, 0.7), shift(base, self.random.normal(0, 9)))

    def pool(self, x: float, y: float, width: float, depth: float) -> None:
        """Draw water with a rim, a paved surround, and light on the floor."""
        kind = self.random.choice(["box", "round", "kidney", "oval", "angle"])
        outline = pool_outline(kind, x, y, width, depth, self.random)
        deck, water = self.vary(self.pick(DECKS), 8), self.vary(self.pick(WATER), 10)
        border = self.random.uniform(0.7, 2.0)
        if self.chance(0.7):
            self.box(x, y, width + 2 * border, depth + 2 * border, deck)
            tint = shift(deck, -14)
            for a in np.arange(x - width / 2 - border, x + width / 2 + border, 1.2):
                ends = [(a, y - depth / 2 - border), (a, y + depth / 2 + border)]
                self.line(ends, 0.06, tint)
        self.polygon(grow(outline, x, y, 0.45), self.vary((228, 224, 214), 8))
        bounds = [int((x - width / 2 - 1) * METRE), int((y - depth / 2 - 1) * METRE)]
        size = (int((width + 2) * METRE), int((depth + 2) * METRE))
        ripple = self.random.normal(0, 1, (max(3, size[1] // 9), max(3, size[0] // 9)))
        light = Image.fromarray(np.clip(128 + 26 * ripple, 0, 255).astype(np.uint8))
        light = light.resize(size, Image.Resampling.BICUBIC)
        slope = np.linspace(18, -34, size[0])[None, :, None] * self.random.choice([-1, 1])
        values = (
            np.array(water)[None, None] + slope + (np.asarray(light)[:, :, None] / 128 - 1) * 24
        )
        surface = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
        mask = Image.new("L", size)
        inner = [(a * METRE - bounds[0], b * METRE - bounds[1]) for a, b in outline]
        ImageDraw.Draw(mask).polygon(inner, 255)
        self.image.paste(surface, (bounds[0], bounds[1]), mask)
        self.rim_shadow(outline)
        if self.chance(0.6):
            steps = shift(water, 34)
            self.box(x - width * 0.36, y, 0.9, depth * 0.36, steps)
        for _ in range(int(self.random.integers(0, 4))):
            a = x + self.random.uniform(-0.5, 0.5) * width
            side = self.random.choice([-1, 1])
            chair = self.pick([(246, 246, 244), (200, 60, 50), (240, 226, 180)])
            self.box(a, y + side * (depth / 2 + border * 0.6), 0.65, 1.6, chair)

    def rim_shadow(self, outline: list[Point]) -> None:
        """Darken the water along the rim that stands towards the sun."""
        dx, dy = self.sun[0] * 0.8, self.sun[1] * 0.8
        left, top = int(min(x for x, _ in outline) * METRE), int(min(y for _, y in outline) * METRE)
        size = (
            int(max(x for x, _ in outline) * METRE) - left + 2,
            int(max(y for _, y in outline) * METRE) - top + 2,
        )
        shadow = Image.new("L", size)
        pen = ImageDraw.Draw(shadow)
        pen.polygon([(x * METRE - left, y * METRE - top) for x, y in outline], 70)
        pen.polygon([((x + dx) * METRE - left, (y + dy) * METRE - top) for x, y in outline], 0)
        self.image.paste((10, 40, 60), (left, top, left + size[0], top + size[1]), shadow)

    # Blue and round things that are no pools ----------------------------------------

    def tarpaulin(self, x: float, y: float) -> None:
        width, depth = self.random.uniform(2.5, 5), self.random.uniform(2, 4)
        points = [
            (a + self.random.normal(0, 0.25), b + self.random.normal(0, 0.25))
            for a, b in rectangle(x, y, width, depth)
        ]
        blue = self.vary((44, 92, 190), 14)
        self.shade(points, 0.6)
        self.polygon(points, blue)
        for _ in range(5):
            a, b = (self.random.uniform(-0.4, 0.4, 2) * (width, depth)).tolist()
            c, d = (self.random.uniform(-0.4, 0.4, 2) * (width, depth)).tolist()
            crease = shift(blue, self.random.choice([-26, 24]))
            self.line([(x + a, y + b), (x + c, y + d)], 0.12, crease)

    def trampoline(self, x: float, y: float) -> None:
        radius = self.random.uniform(1.3, 2.2)
        self.shade([(x + radius * np.cos(t), y + radius * np.sin(t)) for t in range(6)], 0.9)
        self.disc(
            x, y, radius, self.vary(self.pick([(50, 110, 190), (60, 140, 90), (40, 70, 150)]), 9)
        )
        self.disc(x, y, radius * 0.8, (34, 34, 38))

    def pond(self, x: float, y: float) -> None:
        outline = blob(x, y, self.random.uniform(1.5, 3.6), self.random)
        self.polygon(grow(outline, x, y, 0.5), self.vary((120, 112, 96), 10))
        self.polygon(outline, self.vary(self.pick([(48, 66, 58), (62, 80, 84), (70, 76, 54)]), 8))
        for _ in range(int(self.random.integers(2, 8))):
            a, b = self.random.normal(0, 0.8, 2).tolist()
            self.disc(x + a, y + b, self.random.uniform(0.15, 0.4), self.vary((84, 110, 60), 8))

    def court(self, x: float, y: float) -> None:
        colour = self.vary(self.pick([(60, 104, 150), (70, 120, 90), (164, 98, 76)]), 8)
        self.box(x, y, 12, 7, shift(colour, -18))
        self.box(x, y, 10, 5.2, colour)
        white = (232, 232, 228)
        for ends in (
            rectangle(x, y, 10, 5.2) + rectangle(x, y, 10, 5.2)[:1],
            [(x, y - 2.9), (x, y + 2.9)],
            [(x - 2.7, y), (x + 2.7, y)],
        ):
            self.line(ends, 0.12, white)

    def patio(self, x: float, y: float) -> None:
        colour = self.vary(self.pick(DECKS), 10)
        self.box(x, y, self.random.uniform(3, 6), self.random.uniform(2.4, 4), colour)
        if self.chance(0.6):
            self.disc(x + 0.2, y + 0.25, 1.3, shift(colour, -70))
            parasol = self.pick([(190, 60, 54), (240, 236, 226), (60, 110, 170), (70, 110, 80)])
            self.disc(x, y, 1.3, parasol)

    def shed(self, x: float, y: float) -> None:
        width, depth = self.random.uniform(2, 3.2), self.random.uniform(2, 3.2)
        self.shade(rectangle(x, y, width, depth), 2.2)
        self.roof(x, y, width, depth, self.vary(self.pick(ROOFS + BLUE_ROOFS[:1]), 10))


def shift(colour: tuple[float, float, float], light: float) -> Colour:
    """Return the colour made lighter or darker by so many levels."""
    red, green, blue = (max(0, min(255, int(value + light))) for value in colour)
    return red, green, blue


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


def paint(with_pool: bool, random: np.random.Generator) -> Image.Image:
    """Return one aerial view, 180 to 420 pixels wide and high."""
    scene = Scene(random)
    scene.ground()
    street = scene.road()
    side = scene.side
    middle = side / 2
    half = random.uniform(11, 15)
    left, right, back = middle - half, middle + half, random.uniform(19, 25)

    # Neighbours first: whatever they have, it is not a pool.
    for x in (left / 2 - 2, (right + side) / 2 + 2):
        width, depth = random.uniform(8, 12), random.uniform(8, 12)
        scene.house(x, random.uniform(street - 16, street - 9), width, depth)
    if scene.chance(0.6):
        scene.house(random.uniform(left, right), back - 9, random.uniform(9, 15), 7)
    for start, end in (
        ((left, back), (left, street)),
        ((right, back), (right, street)),
        ((left, back), (right, back)),
    ):
        if scene.chance(0.8):
            scene.hedge(start, end)
    scene.taken += [(0, 0, left, side), (right, 0, side, side), (0, 0, side, back)]

    # What the picture must show: the pool, or the like of it in a garden without.
    focus = (random.uniform(left + 4, right - 4), random.uniform(back + 4, back + 12))
    width, depth = random.uniform(10, min(17, 2 * half - 5)), random.uniform(7, 11)
    x = random.uniform(left + width / 2 + 1, right - width / 2 - 1)
    y = random.uniform(street - depth / 2 - 8, street - depth / 2 - 4)
    drive = x + random.uniform(-0.35, 0.35) * width
    tone = scene.vary(scene.pick([(176, 172, 166), (150, 140, 130), (128, 126, 126)]), 9)
    scene.box(drive, (y + street + 1) / 2, random.uniform(3, 5), street + 2 - y, tone)
    scene.house(x, y, width, depth)
    if scene.chance(0.6):
        scene.car(drive, street - 2.4, along=False)
    garden = (left + 1.2, back + 1.2, right - 1.2, y + depth / 2)

    if with_pool:
        for shrink in (1.0, 0.8, 0.6):
            wide, deep = random.uniform(6, 11) * shrink, random.uniform(3.4, 5.4) * shrink
            if scene.chance(0.4):
                wide, deep = deep, wide
            spot = scene.place(wide + 2, deep + 2, garden)
            if spot:
                focus = spot
                scene.pool(*spot, wide, deep)
                break
        else:
            focus = ((left + right) / 2, back + 4)
            scene.pool(*focus, 6, 3.4)

    things = [
        (0.35, 5.4, 4.6, scene.tarpaulin), (0.35, 4.6, 4.6, scene.trampoline),
        (0.2, 8.0, 8.0, scene.pond), (0.12, 12.4, 7.4, scene.court),
        (0.6, 6.2, 4.2, scene.patio), (0.4, 3.6, 3.6, scene.shed),
    ]  # fmt: skip
    for probability, wide, deep, thing in things:
        if scene.chance(probability):
            spot = scene.place(wide, deep, garden)
            if spot:
                thing(*spot)
    for _ in range(int(random.integers(2, 9))):
        radius = random.uniform(0.9, 3.0)
        spot = scene.place(radius * 1.3, radius * 1.3, garden)
        if spot:
            scene.tree(*spot, radius)
    for _ in range(int(random.integers(4, 18))):
        a, b = random.uniform(0, side), random.uniform(0, street - 1)
        if not (left < a < right and b > back):
            scene.tree(a, b, random.uniform(1, 3.2))
    return photograph(scene.image, (middle, (back + street) / 2), focus, random)


def photograph(
    drawing: Image.Image, centre: Point, focus: Point, random: np.random.Generator
) -> Image.Image:
    """Return the drawing as a camera might have taken it: turned, cut, softened, noisy.

    The window lies about ``centre`` and is moved only as far as ``focus`` needs to be in it.
    """
    angle = random.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array(centre) * METRE
    window = random.uniform(350, 440) * random.uniform(0.85, 1.0, 2)
    away = turn.T @ (np.array(focus) * METRE - middle)
    reach = window / 2 - 34
    middle = middle + turn @ np.clip(random.uniform(-12, 12, 2), away - reach, away + reach)
    corner = middle - turn @ (window / 2)
    data = (turn[0, 0], turn[0, 1], corner[0], turn[1, 0], turn[1, 1], corner[1])
    cut = (round(window[0]), round(window[1]))
    affine, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    view = drawing.transform(cut, affine, tuple(float(value) for value in data), bilinear)
    factor = random.uniform(200, 420) / max(cut)
    view = view.resize((round(cut[0] * factor), round(cut[1] * factor)), bilinear)
    if random.random() < 0.5:
        view = view.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 1.1)))
    values = np.asarray(view).astype(np.float32)
    haze, contrast = random.uniform(0, 26), random.uniform(0.78, 1.14)
    balance = random.normal(1, 0.035, 3).astype(np.float32)
    values = (values - 118) * (balance * np.float32(contrast)) + np.float32(
        118 + random.normal(0, 12)
    )
    values += (205 - values) * np.float32(haze / 255)
    grain = random.standard_normal(values.shape, dtype=np.float32)
    values += grain * np.float32(random.uniform(1.5, 6.5))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def draw_one(output: Path, number: int, seed: int) -> Path:
    """Paint one picture into its folder and return its path."""
    # Of its own seed, so that a larger set only adds pictures.
    random = np.random.default_rng([seed, number])
    label = LABELS[number % 2]
    path = output / label / f"aerial_{number:05}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    paint(label == LABELS[0], random).save(path, quality=int(random.integers(60, 96)))
    return path


def draw_houses(output: Path, count: int, seed: int) -> list[Path]:
    """Paint ``count`` pictures, half of them with pools, and return their paths."""
    arguments = ([output] * count, range(count), [seed] * count)
    if count < 40:
        return list(map(draw_one, *arguments))
    with ProcessPoolExecutor() as pool:
        return list(pool.map(draw_one, *arguments, chunksize=10))


def main(arguments: list[str] | None = None) -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(
        description="Paint aerial views of houses with and without pools."
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the two folders")
    parser.add_argument("--count", type=int, default=200, help="pictures in all (default 200)")
    parser.add_argument(
        "--seed", type=int, default=0, help="other seeds, other pictures (default 0)"
    )
    chosen = parser.parse_args(arguments)
    if chosen.count < 2 or chosen.seed < 0:
        parser.error("--count must be 2 or more and --seed not below 0")
    paths = draw_houses(chosen.output, chosen.count, chosen.seed)
    print(f"{len(paths)} pictures in {chosen.output / LABELS[0]} and {chosen.output / LABELS[1]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
