"""A plot of land to paint on: free positions and brushes."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from aerial.colours import GRASS, Colour, shift
from aerial.shapes import Point, hull

CANVAS = 760  # side of the drawing, in pixels, before it is rotated, cropped and reduced
METRE = 11.0  # pixels of the drawing per metre


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

    # Positions -------------------------------------------------------------------------

    def free(self, box: tuple[float, float, float, float], margin: float = 0.6) -> bool:
        left, top, right, bottom = box
        return all(
            right + margin < l or r + margin < left or bottom + margin < t or b + margin < top
            for l, t, r, b in self.taken  # noqa: E741
        )

    def place(
        self, width: float, height: float, area: tuple[float, float, float, float]
    ) -> tuple[float, float] | None:
        """Return the centre of a free position in an area and reserve it, or None."""
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
        """Draw the shadow of something that stands on ``points``."""
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
