"""One image takes ten seconds at most."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.pictures import encoded, photo
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.images.tensorflow_jpeg import label_image_reader
from tlcli.core.images.thumbnails import picture
from tlcli.core.images.time_limits import SlowImageError, check_scans, timed_file
from tlcli.errors import ImageError

PLAIN = Preprocessing("tlcli-1", 64, 48)
LEGACY = Preprocessing("label_image", 64, 48)
READERS = [PLAIN.read, LEGACY.read, label_image_reader(LEGACY)]


def with_scans(image: Image.Image, scans: int) -> bytes:
    """Return a progressive JPEG whose last scan is repeated."""
    data = encoded(image, "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - data.count(b"\xff\xda")) + b"\xff\xd9"


def with_size(data: bytes, width: int, height: int) -> bytes:
    """Return a progressive JPEG that claims another size."""
    at = data.index(b"\xff\xc2") + 5
    return data[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[at + 4 :]


@pytest.mark.parametrize("read", READERS)
def test_scans_times_pixels_are_bounded(read: Any, tmp_path: Path) -> None:
    many = with_scans(photo(), 501)
    large = with_size(with_scans(photo(), 40), 13000, 13000)
    (tmp_path / "large.jpg").write_bytes(large)
    for source, reason in (
        (many, "too many scans: 501 of 120 x 90 pixels"),
        (large, "too many scans: 40 of 13000 x 13000 pixels"),
        (tmp_path / "large.jpg", "too many scans: 40 of 13000 x 13000 pixels"),
    ):
        with pytest.raises(ImageError) as caught:
            read(source)
        assert str(caught.value) == reason


def test_a_hundred_scans_of_a_small_image_are_read() -> None:
    assert PLAIN.read(with_scans(photo(), 100)).shape == (64, 48, 3)


def test_large_files_are_searched_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    path.write_bytes(with_scans(photo(), 501) + bytes(17 << 20))
    with pytest.raises(ImageError, match="too many scans: 501"):
        PLAIN.read(path)


def test_only_decoded_scans_count() -> None:
    """Not those of a preview, nor what follows the only scan of an ordinary JPEG."""
    preview = b"\xff\xda" * 1000
    data = encoded(photo(), "JPEG", exif=b"Exif\0\0" + preview) + preview
    assert PLAIN.read(data).shape == (64, 48, 3)


@given(st.lists(st.sampled_from([0xFF, 0xDA, 0xC2, 0xC0, 0xD8, 0, 1, 2, 3, 0xE1, 0x80])))
def test_any_bytes_are_searched(values: list[int]) -> None:
    check_scans(timed_file(b"\xff\xd8\xff" + bytes(values)))


def read_for(file: Any, seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        file.seek(0)
        file.read(1)


def test_reading_ends_in_time(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"P3 9 9 255\n" + b" " * (1 << 20))
    for source in (path.read_bytes() + bytes(9), path.open("rb")):
        file: Any = timed_file(source)
        file.seconds = 0.05
        with pytest.raises(SlowImageError, match=r"^takes longer than 10 s to decode$"):
            read_for(file, 5)
        assert file.is_over
        if not isinstance(source, bytes):
            source.close()
        file.close()


def test_a_decoder_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of numbers, which Pillow reads in pieces by code of Python."""
    from tlcli.core.images import time_limits

    monkeypatch.setattr(time_limits.TimedBytes, "seconds", 0.1)
    data = b"P3 5000 5000 255\n" + b"1 " * 10_000_000
    with pytest.raises(SlowImageError):
        PLAIN.read(data)


# Larger than what is decoded in this process.
LARGE = photo(800, 600)


@pytest.mark.slow
@pytest.mark.parametrize("read", READERS)
def test_large_images_are_read_alike_in_a_child(
    read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the current folder, nothing is imported.
    (tmp_path / "numpy.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    data = encoded(LARGE, "JPEG2000")
    (tmp_path / "a.jp2").write_bytes(data)
    expected = READERS[READERS.index(read)](encoded(LARGE))
    for source in (data, tmp_path / "a.jp2", "a.jp2"):
        found = read(source)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    shown = picture("a.jp2", 100)
    assert shown is not None
    assert shown.size == (100, 75)


def test_reasons_come_out_of_the_child() -> None:
    with pytest.raises(ImageError, match=r"^(damaged or unsupported|truncated) image$"):
        PLAIN.read(encoded(LARGE, "JPEG2000")[:20_000])


def test_tiles_larger_than_their_picture_are_refused() -> None:
    data = bytearray(encoded(photo(), "TIFF", compression="tiff_adobe_deflate"))
    # The tag of rows per strip becomes one of the width of a tile.
    at = data.index(b"\x16\x01\x03\x00\x01\x00\x00\x00")
    data[at : at + 12] = b"\x42\x01\x04\x00\x01\x00\x00\x00" + (1 << 22).to_bytes(4, "little")
    with pytest.raises(ImageError, match=r"^too large: 4194304 x 90 pixels"):
        PLAIN.read(bytes(data))


def qoi(side: int) -> bytes:
    """Return an image of one colour, which Pillow decodes pixel by pixel in Python."""
    head = b"qoif" + side.to_bytes(4, "big") + side.to_bytes(4, "big") + b"\3\0"
    run_of_one = b"\xc0"
    return head + run_of_one * (side * side) + bytes(7) + b"\1"


@pytest.mark.slow
def test_a_child_ends_in_time() -> None:
    with pytest.raises(SlowImageError):
        PLAIN.read(qoi(6000))
