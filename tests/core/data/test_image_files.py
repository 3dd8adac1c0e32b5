"""Images given as pictures and arrays are read as the files that they came from."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from tlcli.arrays import Array
from tlcli.core.data.image_files import ImageLike, as_list, named
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import ImageError, UsageError

READERS = [
    Preprocessing("tlcli-1", 24, 32),
    Preprocessing("label_image", 24, 32),
    Preprocessing("pillow", 24, 32, upright=True),
]
PHOTO = Image.linear_gradient("L").resize((60, 45))


def pixels_of(image: ImageLike, reader: Preprocessing = READERS[0]) -> Array:
    ((_, source),) = named([image])
    assert not isinstance(source, ImageError)
    return reader.read(source)


def picture(mode: str) -> Image.Image:
    """Return a picture of a mode with some variety, also in alpha."""
    colours = Image.merge("RGB", (PHOTO, PHOTO.rotate(180), PHOTO.rotate(90).resize(PHOTO.size)))
    if mode in ("LA", "RGBA"):
        made = colours.convert(mode)
        made.putalpha(PHOTO)
        return made
    if mode == "I;16":
        return Image.fromarray(np.asarray(PHOTO).astype(np.uint16) * 250)
    return colours.convert(mode)


def stored(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *((mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        *((mode, "TIFF") for mode in ("CMYK", "I", "F")),
    ],
)
def test_a_picture_in_memory_has_the_pixels_of_its_file(
    mode: str, kind: str, reader: Preprocessing
) -> None:
    content = stored(picture(mode), kind)
    expected = pixels_of(content, reader)
    with Image.open(io.BytesIO(content)) as opened:
        np.testing.assert_array_equal(pixels_of(opened, reader), expected)
        opened.load()
        assert opened.mode == mode
        np.testing.assert_array_equal(pixels_of(opened, reader), expected)
    np.testing.assert_array_equal(pixels_of(picture(mode), reader), expected)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_a_transparent_colour_stays_transparent(mode: str, reader: Preprocessing) -> None:
    transparent: Any = {"L": 0, "P": 0, "RGB": (0, 0, 0)}[mode]
    drawn = ImageOps.posterize(PHOTO.convert("RGB"), 1).convert(mode)
    content = stored(drawn, "PNG", transparency=transparent)
    with Image.open(io.BytesIO(content)) as opened:
        opened.load()
        np.testing.assert_array_equal(pixels_of(opened, reader), pixels_of(content, reader))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_applied_once(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = stored(picture("RGB"), kind, exif=exif)
    # Turned after or before it is resized: older versions of Pillow round a level differently.
    expected = pixels_of(content)
    with Image.open(io.BytesIO(content)) as opened:
        np.testing.assert_allclose(pixels_of(opened), expected, atol=1)
        opened.load()
        np.testing.assert_allclose(pixels_of(opened), expected, atol=1)
        upright = ImageOps.exif_transpose(opened)
    np.testing.assert_allclose(pixels_of(upright), expected, atol=1)


def test_an_open_jpeg_is_decoded_at_a_reduced_size_as_its_file() -> None:
    content = stored(picture("RGB").resize((400, 300)), "JPEG")
    with Image.open(io.BytesIO(content)) as opened:
        np.testing.assert_array_equal(pixels_of(opened), pixels_of(content))
        assert opened.size == (400, 300)
        whole = np.asarray(opened)
        np.testing.assert_array_equal(pixels_of(opened), pixels_of(whole))
    assert not np.array_equal(pixels_of(whole), pixels_of(content))


def test_the_frame_that_is_shown_is_the_image() -> None:
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "lime", "blue")]
    content = stored(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(content)) as opened:
        opened.seek(2)
        assert pixels_of(opened)[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("shape", [(60, 90), (60, 90, 1), (60, 90, 3), (60, 90, 4)])
def test_arrays_are_pictures(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    plain = values[:, :, 0] if shape[2:] == (1,) else values
    np.testing.assert_array_equal(pixels_of(values), pixels_of(Image.fromarray(plain)))
    turned = values[::-1, ::-1]  # not contiguous
    np.testing.assert_array_equal(pixels_of(turned), pixels_of(turned.copy()))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.zeros((4, 4, 3)), r"image 1 is an array of float64; give uint8, .*\(image \* 255\)"),
        (np.zeros((4, 4), np.uint16), "image 1 is an array of uint16; give uint8, with values"),
        (np.zeros((3, 4, 5), np.uint8), r"image 1 is an array of the shape \[3, 4, 5\]; give"),
        (np.zeros((0, 4, 3), np.uint8), r"image 1 is an array of the shape \[0, 4, 3\]; give"),
        (np.zeros(4, np.uint8), r"image 1 is an array of the shape \[4\]; give \[height, width\]"),
    ],
)
def test_other_arrays_are_one_sentence(values: Array, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        list(named([values]))


def test_one_image_several_and_a_batch() -> None:
    batch = np.zeros((5, 4, 4, 3), np.uint8)
    assert len(list(as_list(batch))) == 5
    for one in ("a.jpg", Path("a.jpg"), b"", PHOTO, batch[0], batch[0, :, :, 0]):
        assert list(as_list(one)) == [one]
    assert list(as_list(["a.jpg", b""])) == ["a.jpg", b""]
    with pytest.raises(UsageError, match="images is of the type int; give a path"):
        as_list(5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="image 2 is of the type list; give a path"):
        list(named(["a.jpg", []]))  # type: ignore[list-item]


def test_names(tmp_path: Path) -> None:
    PHOTO.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened:
        found = [name for name, _ in named([opened, PHOTO, np.zeros((2, 2), np.uint8), b""])]
    assert found == [str(tmp_path / "a.png"), "image 2", "image 3", "image 4"]


def test_folders_stand_for_their_images(tmp_path: Path) -> None:
    (tmp_path / "photos" / "more").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for name in ("b.png", "more/c.png", "a.png"):
        PHOTO.save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("notes")
    found = list(named([tmp_path / "empty", tmp_path / "photos", b""]))
    names = ["empty", "photos/a.png", "photos/b.png", "photos/more/c.png"]
    assert [name for name, _ in found] == [*(str(tmp_path / name) for name in names), "image 3"]
    assert str(found[0][1]) == "no images in this folder"


def test_a_picture_that_cannot_be_decoded_fails_alone(tmp_path: Path) -> None:
    content = stored(picture("RGB"), "PNG")
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    cut = Image.open(tmp_path / "cut.png")
    with Image.open(io.BytesIO(content)) as closed:
        pass
    empty = Image.new("RGB", (0, 5))
    found = [source for _, source in named([cut, closed, empty, PHOTO])]
    cut.close()
    with pytest.raises(ImageError, match="truncated"):
        READERS[0].read(found[0])  # type: ignore[arg-type]
    assert str(found[1]).startswith("cannot be decoded (")
    assert str(found[2]) == "the image has no pixels"
    assert isinstance(found[3], bytes)


def test_a_buffer_may_be_used_again_for_the_next_image() -> None:
    def frames() -> Iterator[Array]:
        frame = np.zeros((8, 8, 3), np.uint8)
        for value in (10, 200):
            frame[:] = value
            yield frame

    read = [READERS[0].read(source) for _, source in named(frames())]  # type: ignore[arg-type]
    assert [image[0, 0, 0] for image in read] == [10, 200]
