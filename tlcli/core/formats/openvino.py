"""OpenVINO's intermediate representation: an .xml file, and a .bin file of weights beside it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from tlcli.arrays import Array
from tlcli.core.export.frozen_graph import serialise
from tlcli.core.formats.network import Network
from tlcli.errors import GraphError, OutputError
from tlcli.runtime.native_stderr import quiet_stderr
from tlcli.runtime.watchdog import first_line


def write_openvino(network: Network, path: Path) -> None:
    """Write a classifier as ``path`` (.xml) and the .bin beside it, weights in float32.

    The labels are where Open Model Zoo's tools look for them (``rt_info``, ``model_info``),
    separated by spaces, with spaces inside as underscores, and their number.

    Raises:
        OutputError: OpenVINO cannot convert it.
    """
    import openvino

    with tempfile.TemporaryDirectory(prefix="tlcli-") as folder:
        if network.graph is None:
            file = Path(folder) / "graph.tflite"
            file.write_bytes(network.litert)
        else:
            file = Path(folder) / "graph.pb"
            file.write_bytes(serialise(network.graph.graph))
        try:
            with quiet_stderr():
                model = openvino.convert_model(str(file))
                facts = {
                    "model_type": "Classification",
                    "labels": " ".join(label.replace(" ", "_") for label in network.labels),
                    # Pixels of 0..255 are divided by it.
                    "scale_values": f"{network.preprocessing.std:g}"
                    if isinstance(network.preprocessing.std, float)
                    else " ".join(f"{value:g}" for value in network.preprocessing.std),
                    "resize_type": "standard",
                    "reverse_input_channels": "False",
                }
                for name, value in facts.items():
                    model.set_rt_info(value, ["model_info", name])
                openvino.save_model(model, str(path), compress_to_fp16=False)
        except Exception as error:
            raise OutputError(f"OpenVINO cannot convert the graph: {first_line(error)}") from error


class OpenVinoRunner:
    """A model in OpenVINO, in float32 on one processor.

    Raises:
        GraphError: it cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        import openvino

        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        try:
            self._model = openvino.Core().compile_model(str(path), "CPU", settings)
        except Exception as error:
            raise GraphError(f"OpenVINO cannot load it: {first_line(error)}") from error

    def run(self, batch: Array) -> Array:
        """Return the scores for a batch float32 [1, height, width, 3].

        Raises:
            GraphError: it cannot be run.
        """
        try:
            return np.asarray(self._model(batch)[0])
        except Exception as error:
            raise GraphError(f"OpenVINO cannot run it: {first_line(error)}") from error

    def close(self) -> None:
        """Release the model."""
        del self._model
