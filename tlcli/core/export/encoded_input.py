"""The preprocessing "tlcli-1" in TensorFlow operations, for graphs that take image files.

The same steps as `Preprocessing.read` with what TensorFlow has for them: scores differ by
some ten-thousandths, because the two decode JPEGs with slightly different arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tlcli.runtime.tensorflow import import_tensorflow

# JPEGs are decoded at a half, a quarter or an eighth where that leaves enough pixels, as
# Pillow's draft mode does.
_DRAFT_SCALES = (1, 2, 4, 8)
# EXIF comes first in a JPEG, in a segment that cannot be longer.
_EXIF_BYTES = 1 << 16
_EXIF_MARK = b"Exif\0\0"
_ORIENTATION = 0x0112
# EXIF orientations that need, in this order: rows and columns swapped, left and right
# swapped, top and bottom swapped.
_SIDEWAYS, _MIRRORED, _UPSIDE_DOWN = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)


def read_encoded(data: Any, height: int, width: int) -> Any:
    """Return the tensor of one image, float32 [height, width, 3] in [0, 1].

    Args:
        data: string tensor [], the content of a JPEG, PNG, GIF or BMP file.
        height: in pixels.
        width: in pixels.
    """
    tf = import_tensorflow()
    pixels = tf.cond(
        tf.equal(tf.strings.substr(data, 0, 3), b"\xff\xd8\xff"),
        lambda: _read_jpeg(tf, data, height, width),
        lambda: tf.cond(
            tf.equal(tf.strings.substr(data, 0, 4), b"\x89PNG"),
            lambda: _read_png(tf, data, height, width),
            lambda: _read_other(tf, data, height, width),
        ),
    )
    return tf.ensure_shape(pixels, [height, width, 3]) / 255.0


def _read_jpeg(tf: Any, data: Any, height: int, width: int) -> Any:
    orientation = _orientation(tf, data)
    sideways = _is_one_of(tf, orientation, _SIDEWAYS)
    # Turning after resizing is the same picture for a fraction of the work.
    target = tf.where(sideways, [width, height], [height, width])
    size = tf.cast(tf.io.extract_jpeg_shape(data)[:2], tf.float32)
    spare = tf.reduce_min(size // tf.cast(target, tf.float32))

    def decode(scale: int) -> Callable[[], Any]:
        # A size that is no multiple of the scale ends within the last pixel.
        return lambda: _resize(
            tf,
            tf.io.decode_jpeg(data, channels=3, ratio=scale, dct_method="INTEGER_ACCURATE"),
            size / float(scale),
            target,
        )

    branches = {number: decode(scale) for number, scale in enumerate(_DRAFT_SCALES)}
    reached = [tf.cast(spare >= scale, tf.int32) for scale in _DRAFT_SCALES[1:]]
    return _turn(tf, tf.switch_case(tf.add_n(reached), branches), orientation)


def _read_png(tf: Any, data: Any, height: int, width: int) -> Any:
    pixels = tf.cast(tf.io.decode_png(data, channels=4), tf.float32)
    alpha = pixels[..., 3:] / 255.0
    # Mixed with white first, so that the colours of hidden parts do not bleed.
    mixed = pixels[..., :3] * alpha + 255.0 * (1.0 - alpha)
    return _resize(tf, mixed, _size(tf, mixed), [height, width])


def _read_other(tf: Any, data: Any, height: int, width: int) -> Any:
    pixels = tf.io.decode_image(data, channels=0, expand_animations=False)
    pixels = tf.ensure_shape(pixels, [None, None, None])
    # BMPs have 1, 3 or 4 channels, and the decoder makes no others of them.
    pixels = tf.cond(
        tf.shape(pixels)[2] < 3,
        lambda: tf.repeat(pixels[..., :1], 3, axis=2),
        lambda: pixels[..., :3],
    )
    pixels = tf.ensure_shape(pixels, [None, None, 3])
    return _resize(tf, pixels, _size(tf, pixels), [height, width])


def _size(tf: Any, pixels: Any) -> Any:
    return tf.cast(tf.shape(pixels)[:2], tf.float32)


def _resize(tf: Any, pixels: Any, size: Any, target: Any) -> Any:
    """Resize [?, ?, 3] with antialiasing; ``size`` is how much of it is the picture.

    Across, then down, with whole numbers after each, as Pillow does it.
    """
    target = tf.convert_to_tensor(target)
    scale = tf.cast(target, tf.float32) / size
    pixels = tf.cast(pixels, tf.float32)
    wide = tf.stack([tf.shape(pixels)[0], target[1]])
    across = _scale(tf, pixels, wide, tf.stack([1.0, scale[1]]))
    return _scale(tf, across, target, tf.stack([scale[0], 1.0]))


def _scale(tf: Any, pixels: Any, size: Any, scale: Any) -> Any:
    scaled = tf.raw_ops.ScaleAndTranslate(
        images=pixels[None],
        size=size,
        scale=scale,
        translation=[0.0, 0.0],
        kernel_type="triangle",
        antialias=True,
    )
    return tf.round(scaled[0])


def _turn(tf: Any, pixels: Any, orientation: Any) -> Any:
    def either(values: tuple[int, ...], changed: Callable[[Any], Any], given: Any) -> Any:
        condition = _is_one_of(tf, orientation, values)
        return tf.cond(condition, lambda: changed(given), lambda: given)

    pixels = either(_SIDEWAYS, lambda given: tf.transpose(given, [1, 0, 2]), pixels)
    pixels = either(_MIRRORED, lambda given: tf.reverse(given, [1]), pixels)
    return either(_UPSIDE_DOWN, lambda given: tf.reverse(given, [0]), pixels)


def _is_one_of(tf: Any, value: Any, values: tuple[int, ...]) -> Any:
    return tf.reduce_any(tf.equal(value, list(values)))


def _orientation(tf: Any, data: Any) -> Any:
    """Return the EXIF orientation of a JPEG, int32 []; 0 where there is none."""
    raw = tf.io.decode_raw(tf.strings.substr(data, 0, _EXIF_BYTES), tf.uint8)
    # Padding for the mark, so that there is always a position to look at.
    content = tf.concat([tf.cast(raw, tf.int32), tf.zeros([32], tf.int32)], axis=0)
    last = tf.shape(content)[0] - 1
    starts = tf.shape(content)[0] - len(_EXIF_MARK)
    matches = [
        tf.equal(content[number : number + starts], value)
        for number, value in enumerate(_EXIF_MARK)
    ]
    found = tf.cast(tf.where(tf.reduce_all(tf.stack(matches), axis=0))[:, 0], tf.int32)
    # Nothing is found at the end, where all is zero.
    start = tf.concat([found, [last]], axis=0)[0] + len(_EXIF_MARK)

    def number(position: Any, count: int) -> Any:
        # Damaged offsets lead to the zeros at the end.
        first = tf.where(position < 0, last, position)
        values = [tf.gather(content, tf.minimum(first + k, last)) for k in range(count)]
        little = tf.equal(tf.gather(content, tf.minimum(start, last)), ord("I"))
        up = sum(value * 256**k for k, value in enumerate(values))
        down = sum(value * 256 ** (count - 1 - k) for k, value in enumerate(values))
        return tf.where(little, up, down)

    directory = start + number(start + 4, 4)
    entries = directory + 2 + 12 * tf.range(tf.minimum(number(directory, 2), 512))
    values = tf.where(tf.equal(number(entries, 2), _ORIENTATION), number(entries + 8, 2), 0)
    return tf.reduce_max(tf.concat([values, [0]], axis=0))
