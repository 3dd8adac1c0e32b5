"""Images: every mode and orientation to the same picture, every failure to a plain reason."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pictures import encoded, photo
from tlcli.core.images import decoding
from tlcli.core.images.preprocessing import PREPROCESSING_VERSION, Preprocessing, read_pixels
from tlcli.core.images.resizing import resize_over_white, resize_plain_bilinear
from tlcli.errors import DataError, UsageError

PLAIN = Preprocessing("tlcli-1", 64, 48)
LEGACY = Preprocessing("label_image", 64, 48)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


def test_version_is_part_of_the_contract() -> None:
    assert PREPROCESSING_VERSION == 1


def test_shape_type_and_scale() -> None:
    pixels = PLAIN.read(encoded(photo()))
    assert pixels.shape == (64, 48, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    scaled = PLAIN.scale(pixels[None])
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled[0], pixels.astype(np.float32) / 255)


def test_legacy_shape_type_and_scale() -> None:
    pixels = LEGACY.read(encoded(photo()))
    assert pixels.shape == (64, 48, 3)
    assert pixels.dtype == np.float32
    scaled = Preprocessing("label_image", 64, 48, 128, 128).scale(pixels[None])
    np.testing.assert_allclose(scaled[0], (pixels - 128) / 128, rtol=1e-6)
    # A mean of 0 is a mean, not a missing value.
    np.testing.assert_array_equal(Preprocessing("label_image", 8, 8, 0, 1).scale(pixels), pixels)


def test_path_string_and_bytes_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "photo.wrong_suffix"
    path.write_bytes(encoded(photo()))
    expected = PLAIN.read(path)
    np.testing.assert_array_equal(PLAIN.read(str(path)), expected)
    np.testing.assert_array_equal(PLAIN.read(path.read_bytes()), expected)


def test_resize_is_pillows_antialiased_bilinear() -> None:
    image = photo(301, 199)
    expected = np.asarray(image.resize((48, 64), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(PLAIN.read(encoded(image)), expected)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB"])
def test_opaque_modes(mode: str) -> None:
    image = photo().convert("L") if mode in ("1", "L") else photo()
    converted = image.convert("LAB" if mode == "LAB" else mode)
    form = "PNG" if mode in ("1", "L", "P", "RGB") else "TIFF"
    limit = {"P": 8, "1": 14}.get(mode, 2)
    assert difference(PLAIN.read(encoded(converted, form)), PLAIN.read(encoded(image))) < limit


def test_uncompressed_ycbcr_with_more_data_behind_it() -> None:
    # Pillow 12 took these for RGB of four bytes a pixel and gave another picture.
    content = encoded(photo().convert("YCbCr"), "TIFF") + bytes(100_000)
    assert difference(PLAIN.read(content), PLAIN.read(encoded(photo()))) < 2


def half_transparent(mode: str) -> Image.Image:
    image = photo().convert("RGBA")
    alpha = np.full((90, 120), 255, np.uint8)
    alpha[:, :60] = 0
    image.putalpha(Image.fromarray(alpha))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_becomes_white(mode: str) -> None:
    pixels = PLAIN.read(encoded(half_transparent(mode)))
    assert (pixels[:, :20] == 255).all()
    opaque = photo().convert("L") if mode == "LA" else photo()
    assert difference(pixels[:, 28:], PLAIN.read(encoded(opaque))[:, 28:]) < 1


def test_half_alpha_is_mixed_with_white() -> None:
    image = Image.new("RGBA", (20, 20), (100, 0, 200, 128))
    expected = np.array([100, 0, 200]) * 128 / 255 + 127
    assert np.abs(PLAIN.read(encoded(image))[5, 5] - expected).max() <= 1.5


@pytest.mark.parametrize("transparency", [0, b"\x00\xff\xff\xff"])
def test_palette_transparency(transparency: object) -> None:
    image = Image.new("P", (40, 40), 1)
    image.putpalette([255, 0, 0, 0, 0, 255, 0, 255, 0, 9, 9, 9])
    image.paste(0, (0, 0, 20, 40))
    pixels = PLAIN.read(encoded(image, "PNG", transparency=transparency))
    assert tuple(pixels[30, 5]) == (255, 255, 255)
    assert tuple(pixels[30, 40]) == (0, 0, 255)
    # label_image knew no alpha: the hidden colour comes out.
    assert tuple(LEGACY.read(encoded(image, "PNG", transparency=transparency))[30, 5]) == (
        255,
        0,
        0,
    )


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (10, 20, 30)), ("L", 10)])
def test_transparent_colour(mode: str, colour: object) -> None:
    image = Image.new(mode, (40, 40), colour)
    image.paste(200 if mode == "L" else (200, 200, 200), (20, 0, 40, 40))
    pixels = PLAIN.read(encoded(image, "PNG", transparency=colour))
    assert tuple(pixels[30, 5]) == (255, 255, 255)
    assert tuple(pixels[30, 40]) == (200, 200, 200)


def test_premultiplied_and_hue_modes() -> None:
    image = half_transparent("RGBA")
    expected = PLAIN.read(encoded(image))
    np.testing.assert_array_equal(resize_over_white(image.convert("RGBa"), 64, 48), expected)
    assert (
        difference(resize_over_white(photo().convert("HSV"), 64, 48), PLAIN.read(encoded(photo())))
        < 2
    )
    paletted = image.convert("RGB").quantize(64).convert("PA")
    paletted.putalpha(image.getchannel("A"))
    assert difference(resize_over_white(paletted, 64, 48), expected) < 8


def deep(values: np.ndarray) -> bytes:
    return encoded(Image.fromarray(values), "TIFF")


@pytest.mark.parametrize(
    ("kind", "top"),
    [
        (np.uint16, 65535),
        (np.uint16, 4095),
        (np.uint16, 255),
        (np.int32, 65535),
        (np.int32, 2_000_000_000),
        (np.float32, 1.0),
        (np.float32, 255.0),
        (np.float32, 65535.0),
    ],
)
def test_deep_grey_is_scaled_not_clipped(kind: type, top: float) -> None:
    ramp = np.tile(np.linspace(0, 1, 256), (64, 1))
    pixels = PLAIN.read(deep((ramp * top).astype(kind)))
    expected = PLAIN.read(encoded(Image.fromarray((ramp * 255).astype(np.uint8))))
    assert difference(pixels, expected) < 1.5
    assert 120 < pixels.mean() < 135


def test_negative_and_missing_numbers_are_stretched() -> None:
    ramp = np.tile(np.linspace(-1, 1, 256, dtype=np.float32), (64, 1))
    ramp[0, 0] = np.nan
    ramp[1, 0] = np.inf
    pixels = PLAIN.read(deep(ramp))
    assert pixels[32, 0, 0] < 8
    assert pixels[32, -1, 0] > 247


def test_transparent_value_of_16_bits() -> None:
    values = np.full((40, 40), 40000, np.uint16)
    values[:, :20] = 300
    data = encoded(Image.fromarray(values), "PNG", transparency=300)
    pixels = PLAIN.read(data)
    assert tuple(pixels[30, 5]) == (255, 255, 255)
    assert tuple(pixels[30, 40]) == (40000 >> 8,) * 3


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("size", [(60, 45), (1000, 700)])  # without and with JPEG draft
def test_orientation(form: str, value: int, size: tuple[int, int]) -> None:
    image = photo(*size)
    undo = {5: 5, 6: 8, 7: 7, 8: 6}.get(value, value)
    turned = decoding.turn(image, undo)
    exif = Image.Exif()
    exif[0x0112] = value
    options = {"quality": 95} if form in ("JPEG", "WEBP") else {}
    pixels = PLAIN.read(encoded(turned, form, exif=exif, **options))
    assert difference(pixels, PLAIN.read(encoded(image))) < 3


def test_legacy_does_not_turn() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    marked = encoded(photo(), "JPEG", exif=exif, quality=95)
    np.testing.assert_array_equal(
        LEGACY.read(marked), LEGACY.read(encoded(photo(), "JPEG", quality=95))
    )


def test_broken_metadata_leave_the_picture(shared: Path) -> None:
    for name in ("invalid-exif.jpg", "broken_exif_dpi.jpg", "exif_typeerror.jpg"):
        assert PLAIN.read(shared / "odd" / name).std() > 10


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame(form: str) -> None:
    first, second = Image.new("RGB", (30, 30), (200, 0, 0)), Image.new("RGB", (30, 30), (0, 0, 200))
    data = encoded(first, form, save_all=True, append_images=[second])
    for preprocessing in (PLAIN, LEGACY):
        assert preprocessing.read(data)[10, 10, 0] > 150
        assert preprocessing.read(data)[10, 10, 2] < 50


def test_draft_moves_little_and_keeps_the_frame() -> None:
    image = photo(1001, 777)
    data = encoded(image, "JPEG", quality=98)
    assert difference(PLAIN.read(data), PLAIN.read(encoded(image))) < 1


def test_twins_of_one_photo(shared: Path) -> None:
    odd = shared / "odd"

    def distance(name: str, other: str) -> float:
        return difference(PLAIN.read(odd / name), PLAIN.read(odd / other))

    for suffix in ("tif", "png", "qoi"):
        assert distance(f"hopper.{suffix}", "hopper.bmp") == 0, suffix
    for name in ("hopper_lzw.tif", "hopper_lzma.tif", "hopper_bigtiff.tif", "hopper_8bit.ppm"):
        assert distance(name, "hopper.bmp") == 0, name
    for name in ("hopper.ppm", "hopper.jpg", "hopper.webp", "hopper.gif", "avif_hopper.avif"):
        assert distance(name, "hopper.bmp") < 4, name
    for number in range(2, 9):
        for suffix in ("jpg", "webp"):
            assert distance(f"hopper_orientation_{number}.{suffix}", "hopper.bmp") < 5
        assert distance(f"g4_orientation_{number}.tif", "g4_orientation_1.tif") < 1
    # Sixteen bits are neither white nor black.
    assert distance("hopper_16bit.pgm", "hopper_8bit.pgm") < 1
    assert distance("tiff_16bit_RGBa.tiff", "tiff_16bit_RGBa_target.png") < 2
    assert distance("lab-red.tif", "lab-green.tif") > 50


def test_dictionary_round_trip() -> None:
    for value in (PLAIN, Preprocessing("label_image", 128, 96, 127.5, 127.5)):
        assert Preprocessing.from_dict({**value.to_dict(), "later": 1}) == value
    for bad in ({}, {"name": "other", "height": 1, "width": 1}, {**PLAIN.to_dict(), "std": 0}):
        with pytest.raises(DataError, match="the preprocessing"):
            Preprocessing.from_dict(bad)


@pytest.mark.parametrize(
    "values", [(0, 5, 0, 1), (5, -1, 0, 1), (5, 9000, 0, 1), (5, 5, 0, 0), (5, 5, float("nan"), 1)]
)
def test_values_that_cannot_work(values: tuple[int, int, float, float]) -> None:
    with pytest.raises(UsageError):
        Preprocessing("label_image", *values)


@pytest.mark.parametrize("size", [(90, 120), (31, 17), (64, 48), (1, 1), (333, 500)])
def test_plain_bilinear_by_its_definition(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    result = resize_plain_bilinear(pixels, 64, 48)
    for row, column in ((0, 0), (63, 47), (31, 17), (5, 40)):
        y, x = row * size[0] / 64, column * size[1] / 48
        top, left = int(y), int(x)
        bottom, right = min(top + 1, size[0] - 1), min(left + 1, size[1] - 1)
        a, b, c, d = (
            pixels[i, j].astype(float)
            for i, j in ((top, left), (top, right), (bottom, left), (bottom, right))
        )
        upper, lower = a + (b - a) * (x - left), c + (d - c) * (x - left)
        np.testing.assert_allclose(
            result[row, column], upper + (lower - upper) * (y - top), atol=0.01
        )


@pytest.mark.slow
def test_plain_bilinear_is_tensorflows() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensorflow = pytest.importorskip("tensorflow")
    for size in ((333, 500), (31, 17), (224, 224), (1, 3), (1999, 1001)):
        pixels = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
        expected = tensorflow.compat.v1.image.resize_bilinear(pixels[None], (224, 160)).numpy()[0]
        assert np.abs(resize_plain_bilinear(pixels, 224, 160) - expected).max() < 1e-3


def test_read_pixels_takes_any_size() -> None:
    assert read_pixels(encoded(photo()), 7, 300).shape == (7, 300, 3)
