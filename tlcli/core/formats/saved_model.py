"""SavedModel folders, run as TensorFlow Serving runs them."""

from __future__ import annotations

from pathlib import Path

from tlcli.arrays import Array
from tlcli.core.export.saved_model import IMAGE, PREDICTION, write_saved_model
from tlcli.core.formats.network import Network
from tlcli.errors import GraphError
from tlcli.runtime.native_stderr import quiet_stderr
from tlcli.runtime.tensorflow import SessionEngine, import_tensorflow
from tlcli.runtime.watchdog import first_line


def write(network: Network, folder: Path) -> None:
    """Write a classifier as a SavedModel with both signatures.

    Raises:
        GraphError: there is only a LiteRT file.
        OutputError: the folder cannot be written.
    """
    graph = network.plain_graph("SavedModel")
    write_saved_model(folder, graph, network.labels, network.model_card())


class SavedModelRunner(SessionEngine):
    """The signature ``serving_default`` of a SavedModel, on one processor.

    Raises:
        GraphError: TensorFlow cannot load it.
    """

    def __init__(self, folder: Path) -> None:
        tf = import_tensorflow()
        v1 = tf.compat.v1
        config = v1.ConfigProto(
            intra_op_parallelism_threads=1,
            inter_op_parallelism_threads=1,
            use_per_session_threads=True,
        )
        try:
            with quiet_stderr():
                holder = tf.Graph()
                session = v1.Session(graph=holder, config=config)
                with holder.as_default():
                    loaded = v1.saved_model.load(session, ["serve"], str(folder))
                signature = loaded.signature_def["serving_default"]
                names = signature.inputs[IMAGE].name, signature.outputs[PREDICTION].name
                tensors = [holder.get_tensor_by_name(name) for name in names]
        except Exception as error:
            raise GraphError(f"TensorFlow cannot load it: {first_line(error)}") from error
        super().__init__(session, tensors, "the SavedModel")

    def run(self, batch: Array) -> Array:
        """Return the scores for a batch float32 [1, height, width, 3]."""
        return super().run(batch)
