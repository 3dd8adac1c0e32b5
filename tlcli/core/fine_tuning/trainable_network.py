"""The last layers of a frozen backbone as variables, in a TensorFlow session of its own."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tlcli.arrays import Floats, Indices
from tlcli.backbone import INPUT, BackboneGraph
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.fine_tuning.pointwise import as_matrix_products
from tlcli.core.fine_tuning.trained_part import TrainedPart
from tlcli.errors import BackboneError, GraphError
from tlcli.graph.messages import GraphDef
from tlcli.graph.nodes import array_to_tensor, tensor_to_array
from tlcli.graph.shapes import infer_shapes
from tlcli.graph.surgery import nodes_by_name
from tlcli.runtime.native_stderr import quiet_stderr
from tlcli.runtime.tensorflow import import_tensorflow
from tlcli.runtime.watchdog import first_line, watchdog
from tlcli.system.closing import Closing
from tlcli.system.cpus import available_cpus

Values = list[Floats]
"""Values of all variables: the trained constants, then weights and biases of the final layer."""


@dataclass(frozen=True)
class StepSettings:
    """How a training step changes the variables: AdamW (Loshchilov and Hutter, 2019).

    Attributes:
        weight_decay: share of each weight, times the learning rate, that a step takes away; the
            biases keep theirs.
        label_smoothing: probability that is spread evenly over all labels (Szegedy et al., 2016).
        clip_norm: largest norm of all gradients together.
        first_decay: of Adam's mean of gradients.
        second_decay: of Adam's mean of squared gradients.
        epsilon: added to the root of the latter.
    """

    weight_decay: float = 0.01
    label_smoothing: float = 0.1
    clip_norm: float = 1.0
    first_decay: float = 0.9
    second_decay: float = 0.999
    epsilon: float = 1e-8


class TrainableNetwork(Closing):
    """The last layers of a backbone and its final layer, which can be trained.

    What they read of photos comes from `untrained_part`.

    Args:
        backbone: frozen; takes any number of images at once.
        part: which constants are variables.
        layer: the fitted final layer; its weights and biases are variables too.
        settings: of the steps.

    Raises:
        BackboneError: it cannot be trained.
    """

    def __init__(
        self,
        backbone: BackboneGraph,
        part: TrainedPart,
        layer: FinalLayer,
        settings: StepSettings = StepSettings(),
    ) -> None:
        if not backbone.any_batch:
            raise BackboneError(
                "the backbone cannot be fine-tuned: it takes one image at a time; leave "
                "--fine_tune out or choose another with --module"
            )
        self.part = part
        self._names = (*part.weights, *part.biases)
        nodes = nodes_by_name(backbone.graph)
        arrays = [tensor_to_array(nodes[name].attr["value"].tensor) for name in self._names]
        self.start: Values = [np.array(each, np.float32) for each in arrays]
        self.start += [np.array(layer.weights, np.float32), np.array(layer.biases, np.float32)]
        decayed = [*(name in part.weights for name in self._names), True, False]
        try:
            self._build(backbone, settings, decayed)
        except BackboneError:
            raise
        except Exception as error:
            raise BackboneError(
                f"the backbone cannot be fine-tuned: TensorFlow refuses it: {first_line(error)}; "
                "leave --fine_tune out or choose another with --module"
            ) from error

    def _build(
        self, backbone: BackboneGraph, settings: StepSettings, decayed: Sequence[bool]
    ) -> None:
        tf = import_tensorflow()
        v1 = tf.compat.v1
        holder = tf.Graph()
        with holder.as_default(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._variables = [
                v1.Variable(np.zeros_like(each), trainable=False, use_resource=True)
                for each in self.start
            ]
            read = [variable.value() for variable in self._variables]
            self._between = [v1.placeholder(tf.float32, [None, *each]) for each in self.part.shapes]
            mapped = {f"{name}:0": value for name, value in zip(self._names, read, strict=False)}
            mapped.update(zip(map(_full, self.part.boundary), self._between, strict=True))
            message = v1.GraphDef()
            graph = as_matrix_products(backbone.graph, infer_shapes(backbone.graph, INPUT))
            message.ParseFromString(graph.SerializeToString())
            # What lies before the border is imported with the rest, and never run.
            v1.import_graph_def(message, input_map=mapped, name="network")
            self._features = holder.get_tensor_by_name(f"network/{_full(backbone.output)}")
            logits = tf.matmul(self._features, read[-2]) + read[-1]
            self._labels = v1.placeholder(tf.int64, [None])
            self._rate = v1.placeholder(tf.float32, [])
            self._count = v1.placeholder(tf.float32, [])
            smooth = settings.label_smoothing
            label_count = self.start[-1].shape[0]
            targets = tf.one_hot(self._labels, label_count, 1 - smooth + smooth / label_count)
            targets += (1 - tf.one_hot(self._labels, label_count)) * (smooth / label_count)
            losses = tf.nn.softmax_cross_entropy_with_logits(labels=targets, logits=logits)
            self._loss = tf.reduce_mean(losses)
            gradients = tf.gradients(self._loss, read)
            if any(each is None for each in gradients):
                raise BackboneError("the backbone cannot be fine-tuned: it passes on no gradient")
            gradients, _ = tf.clip_by_global_norm(gradients, settings.clip_norm)
            self._moments = [
                v1.Variable(np.zeros_like(each), trainable=False, use_resource=True)
                for each in (*self.start, *self.start)
            ]
            self._step = tf.group(*self._updates(tf, gradients, settings, decayed))
            self._inputs, self._loads = [], []
            for variable in (*self._variables, *self._moments):
                given = v1.placeholder(tf.float32, variable.shape)
                self._inputs.append(given)
                self._loads.append(variable.assign(given).op)
        # One order of operations and one number of threads: the same bytes each time.
        config = v1.ConfigProto(
            intra_op_parallelism_threads=available_cpus(), inter_op_parallelism_threads=1
        )
        config.gpu_options.allow_growth = True
        config.allow_soft_placement = True
        with quiet_stderr():
            self._session = v1.Session(graph=holder, config=config)
        self.restore(self.start, [np.zeros_like(each) for each in (*self.start, *self.start)])

    def _updates(
        self, tf: Any, gradients: Sequence[Any], settings: StepSettings, decayed: Sequence[bool]
    ) -> list[Any]:
        first = self._moments[: len(self._variables)]
        second = self._moments[len(self._variables) :]
        updates = []
        # All gradients are computed before a variable changes.
        with tf.control_dependencies(gradients):
            for variable, gradient, decays, mean, square in zip(
                self._variables, gradients, decayed, first, second, strict=True
            ):
                shrunk = []
                if decays and settings.weight_decay:
                    amount = self._rate * settings.weight_decay
                    shrunk.append(variable.assign_sub(amount * variable.value()).op)
                with tf.control_dependencies(shrunk):
                    updates.append(
                        tf.raw_ops.ResourceApplyAdam(
                            var=variable.handle,
                            m=mean.handle,
                            v=square.handle,
                            beta1_power=tf.pow(settings.first_decay, self._count),
                            beta2_power=tf.pow(settings.second_decay, self._count),
                            lr=self._rate,
                            beta1=settings.first_decay,
                            beta2=settings.second_decay,
                            epsilon=settings.epsilon,
                            grad=gradient,
                        )
                    )
        return updates

    def features(self, tensors: Sequence[Floats]) -> Floats:
        """Return the vectors [n, D] of what the trained part reads of n images.

        Args:
            tensors: float32 [n, ...], one for each of `TrainedPart.boundary`.
        """
        found: Floats = self._run(self._features, self._feeds(tensors))
        return found

    def train(self, tensors: Sequence[Floats], labels: Indices, rate: float, step: int) -> float:
        """Take a step and return the loss before it.

        Args:
            tensors: as for `features`.
            labels: index of each image's label, [n].
            rate: the learning rate.
            step: its number, 1 for the first.
        """
        feeds = self._feeds(tensors)
        feeds.update({self._labels: labels, self._rate: rate, self._count: step})
        _, loss = self._run([self._step, self._loss], feeds)
        return float(loss)

    def values(self) -> Values:
        """Return the values of all variables."""
        found: Values = self._run(self._variables, {})
        return found

    def moments(self) -> Values:
        """Return Adam's means of gradients, then of squared gradients."""
        found: Values = self._run(self._moments, {})
        return found

    def restore(self, values: Values, moments: Values | None = None) -> None:
        """Set the variables, and what `moments` returned where it is given."""
        given = [*values, *(moments or [])]
        self._run(self._loads[: len(given)], dict(zip(self._inputs, given, strict=False)))

    def written_back(self, backbone: BackboneGraph, values: Values) -> BackboneGraph:
        """Return the backbone with trained values as its constants."""
        graph = GraphDef()
        graph.CopyFrom(backbone.graph)
        nodes = nodes_by_name(graph)
        for name, value in zip(self._names, values, strict=False):
            nodes[name].attr["value"].tensor.CopyFrom(array_to_tensor(value))
        return replace(backbone, graph=graph)

    def close(self) -> None:
        """Release the session."""
        self._session.close()

    def _feeds(self, tensors: Sequence[Floats]) -> dict[Any, Any]:
        return dict(zip(self._between, tensors, strict=True))

    def _run(self, fetched: Any, feeds: dict[Any, Any]) -> Any:
        try:
            with watchdog:
                return self._session.run(fetched, feeds)
        except Exception as error:
            raise GraphError(f"the fine-tuning failed: {first_line(error)}") from error


def _full(tensor: str) -> str:
    return tensor if ":" in tensor else f"{tensor}:0"


def final_layer(values: Values) -> FinalLayer:
    """Return the final layer among the values of all variables."""
    return FinalLayer(values[-2], values[-1])


def averaged(start: Values, end: Values, share: float) -> Values:
    """Return the weights between two states of one network (Wortsman et al., 2022).

    Args:
        start: before the training.
        end: after it.
        share: of the end, 0 to 1.
    """
    share32 = np.float32(share)
    return [(1 - share32) * a + share32 * b for a, b in zip(start, end, strict=True)]


def fingerprint(before: str, values: Values) -> str:
    """Return the SHA-256 (hex) of a backbone whose fingerprint was ``before`` its training."""
    digest = hashlib.sha256(f"fine-tuned {before}\n".encode())
    for value in values[:-2]:
        digest.update(np.ascontiguousarray(value, "<f4").tobytes())
    return digest.hexdigest()


def tensorflow_version() -> str:
    """Return TensorFlow's version, which decides the last bits of a training."""
    return str(import_tensorflow().__version__)
