"""Image files as the bytes that graphs decode by themselves."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlcli.core.images.decoding import Source, drop_alpha, open_image
from tlcli.core.images.formats import JPEG_FORMATS
from tlcli.core.images.slow_images import NeedsChild, in_time

# TensorFlow decodes these by their content, whatever its operation is called.
_DECODED = frozenset({*JPEG_FORMATS, "PNG", "BMP"})


def read_encoded(source: Source) -> NDArray[Any]:
    """Return the content of an image file as one object; PNG where TensorFlow lacks its format.

    Raises:
        ImageError: the reason alone, without the path.
    """
    content = None
    # The formats that need a child are none that TensorFlow decodes.
    with contextlib.suppress(NeedsChild), open_image(source) as image:
        if image.format in _DECODED and image.mode in ("L", "RGB"):
            image.load()  # what is damaged is found here, not by the whole batch
            content = source if isinstance(source, bytes) else Path(source).read_bytes()
    if content is None:
        content = _as_png(source).tobytes()
    held = np.empty((), object)
    held[()] = content
    return held


@in_time
def _as_png(source: Source) -> NDArray[np.uint8]:
    with open_image(source) as image:
        buffer = io.BytesIO()
        Image.fromarray(drop_alpha(image)).save(buffer, "PNG", compress_level=1)
    return np.frombuffer(buffer.getvalue(), np.uint8)
