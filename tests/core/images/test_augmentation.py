"""Distorted views: the original's meaning, and the same view for the same image for ever."""

from __future__ import annotations

import functools
import io

import numpy as np
import pytest
from PIL import Image

from tlcli.core.images.augmentation import Augmentation, _uniform
from tlcli.core.images.preprocessing import read_pixels
from tlcli.errors import ImageError, UsageError

HASH = "ab" * 32


def bmp(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")
    return buffer.getvalue()


@functools.cache
def ramp() -> bytes:
    """Return an image whose red is the column and whose green is the row."""
    y, x = np.mgrid[0:200, 0:250].astype(np.uint8)
    return bmp(np.stack([x, y, np.full_like(x, 100)], axis=2))


def views(distortions: Augmentation, count: int = 60, size: int = 40) -> list[np.ndarray]:
    return [distortions.read(ramp(), HASH, view, size, size) for view in range(count)]


def test_without_any_a_view_is_the_plain_image() -> None:
    distortions = Augmentation(seed=5)
    np.testing.assert_array_equal(
        distortions.read(ramp(), HASH, 3, 50, 40), read_pixels(ramp(), 50, 40)
    )


@pytest.mark.parametrize(
    "name", ["flip_left_right", "random_crop", "random_scale", "random_brightness"]
)
def test_each_is_in_the_key(name: str) -> None:
    one = Augmentation(**{name: 10})
    assert one.view_key(0) != Augmentation().view_key(0)
    assert one.view_key(0) != one.view_key(1)


def test_key() -> None:
    distortions = Augmentation(True, 10, seed=4)
    assert distortions.view_key(2) == "flip=1,crop=10,scale=0,brightness=0,seed=4,view=2"


def test_a_view_depends_on_seed_content_and_number_alone() -> None:
    distortions = Augmentation(True, 20, 20, 20)
    first = distortions.read(ramp(), HASH, 0, 40, 40)
    np.testing.assert_array_equal(first, distortions.read(ramp(), HASH, 0, 40, 40))
    for other in (
        distortions.read(ramp(), HASH, 1, 40, 40),
        distortions.read(ramp(), "cd" * 32, 0, 40, 40),
        Augmentation(True, 20, 20, 20, seed=1).read(ramp(), HASH, 0, 40, 40),
    ):
        assert (other != first).any()
    assert first.shape == (40, 40, 3)
    assert first.dtype == np.uint8
    assert first.flags.c_contiguous


def test_numbers_are_fixed_for_ever() -> None:
    # Cached vectors of older versions are found by these.
    np.testing.assert_allclose(_uniform(0, HASH, 0), KNOWN, atol=1e-12)


KNOWN = [0.971847653145, 0.529352948229, 0.595638442961, 0.853361592336, 0.191809607497]


def test_numbers_are_uniform() -> None:
    drawn = np.stack([_uniform(0, HASH, view) for view in range(2000)])
    assert ((drawn >= 0) & (drawn < 1)).all()
    np.testing.assert_allclose(drawn.mean(axis=0), 0.5, atol=0.04)
    assert abs(np.corrcoef(drawn.T) - np.eye(5)).max() < 0.08


def test_half_are_flipped() -> None:
    plain = read_pixels(ramp(), 40, 40)
    found = views(Augmentation(flip_left_right=True), 200)
    flipped = sum(bool((view == plain[:, ::-1]).all()) for view in found)
    assert flipped + sum(bool((view == plain).all()) for view in found) == 200
    assert 70 <= flipped <= 130


def test_crop_is_a_window_of_fixed_size_anywhere_in_the_margin() -> None:
    whole = read_pixels(ramp(), 50, 50)  # 40 x (1 + 25/100)
    places = set()
    for view in views(Augmentation(random_crop=25), 300):
        found = [
            (top, left)
            for top in range(11)
            for left in range(11)
            if (whole[top : top + 40, left : left + 40] == view).all()
        ]
        assert len(found) == 1
        places.add(found[0])
    assert {top for top, _ in places} == set(range(11))
    assert {left for _, left in places} == set(range(11))


def test_scale_stretches_up_to_its_limit() -> None:
    spans = [
        float(view[:, -1, 0].mean()) - float(view[:, 0, 0].mean())
        for view in views(Augmentation(random_scale=50), 200)
    ]
    full = 250 * 39 / 40
    assert full / 1.5 - 6 < min(spans) < full / 1.4
    assert full * 0.93 < max(spans) <= full + 6


def test_brightness_multiplies_and_clips() -> None:
    gains = np.array([v[20, 20, 2] / 100 for v in views(Augmentation(random_brightness=30), 200)])
    assert 0.7 <= gains.min() < 0.75
    assert 1.25 < gains.max() <= 1.3
    white = bmp(np.full((20, 20, 3), 250, np.uint8))
    brightest = [Augmentation(random_brightness=100).read(white, HASH, v, 8, 8) for v in range(30)]
    assert max(int(view.max()) for view in brightest) == 255
    assert all(view.min() == view.max() for view in brightest)


def test_one_option_does_not_move_another() -> None:
    one = views(Augmentation(random_crop=25), 20)
    both = views(Augmentation(random_crop=25, random_brightness=1), 20)
    assert all(np.abs(a.astype(int) - b).max() <= 3 for a, b in zip(one, both, strict=True))


@pytest.mark.parametrize("name", ["random_crop", "random_scale", "random_brightness"])
@pytest.mark.parametrize("value", [-1, 101])
def test_out_of_range(name: str, value: int) -> None:
    with pytest.raises(UsageError, match=f"--{name} is {value}"):
        Augmentation(**{name: value})


def test_unreadable_image() -> None:
    with pytest.raises(ImageError, match="empty file"):
        Augmentation(True).read(b"", HASH, 0, 8, 8)
