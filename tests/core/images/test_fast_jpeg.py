"""The fast way of reading JPEGs: its resize, its limits, and when it is not used."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.core.images.both_ways import Both, jpeg, needs_fast_jpeg, noise
from tests.core.images.four_threads import in_four_threads
from tlcli.core.images import decoding, fast_jpeg, resizing
from tlcli.core.images.fast_jpeg import FastJpegReader
from tlcli.core.images.preprocessing import read_pixels


@pytest.fixture
def look_again() -> Iterator[Callable[[], None]]:
    """Return a function that resets the choice of the reader; it is reset after the test too."""
    yield fast_jpeg._find.cache_clear
    fast_jpeg._find.cache_clear()


@pytest.fixture
def both() -> Both:
    return Both()


@needs_fast_jpeg
def test_turning_is_that_of_images() -> None:
    pixels = np.asarray(noise(5, 4))
    for value in range(10):
        turned = decoding.turn(Image.fromarray(pixels), value)
        np.testing.assert_array_equal(fast_jpeg.turn_pixels(pixels, value), np.asarray(turned))


@needs_fast_jpeg
@settings(deadline=None, max_examples=100)
@given(
    *(st.integers(1, 400) for _ in range(4)),
    st.one_of(st.none(), st.tuples(*(st.floats(0, 1, width=32) for _ in range(4)))),
)
# Pillow 12 resizes these from top to bottom first, and all others across.
@example(261, 2, 1, 1, None)
@example(201, 2, 200, 1, (0.0, 1.0, 0.1, 0.9))
@example(200, 2, 1, 1, None)
def test_resizing_is_pillows(
    tall: int, wide: int, height: int, width: int, parts: tuple[float, ...] | None
) -> None:
    reader = fast_jpeg.fast_jpeg_reader()
    assert reader is not None
    box = None
    if parts is not None:
        left, right = sorted((parts[0] * wide, parts[1] * wide))
        top, bottom = sorted((parts[2] * tall, parts[3] * tall))
        # Pillow takes boxes in single precision.
        if np.float32(right) - np.float32(left) > 0 and np.float32(bottom) - np.float32(top) > 0:
            box = (left, top, right, bottom)
    pixels = np.random.default_rng(tall).integers(0, 256, (tall, wide, 3), np.uint8)
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR, box=box)
    np.testing.assert_array_equal(reader.resize(pixels, (width, height), box), np.asarray(image))


@needs_fast_jpeg
def test_threads_read_alike(both: Both) -> None:
    contents = [jpeg(noise(200 + n, 150)) for n in range(3)]
    expected = [both.attempt(each, (64, 48), None) for each in contents]
    wrong: list[int] = []

    def work(number: int) -> None:
        for turn in range(40):
            which = (number + turn) % len(contents)
            if not np.array_equal(read_pixels(contents[which], 64, 48), expected[which]):  # type: ignore[arg-type]
                wrong.append(which)

    in_four_threads(work)
    assert wrong == []


@needs_fast_jpeg
def test_large_files_are_left_to_pillow(
    both: Both, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = jpeg(noise(120, 90))
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    monkeypatch.setattr(decoding, "LARGEST_BUFFERED", len(content))
    assert both.same(path)
    monkeypatch.setattr(decoding, "LARGEST_BUFFERED", len(content) - 1)
    assert not both.same(path)


@needs_fast_jpeg
def test_too_little_memory_is_left_to_pillow(both: Both) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise MemoryError

    both.reader = FastJpegReader(fail, fail, "plain", True)
    assert not both.same(jpeg(noise(120, 90)))


@needs_fast_jpeg
def test_another_size_than_the_header_says_is_left_to_pillow(both: Both) -> None:
    def decode(*_: Any, **__: Any) -> Any:
        return np.zeros((90, 121, 3), np.uint8)

    both.reader = FastJpegReader(decode, lambda *_: None, "plain", True)
    assert not both.same(jpeg(noise(120, 90)))


@needs_fast_jpeg
def test_no_more_is_decoded_than_pillow_saw_in_the_header() -> None:
    reader = fast_jpeg.fast_jpeg_reader()
    assert reader is not None
    for size in ((119, 90), (120, 89), (1, 1), (121, 90), (90, 120)):
        with Image.open(io.BytesIO(jpeg(noise(120, 90)))) as image:
            image._size = size  # type: ignore[attr-defined]
            assert reader.read(image, (20, 30), None) is None


def test_a_file_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg(noise(120, 90)))
    opened = []

    def count(source: Any, limit: int) -> Any:
        opened.append(source)
        return open_buffered(source, limit)

    open_buffered = decoding.open_buffered
    monkeypatch.setattr(decoding, "open_buffered", count)
    expected = read_pixels(path.read_bytes(), 64, 48)
    np.testing.assert_array_equal(read_pixels(path, 64, 48), expected)
    assert opened == [path]


def test_an_image_that_is_loaded_already() -> None:
    content = jpeg(noise(120, 90))
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        np.testing.assert_array_equal(
            resizing.resize_over_white(image, 64, 48), read_pixels(content, 64, 48)
        )


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("tlcli.core.images._bilinear", "not compiled when tlcli was installed"),
        ("simplejpeg", "simplejpeg is missing"),
    ],
)
def test_without_a_part_pillow_reads(
    module: str,
    reason: str,
    both: Both,
    monkeypatch: pytest.MonkeyPatch,
    look_again: Callable[[], None],
) -> None:
    content = jpeg(noise(120, 90))
    expected = both.attempt(content, (64, 48), both.reader)
    if module == "simplejpeg" and both.reader is None:
        pytest.skip("the compiled resize was not built here")
    monkeypatch.setitem(sys.modules, module, None)
    look_again()
    assert fast_jpeg.fast_jpeg_reader() is None
    assert fast_jpeg.state() == {"used": False, "instructions": None, "reason": reason}
    np.testing.assert_array_equal(read_pixels(content, 64, 48), expected)  # type: ignore[arg-type]


def in_steps(resize: Any, down_first: bool) -> Any:
    """Return Pillow's resize with one side always before the other."""

    def steps(image: Any, size: Any, resample: Any = None, box: Any = None) -> Any:
        left, top, right, bottom = box or (0, 0, *image.size)
        if down_first:
            image = resize(image, (image.width, size[1]), resample, (0, top, image.width, bottom))
            return resize(image, size, resample, (left, 0, right, size[1]))
        image = resize(image, (size[0], image.height), resample, (left, 0, right, image.height))
        return resize(image, size, resample, (0, top, size[0], bottom))

    return steps


@needs_fast_jpeg
@pytest.mark.parametrize("down_first", [False, True])
def test_a_pillow_of_another_order(
    down_first: bool,
    both: Both,
    monkeypatch: pytest.MonkeyPatch,
    look_again: Callable[[], None],
) -> None:
    monkeypatch.setattr(Image.Image, "resize", in_steps(Image.Image.resize, down_first))
    look_again()
    reader = fast_jpeg.fast_jpeg_reader()
    if down_first:
        # No Pillow does that.
        assert reader is None
        assert "resizes in a way of its own" in fast_jpeg.state()["reason"]
        return
    # So did every Pillow before 13.
    assert reader is not None
    assert not reader.tall_down_first
    both.reader = reader
    assert both.same(jpeg(noise(90, 240)))


@needs_fast_jpeg
def test_a_simplejpeg_of_other_pixels(
    monkeypatch: pytest.MonkeyPatch, look_again: Callable[[], None]
) -> None:
    import simplejpeg

    decode = simplejpeg.decode_jpeg
    monkeypatch.setattr(
        simplejpeg, "decode_jpeg", lambda *given, **options: decode(*given, **options) ^ 1
    )
    look_again()
    assert fast_jpeg.fast_jpeg_reader() is None
    assert fast_jpeg.state()["reason"] == "simplejpeg gives other pixels than Pillow"


@needs_fast_jpeg
def test_looking_for_it_imports_little() -> None:
    program = (
        "import sys\n"
        "import numpy\n"  # some versions import their generators by themselves
        "known = set(sys.modules)\n"
        "from tlcli.core.images import fast_jpeg\n"
        "assert 'simplejpeg' not in sys.modules\n"
        "assert fast_jpeg.fast_jpeg_reader() is not None\n"
        "loaded = set(sys.modules) - known\n"
        "print([name for name in ('tensorflow', 'numpy.random') if name in loaded])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
