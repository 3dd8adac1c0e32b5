"""Images with exactly the pixels of TensorFlow's label_image.py.

TensorFlow decodes JPEGs with libjpeg's fast DCT, Pillow with the accurate one. Pixels differ by
a few levels, and the scores of a small network by up to 0.03. The package simplejpeg contains
TensorFlow's JPEG library and has the same setting: it gives TensorFlow's pixels without seconds of
import. TensorFlow itself decodes where that package is missing, and the few damaged files that
only TensorFlow accepts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlcli.core.images.decoding import Source, open_image
from tlcli.core.images.fast_jpeg import JPEG_MODES, Pixels
from tlcli.core.images.formats import JPEG_FORMATS
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.images.resizing import resize_plain_bilinear
from tlcli.core.images.slow_images import NeedsChild
from tlcli.runtime.tensorflow import import_tensorflow

Decode = Callable[[bytes], Pixels]


def label_image_reader(preprocessing: Preprocessing) -> Callable[[Source], NDArray[np.float32]]:
    """Return a reader like ``preprocessing.read`` that decodes JPEGs as TensorFlow does.

    Args:
        preprocessing: named "label_image".

    Returns:
        A function from a path, or a file's bytes, to float32 [height, width, 3] in 0..255;
        it raises `ImageError` as `Preprocessing.read` does. It is thread-safe.
    """
    simplejpeg = _simplejpeg()
    decoder = _tensorflow() if simplejpeg is None else simplejpeg

    def read(source: Source) -> NDArray[np.float32]:
        # Pillow reads the header first, and refuses other files and decompression bombs.
        try:
            with open_image(source) as image:
                if image.format not in JPEG_FORMATS or image.mode not in JPEG_MODES:
                    return preprocessing.read(source)
                content = source if isinstance(source, bytes) else Path(source).read_bytes()
        except NeedsChild:
            return preprocessing.read(source)
        try:
            pixels = decoder(content)
        except ValueError:
            plain = preprocessing.read(source)  # raises with the reason in plain words
            if simplejpeg is None:
                return plain
            try:
                pixels = _tensorflow()(content)
            except ValueError:
                return plain
        return resize_plain_bilinear(pixels, preprocessing.height, preprocessing.width)

    return read


def _simplejpeg() -> Decode | None:
    try:
        from simplejpeg import decode_jpeg
    except ImportError:
        return None
    # Fast DCT and smooth chroma upsampling, as TensorFlow does.
    return functools.partial(decode_jpeg, colorspace="RGB", fastdct=True, fastupsample=False)


def _tensorflow() -> Decode:
    tf: Any = import_tensorflow()

    def decode(content: bytes) -> Pixels:
        try:
            with tf.device("/CPU:0"):
                found: Pixels = tf.io.decode_jpeg(content, channels=3).numpy()
                return found
        except tf.errors.OpError as error:
            raise ValueError(str(error)) from error

    return decode
