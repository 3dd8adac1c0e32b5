"""Images made to be misread or to do harm: read right, or a reason, in bounded memory."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.pictures import encoded
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.loading import load
from tlcli.core.images.decoding import turn
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.images.tensorflow_jpeg import label_image_reader
from tlcli.errors import ImageError

OWN = Preprocessing("tlcli-1", 128, 128)
READERS = {
    "tlcli-1": OWN.read,
    "label_image": label_image_reader(Preprocessing("label_image", 128, 128)),
}


@pytest.fixture(scope="module")
def photo(shared: Path) -> Image.Image:
    path = sorted((shared / "legacy" / "plates_128" / "photos").iterdir())[0]
    with Image.open(path) as image:
        return image.convert("RGB")


@pytest.fixture(scope="module")
def plates(shared: Path) -> Classifier:
    return load(shared / "legacy" / "plates_128" / "graph.pb")


def inverted_cmyk(image: Image.Image) -> bytes:
    """Return a CMYK JPEG as Adobe writes it: inks inverted, and marked so."""
    data = encoded(image.convert("CMYK"), "JPEG", quality=97)
    assert b"Adobe" in data
    return data


def deep_png(image: Image.Image) -> bytes:
    """Return 16 bits a channel, which Pillow itself does not write in colour."""
    values = np.asarray(image).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", image.width, image.height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(kind, content)
        for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def profiled(image: Image.Image) -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return encoded(image, "JPEG", quality=95, icc_profile=profile.tobytes())


def animated(image: Image.Image, form: str) -> bytes:
    black = Image.new("RGB", image.size)
    return encoded(image, form, save_all=True, append_images=[black, black], quality=95)


TWINS: dict[str, Callable[[Image.Image], bytes]] = {
    "PNG": lambda image: encoded(image, "PNG"),
    "CMYK of Adobe": inverted_cmyk,
    "CMYK in a TIFF": lambda image: encoded(image.convert("CMYK"), "TIFF"),
    "16 bits": deep_png,
    "progressive": lambda image: encoded(image, "JPEG", quality=95, progressive=True),
    "ICC profile": profiled,
    "animated GIF": lambda image: animated(image, "GIF"),
    "animated WebP": lambda image: animated(image, "WEBP"),
    "animated PNG": lambda image: animated(image, "PNG"),
    "several pages": lambda image: animated(image, "TIFF"),
    "palette": lambda image: encoded(image.quantize(256), "PNG"),
    "palette with transparency": lambda image: encoded(
        image.quantize(255), "PNG", transparency=bytes([255] * 255)
    ),
    "opaque alpha": lambda image: encoded(image.convert("RGBA"), "PNG"),
    "rubbish behind the end": lambda image: encoded(image, "JPEG", quality=95) + bytes(9999),
    "four dots in a pixel": lambda image: encoded(image, "JPEG", quality=95, subsampling=2),
}


@pytest.mark.parametrize("kind", TWINS)
def test_a_twin_has_the_label_of_its_photo(
    photo: Image.Image, plates: Classifier, kind: str
) -> None:
    """Through the old graph, whose labels depend on colours and on the right way up."""
    data = TWINS[kind](photo)
    first, twin = plates.label([encoded(photo, "BMP"), data])
    assert twin.error is None
    assert twin.label == first.label
    assert (OWN.read(data).astype(int) - OWN.read(encoded(photo, "BMP"))).std() < 12


@pytest.mark.parametrize("value", range(1, 9))
def test_every_orientation_is_the_same_photo(photo: Image.Image, value: int) -> None:
    undo = {5: 5, 6: 8, 7: 7, 8: 6}.get(value, value)
    exif = Image.Exif()
    exif[0x0112] = value
    data = encoded(turn(photo, undo), "JPEG", quality=95, exif=exif)
    assert np.abs(OWN.read(data).astype(int) - OWN.read(encoded(photo, "PNG"))).mean() < 4


def test_an_arithmetic_coded_jpeg_is_read_or_named(photo: Image.Image) -> None:
    """Whether libjpeg reads them was decided when it was built."""
    data = bytearray(encoded(photo, "JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 1] = 0xC9  # this frame is arithmetic coded
    assert outcome(OWN.read, bytes(data)) in ("", "damaged or unsupported image")


def outcome(read: Callable[[bytes], Any], data: bytes) -> str:
    """Return why it is not read, "" where it is."""
    try:
        assert read(data).shape == (128, 128, 3)
    except ImageError as error:
        return str(error)
    return ""


@functools.cache
def png_bomb(width: int, height: int) -> bytes:
    """Return a PNG of one colour whose data are really there."""
    packer = zlib.compressobj(9)
    rows = bytes(1000 * (1 + (width + 7) // 8))
    first = packer.compress(rows) + packer.flush(zlib.Z_FULL_FLUSH)
    # Nothing refers to what came before a full flush: the same bytes may follow again.
    again = packer.compress(rows) + packer.flush(zlib.Z_FULL_FLUSH)
    content = first + again * (height // 1000 - 1)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(kind, data)
        for kind, data in (
            (b"IHDR", header),
            (b"IDAT", content + packer.flush()),
            (b"IEND", b""),
        )
    )


def icon_bomb() -> bytes:
    inner = png_bomb(50_000, 50_000)
    entry = struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inner), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + inner


def mac_icon_bomb() -> bytes:
    inner = png_bomb(50_000, 50_000)
    return (
        b"icns"
        + struct.pack(">I", 16 + len(inner))
        + b"ic10"
        + struct.pack(">I", 8 + len(inner))
        + inner
    )


def gif_bomb() -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0)
        + bytes(6)
        + (b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\x00;")
    )


def tiff_bomb() -> bytes:
    def entry(tag: int, kind: int, value: int) -> bytes:
        return struct.pack("<HHII", tag, kind, 1, value)

    entries = [(256, 4, 50_000), (257, 4, 50_000), (258, 3, 8), (259, 3, 1), (262, 3, 1)]
    entries += [(273, 4, 8), (277, 3, 1), (278, 4, 50_000), (279, 4, 100)]
    body = struct.pack("<H", len(entries)) + b"".join(entry(*each) for each in entries)
    return b"II*\0" + struct.pack("<I", 8) + body + bytes(200)


@functools.cache
def text_bomb() -> bytes:
    """Return a small PNG with 80 MB of text in a few kilobytes."""
    packer = zlib.compressobj(9)
    text = b"".join(packer.compress(bytes(1 << 20)) for _ in range(80)) + packer.flush()
    plain = encoded(Image.new("RGB", (9, 9)), "PNG")
    return plain[:33] + chunk(b"zTXt", b"key\0\0" + text) + plain[33:]


BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: png_bomb(50_000, 50_000),
    "PNG in an icon": icon_bomb,
    "PNG in a Mac icon": mac_icon_bomb,
    "GIF": gif_bomb,
    "TIFF": tiff_bomb,
    "text in a PNG": text_bomb,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_take_no_memory(kind: str, reader: str) -> None:
    data = BOMBS[kind]()
    assert len(data) < 700_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reason = outcome(READERS[reader], data)
    assert "\n" not in reason
    if kind in ("PNG", "GIF", "TIFF"):
        assert reason.startswith("too large: ")
    elif kind != "text in a PNG":
        assert reason
    # In KiB on Linux; the picture alone would take 2.5 GB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no sockets with names here")
def test_what_is_no_file_is_skipped_and_the_others_are_labelled(
    photo: Image.Image, plates: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").write_bytes(encoded(photo, "JPEG", quality=95))
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "round.jpg").symlink_to("round.jpg")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "page.jpg").write_bytes(b"<!DOCTYPE html><html><body>404</body></html>")
    (tmp_path / "cut.jpg").write_bytes(encoded(photo, "JPEG")[:900])
    os.mkfifo(tmp_path / "pipe.jpg")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("socket.jpg")
    listening.close()
    (tmp_path / "z.jpg").write_bytes(encoded(photo, "JPEG", quality=95))
    names = sorted(path.name for path in tmp_path.iterdir())

    found = {each.image: each for each in plates.label(names)}

    assert list(found) == names
    assert found["a.jpg"].label == found["z.jpg"].label is not None
    assert {name: each.error for name, each in found.items() if each.error} == {
        "folder.jpg": "no images in this folder",
        "zero.jpg": "not a regular file",
        "gone.jpg": "no such file",
        "round.jpg": found["round.jpg"].error,
        "empty.jpg": "empty file",
        "page.jpg": "not an image",
        "cut.jpg": "truncated image",
        "pipe.jpg": "not a regular file",
        "socket.jpg": "not a regular file",
    }


def test_libtiff_prints_nothing(shared: Path, capfd: pytest.CaptureFixture[str]) -> None:
    damaged = sorted((shared / "odd").glob("crash-*.tif"))
    assert len(damaged) > 5
    for path in damaged:
        for read in READERS.values():
            with contextlib.suppress(ImageError):
                read(path)
    assert capfd.readouterr().err == ""
