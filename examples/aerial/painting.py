"""One picture: the plot with its house and garden, as a camera might have taken it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from aerial import buildings, gardens, land
from aerial.scene import METRE, Scene
from aerial.shapes import Point

_LABELLED = {gardens.trampoline: "trampoline", gardens.court: "tennis court"}
LABELS = ("pool", *_LABELLED.values())
"""What a view may show, several of them or none."""


def paint(with_pool: bool, random: np.random.Generator) -> Image.Image:
    """Return one aerial view, 180 to 420 pixels wide and high."""
    return paint_labelled(with_pool, random)[0]


def paint_labelled(
    with_pool: bool, random: np.random.Generator
) -> tuple[Image.Image, tuple[str, ...]]:
    """Return the view that `paint` returns, and which of `LABELS` it shows."""
    scene = Scene(random)
    spots: list[tuple[str, Point]] = []
    land.ground(scene)
    street = land.road(scene)
    side = scene.side
    middle = side / 2
    half = random.uniform(11, 15)
    left, right, back = middle - half, middle + half, random.uniform(19, 25)

    # Neighbours first; they never have a pool.
    for x in (left / 2 - 2, (right + side) / 2 + 2):
        width, depth = random.uniform(8, 12), random.uniform(8, 12)
        buildings.house(scene, x, random.uniform(street - 16, street - 9), width, depth)
    if scene.chance(0.6):
        buildings.house(scene, random.uniform(left, right), back - 9, random.uniform(9, 15), 7)
    for start, end in (
        ((left, back), (left, street)),
        ((right, back), (right, street)),
        ((left, back), (right, back)),
    ):
        if scene.chance(0.8):
            land.hedge(scene, start, end)
    scene.taken += [(0, 0, left, side), (right, 0, side, side), (0, 0, side, back)]

    # The pool, or something similar in a garden without one.
    focus = (random.uniform(left + 4, right - 4), random.uniform(back + 4, back + 12))
    width, depth = random.uniform(10, min(17, 2 * half - 5)), random.uniform(7, 11)
    x = random.uniform(left + width / 2 + 1, right - width / 2 - 1)
    y = random.uniform(street - depth / 2 - 8, street - depth / 2 - 4)
    drive = x + random.uniform(-0.35, 0.35) * width
    tone = scene.vary(scene.pick([(176, 172, 166), (150, 140, 130), (128, 126, 126)]), 9)
    scene.box(drive, (y + street + 1) / 2, random.uniform(3, 5), street + 2 - y, tone)
    buildings.house(scene, x, y, width, depth)
    if scene.chance(0.6):
        land.car(scene, drive, street - 2.4, along=False)
    garden = (left + 1.2, back + 1.2, right - 1.2, y + depth / 2)

    if with_pool:
        for shrink in (1.0, 0.8, 0.6):
            wide, deep = random.uniform(6, 11) * shrink, random.uniform(3.4, 5.4) * shrink
            if scene.chance(0.4):
                wide, deep = deep, wide
            spot = scene.place(wide + 2, deep + 2, garden)
            if spot:
                focus = spot
                gardens.pool(scene, *spot, wide, deep)
                break
        else:
            focus = ((left + right) / 2, back + 4)
            gardens.pool(scene, *focus, 6, 3.4)
        spots.append(("pool", focus))

    things = [
        (0.35, 5.4, 4.6, gardens.tarpaulin), (0.35, 4.6, 4.6, gardens.trampoline),
        (0.2, 8.0, 8.0, gardens.pond), (0.12, 12.4, 7.4, gardens.court),
        (0.6, 6.2, 4.2, gardens.patio), (0.4, 3.6, 3.6, buildings.shed),
    ]  # fmt: skip
    for probability, wide, deep, thing in things:
        if scene.chance(probability):
            spot = scene.place(wide, deep, garden)
            if spot:
                thing(scene, *spot)
                if thing in _LABELLED:
                    spots.append((_LABELLED[thing], spot))
    for _ in range(int(random.integers(2, 9))):
        radius = random.uniform(0.9, 3.0)
        spot = scene.place(radius * 1.3, radius * 1.3, garden)
        if spot:
            land.tree(scene, *spot, radius)
    for _ in range(int(random.integers(4, 18))):
        a, b = random.uniform(0, side), random.uniform(0, street - 1)
        if not (left < a < right and b > back):
            land.tree(scene, a, b, random.uniform(1, 3.2))
    view, shows = photograph(scene.image, (middle, (back + street) / 2), focus, random)
    return view, tuple(sorted({label for label, spot in spots if shows(spot)}))


def photograph(
    drawing: Image.Image, centre: Point, focus: Point, random: np.random.Generator
) -> tuple[Image.Image, Callable[[Point], bool]]:
    """Return the drawing as a camera might have taken it: rotated, cropped, softened, noisy.

    The window lies about ``centre`` and is moved only as far as ``focus`` needs to be in it. The
    function that is returned too says whether a point is in the view, a metre from its edge.
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

    def shows(point: Point) -> bool:
        seen = turn.T @ (np.array(point) * METRE - corner)
        return bool(((seen > METRE) & (seen < window - METRE)).all())

    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)), shows
