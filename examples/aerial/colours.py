"""The colours of things seen from above."""

from __future__ import annotations

Colour = tuple[int, int, int]

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


def shift(colour: tuple[float, float, float], light: float) -> Colour:
    """Return the colour made lighter or darker by so many levels."""
    red, green, blue = (max(0, min(255, int(value + light))) for value in colour)
    return red, green, blue
