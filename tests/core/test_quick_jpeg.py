"""JPEGs read quickly: the pixels, and the words, of Pillow alone."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.pictures import encoded, photo
from tlcli.core import decoding, quick_jpeg, resizing
from tlcli.core.images import read_pixels
from tlcli.core.quick_jpeg import QuickReader
from tlcli.errors import ImageError

needs_quick = pytest.mark.skipif(
    not quick_jpeg.state()["used"], reason=f"no quick JPEGs here: {quick_jpeg.state()['reason']}"
)
Source = Path | bytes


@pytest.fixture
def look_again() -> Iterator[Callable[[], None]]:
    """Return what lets the quick way be looked for anew; done once more after the test."""
    yield quick_jpeg._find.cache_clear
    quick_jpeg._find.cache_clear()


class Both:
    """Reads in both ways, holds one against the other, and says whether the quick one was taken."""

    def __init__(self) -> None:
        self.reader = quick_jpeg.quick_reader()
        self.taken = False

    def spy(self) -> Any:
        both = self

        class Spy:
            def read(self, *arguments: Any) -> Any:
                assert both.reader is not None
                found = both.reader.read(*arguments)
                both.taken = found is not None
                return found

        return Spy()

    def attempt(self, source: Source, size: tuple[int, int], reader: Any) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(resizing, "quick_reader", lambda: reader)
            try:
                return read_pixels(source, *size)
            except ImageError as error:
                return str(error)

    def same(self, source: Source, size: tuple[int, int] = (48, 64)) -> bool:
        self.taken = False
        quick = self.attempt(source, size, self.spy())
        plain = self.attempt(source, size, None)
        if isinstance(plain, str):
            assert quick == plain
        else:
            assert isinstance(quick, np.ndarray)
            assert isinstance(plain, np.ndarray)
            np.testing.assert_array_equal(quick, plain)
            assert quick.flags.writeable
            assert quick.flags.c_contiguous
        return self.taken


@pytest.fixture
def both() -> Both:
    return Both()


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
    # Noise at two scales: neither flat nor lost in the compression.
    small = Image.fromarray(values[: height // 4 + 1, : width // 4 + 1]).resize((width, height))
    return Image.blend(small, Image.fromarray(values), 0.3).convert(mode)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    return encoded(image, "JPEG", **{"quality": 88, **options})


@needs_quick
@pytest.mark.parametrize("number", range(5))
def test_flower_photos(shared: Path, both: Both, number: int) -> None:
    paths = sorted((shared / "flowers" / "photos").glob("*/*.jpg"))
    assert len(paths) == 500
    for path in paths[number::5]:
        assert both.same(path, (224, 224))


@needs_quick
@pytest.mark.slow
@pytest.mark.parametrize("size", [(128, 128), (299, 299), (61, 333), (3, 5), (240, 320)])
def test_flower_photos_at_other_sizes(shared: Path, both: Both, size: tuple[int, int]) -> None:
    for path in sorted((shared / "flowers" / "photos").glob("*/*.jpg")):
        assert both.same(path, size)


@needs_quick
@pytest.mark.parametrize("size", [(64, 48), pytest.param((224, 224), marks=pytest.mark.slow)])
def test_odd_files(shared: Path, both: Both, size: tuple[int, int]) -> None:
    taken = sum(both.same(path, size) for path in sorted((shared / "odd").iterdir()))
    assert taken >= 30


@needs_quick
@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411"])
@pytest.mark.parametrize("size", [(1, 1), (17, 333), (333, 17), (9, 8), (15, 16), (640, 480)])
def test_subsamplings(subsampling: str, size: tuple[int, int], both: Both) -> None:
    from simplejpeg import encode_jpeg

    content = encode_jpeg(np.asarray(noise(*size)), 90, "RGB", subsampling)
    assert both.same(content, (48, 64))
    # At a half, a quarter and an eighth, where the image is large enough.
    for target in ((300, 200), (200, 300), (8, 8), (2, 3), (1, 1)):
        both.same(content, target)


@needs_quick
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


@needs_quick
def test_images_too_small_for_one_scale_alone_are_left_to_pillow(both: Both) -> None:
    for width in range(1, 20):
        for height in (1, 2, 7, 8, 9, 19):
            content = jpeg(noise(width, height))
            for target in ((1, 1), (2, 1), (3, 4)):
                taken = both.same(content, target)
                halved = width >= 2 * target[1] and height >= 2 * target[0]
                assert taken or (halved and min(width, height) < 10)


@needs_quick
@pytest.mark.parametrize("value", range(10))
@pytest.mark.parametrize("size", [(60, 45), (45, 60), (1000, 700)])
def test_orientations(value: int, size: tuple[int, int], both: Both) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    content = jpeg(noise(*size), exif=exif)
    assert both.same(content, (64, 48))
    assert both.same(content, (37, 91))


@needs_quick
def test_turning_is_that_of_images() -> None:
    pixels = np.asarray(noise(5, 4))
    for value in range(10):
        turned = decoding.turn(Image.fromarray(pixels), value)
        np.testing.assert_array_equal(quick_jpeg.turn_pixels(pixels, value), np.asarray(turned))


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


@needs_quick
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_are_read_quickly(kind: str, both: Both) -> None:
    for target in ((64, 48), (224, 300), (20, 31)):
        assert both.same(KINDS[kind](), target)


def changed(content: bytes, marker: bytes, offset: int, value: int) -> bytes:
    """Return a JPEG with one byte after a marker changed."""
    place = content.index(marker) + offset
    return content[:place] + bytes([value]) + content[place + 1 :]


def cmyk() -> bytes:
    return jpeg(noise(120, 90, "CMYK"))


LEFT = {
    "CMYK": cmyk,
    "twelve bits": lambda: changed(jpeg(noise(120, 90)), b"\xff\xc0", 4, 12),
    "lossless": lambda: changed(jpeg(noise(120, 90)), b"\xff\xc0", 1, 0xC3),
    "two components": lambda: changed(jpeg(noise(120, 90)), b"\xff\xc0", 9, 2),
    "no end": lambda: jpeg(noise(120, 90))[:-2],
    "higher than it says": lambda: changed(jpeg(noise(120, 90)), b"\xff\xc0", 6, 40),
    "lower than it says": lambda: changed(jpeg(noise(120, 90)), b"\xff\xc0", 6, 140),
    "no rows": lambda: changed(jpeg(noise(120, 90)), b"\xff\xc0", 6, 0),
    "PNG": lambda: encoded(noise(120, 90)),
}


@needs_quick
@pytest.mark.parametrize("kind", LEFT)
def test_kinds_that_are_left_to_pillow(kind: str, both: Both) -> None:
    for target in ((64, 48), (20, 31)):
        assert not both.same(LEFT[kind](), target)


@needs_quick
def test_colours_by_adobes_mark(both: Both) -> None:
    # Three components that are RGB in one file, and by the mark's last byte YCbCr in another.
    content = jpeg(noise(120, 90), keep_rgb=True)
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"
    for transform in (0, 1, 2, 9):
        for body in (content, jpeg(noise(120, 90))):
            both.same(body[:2] + adobe + bytes([transform]) + body[2:])


@needs_quick
def test_one_component_of_other_sampling(both: Both) -> None:
    for sampling in (0x11, 0x12, 0x21, 0x22, 0x44, 0x00):
        both.same(changed(jpeg(noise(120, 90, "L")), b"\xff\xc0", 11, sampling))
        for component in (11, 14, 17):
            both.same(changed(jpeg(noise(120, 90)), b"\xff\xc0", component, sampling))


@needs_quick
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


@needs_quick
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
        place = data.draw(st.integers(2, min(top, len(content) - 1)))
        content[place] = data.draw(st.integers(0, 255))
    # A size of millions of pixels would only take time.
    try:
        with decoding.open_image(bytes(content)) as image:
            large = image.width * image.height > 1_000_000
    except ImageError:
        large = False
    if not large:
        both.same(bytes(content), (20, 30))


@needs_quick
@settings(deadline=None, max_examples=100)
@given(
    *(st.integers(1, 400) for _ in range(4)),
    st.one_of(st.none(), st.tuples(*(st.floats(0, 1, width=32) for _ in range(4)))),
)
def test_resizing_is_pillows(
    tall: int, wide: int, height: int, width: int, parts: tuple[float, ...] | None
) -> None:
    reader = quick_jpeg.quick_reader()
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


@needs_quick
def test_threads_read_alike(both: Both) -> None:
    contents = [jpeg(noise(200 + n, 150)) for n in range(3)]
    expected = [both.attempt(each, (64, 48), None) for each in contents]
    wrong: list[int] = []

    def work(number: int) -> None:
        for turn in range(40):
            which = (number + turn) % len(contents)
            if not np.array_equal(read_pixels(contents[which], 64, 48), expected[which]):  # type: ignore[arg-type]
                wrong.append(which)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@needs_quick
def test_large_files_are_left_to_pillow(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    content = jpeg(noise(120, 90))
    monkeypatch.setattr(quick_jpeg, "_LARGEST_FILE", len(content))
    assert both.same(content)
    monkeypatch.setattr(quick_jpeg, "_LARGEST_FILE", len(content) - 1)
    assert not both.same(content)


@needs_quick
def test_too_little_memory_is_left_to_pillow(both: Both) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise MemoryError

    both.reader = QuickReader(fail, fail, "plain", True)
    assert not both.same(jpeg(noise(120, 90)))


@needs_quick
def test_another_size_than_the_header_says_is_left_to_pillow(both: Both) -> None:
    def decode(*_: Any, **__: Any) -> Any:
        return np.zeros((90, 121, 3), np.uint8)

    both.reader = QuickReader(decode, lambda *_: None, "plain", True)
    assert not both.same(jpeg(noise(120, 90)))


@needs_quick
def test_no_more_is_decoded_than_pillow_saw_in_the_header() -> None:
    reader = quick_jpeg.quick_reader()
    assert reader is not None
    for size in ((119, 90), (120, 89), (1, 1), (121, 90), (90, 120)):
        with Image.open(io.BytesIO(jpeg(noise(120, 90)))) as image:
            image._size = size  # type: ignore[attr-defined]
            assert reader.read(image, (20, 30), None) is None


def test_a_file_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg(noise(120, 90)))
    opened = []

    def count(source: Any) -> Any:
        opened.append(source)
        return open_regular(source)

    open_regular = decoding.open_regular
    monkeypatch.setattr(decoding, "open_regular", count)
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
        ("tlcli.core._bilinear", "not compiled when tlcli was installed"),
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
    assert quick_jpeg.quick_reader() is None
    assert quick_jpeg.state() == {"used": False, "instructions": None, "reason": reason}
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


@needs_quick
@pytest.mark.parametrize("down_first", [False, True])
def test_a_pillow_of_another_order(
    down_first: bool,
    both: Both,
    monkeypatch: pytest.MonkeyPatch,
    look_again: Callable[[], None],
) -> None:
    monkeypatch.setattr(Image.Image, "resize", in_steps(Image.Image.resize, down_first))
    look_again()
    reader = quick_jpeg.quick_reader()
    if down_first:
        # No Pillow does that.
        assert reader is None
        assert "resizes in a way of its own" in quick_jpeg.state()["reason"]
        return
    # So did every Pillow before 13.
    assert reader is not None
    assert not reader.tall_down_first
    both.reader = reader
    assert both.same(jpeg(noise(90, 240)))


@needs_quick
def test_a_simplejpeg_of_other_pixels(
    monkeypatch: pytest.MonkeyPatch, look_again: Callable[[], None]
) -> None:
    import simplejpeg

    decode = simplejpeg.decode_jpeg
    monkeypatch.setattr(
        simplejpeg, "decode_jpeg", lambda *given, **options: decode(*given, **options) ^ 1
    )
    look_again()
    assert quick_jpeg.quick_reader() is None
    assert quick_jpeg.state()["reason"] == "simplejpeg gives other pixels than Pillow"


@needs_quick
def test_looking_for_it_imports_little() -> None:
    program = (
        "import sys\n"
        "from tlcli.core import quick_jpeg\n"
        "assert 'simplejpeg' not in sys.modules\n"
        "assert quick_jpeg.quick_reader() is not None\n"
        "print([name for name in ('tensorflow', 'numpy.random') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
