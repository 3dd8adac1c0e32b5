"""From something callable in TensorFlow to a `BackboneGraph`: scaled, averaged, frozen."""

from __future__ import annotations

import functools
import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli.backbone import INPUT, BackboneGraph
from tlcli.backbones.model_options import ModelOptions
from tlcli.core.images.preprocessing import PREPROCESSING_VERSION
from tlcli.core.model_spec.input_spec import Scaling
from tlcli.errors import BackboneError, UsageError
from tlcli.runtime.watchdog import first_line

OUTPUT = "bottleneck"
"""Name of the output node, float32 [?, D]."""
PRECISION = "float32"

UNIT = Scaling(0.0, 255.0)
"""[0, 1], the convention of the Hub's image modules."""
SIGNED = Scaling(127.5, 127.5)
"""[-1, 1]."""
PIXELS = Scaling(0.0, 1.0)
"""0..255."""


@dataclass(frozen=True)
class NetworkInput:
    """The images that a network takes.

    Attributes:
        height: in pixels.
        width: in pixels.
        scaling: from pixels of 0..255 into the network's range.
        batch: None for any batch size, 1 for a network that takes one image at a time.
    """

    height: int
    width: int
    scaling: Scaling = UNIT
    batch: int | None = None


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
    from tlcli.system.atomic_files import sha256_file

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
    from tlcli.graph.messages import GraphDef
    from tlcli.graph.safety import check_operations
    from tlcli.graph.simplify import simplify
    from tlcli.runtime.native_stderr import quiet_stderr
    from tlcli.runtime.tensorflow import import_tensorflow

    tf = import_tensorflow()
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    def features(pixels: Any) -> Any:
        result = call(_scaled(pixels, images.scaling))
        result = tf.cast(_one(result, what), tf.float32)
        if result.shape.rank == 4:
            result = tf.reduce_mean(result, axis=[1, 2])
        if result.shape.rank != 2:
            raise BackboneError(
                f"{what} gives an output of shape {result.shape} where one vector for each image "
                "is needed; name another layer or output with --module_output"
            )
        return tf.identity(result, name=OUTPUT)

    shape = [images.batch, images.height, images.width, 3]
    specification = tf.TensorSpec(shape, tf.float32, name=INPUT)
    with quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            traced = tf.function(features, input_signature=[specification], autograph=False)
            concrete = traced.get_concrete_function()
            frozen = convert_variables_to_constants_v2(concrete)
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise BackboneError(
                f"{what} does not run on images of {images.height} x {images.width}: "
                f"{first_line(error)}"
            ) from error
    graph = GraphDef.FromString(frozen.graph.as_graph_def().SerializeToString())
    output = frozen.outputs[0].op.name
    size = frozen.outputs[0].shape[-1]
    if not trust:
        check_operations(graph, what)
    graph = simplify(_without_identity_n(graph), INPUT, [output])
    if size is None:
        size = _measured(graph, output, images)
    return BackboneGraph(graph, output, int(size), any_batch=images.batch is None)


def _scaled(images: Any, scaling: Scaling) -> Any:
    """Return ``images`` (a tensor in [0, 1]) in the range of ``scaling``."""
    mean, std = scaling.single
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


def _without_identity_n(graph: Any) -> Any:
    """Remove ``IdentityN``, which functions with a gradient of their own (swish) leave behind.

    It passes on several tensors at once and few readers of frozen graphs know it.
    """
    from tlcli.graph.surgery import data_inputs, redirect, spell_tensor

    passed = {
        (node.name, number): source
        for node in graph.node
        if node.op == "IdentityN"
        for number, source in enumerate(data_inputs(node))
    }

    def origin(tensor: tuple[str, int]) -> tuple[str, int]:
        while tensor in passed:
            tensor = passed[tensor]
        return tensor

    return redirect(graph, {tensor: spell_tensor(*origin(tensor)) for tensor in passed})


def _measured(graph: Any, output: str, images: NetworkInput) -> int:
    import numpy as np

    from tlcli.runtime.tensorflow import GraphEngine

    engine = GraphEngine(graph, INPUT, output)
    try:
        return int(engine.run(np.zeros((1, images.height, images.width, 3), np.float32)).shape[-1])
    finally:
        engine.close()
