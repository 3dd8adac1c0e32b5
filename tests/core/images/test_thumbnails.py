from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import encoded
from tlcli.core.images.thumbnails import picture


@pytest.mark.parametrize("size", [(400, 100), (100, 400), (30, 20), (1, 1)])
def test_long_side_is_bounded_and_small_images_stay(size: tuple[int, int]) -> None:
    found = picture(encoded(Image.new("RGB", size, "red")), 160)
    assert found is not None
    assert max(found.size) == min(160, max(size))
    assert found.mode == "RGB"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    found = picture(encoded(Image.new(mode, (8, 8)), kind), 160)
    assert found is not None
    assert found.mode == "RGB"


def test_transparent_shows_white() -> None:
    found = picture(encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 0))), 160)
    assert found is not None
    assert found.getpixel((4, 4)) == (255, 255, 255)


def test_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = encoded(Image.new("RGB", (40, 20)), "JPEG", exif=exif.tobytes())
    found = picture(photo, 160)
    assert found is not None
    assert found.size == (20, 40)
    as_stored = picture(photo, 160, upright=False)
    assert as_stored is not None
    assert as_stored.size == (40, 20)


def test_unreadable(tmp_path: Path) -> None:
    assert picture(b"", 160) is None
    assert picture(b"\xff\xd8\xff", 160) is None
    assert picture(tmp_path / "absent.jpg", 160) is None
    assert picture(tmp_path, 160) is None


def test_odd_files_give_a_picture_or_nothing(shared: Path) -> None:
    files = sorted((shared / "odd").iterdir())[::20]
    assert files
    for path in files:
        found = picture(path, 32)
        assert found is None or (found.mode == "RGB" and max(found.size) <= 32)
