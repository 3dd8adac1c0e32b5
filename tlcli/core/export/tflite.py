"""The classifier as a LiteRT (.tflite) file, checked against the graph it was made from."""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tlcli.backbone import INPUT
from tlcli.core.export.frozen_graph import ClassifierGraph, serialise
from tlcli.errors import GraphError, OutputError
from tlcli.litert.interpreter import LiteRTEngine
from tlcli.litert.writer import write_model
from tlcli.runtime.native_stderr import quietly
from tlcli.runtime.tensorflow import GraphEngine, import_tensorflow
from tlcli.runtime.watchdog import first_line

_log = logging.getLogger("tlcli")

TOLERANCE = 1e-3
"""Largest difference of a probability from the graph's; 1e-6 is usual."""
_CHECKED_IMAGES = 2


def convert(classifier: ClassifierGraph) -> bytes:
    """Return a float32 LiteRT model of a classifier; the same graph gives the same bytes.

    The model takes [1, height, width, 3] and may be resized to any batch where the graph
    takes any. It was run. TensorFlow is imported only for a graph with operations that
    `litert.writer` lacks; where it is imported already, the probabilities are checked
    against the graph's. (That the writer's operators compute what the graph's do is what its
    tests prove; a wrong shape or operator would make LiteRT refuse the file.)

    Raises:
        OutputError: the graph has an operation that LiteRT lacks, or the model's
            probabilities differ from the graph's.
    """
    try:
        model = write_model(classifier.graph, INPUT, classifier.output)
        if "tensorflow" in sys.modules:
            _check(model, classifier)
        else:
            _check_alone(model, classifier)
        return model
    except (GraphError, OutputError) as error:
        _log.debug("TensorFlow converts the graph: %s", error)
    model = _convert_by_tensorflow(classifier)
    _check(model, classifier)
    return model


def _check(model: bytes, classifier: ClassifierGraph) -> None:
    """Run the model and the graph; raise `OutputError` where they differ."""
    try:
        distance = output_difference(model, classifier)
    except GraphError as error:
        raise _failure(f"LiteRT cannot run what the converter made: {error}") from error
    if not distance <= TOLERANCE:
        raise _failure(f"its probabilities differ from the graph's by {distance:.2g}")


def _check_alone(model: bytes, classifier: ClassifierGraph) -> None:
    """Run the model; raise `GraphError` where it returns NaN or infinity."""
    with contextlib.closing(LiteRTEngine(model)) as interpreter:
        given = interpreter.run(smooth_images(1, classifier.height, classifier.width))
    if not np.isfinite(given).all():
        raise GraphError("the LiteRT model returned NaN or infinity")


def output_difference(model: bytes, classifier: ClassifierGraph) -> float:
    """Return the largest difference between the model's and the graph's probabilities.

    Both are run on a few images of smooth random colours; NaN counts as infinity.

    Raises:
        GraphError: one of the two cannot be run.
    """
    images = smooth_images(_CHECKED_IMAGES, classifier.height, classifier.width)
    # One by one: a graph may take no more.
    with GraphEngine(classifier.graph, INPUT, classifier.output) as engine:
        expected = np.concatenate([engine.run(image[None]) for image in images])
    with contextlib.closing(LiteRTEngine(model)) as interpreter:
        given = np.concatenate([interpreter.run(image[None]) for image in images])
    if given.shape != expected.shape:
        return float("inf")
    distance = float(np.max(np.abs(given - expected)))
    return distance if np.isfinite(distance) else float("inf")


def _convert_by_tensorflow(classifier: ClassifierGraph) -> bytes:
    tf = import_tensorflow()
    with tempfile.TemporaryDirectory(prefix="tlcli-") as folder:
        # The converter reads a file; a function of TensorFlow 2 takes it three times as long.
        path = Path(folder) / "graph.pb"
        path.write_bytes(serialise(classifier.graph))
        try:
            with quietly():
                converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(
                    str(path), [INPUT], [classifier.output]
                )
                return bytes(converter.convert())
        except Exception as error:  # the converter has its own kinds, ValueError among them
            raise _failure(first_line(error).rstrip(".")) from error


def _failure(reason: str) -> OutputError:
    return OutputError(
        f"no LiteRT file can be made of this graph: {reason}; do without --output_tflite or "
        "choose another backbone"
    )


def smooth_images(count: int, height: int, width: int) -> npt.NDArray[np.float32]:
    """Return the same images float32 [count, height, width, 3] in [0, 1] every time."""
    generator = np.random.default_rng(0)
    down = np.linspace(0, 2 * np.pi, height)[:, None, None]
    across = np.linspace(0, 2 * np.pi, width)[None, :, None]
    images = [
        0.5
        + 0.25 * np.sin(generator.integers(1, 9, 3) * down + generator.uniform(0, 6, 3))
        + 0.25 * np.cos(generator.integers(1, 9, 3) * across + generator.uniform(0, 6, 3))
        for _ in range(count)
    ]
    return np.stack(images).astype(np.float32)
