"""The photos of a fine-tuning as pixels: plain, or flipped and cropped at random in each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlcli.arrays import Array, Doubles, Floats, Indices
from tlcli.core.bottlenecks.decode_jobs import Job, Unreadable, decode
from tlcli.core.final_layer.sampling import philox
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import DataError
from tlcli.system.closing import Closing
from tlcli.system.cpus import available_cpus

MARGIN = 1 / 8
"""How much larger than the input a photo is before a window of it is cropped, per side."""
PIXEL_BYTES = 1 << 30
"""Decoded photos that are kept in memory; further ones are decoded in each epoch."""

# A purpose of random numbers, apart from those of `tlcli.core.final_layer.sgd`.
_VIEWS = 101


@dataclass(frozen=True)
class Photo:
    """An image file and the SHA-256 of its content."""

    path: Path | str
    content: str


class Pictures(Closing):
    """Reads photos for a network.

    Args:
        photos: by row.
        height: of the network's input, in pixels.
        width: of the network's input, in pixels.
        seed: of flips and crops.
        largest: bytes of decoded photos that stay in memory.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        size: tuple[int, int],
        seed: int = 0,
        largest: int = PIXEL_BYTES,
    ) -> None:
        self._photos = photos
        self._height, self._width = size
        self._seed = seed
        self._left = largest
        self._plain = Preprocessing("tlcli-1", *size)
        tall, wide = (round(side * (1 + MARGIN)) for side in size)
        self._large = Preprocessing("tlcli-1", tall, wide)
        self._kept: dict[int, Array] = {}
        self._pool = ThreadPoolExecutor(available_cpus())
        self._drawn: tuple[int, Doubles] | None = None

    def __len__(self) -> int:
        return len(self._photos)

    def plain(self, rows: Indices) -> Floats:
        """Return photos as every command reads them, float32 [n, height, width, 3] in [0, 1].

        Raises:
            DataError: a photo changed or disappeared.
        """
        found = self._pool.map(lambda row: self._decode(row, self._plain), rows.tolist())
        return self._plain.scale(np.stack(list(found)))

    def view(self, rows: Indices, epoch: int) -> Floats:
        """Return a window of each photo, half of them mirrored, in the same form as `plain`.

        It depends on the seed, the epoch and the row only.

        Raises:
            DataError: a photo changed or disappeared.
        """
        numbers = self._numbers(epoch)
        large = list(self._pool.map(self._larger, rows.tolist()))
        batch = np.empty((len(rows), self._height, self._width, 3), np.uint8)
        tall, wide = self._large.height - self._height, self._large.width - self._width
        for place, (row, pixels) in enumerate(zip(rows.tolist(), large, strict=True)):
            down, across, flip = numbers[row]
            top, left = int(down * (tall + 1)), int(across * (wide + 1))
            window = pixels[top : top + self._height, left : left + self._width]
            batch[place] = window[:, ::-1] if flip < 0.5 else window
        return self._plain.scale(batch)

    def close(self) -> None:
        """Forget the decoded photos."""
        self._pool.shutdown(cancel_futures=True)
        self._kept.clear()

    def _numbers(self, epoch: int) -> Doubles:
        """Return three numbers in [0, 1) for each photo in an epoch, the same on every machine."""
        if self._drawn is None or self._drawn[0] != epoch:
            raw = philox(self._seed, _VIEWS, epoch).random_raw(3 * len(self._photos))
            numbers = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
            self._drawn = epoch, numbers.reshape(-1, 3)
        return self._drawn[1]

    def _larger(self, row: int) -> Array:
        found = self._kept.get(row)
        if found is None:
            found = self._decode(row, self._large)
            if self._left >= found.nbytes:
                self._left -= found.nbytes
                self._kept[row] = found
        return found

    def _decode(self, row: int, preprocessing: Preprocessing) -> Array:
        photo = self._photos[row]
        found = decode(Job(photo.content, None, (photo.path,), (row,)), preprocessing, None)
        if isinstance(found, Unreadable):
            raise DataError(
                f"{photo.path} changed while the network was fine-tuned on it ({found.reason}); "
                "run the command again"
            )
        return found
