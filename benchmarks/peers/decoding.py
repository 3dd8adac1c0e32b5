"""Image files to pixels of the network's size, by several decoders."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.peers.engines import processors
from benchmarks.peers.extraction import photos


def _tlcli(height: int, width: int) -> Callable[[Path], Any]:
    from tlcli.core.images.preprocessing import Preprocessing

    return Preprocessing("tlcli-1", height, width).read


def _pillow(height: int, width: int) -> Callable[[Path], Any]:
    import numpy as np
    from PIL import Image

    def read(path: Path) -> Any:
        with Image.open(path) as image:
            return np.asarray(
                image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
            )

    return read


def _opencv(height: int, width: int) -> Callable[[Path], Any]:
    import cv2

    # Threads come from outside, as for the others.
    cv2.setNumThreads(1)
    return lambda path: cv2.resize(
        cv2.imread(str(path)), (width, height), interpolation=cv2.INTER_AREA
    )


def _tensorflow(height: int, width: int) -> Callable[[Path], Any]:
    import tensorflow as tf

    v1 = tf.compat.v1
    holder = tf.Graph()
    with holder.as_default():
        jpeg = v1.placeholder(tf.string)
        pixels = tf.cast(tf.io.decode_jpeg(jpeg, channels=3), tf.float32)
        resized = v1.image.resize_bilinear(pixels[None], [height, width])
    session = v1.Session(graph=holder)
    return lambda path: session.run(resized, {jpeg: path.read_bytes()})


READERS = {
    "tlcli": _tlcli,
    "pillow": _pillow,
    "opencv": _opencv,
    "tensorflow": _tensorflow,
}


def decode(
    reader: str, folder: str, count: int, height: int = 224, width: int = 224, threads: bool = True
) -> dict[str, Any]:
    """Return images per second of a reader, on one thread or on one for each processor."""
    read = READERS[reader](height, width)
    paths = photos(folder, count)
    for path in paths[:: max(1, len(paths) // 10)]:
        read(path)
    started = time.perf_counter()
    if threads:
        with ThreadPoolExecutor(processors()) as pool:
            for _ in pool.map(read, paths):
                pass
    else:
        for path in paths:
            read(path)
    return {"rate": len(paths) / (time.perf_counter() - started)}
