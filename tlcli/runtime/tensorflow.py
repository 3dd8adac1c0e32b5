"""Sessions of TensorFlow that run frozen graphs, and the quiet import of TensorFlow."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.errors import GraphError
from tlcli.runtime.native_stderr import quiet_stderr
from tlcli.runtime.watchdog import first_line, watchdog
from tlcli.system.closing import Closing
from tlcli.system.cpus import available_cpus

logger = logging.getLogger("tlcli")


def import_tensorflow() -> Any:
    """Return the module ``tensorflow``, imported quietly; takes seconds the first time.

    ``TF_ENABLE_ONEDNN_OPTS`` and the like stay as the user set them.
    """
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    debug = logger.isEnabledFor(logging.DEBUG)
    if not debug:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Otherwise the first session's number of threads would apply to all later ones.
    os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")
    with quiet_stderr(), warnings.catch_warnings(), _keras_left_out():
        if not debug:
            warnings.simplefilter("ignore")
        import tensorflow
    if not debug:
        tensorflow.get_logger().setLevel("ERROR")
        with contextlib.suppress(ImportError):
            from absl import logging as absl_logging

            absl_logging.set_verbosity(absl_logging.ERROR)
    return tensorflow


@contextlib.contextmanager
def _keras_left_out() -> Iterator[None]:
    """Let TensorFlow be imported as where there is no Keras, which takes a third of the time.

    It imports Keras at its end, for optimizers in SavedModels, and goes on without where it is not
    installed. ``import keras`` and ``tensorflow.keras`` work afterwards.
    """
    if "keras" in sys.modules:
        yield
        return
    sys.modules["keras"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if sys.modules.get("keras") is None:
            sys.modules.pop("keras", None)


class SessionEngine(Closing):
    """A model in a TensorFlow session of its own; subclasses load it.

    Args:
        session: with the graph.
        ends: tensors to feed and to compute.
        what: the model, for messages.
    """

    def __init__(self, session: Any, ends: Sequence[Any], what: str) -> None:
        self._session: Any = session
        self._input, self._output = ends
        self._what = what

    def run(self, batch: Array) -> Array:
        """Return the output for a batch, usually float32 [n, height, width, 3].

        Raises:
            GraphError: TensorFlow could not compute it.
        """
        try:
            with watchdog:
                return np.asarray(self._session.run(self._output, self.feeds(batch)))
        except Exception as error:  # of TensorFlow's own kinds and of Python's
            raise GraphError(f"{self._what} cannot be run: {first_line(error)}") from error

    def feeds(self, batch: Array) -> dict[Any, Any]:
        """Return what is fed for a batch, by tensors."""
        return {self._input: batch}

    def close(self) -> None:
        """Release the session; `run` is not possible afterwards."""
        if self._session is not None:
            self._session.close()
            self._session = None


class GraphEngine(SessionEngine):
    """A frozen graph in a TensorFlow session of its own.

    Args:
        graph: ``tlcli.graph.messages.GraphDef``.
        input: name of the input, "node" or "node:0".
        output: name of the output, in the same form.
        in_caller: compute a run in the calling thread, one CPU per calling thread. By default a
            run uses all CPUs.

    Raises:
        GraphError: TensorFlow refuses the graph, or it has no such input or output.
    """

    def __init__(self, graph: Any, input: str, output: str, in_caller: bool = False) -> None:
        tf = import_tensorflow()
        message = tf.compat.v1.GraphDef()
        holder = tf.Graph()
        try:
            message.ParseFromString(graph.SerializeToString())
            with holder.as_default(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tf.import_graph_def(message, name="")
            names = (name if ":" in name else f"{name}:0" for name in (input, output))
            ends = [holder.get_tensor_by_name(name) for name in names]
        except KeyError as error:
            raise GraphError(f"the graph has no layer {input} or no layer {output}") from error
        except Exception as error:
            raise GraphError(f"TensorFlow refuses the graph: {first_line(error)}") from error
        threads = available_cpus()
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=1 if in_caller else threads,
            # -1: no thread of the session's own.
            inter_op_parallelism_threads=-1 if in_caller else threads,
        )
        config.gpu_options.allow_growth = True
        config.allow_soft_placement = True  # the device that it was made on may be absent
        with quiet_stderr():
            session = tf.compat.v1.Session(graph=holder, config=config)
        super().__init__(session, ends, "the graph")
