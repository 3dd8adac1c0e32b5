"""A classifier of any origin as one graph: RGB images in [0, 1] to probabilities.

All formats are made from it, so that every exported file takes the same input, whatever the graph
took that it was made from.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.arrays import Array, Floats
from tlcli.backbone import INPUT
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.load_request import LoadRequest
from tlcli.core.classifier.outputs import Scores
from tlcli.core.export.frozen_graph import FINAL_TENSOR_NAME, ClassifierGraph
from tlcli.core.export.model_card import CardInput, ModelCard
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.images.resizing import GREY_WEIGHTS
from tlcli.core.model_spec.input_inference import FrozenNetwork
from tlcli.core.model_spec.input_spec import InputOverrides, InputSpec
from tlcli.core.model_spec.kinds import ModelKind, kind_of
from tlcli.core.model_spec.labels_file import Labels
from tlcli.errors import GraphError
from tlcli.graph.nodes import const, node, placeholder
from tlcli.graph.simplify import simplify
from tlcli.graph.surgery import (
    copy_graph,
    prune,
    rename_nodes,
    replace_input,
    spell_tensor,
    split_tensor,
    take_name,
)

_GREY = np.array(GREY_WEIGHTS, np.float32).reshape(1, 1, 3, 1)
_BGR = np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3)
_PREFIX = "network/"


@dataclass(frozen=True)
class Network:
    """A classifier as its formats are made from it.

    Attributes:
        path: of the graph that it was read from.
        labels: in output order, L of them.
        graph: from float32 [?, height, width, 3] in [0, 1] to scores; None of a LiteRT file.
        content: the LiteRT file that it was read from; None of all others.
        preprocessing: from an image file to the input.
        any_batch: it takes any number of images at once.
        thresholds: of labels with independent scores, in output order; () otherwise.
        card: of the graph, where tlcli made it.
        activation: what the scores are; see `tlcli.core.classifier.outputs.Scores`.
        scores_given: how many scores it gives for an image; None where only a run shows it.
    """

    path: Path
    labels: tuple[str, ...]
    graph: ClassifierGraph | None
    content: bytes | None
    preprocessing: Preprocessing
    any_batch: bool = True
    thresholds: tuple[float, ...] = ()
    card: ModelCard | None = None
    activation: str | None = "softmax"
    scores_given: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input, in pixels."""
        return self.preprocessing.height, self.preprocessing.width

    @property
    def gives_one_score(self) -> bool:
        """Whether one score stands for two labels."""
        return self.scores_given == 1 and len(self.labels) == 2

    @functools.cached_property
    def litert(self) -> bytes:
        """The classifier as a float32 LiteRT file without metadata.

        Raises:
            OutputError: LiteRT cannot run it.
        """
        if self.content is not None:
            return self.content
        from tlcli.core.export import tflite

        assert self.graph is not None
        return tflite.convert(self.graph)

    def plain_graph(self, kind: str) -> ClassifierGraph:
        """Return the graph, for a format that is made from nothing else.

        Raises:
            GraphError: there is only a LiteRT file.
        """
        if self.graph is None:
            raise GraphError(
                f"{self.path} is a LiteRT file, of which no {kind} can be made; give the frozen "
                "graph or the Keras file that it comes from"
            )
        return self.graph

    def scores(self, given: Array) -> Floats:
        """Return float32 [n, L] for what a program gives for n images.

        Raises:
            GraphError: it does not fit the labels.
        """
        return Scores(self.path, len(self.labels), self.activation)(given, len(given))

    def model_card(self) -> ModelCard:
        """Return a card for exported files: the graph's own, else one with what `label` needs."""
        if self.card is not None:
            return self.card
        height, width = self.size
        output = FINAL_TENSOR_NAME if self.graph is None else self.graph.output
        given = CardInput(height=height, width=width, preprocessing=self.preprocessing.to_dict())
        return ModelCard(self.labels, given, output, thresholds=self.thresholds)


def network_of(
    classifier: Classifier, overrides: InputOverrides | None = None, trust: bool = False
) -> Network:
    """Return a loaded graph as a network.

    Args:
        classifier: what `tlcli.load` returned.
        overrides: with which it was loaded.
        trust: as it was loaded.

    Raises:
        GraphError: it takes files instead of pixels, or cannot be frozen.
    """
    spec, path = classifier.spec, classifier.graph
    if spec is None:
        raise GraphError(f"{path} was not loaded from a file; give the path of a graph")
    if spec.dtype == "string":
        raise GraphError(
            f"{path} takes the bytes of image files, which no other format does; name an input of "
            "pixels with --input_layer"
        )
    thresholds = () if classifier.thresholds is None else tuple(classifier.thresholds.values())
    known = Network(
        path,
        classifier.labels,
        None,
        None,
        classifier.preprocessing,
        spec.any_batch,
        thresholds,
        classifier.card,
        spec.activation,
        spec.labels,
    )
    if kind_of(path) is ModelKind.LITERT:
        if spec.dtype != "float32":
            raise GraphError(
                f"{path} takes {spec.dtype}: it is quantised already; give the float file or the "
                "graph that it comes from"
            )
        return replace(known, content=path.read_bytes())
    request = LoadRequest(
        path,
        _ends(overrides or InputOverrides(), spec),
        trust=trust,
        labels=Labels(classifier.labels, str(path)),
        card=classifier.card,
    )
    graph = _classifier_graph(_frozen(request), spec, simple=classifier.card is not None)
    unit = replace(classifier.preprocessing, mean=0.0, std=255.0, channels="rgb")
    # Its logits have become probabilities.
    activation = {"logits": "softmax", "log_softmax": "softmax"}.get(spec.activation or "")
    return replace(known, graph=graph, preprocessing=unit, activation=activation or spec.activation)


def _ends(overrides: InputOverrides, spec: InputSpec) -> InputOverrides:
    """Return the overrides with the ends and the size that were found."""
    return replace(
        overrides,
        input_layer=overrides.input_layer or spec.input or None,
        output_layer=overrides.output_layer or spec.output or None,
        input_height=spec.height,
        input_width=spec.width,
    )


def _frozen(request: LoadRequest) -> FrozenNetwork:
    """Return a graph of any kind but LiteRT as a frozen network."""
    kind = kind_of(request.graph)
    if kind is ModelKind.SAVED_MODEL:
        from tlcli.core.classifier.load_saved_model import (
            examine_saved_model,
            saved_model_network,
        )

        labels = None if request.labels is None else len(request.labels.names)
        ends = examine_saved_model(request.graph, request.overrides, labels=labels)
        return saved_model_network(request, ends)
    if kind.is_keras:
        from tlcli.core.classifier.load_keras import keras_network

        labels = None if request.labels is None else len(request.labels.names)
        return keras_network(request.graph, request.overrides, labels=labels, trust=request.trust)
    from tlcli.core.classifier.load_frozen import frozen_network

    return frozen_network(request)


def _classifier_graph(found: FrozenNetwork, spec: InputSpec, simple: bool) -> ClassifierGraph:
    """Return a network with the input of our own graphs, and probabilities where it had logits.

    Args:
        found: the network.
        spec: of its input.
        simple: it has been simplified.
    """
    graph, output = found.graph, found.output
    if not simple:
        graph = simplify(graph, found.input, [output])
    usual = (
        (spec.scaling.mean, spec.scaling.std) == (0.0, 255.0)
        and (spec.channels, spec.dtype) == ("rgb", "float32")
        and found.input == INPUT
    )
    if not usual:
        entry = found.input
        if entry != INPUT and INPUT in {each.name for each in graph.node}:
            graph = rename_nodes(graph, f"{_PREFIX}{{}}".format)
            name, number = split_tensor(output)
            entry, output = f"{_PREFIX}{entry}", spell_tensor(f"{_PREFIX}{name}", number)
        graph = prune(replace_input(graph, entry, _scaling_nodes(spec)), [output])
    graph, output = _with_probabilities(graph, output, spec)
    return ClassifierGraph(graph, spec.height, spec.width, output)


def _scaling_nodes(spec: InputSpec) -> list[Any]:
    """Return the nodes from `INPUT` in [0, 1] to what the network takes, that one last."""
    batch = None if spec.any_batch else 1
    nodes = [placeholder(INPUT, np.float32, [batch, spec.height, spec.width, 3])]

    def add(name: str, op: str, constant: Array | None = None, **attributes: Any) -> None:
        inputs = [nodes[-1].name]
        if constant is not None:
            nodes.append(const(f"input/{name}/constant", constant))
            inputs.append(nodes[-1].name)
        nodes.append(node(f"input/{name}", op, inputs, **attributes))

    if spec.channels != "rgb":
        add(
            *("channels", "Conv2D", _GREY if spec.channels == "grey" else _BGR),
            T=np.float32, strides=[1, 1, 1, 1], padding="VALID", data_format="NHWC",
            dilations=[1, 1, 1, 1],
        )  # fmt: skip
    mean, std = (np.asarray(each, np.float32) for each in (spec.scaling.mean, spec.scaling.std))
    factor, offset = 255 / std, -mean / std
    if not (factor == 1).all():
        add("factor", "Mul", np.asarray(factor, np.float32), T=np.float32)
    if offset.any():
        add("offset", "Add", np.asarray(offset, np.float32), T=np.float32)
    if spec.dtype != "float32":
        add("round", "Round", T=np.float32)
        add("cast", "Cast", SrcT=np.float32, DstT=np.dtype(spec.dtype), Truncate=False)
    if not spec.has_channel_axis:
        add("squeeze", "Squeeze", T=np.dtype(spec.dtype), squeeze_dims=[3])
    return nodes


def _with_probabilities(graph: Any, output: str, spec: InputSpec) -> tuple[Any, str]:
    """Return a graph whose logits have become probabilities, and the node of its output."""
    several = spec.labels is None or spec.labels > 1
    operation = {"logits": "Softmax" if several else "Sigmoid", "log_softmax": "Exp"}.get(
        spec.activation or ""
    )
    if operation is None and split_tensor(output)[1]:
        operation = "Identity"  # some formats know an output by its node's name alone
    if operation is None:
        return graph, output
    taken = {each.name for each in graph.node}
    name = take_name(FINAL_TENSOR_NAME, taken)
    result = copy_graph(graph, graph.node)
    result.node.append(node(name, operation, [output], T=np.float32))
    return result, name
