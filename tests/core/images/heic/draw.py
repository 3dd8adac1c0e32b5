"""Draw the HEIC files of this folder; needs the package pillow-heif, which has an encoder.

python tests/core/images/heic/draw.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

FOLDER = Path(__file__).resolve().parent


def drawing() -> Image.Image:
    """Return 96 x 64 pixels: green at the upper left, a blue disc at the right, the rest red."""
    image = Image.new("RGB", (96, 64), (200, 30, 30))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 48, 32), fill=(20, 160, 60))
    draw.ellipse((60, 20, 90, 50), fill=(30, 60, 220))
    return image


def main() -> None:
    """Write the files."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    image = drawing()
    image.save(FOLDER / "plain.heic", quality=70)
    for orientation in (3, 5, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = orientation
        # The encoder stores the rotation in the container too, as phones do.
        image.save(FOLDER / f"turned_{orientation}.heic", quality=70, exif=exif.tobytes())
    clear = image.convert("RGBA")
    clear.putalpha(Image.new("L", clear.size, 128))
    clear.save(FOLDER / "alpha.heic", quality=70)
    white = Image.new("RGB", (96, 64), "white")
    image.save(
        FOLDER / "second.heic", quality=70, save_all=True, append_images=[white], primary_index=1
    )
    grey = Image.frombytes("I;16", (96, 64), b"\x80\x40" * (96 * 64))
    grey.save(FOLDER / "deep.heic", quality=70)


if __name__ == "__main__":
    main()
