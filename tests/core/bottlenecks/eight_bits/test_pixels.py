from __future__ import annotations

import numpy as np

from tlcli.core.bottlenecks.eight_bits.pixels import calibration_pixels


def test_the_images_are_the_same_each_time_and_differ_from_each_other() -> None:
    images = calibration_pixels(32, 48, 8)
    assert images.shape == (8, 32, 48, 3)
    assert images.dtype == np.float32
    assert np.array_equal(images, calibration_pixels(32, 48, 8))
    assert len({image.tobytes() for image in images}) == 8


def test_they_are_what_they_were_when_accuracy_was_measured() -> None:
    means = calibration_pixels(32, 32, 4).mean((1, 2, 3))
    assert np.allclose(means, MEANS, atol=1e-3)


def test_values_are_those_of_pixels_from_black_to_white() -> None:
    images = calibration_pixels(64, 64, 16)
    assert np.array_equal(np.rint(images * 255) / np.float32(255), images)
    assert images.min() == 0
    assert images.max() == 1
    # Edges and surfaces: most neighbours are alike, and some are not.
    steps = np.abs(np.diff(images, axis=2))
    assert np.median(steps) < 0.1
    assert np.quantile(steps, 0.99) > 0.25


MEANS = [0.5311, 0.5633, 0.5164, 0.3043]
