"""Images exactly as TensorFlow's label_image.py read them, to the last bit.

TensorFlow decodes JPEGs with libjpeg's fast DCT, Pillow with the accurate one. Pixels differ
by a few levels, and the scores of a small network by up to 0.03 on photos at hand. Where
TensorFlow runs the graph anyway, it decodes the JPEGs as well.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlcli.core.decoding import Source, open_image
from tlcli.core.engines import import_tensorflow
from tlcli.core.images import Preprocessing
from tlcli.core.resizing import resize_plain_bilinear

# What both decoders understand in the same way; CMYK and the like are left to Pillow.
_MODES = frozenset({"L", "RGB"})
_FORMATS = frozenset({"JPEG", "MPO"})


def label_image_reader(preprocessing: Preprocessing) -> Callable[[Source], NDArray[np.float32]]:
    """Return what reads an image as ``preprocessing.read`` does, JPEGs by TensorFlow.

    Args:
        preprocessing: of the name "label_image".

    Returns:
        A function from a path, or a file's bytes, to float32 [height, width, 3] in 0..255;
        it raises `ImageError` as `Preprocessing.read` does. Threads may share it.
    """
    tf = import_tensorflow()

    def read(source: Source) -> NDArray[np.float32]:
        # Pillow looks at the header first: it knows what is no image, and what is a bomb.
        with open_image(source) as image:
            if image.format not in _FORMATS or image.mode not in _MODES:
                return preprocessing.read(source)
            content = source if isinstance(source, bytes) else Path(source).read_bytes()
        try:
            with tf.device("/CPU:0"):
                pixels = tf.io.decode_jpeg(content, channels=3).numpy()
        except tf.errors.OpError:
            return preprocessing.read(source)  # says in plain words what is wrong
        return resize_plain_bilinear(pixels, preprocessing.height, preprocessing.width)

    return read
