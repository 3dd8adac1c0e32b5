"""Core ML packages: converted by coremltools, which runs them on Apple's systems only."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from pathlib import Path
from typing import Any

from tlcli.core.export.frozen_graph import serialise
from tlcli.core.formats.network import Network
from tlcli.errors import GraphError, OutputError
from tlcli.runtime.native_stderr import quiet_stderr
from tlcli.runtime.tensorflow import import_tensorflow
from tlcli.runtime.watchdog import first_line

INPUT = "image"
"""Name of the input: an RGB picture of the size that the graph takes."""


def write_coreml(network: Network, folder: Path) -> None:
    """Write a classifier as a package that takes a picture and gives labels with scores.

    In float32, for iOS 15 and macOS 12 or later. The package is loaded again; it is not run.

    Raises:
        GraphError: there is only a LiteRT file.
        OutputError: coremltools cannot convert it.
    """
    given = network.plain_graph("Core ML package")
    try:
        with _quietly():
            _write(network, serialise(given.graph), given.output, folder)
    except Exception as error:
        raise OutputError(f"coremltools cannot convert the graph: {first_line(error)}") from error


def _write(network: Network, content: bytes, output: str, folder: Path) -> None:
    tf = import_tensorflow()
    import coremltools

    graph = tf.compat.v1.GraphDef.FromString(content)
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    tensor = output if ":" in output else f"{output}:0"
    function = wrapped.prune("Placeholder:0", tensor)
    height, width = network.size
    picture = coremltools.ImageType(
        name="Placeholder",
        shape=(1, height, width, 3),
        scale=1 / 255,
        color_layout=coremltools.colorlayout.RGB,
    )
    several = bool(network.thresholds)
    classes = None if several else coremltools.ClassifierConfig(list(network.labels))
    model = coremltools.convert(
        [function],
        source="tensorflow",
        inputs=[picture],
        classifier_config=classes,
        minimum_deployment_target=coremltools.target.iOS15,
        compute_precision=coremltools.precision.FLOAT32,
        skip_model_load=True,
    )
    spec = model.get_spec()
    coremltools.utils.rename_feature(spec, "Placeholder", INPUT)
    facts = spec.description.metadata.userDefined
    facts["labels"] = json.dumps(list(network.labels), ensure_ascii=False)
    if network.thresholds:
        facts["thresholds"] = json.dumps(list(network.thresholds))
    named = coremltools.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True)
    named.save(str(folder))
    check_coreml(folder, network)


def check_coreml(folder: Path, network: Network) -> None:
    """Load a package again and compare what it takes with the graph.

    Raises:
        GraphError: it cannot be read, or takes a picture of another size.
    """
    import coremltools

    spec = coremltools.models.MLModel(str(folder), skip_model_load=True).get_spec()
    taken: Any = spec.description.input[0]
    picture = taken.type.imageType
    if (taken.name, picture.height, picture.width) != (INPUT, *network.size):
        raise GraphError(f"{folder} takes another input than the graph")


@contextlib.contextmanager
def _quietly() -> Any:
    """Keep what coremltools prints, logs and draws away from the user."""
    log = logging.getLogger("coremltools")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with quiet_stderr(), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        log.setLevel(before)
