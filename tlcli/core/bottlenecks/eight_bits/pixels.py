"""Drawn images that backbones of 8 bits are calibrated with.

They are the same everywhere and contain no photo, so that the vectors of two users, or of two
runs, can be compared. They have what the ranges of a network depend on: edges of all sizes, where
shapes cover each other with sizes as frequent as in photos (dead leaves), shading, and noise whose
power falls with the frequency as that of photos does.
"""

from __future__ import annotations

import numpy as np

from tlcli.arrays import Array

COUNT = 64
"""Images; more change the ranges by less than a step of 8 bits."""
_SEED = 20261130
# Every so many images there is only noise: surfaces, sky.
_ONLY_NOISE = 4


def calibration_pixels(height: int, width: int, count: int = COUNT) -> Array:
    """Return drawn images, float32 [count, height, width, 3] in [0, 1], multiples of 1/255."""
    # Its numbers are the same in all versions of NumPy, which those of newer generators need not
    # be.
    random = np.random.RandomState(_SEED)
    images = np.empty((count, height, width, 3), np.float32)
    for number, image in enumerate(images):
        noise = _noise(random, height, width)
        if number % _ONLY_NOISE == 0:
            drawn = random.uniform(0.2, 0.8, 3) + random.uniform(0.05, 0.3) * noise
        else:
            drawn = _leaves(random, height, width) + random.uniform(0.01, 0.12) * noise
        drawn = (drawn - 0.5) * random.uniform(0.5, 1.3) + 0.5
        image[:] = np.clip(np.rint(drawn * 255), 0, 255) / 255
    return images


def _noise(random: np.random.RandomState, height: int, width: int) -> Array:
    """Return noise of mean 0 and deviation 1 whose amplitude falls with the frequency."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.rfftfreq(width)[np.newaxis])
    frequency[0, 0] = 1 / max(height, width)
    slope = random.uniform(0.6, 1.6)
    channels = []
    for _ in range(3):
        real, imaginary = random.standard_normal((2, *frequency.shape))
        values = np.fft.irfft2((real + 1j * imaginary) / frequency**slope, (height, width))
        channels.append((values - values.mean()) / values.std())
    noise = np.stack(channels, -1)
    colour = random.uniform(0, 0.6)
    mixed: Array = (1 - colour) * noise[..., :1] + colour * noise
    return mixed


def _leaves(random: np.random.RandomState, height: int, width: int) -> Array:
    """Return ellipses and rectangles that cover each other, shaded in one direction each."""
    image: Array = np.empty((height, width, 3))
    image[:] = random.uniform(0, 1, 3)
    smallest, largest = 0.02 * height, 0.5 * height
    for _ in range(random.randint(20, 200)):
        part = random.uniform()
        # As many shapes above a radius as its square is small.
        radius = 1 / np.sqrt(part / smallest**2 + (1 - part) / largest**2)
        centre, angle = random.uniform(0, 1, 2) * (height, width), random.uniform(0, np.pi)
        # No shape reaches further than the corners of a square.
        reach = 1.5 * radius
        top, left = np.maximum(centre - reach, 0).astype(int)
        down, across = (centre + reach).astype(int) + 1
        region = image[top:down, left:across]
        y, x = np.mgrid[top : top + region.shape[0], left : left + region.shape[1]]
        y, x = y - centre[0], x - centre[1]
        along = np.cos(angle) * x + np.sin(angle) * y
        beside = (np.cos(angle) * y - np.sin(angle) * x) / random.uniform(0.3, 1)
        if random.randint(3):
            inside = along**2 + beside**2 < radius**2
        else:
            inside = np.maximum(abs(along), abs(beside)) < radius
        colour, near = random.uniform(0, 1, 3), random.uniform() < 0.5
        if near:
            colour = np.clip(image.mean((0, 1)) + random.normal(0, 0.25, 3), 0, 1)
        shade = random.uniform(-0.3, 0.3) * along[inside] / radius
        region[inside] = colour + shade[:, np.newaxis]
    return image
