"""Pictures that TensorBoard shows: a sheet of thumbnails, a confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tlcli.arrays import Array
from tlcli.core.images.thumbnails import picture
from tlcli.progress import Progress
from tlcli.system.cpus import available_cpus

# The largest sprite that the projector takes.
SPRITE_SIDE = 8192
SPRITE_THUMBNAIL = 64


def one_line(label: str) -> str:
    """Return a label without tabs and line breaks, "(empty)" for nothing."""
    return " ".join(str(label).split()) or "(empty)"


def sprite(
    images: Sequence[Path | str | None], progress: Progress | None = None
) -> tuple[int, Image.Image]:
    """Return the side of one thumbnail in pixels and a square sheet of all, row by row.

    An image that is None or cannot be read stays a grey square.
    """

    def tile(source: Path | str | None) -> Image.Image | None:
        small = None if source is None else picture(source, side)
        return None if small is None else small.resize((side, side), Image.Resampling.BILINEAR)

    columns = max(1, math.ceil(math.sqrt(len(images))))
    side = min(SPRITE_THUMBNAIL, SPRITE_SIDE // columns)
    sheet = Image.new("RGB", (columns * side, columns * side), (200, 204, 209))
    with ThreadPoolExecutor(available_cpus(), "tlcli-sprite") as pool:
        for index, drawn in enumerate(pool.map(tile, images)):
            if drawn is not None:
                sheet.paste(drawn, (index % columns * side, index // columns * side))
            if progress is not None:
                progress("thumbnails", index + 1, len(images))
    return side, sheet


def confusion_image(matrix: Array, labels: Sequence[str]) -> Image.Image:
    """Draw a confusion matrix: blue on the diagonal, orange off it, shaded by row.

    Numbers and names are drawn as long as there is room for them.
    """
    count = len(labels)
    cell = max(3, min(56, 1000 // max(count, 1)))
    named = cell >= 24
    font = ImageFont.load_default(13)
    shown = [one_line(label)[:18] for label in labels] if named else []
    left = 16 + int(max((font.getlength(name) for name in shown), default=0))
    top = 30 + (18 * count if named else 0)
    # Column names stand as a list above, each at the left end of its column's own line.
    overhang = max(
        (cell * column + int(font.getlength(name)) for column, name in enumerate(shown)), default=0
    )
    width = left + max(cell * count, overhang) + 16
    image = Image.new("RGB", (max(width, 260), top + cell * count + 16), "white")
    draw = ImageDraw.Draw(image)
    draw.text((8, 8), "rows: true label, columns: predicted", fill=(84, 93, 105), font=font)
    sizes = np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shares = matrix / sizes
    for row in range(count):
        y = top + row * cell
        if named:
            draw.text((8, y + cell // 2 - 8), shown[row], fill=(26, 30, 36), font=font)
        for column in range(count):
            x = left + column * cell
            share = float(shares[row, column])
            base = np.array((10, 92, 173) if row == column else (200, 88, 22))
            strength = 0.0 if matrix[row, column] == 0 else 0.12 + 0.88 * share
            colour = np.rint(255 + (base - 255) * strength).astype(int)
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=tuple(colour.tolist()))
            if named:
                ink = (255, 255, 255) if strength > 0.6 else (26, 30, 36)
                number = str(int(matrix[row, column]))
                draw.text(
                    (x + (cell - font.getlength(number)) // 2, y + cell // 2 - 8),
                    number,
                    fill=ink,
                    font=font,
                )
    for column, name in enumerate(shown):
        x, y = left + column * cell, 28 + 18 * column
        draw.text((x + 4, y), name, fill=(26, 30, 36), font=font)
        draw.line((x, y + 4, x, top), fill=(200, 204, 209))
    return image
