"""HEIC files: decoded in a child process, upright, whatever was done to them."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.core.images.heic.draw import drawing
from tlcli.core.images import slow_images
from tlcli.core.images.decoding import PIXEL_LIMIT, open_image, orientation
from tlcli.core.images.encoded import read_encoded
from tlcli.core.images.heif import is_heif, read_header
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.images.thumbnails import picture
from tlcli.errors import ImageError
from tlcli.runtime.lasting_children import LastingChild

FILES = Path(__file__).resolve().parent / "heic"
PLAIN = Preprocessing("tlcli-1", 64, 96)
TURNS = {
    3: Image.Transpose.ROTATE_180,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    8: Image.Transpose.ROTATE_90,
}


def difference(found: object, wanted: Image.Image) -> float:
    return float(np.abs(np.asarray(found, np.int16) - np.asarray(wanted, np.int16)).mean())


def test_a_photo_is_read() -> None:
    assert difference(PLAIN.read(FILES / "plain.heic"), drawing()) < 4
    content = (FILES / "plain.heic").read_bytes()
    with open_image(content, decode=False) as header:
        assert (header.size, header.format, orientation(header)) == ((96, 64), "HEIF", 1)


def test_the_rotation_of_the_container_is_applied_once() -> None:
    reader = Preprocessing("tlcli-1", 96, 64)
    wanted = drawing().transpose(TURNS[6])
    assert difference(reader.read(FILES / "turned_6.heic"), wanted) < 4
    shown = picture(FILES / "turned_6.heic", 200)
    assert shown is not None
    assert difference(shown, wanted) < 4


@pytest.mark.slow
@pytest.mark.parametrize("value", TURNS)
@pytest.mark.parametrize("name", ["tlcli-1", "label_image", "pillow"])
def test_each_rotation_by_each_preprocessing(value: int, name: str) -> None:
    wanted = drawing().transpose(TURNS[value])
    reader = Preprocessing(name, wanted.height, wanted.width)  # type: ignore[arg-type]
    assert difference(reader.read(FILES / f"turned_{value}.heic"), wanted) < 4


@pytest.mark.slow
def test_alpha_deep_colours_and_several_pictures() -> None:
    over_white = Image.blend(drawing(), Image.new("RGB", (96, 64), "white"), 127 / 255)
    assert difference(PLAIN.read(FILES / "alpha.heic"), over_white) < 4
    assert difference(PLAIN.read(FILES / "second.heic"), Image.new("RGB", (96, 64), "white")) < 2
    deep = PLAIN.read(FILES / "deep.heic")
    assert abs(float(deep.mean()) - 0x40) < 3
    # For graphs that decode by themselves, as PNG.
    png = read_encoded(FILES / "plain.heic").item()
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        assert difference(image, drawing()) < 4


def test_too_large_by_its_header_is_refused_without_decoding() -> None:
    content = (FILES / "plain.heic").read_bytes()
    size = b"ispe\0\0\0\0" + (96).to_bytes(4, "big") + (64).to_bytes(4, "big")
    assert content.count(size) == 1
    large = b"ispe\0\0\0\0" + (60_000).to_bytes(4, "big") * 2
    with pytest.raises(
        ImageError, match=rf"^too large: 60000 x 60000 pixels \(limit {PIXEL_LIMIT}"
    ):
        PLAIN.read(content.replace(size, large))


def test_damaged_files_are_a_reason() -> None:
    content = (FILES / "plain.heic").read_bytes()
    for length in (40, 600, len(content) - 1):
        with pytest.raises(ImageError, match=r"^truncated image$"):
            PLAIN.read(content[:length])
    with pytest.raises(ImageError, match=r"^damaged or unsupported image$"):
        PLAIN.read(content.replace(b"hvcC", b"hvcX"))


def test_a_file_that_ends_the_decoder_is_a_reason() -> None:
    """Found among 3,000 damaged files: libheif 1.23 ends by a segmentation fault."""
    with pytest.raises(ImageError, match=r"^damaged or unsupported image$"):
        PLAIN.read(FILES / "ends_libheif.bin")


def test_one_child_decodes_many_and_crashes_in_the_middle_cost_no_other_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[str] = []
    ask = LastingChild.ask

    def asked(child: LastingChild, *arguments: Any) -> Any:
        started.append(child.folder.name)
        return ask(child, *arguments)

    monkeypatch.setattr(LastingChild, "ask", asked)
    slow_images._children().close()
    names = ["plain.heic", "ends_libheif.bin", "plain.heic", "plain.heic"]
    for name in (*names[:1], *names):
        source = (FILES / name).read_bytes() if len(started) == 1 else FILES / name
        if name.endswith(".bin"):
            with pytest.raises(ImageError, match=r"^damaged or unsupported image$"):
                PLAIN.read(source)
        else:
            assert difference(PLAIN.read(source), drawing()) < 4
    # Two photos and the damaged one, which a fresh child has to judge; then two photos.
    assert [started.index(folder) for folder in started] == [0, 0, 0, 3, 4, 4]


def test_brands_tell_which_files_are_heif() -> None:
    def brands(*names: bytes) -> bytes:
        body = names[0] + bytes(4) + b"".join(names[1:])
        return (8 + len(body)).to_bytes(4, "big") + b"ftyp" + body

    for content, wanted in (
        (brands(b"heic", b"mif1"), True),
        (brands(b"mif1", b"mif1", b"heic"), True),
        (brands(b"msf1", b"hevc"), True),
        (brands(b"mif1"), True),
        (brands(b"mif1", b"avif", b"miaf"), False),
        (brands(b"avif", b"mif1"), False),
        (brands(b"isom", b"mp42"), False),
        (b"", False),
        (b"\x89PNG\r\n\x1a\n", False),
    ):
        assert is_heif(io.BytesIO(content)) is wanted, content


def changed(content: bytes, dice: random.Random) -> bytes:
    """Return a file cut, or with some of its bytes changed."""
    if dice.random() < 0.25:
        return content[: dice.randrange(1, len(content))]
    damaged = bytearray(content)
    for _ in range(dice.choice((1, 2, 4, 16))):
        damaged[dice.randrange(len(damaged))] = dice.randrange(256)
    return bytes(damaged)


def test_headers_of_damaged_files_never_fail() -> None:
    dice = random.Random(20)
    files = [path.read_bytes() for path in sorted(FILES.glob("*.heic"))]
    for _ in range(3000):
        file = io.BytesIO(changed(dice.choice(files), dice))
        is_heif(file)
        width, height = read_header(file).size
        assert width >= 0
        assert height >= 0


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_damaged_files_give_a_picture_or_a_reason_in_the_child() -> None:
    """The decoder runs in a fork here, as in the child: thousands of children take minutes."""
    dice = random.Random(6)
    files = [path.read_bytes() for path in sorted(FILES.glob("*.heic"))]
    for _ in range(int(os.environ.get("TLCLI_HEIF_CASES", "300"))):
        content = changed(dice.choice(files), dice)
        process = os.fork()
        if not process:
            slow_images._is_child = True
            code = 1
            try:
                PLAIN.read(content)
                code = 0
            except ImageError:
                code = 0
            finally:
                os._exit(code)
        # A signal would be an image that is damaged; any other error is a fault of ours.
        status = os.waitpid(process, 0)[1]
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, content.hex()
