"""Images exactly as TensorFlow's label_image.py read them, to the last bit.

TensorFlow decodes JPEGs with libjpeg's fast DCT, Pillow with the accurate one. Pixels differ
by a few levels, and the scores of a small network by up to 0.03 on photos at hand. The
package simplejpeg brings the library that TensorFlow has, and takes the same setting; its
pixels are TensorFlow's, without seconds of import. TensorFlow itself decodes where that
package is missing, and the few damaged files that only TensorFlow forgives.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlcli.core.images.decoding import Source, open_image
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.images.resizing import resize_plain_bilinear
from tlcli.runtime.tensorflow import import_tensorflow

# What all decoders understand in the same way; CMYK and the like are left to Pillow.
_MODES = frozenset({"L", "RGB"})
_FORMATS = frozenset({"JPEG", "MPO"})

Pixels = NDArray[np.uint8]
Decode = Callable[[bytes], Pixels]


def label_image_reader(preprocessing: Preprocessing) -> Callable[[Source], NDArray[np.float32]]:
    """Return what reads an image as ``preprocessing.read`` does, JPEGs as TensorFlow.

    Args:
        preprocessing: of the name "label_image".

    Returns:
        A function from a path, or a file's bytes, to float32 [height, width, 3] in 0..255;
        it raises `ImageError` as `Preprocessing.read` does. Threads may share it.
    """
    quick = _simplejpeg()
    exact = _tensorflow() if quick is None else None

    def read(source: Source) -> NDArray[np.float32]:
        # Pillow looks at the header first: it knows what is no image, and what is a bomb.
        with open_image(source) as image:
            if image.format not in _FORMATS or image.mode not in _MODES:
                return preprocessing.read(source)
            content = source if isinstance(source, bytes) else Path(source).read_bytes()
        try:
            if quick is not None:
                pixels = quick(content)
            else:
                assert exact is not None
                pixels = exact(content)
        except ValueError:
            plain = preprocessing.read(source)  # says in plain words what is wrong
            if quick is None:
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

    def decode(content: bytes) -> Pixels:
        # Fast DCT and smooth colours: TensorFlow's own choice.
        found: Pixels = decode_jpeg(content, "RGB", fastdct=True, fastupsample=False)
        return found

    return decode


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
