"""The compiled resize: Pillow's bytes for every size and box, and nothing outside its buffers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.core.images.four_threads import in_four_threads

bilinear: Any = pytest.importorskip(
    "tlcli.core.images._bilinear", reason="the compiled resize was not built here"
)
Box = tuple[float, float, float, float]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def resized(
    pixels: np.ndarray, height: int, width: int, box: Box, *, down_first: bool, plain: bool
) -> np.ndarray:
    out = np.full((height, width, 3), 7, np.uint8)
    assert bilinear.resize(pixels, out, box, down_first, plain) is None
    return out


def by_pillow(
    pixels: np.ndarray, height: int, width: int, box: Box, *, down_first: bool
) -> np.ndarray:
    """Return what Pillow makes of it in two steps, one side after the other."""
    tall, wide = pixels.shape[:2]
    left, top, right, bottom = box
    across: tuple[tuple[int, int], Box] = ((width, tall), (left, 0, right, tall))
    down: tuple[tuple[int, int], Box] = ((wide, height), (0, top, wide, bottom))
    second: tuple[tuple[int, int], Box]
    if down_first:
        first, second = down, ((width, height), (left, 0, right, height))
    else:
        first, second = across, ((width, height), (0, top, width, bottom))
    image = Image.fromarray(pixels)
    for size, part in (first, second):
        image = image.resize(size, Image.Resampling.BILINEAR, box=part)
    return np.asarray(image)


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, int, int, int, Box]:
    sides = st.one_of(st.integers(1, 9), st.integers(1, 300))
    tall, wide, height, width = (draw(sides) for _ in range(4))
    if draw(st.booleans()):
        return tall, wide, height, width, (0, 0, wide, tall)
    edges = []
    for side in (wide, tall):
        numbers = st.floats(0, side, width=32)
        low, high = sorted((draw(numbers), draw(numbers)))
        edges.append((low, high) if low < high else (0.0, float(side)))
    (left, right), (top, bottom) = edges
    return tall, wide, height, width, (left, top, right, bottom)


@settings(deadline=None, max_examples=150)
@given(cases(), st.integers(0, 2**32 - 1), st.booleans())
def test_pillows_bytes(case: tuple[int, int, int, int, Box], seed: int, down_first: bool) -> None:
    tall, wide, height, width, box = case
    pixels = noise(tall, wide, seed)
    expected = by_pillow(pixels, height, width, box, down_first=down_first)
    for plain in (False, True):
        found = resized(pixels, height, width, box, down_first=down_first, plain=plain)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("down_first", [False, True])
@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 1, 1), (1, 1, 300, 200), (333, 500, 1, 1), (224, 224, 224, 224), (3, 5000, 7, 2),
     (5000, 3, 2, 7), (1000, 999, 17, 1333)],
)  # fmt: skip
def test_extreme_sizes(sizes: tuple[int, int, int, int], down_first: bool, plain: bool) -> None:
    tall, wide, height, width = sizes
    pixels, box = noise(tall, wide), (0, 0, wide, tall)
    found = resized(pixels, height, width, box, down_first=down_first, plain=plain)
    expected = by_pillow(pixels, height, width, box, down_first=down_first)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("value", [0, 255])
def test_one_colour_stays(value: int) -> None:
    pixels = np.full((301, 207, 3), value, np.uint8)
    for size in ((13, 11), (500, 500), (301, 11)):
        found = resized(pixels, *size, (0, 0, 207, 301), down_first=False, plain=False)
        assert (found == value).all()


def test_all_that_exports_bytes_will_do() -> None:
    pixels = noise(4, 5)
    box = (0, 0, 5, 4)
    out = bytearray(3 * 2 * 3)
    view = memoryview(out).cast("B", (2, 3, 3))
    bilinear.resize(memoryview(pixels.tobytes()).cast("B", (4, 5, 3)), view, box, False)
    expected = resized(pixels, 2, 3, box, down_first=False, plain=False)
    assert bytes(out) == expected.tobytes()


@pytest.mark.parametrize(
    "box",
    [(0, 0, 0, 8), (0, 0, 8, 0), (5, 0, 3, 8), (-1e-3, 0, 8, 8), (0, -1, 8, 8), (0, 0, 8.01, 8),
     (0, 0, 8, 9), (math.nan, 0, 8, 8), (0, 0, math.nan, 8), (0, 0, math.inf, 8),
     (-math.inf, 0, 8, 8), (0, 0, 1e300, 8), (8, 8, 8, 8), (7.99999999, 0, 8, 8)],
)  # fmt: skip
def test_boxes_that_are_refused(box: Box) -> None:
    with pytest.raises(ValueError, match="the box must lie inside"):
        bilinear.resize(noise(8, 8), np.empty((4, 4, 3), np.uint8), box, False)


@pytest.mark.parametrize(
    "array",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.int8),
     np.zeros((8, 8, 3), np.uint16), np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 3), bool),
     np.zeros((0, 8, 3), np.uint8), np.zeros((8, 0, 3), np.uint8), np.zeros(192, np.uint8),
     np.zeros((1, 65537, 3), np.uint8), np.zeros((65537, 1, 3), np.uint8), b"abc", bytearray(192)],
)  # fmt: skip
def test_shapes_that_are_refused(array: Any) -> None:
    good = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match=r"bytes \[height|sides must be"):
        bilinear.resize(array, good, (0, 0, 1, 1), False)
    if not isinstance(array, bytes):
        with pytest.raises(ValueError, match=r"bytes \[height|sides must be"):
            bilinear.resize(good, array, (0, 0, 1, 1), False)


def test_buffers_that_are_refused() -> None:
    good, box = noise(8, 8), (0, 0, 8, 8)
    fixed = np.zeros((8, 8, 3), np.uint8)
    fixed.flags.writeable = False
    for source, target in (
        (good[::2], good.copy()),
        (good.copy(), good[:, ::2]),
        (good.transpose(1, 0, 2), good.copy()),
        (good, fixed),
        (good, memoryview(bytes(192)).cast("B", (8, 8, 3))),
    ):
        with pytest.raises((ValueError, BufferError)):
            bilinear.resize(source, target, box, False)
    assert bilinear.resize(fixed, good, box, False) is None


def test_overlapping_buffers_are_refused() -> None:
    room = np.zeros(8 * 8 * 3 * 2, np.uint8)
    source = room[:192].reshape(8, 8, 3)
    for start in (0, 1, 191):
        target = room[start : start + 192].reshape(8, 8, 3)
        with pytest.raises(ValueError, match="overlap"):
            bilinear.resize(source, target, (0, 0, 8, 8), False)
    bilinear.resize(source, room[192:].reshape(8, 8, 3), (0, 0, 8, 8), False)


def test_arguments_of_other_kinds() -> None:
    good = noise(8, 8)
    for arguments in (
        (),
        (good, good.copy()),
        (good, good.copy(), (0, 0, 8), False),
        (good, good.copy(), (0, 0, 8, "x"), False),
        (good, good.copy(), None, False),
        (None, good, (0, 0, 8, 8), False),
        (good, "text", (0, 0, 8, 8), False),
        (good, good.copy(), (0, 0, 8, 8), False, False, False),
    ):
        with pytest.raises(TypeError):
            bilinear.resize(*arguments)


def test_threads_do_not_disturb_each_other() -> None:
    box = (0, 0, 200, 150)
    images = [noise(150, 200, seed) for seed in range(4)]
    expected = [by_pillow(each, 64, 48, box, down_first=False) for each in images]
    wrong: list[int] = []

    def work(number: int) -> None:
        for turn in range(200):
            which = (number + turn) % len(images)
            found = resized(images[which], 64, 48, box, down_first=False, plain=turn % 2 == 0)
            if not np.array_equal(found, expected[which]):
                wrong.append(which)

    in_four_threads(work)
    assert wrong == []


def test_the_instructions_are_known() -> None:
    assert bilinear.INSTRUCTIONS in ("avx2", "plain")
