"""From something callable in TensorFlow to a `BackboneGraph`: scaled, averaged, frozen."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.backbone import INPUT, BackboneGraph
from tlcli.backbones.model_options import ModelOptions
from tlcli.core.images.preprocessing import PREPROCESSING_VERSION
from tlcli.core.images.resizing import GREY_WEIGHTS
from tlcli.core.model_spec.input_spec import UNIT, Scaling
from tlcli.errors import BackboneError, TlcliError, UsageError
from tlcli.runtime.watchdog import first_line

if TYPE_CHECKING:
    from tlcli.runtime.freezing import FrozenCall

_log = logging.getLogger("tlcli")

OUTPUT = "bottleneck"
"""Name of the output node, float32 [?, D]."""
PRECISION = "float32"


@dataclass(frozen=True)
class NetworkInput:
    """The images that a network takes.

    Attributes:
        height: in pixels.
        width: in pixels.
        scaling: from pixels of 0..255 into the network's range.
        batch: None for any batch size, 1 for a network that takes one image at a time.
        channels: 3 for colours, 1 for grey images.
        channel_axis: False for grey images without an axis of channels, [?, height, width].
    """

    height: int
    width: int
    scaling: Scaling = UNIT
    batch: int | None = None
    channels: int = 3
    channel_axis: bool = True


def chosen_scaling(options: ModelOptions, default: Scaling = UNIT) -> Scaling:
    """Return the scaling that the options ask for, ``default`` where they ask for none.

    Raises:
        UsageError: a standard deviation of zero.
    """
    if options.input_mean is None and options.input_std is None:
        return default
    if options.input_std == 0:
        raise UsageError("--input_std cannot be 0: pixels are divided by it")
    return UNIT.override(options.input_mean, options.input_std)


def scaling_key(scaling: Scaling) -> str:
    """Return the text that stands for ``scaling`` in a fingerprint."""
    return f"mean=[{scaling.mean}] std=[{scaling.std}]"


def chosen_size(
    known: tuple[int | None, int | None],
    options: ModelOptions,
    *,
    what: str,
    fixed: bool = False,
) -> tuple[int, int]:
    """Return height and width from the options and from what the model declares.

    Args:
        known: the model's own height and width, None where it declares none.
        options: of which height and width are used.
        what: the model, for messages.
        fixed: whether the model takes nothing but ``known``.

    Raises:
        UsageError: the size is unknown, or the options contradict the model.
    """
    height, width = known
    input_height, input_width = options.input_height, options.input_width
    if input_height is None and input_width is None:
        if height is None or width is None:
            raise UsageError(
                f"{what} has no fixed input size; give --input_height and --input_width"
            )
        return height, width
    # One of the two is enough for a square.
    asked_height = input_height if input_height is not None else input_width
    asked_width = input_width if input_width is not None else input_height
    assert asked_height is not None
    assert asked_width is not None
    if asked_height < 1 or asked_width < 1:
        raise UsageError("--input_height and --input_width must be 1 or more")
    if fixed:
        for mine, asked in ((height, asked_height), (width, asked_width)):
            if mine is not None and mine != asked:
                raise UsageError(
                    f"{what} takes images of {height} x {width} only, not "
                    f"{asked_height} x {asked_width}; leave --input_height and --input_width out"
                )
    return asked_height, asked_width


def fingerprint(*parts: object) -> str:
    """Return a SHA-256 (hex) over ``parts``, the precision and the preprocessing version."""
    text = json.dumps([str(part) for part in (*parts, PRECISION, PREPROCESSING_VERSION)])
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a model file, which is read once as long as it does not change.

    Raises:
        BackboneError: it cannot be read.
    """
    try:
        found = path.stat()
        return _sha256(path, (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    except OSError as error:
        raise BackboneError(f"cannot read {path}: {error.strerror or error}") from error


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, state: tuple[int, ...]) -> str:
    from tlcli.system.digests import sha256_file

    return sha256_file(path)


def freeze(
    call: Callable[[Any], Any], images: NetworkInput, *, what: str, trust: bool = False
) -> BackboneGraph:
    """Trace ``call`` and return it as a plain frozen graph from `INPUT`.

    Args:
        call: takes a tensor [?, height, width, 3] in the network's own range and returns
            features [?, D], or a map [?, h, w, D], which is averaged.
        images: what the network takes; `INPUT` takes [0, 1] and is scaled in the graph.
        what: the model, for messages.
        trust: True allows operations that inference does not need.

    Raises:
        BackboneError: it cannot be traced or does not give one vector for each image.
        GraphError: it contains operations that inference does not need.
    """
    from tlcli.runtime.freezing import TracedInput, frozen_call
    from tlcli.runtime.tensorflow import import_tensorflow

    tf = import_tensorflow()

    def features(pixels: Any) -> Any:
        result = call(_scaled(tf, pixels, images))
        result = tf.cast(_one(result, what), tf.float32)
        if result.shape.rank == 4:
            result = tf.reduce_mean(result, axis=[1, 2])
        if result.shape.rank != 2:
            raise BackboneError(
                f"{what} gives an output of shape {result.shape} where one vector for each image "
                "is needed; name another layer or output with --module_output"
            )
        return result

    given = TracedInput(INPUT, (images.batch, images.height, images.width, 3))
    try:
        frozen = frozen_call(features, given, OUTPUT)
    except TlcliError:
        raise
    except Exception as error:
        # A model from elsewhere can make Keras and TensorFlow raise anything.
        raise BackboneError(
            f"{what} does not run on images of {images.height} x {images.width}: "
            f"{first_line(error)}"
        ) from error
    return _plain(frozen, images, what, trust)


def _plain(frozen: FrozenCall, images: NetworkInput, what: str, trust: bool) -> BackboneGraph:
    from tlcli.graph.limits import check_sizes
    from tlcli.graph.messages import GraphDef
    from tlcli.graph.safety import check_operations
    from tlcli.graph.simplify import simplify
    from tlcli.graph.surgery import without_identity_n
    from tlcli.keras_files.augmentation import without_augmentation

    graph = GraphDef.FromString(frozen.graph)
    if not trust:
        check_operations(graph, what)
    graph = simplify(without_identity_n(graph), INPUT, [frozen.output])
    graph, random = without_augmentation(graph, INPUT, frozen.output)
    if random:
        _log.info("Left out of %s, as they change images at random: %s", what, ", ".join(random))
        graph = simplify(graph, INPUT, [frozen.output])
    if not trust:
        check_sizes(graph, INPUT, [frozen.output], (images.height, images.width), what)
    size = frozen.shape[-1] if frozen.shape else None
    if size is None:
        size = measured_shape(graph, frozen.output, images)[-1]
    return BackboneGraph(graph, frozen.output, int(size), any_batch=images.batch is None)


def _scaled(tf: Any, pixels: Any, given: NetworkInput) -> Any:
    """Return ``pixels`` (a tensor in [0, 1]) as the network takes them."""
    images = pixels
    if given.channels == 1:
        # A convolution of 1 x 1, which every reader of graphs knows.
        weights = np.array(GREY_WEIGHTS, np.float32).reshape(1, 1, 3, 1)
        images = tf.nn.conv2d(images, weights, 1, "VALID")
        if not given.channel_axis:
            images = tf.squeeze(images, 3)
    mean, std = given.scaling.single
    factor, offset = 255.0 / std, -mean / std
    if factor != 1.0:
        images = images * factor
    if offset != 0.0:
        images = images + offset
    return images


def _one(result: Any, what: str) -> Any:
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (list, tuple)):
        if len(result) != 1:
            raise BackboneError(
                f"{what} has {len(result)} outputs; choose one with --module_output"
            )
        return result[0]
    return result


def measured_shape(graph: Any, output: str, images: NetworkInput) -> tuple[int, ...]:
    """Return the shape of a backbone's output for one image, by running it once."""
    from tlcli.runtime.tensorflow import GraphEngine

    with GraphEngine(graph, INPUT, output) as engine:
        image = np.zeros((1, images.height, images.width, 3), np.float32)
        return tuple(engine.run(image).shape)
