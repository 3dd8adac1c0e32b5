"""Files that are odd, damaged or dangerous: a picture, or why not."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
from PIL import Image

from tests.core.images.four_threads import in_four_threads
from tests.pictures import encoded, photo
from tlcli.core.images import resizing
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import ImageError

PLAIN = Preprocessing("tlcli-1", 64, 48)
LEGACY = Preprocessing("label_image", 64, 48)


@pytest.mark.slow
@pytest.mark.parametrize("preprocessing", [PLAIN, LEGACY], ids=lambda value: value.name)
def test_odd_files_give_a_picture_or_a_reason(shared: Path, preprocessing: Preprocessing) -> None:
    read, reasons = 0, set()
    for path in sorted((shared / "odd").iterdir()):
        try:
            assert preprocessing.read(path).shape == (64, 48, 3)
            read += 1
        except ImageError as error:
            reasons.add(str(error))
    assert read >= 700
    assert not any("/" in reason for reason in reasons)
    assert {"not an image", "truncated image", "damaged or unsupported image"} <= reasons
    assert "too large: 3000000 x 2000000 pixels (limit 178956970 pixels)" in reasons
    assert not any("HEIC" in reason for reason in reasons)
    assert len(reasons) <= 8


def test_reasons(tmp_path: Path) -> None:
    def reason(source: Path | str | bytes) -> str:
        with pytest.raises(ImageError) as caught:
            PLAIN.read(source)
        return str(caught.value)

    whole = encoded(photo(), "JPEG")
    assert reason(b"") == "empty file"
    assert reason(b"hello, I am a text and no image at all") == "not an image"
    assert reason(whole[: len(whole) // 2]) == "truncated image"
    assert reason(encoded(photo())[:600]) == "truncated image"
    assert reason(whole[:20]) == "damaged or unsupported image"
    assert reason(tmp_path) == "not a regular file"
    assert reason(tmp_path / "absent.jpg") == "no such file"
    assert reason("a\0b.jpg") == "no such file"
    assert reason("x" * 300) == "file name too long"
    # PostScript would start another program.
    assert (
        reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
        == "not an image"
    )


def bomb(width: int, height: int) -> bytes:
    """Return a BMP whose header promises what the file does not hold."""
    header = b"BM" + bytes(8) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    header += width.to_bytes(4, "little") + height.to_bytes(4, "little")
    return header + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(200)


def test_bombs_are_refused_by_their_header(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match=r"^too large: 20000 x 10000 pixels \(limit 178956970"):
        PLAIN.read(bomb(20000, 10000))
    # A caller who lifted Pillow's limit still has ours.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(ImageError, match=r"^too large: 20000 x 10000 pixels"):
        PLAIN.read(bomb(20000, 10000))


@pytest.mark.slow
def test_a_hundred_megapixels_work() -> None:
    data = encoded(Image.new("L", (11600, 8700), 77), "PNG")
    assert (PLAIN.read(data) == 77).all()


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(photo()))

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ImageError, match=r"^permission denied$"):
        PLAIN.read(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_pipes_and_devices_do_not_block(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), Path("/dev/tty")):
        with pytest.raises(ImageError, match=r"^not a regular file$"):
            PLAIN.read(path)


@pytest.mark.parametrize(
    "error",
    [SyntaxError("x"), ValueError("x"), OverflowError(), IndexError(), EOFError(), MemoryError()],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_decoder_raises(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Image.Image) -> Image.Image:
        raise error

    monkeypatch.setattr(resizing, "flatten", fail)
    with pytest.raises(ImageError):
        PLAIN.read(encoded(photo()))


def test_threads_read_alike_and_leave_no_filter(shared: Path) -> None:
    paths = sorted((shared / "odd").glob("hopper_*"))[:40]
    alone = [attempt(path) for path in paths]
    filters, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    results: dict[int, list[object]] = {}

    def work(number: int) -> None:
        results[number] = [attempt(path) for path in paths]

    in_four_threads(work)
    assert all(results[number] == alone for number in range(4))
    assert list(warnings.filters) == filters
    assert limit == Image.MAX_IMAGE_PIXELS


def attempt(path: Path) -> object:
    try:
        return PLAIN.read(path).tobytes()
    except ImageError as error:
        return str(error)


def test_no_warning_leaks(shared: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("crash-2020-10-test.tif", "libtiff_segfault.tif", "truncated_exif_dpi.jpg"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            attempt(shared / "odd" / name)
        assert caught == []
    assert "More samples" not in capfd.readouterr().err
