"""ONNX files: converted by tf2onnx, run by ONNX Runtime."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.backbone import INPUT
from tlcli.core.export.frozen_graph import serialise
from tlcli.core.formats.network import Network
from tlcli.errors import GraphError, OutputError
from tlcli.runtime.native_stderr import quietly
from tlcli.runtime.tensorflow import import_tensorflow
from tlcli.runtime.watchdog import first_line
from tlcli.system.digests import sha256_bytes

OPSET = 17
"""Of ONNX 1.12 (2022), which today's programs read."""


def write_onnx(network: Network, path: Path) -> None:
    """Write a classifier as an ONNX file with its labels and preprocessing as metadata.

    Raises:
        OutputError: tf2onnx cannot convert it.
    """
    try:
        with quietly():
            model = _converted(network)
    except Exception as error:  # the converter raises whatever Python does
        raise OutputError(f"tf2onnx cannot convert the graph: {first_line(error)}") from error
    card = network.model_card()
    facts = {
        "labels": list(network.labels),
        "preprocessing": network.preprocessing.to_dict(),
        "made_by": "tlcli",
    }
    if network.thresholds:
        facts["thresholds"] = dict(zip(network.labels, network.thresholds, strict=True))
    if card.backbone.get("name"):
        facts["backbone"] = card.backbone["name"]
    for name, value in facts.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        model.metadata_props.add(key=name, value=text)
    model.doc_string = "RGB images in [0, 1], stretched to the size of the input, to scores."
    content = model.SerializeToString(deterministic=True)
    path.write_bytes(content)


def _converted(network: Network) -> Any:
    tf = import_tensorflow()
    import tf2onnx.convert

    if network.graph is None:
        with tempfile.TemporaryDirectory(prefix="tlcli-") as folder:
            file = Path(folder) / "graph.tflite"
            file.write_bytes(network.litert)
            return tf2onnx.convert.from_tflite(str(file), opset=OPSET)[0]
    content = serialise(network.graph.graph)
    ends = [f"{INPUT}:0"], [_tensor(network.graph.output)]
    graph = tf.compat.v1.GraphDef.FromString(content)
    name = f"tlcli-{sha256_bytes(content)[:12]}"
    return tf2onnx.convert.from_graph_def(
        graph, name=name, input_names=ends[0], output_names=ends[1], opset=OPSET
    )[0]


def _tensor(name: str) -> str:
    return name if ":" in name else f"{name}:0"


class OnnxRunner:
    """An ONNX file in ONNX Runtime, on one processor.

    Raises:
        GraphError: it cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise GraphError(f"ONNX Runtime cannot load it: {first_line(error)}") from error
        self._input = self._session.get_inputs()[0].name

    def run(self, batch: Array) -> Array:
        """Return the scores for a batch float32 [1, height, width, 3].

        Raises:
            GraphError: it cannot be run.
        """
        try:
            return np.asarray(self._session.run(None, {self._input: batch})[0])
        except Exception as error:
            raise GraphError(f"ONNX Runtime cannot run it: {first_line(error)}") from error

    def close(self) -> None:
        """Release the session."""
        del self._session
