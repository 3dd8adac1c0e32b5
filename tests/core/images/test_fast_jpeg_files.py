"""JPEGs of every kind, sound and damaged: the pixels, and the words, of Pillow alone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.core.images.both_ways import Both, jpeg, needs_fast_jpeg, noise
from tests.pictures import encoded, photo
from tlcli.core.images import decoding
from tlcli.errors import ImageError


@pytest.fixture
def both() -> Both:
    return Both()


@needs_fast_jpeg
@pytest.mark.parametrize("number", range(5))
def test_flower_photos(shared: Path, both: Both, number: int) -> None:
    paths = sorted((shared / "flowers" / "photos").glob("*/*.jpg"))
    assert len(paths) == 500
    for path in paths[number::5]:
        assert both.same(path, (224, 224))


@needs_fast_jpeg
@pytest.mark.slow
@pytest.mark.parametrize("size", [(128, 128), (299, 299), (61, 333), (3, 5), (240, 320)])
def test_flower_photos_at_other_sizes(shared: Path, both: Both, size: tuple[int, int]) -> None:
    for path in sorted((shared / "flowers" / "photos").glob("*/*.jpg")):
        assert both.same(path, size)


@pytest.mark.slow
@needs_fast_jpeg
@pytest.mark.parametrize("size", [(64, 48), (224, 224)])
def test_odd_files(shared: Path, both: Both, size: tuple[int, int]) -> None:
    taken = sum(both.same(path, size) for path in sorted((shared / "odd").iterdir()))
    assert taken >= 30


@needs_fast_jpeg
@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411"])
@pytest.mark.parametrize("size", [(1, 1), (17, 333), (333, 17), (9, 8), (15, 16), (640, 480)])
def test_subsamplings(subsampling: str, size: tuple[int, int], both: Both) -> None:
    from simplejpeg import encode_jpeg

    content = encode_jpeg(np.asarray(noise(*size)), 90, "RGB", subsampling)
    assert both.same(content, (48, 64))
    # At a half, a quarter and an eighth, where the image is large enough.
    for target in ((300, 200), (200, 300), (8, 8), (2, 3), (1, 1)):
        both.same(content, target)


@needs_fast_jpeg
@pytest.mark.parametrize(
    ("size", "target", "scale"),
    [((2000, 1500), (224, 224), 4), ((1001, 777), (224, 224), 2), ((777, 1001), (224, 224), 2),
     ((1793, 1799), (224, 224), 8), ((449, 448), (224, 224), 2), ((447, 448), (224, 224), 1),
     ((16, 16), (2, 2), 8), ((9, 31), (1, 1), 8), ((9, 31), (3, 1), 8)],
)  # fmt: skip
def test_drafts(size: tuple[int, int], target: tuple[int, int], scale: int, both: Both) -> None:
    for options in ({}, {"progressive": True}, {"subsampling": "4:4:4"}):
        content = jpeg(noise(*size), **options)
        with Image.open(io.BytesIO(content)) as image:
            image.draft(None, target[::-1])
            assert image.decoderconfig[0] == scale  # type: ignore[attr-defined]
        assert both.same(content, target)


@needs_fast_jpeg
def test_images_too_small_for_one_scale_alone_are_left_to_pillow(both: Both) -> None:
    for width in range(1, 20):
        for height in (1, 2, 7, 8, 9, 19):
            content = jpeg(noise(width, height))
            for target in ((1, 1), (2, 1), (3, 4)):
                taken = both.same(content, target)
                halved = width >= 2 * target[1] and height >= 2 * target[0]
                assert taken or (halved and min(width, height) < 10)


@needs_fast_jpeg
@pytest.mark.parametrize("value", range(10))
@pytest.mark.parametrize("size", [(60, 45), (45, 60), (1000, 700)])
def test_orientations(value: int, size: tuple[int, int], both: Both) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    content = jpeg(noise(*size), exif=exif)
    assert both.same(content, (64, 48))
    assert both.same(content, (37, 91))


def with_thumbnail() -> bytes:
    """Return a JPEG with another in its EXIF data, as cameras write."""
    content, small = jpeg(noise(200, 150)), jpeg(noise(40, 30))
    body = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + small
    return content[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + content[2:]


def two_pictures() -> bytes:
    return encoded(noise(200, 150), "MPO", save_all=True, append_images=[photo(200, 150)])


KINDS = {
    "progressive": lambda: jpeg(noise(301, 199), progressive=True),
    "optimised": lambda: jpeg(noise(301, 199), optimize=True),
    "grey": lambda: jpeg(noise(301, 199, "L")),
    "grey, progressive": lambda: jpeg(noise(301, 199, "L"), progressive=True),
    "coded as RGB": lambda: jpeg(noise(301, 199), keep_rgb=True),
    "restart markers": lambda: jpeg(noise(301, 199), restart_marker_rows=1),
    "more restart markers": lambda: jpeg(noise(301, 199), restart_marker_blocks=1),
    "best quality": lambda: jpeg(noise(301, 199), quality=100, subsampling=0),
    "worst quality": lambda: jpeg(noise(301, 199), quality=1),
    "thumbnail": with_thumbnail,
    "two pictures": two_pictures,
    "another behind it": lambda: jpeg(noise(301, 199)) + jpeg(noise(50, 60)),
    "garbage behind it": lambda: jpeg(noise(301, 199)) + b"garbage" * 99,
    # libjpeg then takes the standard ones, as for frames of films.
    "no Huffman tables": lambda: jpeg(noise(301, 199)).replace(b"\xff\xc4", b"\xff\xfe"),
    "comment": lambda: jpeg(noise(301, 199), comment="x" * 60_000),
}


@needs_fast_jpeg
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_are_read_quickly(kind: str, both: Both) -> None:
    for target in ((64, 48), (224, 300), (20, 31)):
        assert both.same(KINDS[kind](), target)


def changed(content: bytes, marker: bytes, offset: int, value: int) -> bytes:
    """Return a JPEG with one byte after a marker changed."""
    position = content.index(marker) + offset
    return content[:position] + bytes([value]) + content[position + 1 :]


def cmyk() -> bytes:
    return jpeg(noise(120, 90, "CMYK"))


LEFT = {
    "CMYK": cmyk,
    "twelve bits": lambda: changed(jpeg(noise(120, 90)), b"\xff\xc0", 4, 12),
    "lossless": lambda: changed(jpeg(noise(120, 90)), b"\xff\xc0", 1, 0xC3),
    "two components": lambda: changed(jpeg(noise(120, 90)), b"\xff\xc0", 9, 2),
    "no end": lambda: jpeg(noise(120, 90))[:-2],
    "higher than its header": lambda: changed(jpeg(noise(120, 90)), b"\xff\xc0", 6, 40),
    "lower than its header": lambda: changed(jpeg(noise(120, 90)), b"\xff\xc0", 6, 140),
    "no rows": lambda: changed(jpeg(noise(120, 90)), b"\xff\xc0", 6, 0),
    "PNG": lambda: encoded(noise(120, 90)),
}


@needs_fast_jpeg
@pytest.mark.parametrize("kind", LEFT)
def test_kinds_that_are_left_to_pillow(kind: str, both: Both) -> None:
    for target in ((64, 48), (20, 31)):
        assert not both.same(LEFT[kind](), target)


@needs_fast_jpeg
def test_colours_by_adobes_mark(both: Both) -> None:
    # Three components that are RGB in one file, and by the mark's last byte YCbCr in another.
    content = jpeg(noise(120, 90), keep_rgb=True)
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"
    for transform in (0, 1, 2, 9):
        for body in (content, jpeg(noise(120, 90))):
            both.same(body[:2] + adobe + bytes([transform]) + body[2:])


@needs_fast_jpeg
def test_one_component_of_other_sampling(both: Both) -> None:
    for sampling in (0x11, 0x12, 0x21, 0x22, 0x44, 0x00):
        both.same(changed(jpeg(noise(120, 90, "L")), b"\xff\xc0", 11, sampling))
        for component in (11, 14, 17):
            both.same(changed(jpeg(noise(120, 90)), b"\xff\xc0", component, sampling))


@needs_fast_jpeg
@pytest.mark.parametrize("kind", ["baseline", "progressive", "restart markers", "draft"])
def test_files_that_are_cut_short(kind: str, both: Both) -> None:
    options: dict[str, dict[str, Any]] = {
        "progressive": {"progressive": True},
        "restart markers": {"restart_marker_rows": 1},
    }
    size = (500, 400) if kind == "draft" else (120, 90)
    content = jpeg(noise(*size), **options.get(kind, {}))
    lengths = [*range(1, len(content), max(1, len(content) // 120)), *range(-12, 0)]
    for length in lengths:
        both.same(content[:length])
        both.same(content[:length] + b"\xff\xd9")


@needs_fast_jpeg
@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_damage(both: Both, data: st.DataObject) -> None:
    options = data.draw(st.sampled_from([{}, {"progressive": True}, {"keep_rgb": True}]))
    content = bytearray(jpeg(noise(64, 48), **options))
    for _ in range(data.draw(st.integers(1, 4))):
        # Most marks and tables lie at the start.
        top = data.draw(st.sampled_from([len(content) - 1, 700]))
        position = data.draw(st.integers(2, min(top, len(content) - 1)))
        content[position] = data.draw(st.integers(0, 255))
    # A size of millions of pixels would only take time.
    try:
        with decoding.open_image(bytes(content)) as image:
            large = image.width * image.height > 1_000_000
    except ImageError:
        large = False
    if not large:
        both.same(bytes(content), (20, 30))
