"""Find the layers of a frozen graph that make it a backbone, from the graph alone.

Every function raises `GraphError` with a sentence about "it", the graph, where something
cannot be inferred; the sentence names the option that sets it.
"""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass
from typing import Any

from tlcli.backbone import INPUT
from tlcli.backbones.bottleneck_layer import before_logits
from tlcli.backbones.model_options import ModelOptions
from tlcli.core.model_spec.input_spec import Scaling
from tlcli.core.unknown.model import UNKNOWN_SCORE
from tlcli.errors import GraphError
from tlcli.graph.endpoints import BOTTLENECK_INPUT, PLACEHOLDERS, RESIZE, Layers, data_type, listed
from tlcli.graph.nodes import DataType
from tlcli.graph.shapes import infer_shapes, placeholder_shape
from tlcli.graph.surgery import data_inputs, spell_tensor, split_tensor

_log = logging.getLogger("tlcli")

_MOBILENET_LOGITS = re.compile(r"(^|.*/)MobilenetV\d/Predictions/Reshape")
# Networks of TensorFlow's slim, all trained on [-1, 1].
_SLIM = re.compile(r"(^|/)(MobilenetV|InceptionV|InceptionResnetV|NASNet|cell_stem)")


@dataclass(frozen=True)
class Plan:
    """How a graph becomes a backbone; all of it is in the fingerprint."""

    input: str  # tensor that is fed
    output: str  # tensor of the bottleneck
    height: int
    width: int
    mean: float  # fed is (pixel - mean) / std of 0..255
    std: float
    channels: int = 3  # 1: grey images are fed
    channel_axis: bool = True  # False: without an axis of channels

    @property
    def fed_shape(self) -> tuple[int | None, ...]:
        """The shape of what is fed at ``input``."""
        shape: tuple[int | None, ...] = (None, self.height, self.width)
        return (*shape, self.channels) if self.channel_axis else shape


def find_plan(graph: Any, options: ModelOptions) -> Plan:
    """Return how ``graph`` becomes a backbone; what the user gave goes first."""
    layers = Layers(graph, "it", "--module_input", "--module_output")
    output = _find_output(layers, options.bottleneck_layer)
    fed = layers.find_input(output, options.input_layer)
    height, width = layers.input_size(fed, output, options.input_height, options.input_width)
    scaling = _find_scaling(layers, fed, output, options)
    declared = placeholder_shape(layers.node(fed)) or (None,) * 4
    grey = len(declared) == 3 or declared[3:] == (1,)
    return Plan(
        *(fed, output, height, width, *scaling.single),
        channels=1 if grey else 3,
        channel_axis=len(declared) != 3,
    )


def _find_output(layers: Layers, wanted: str | None) -> str:
    """Return the tensor of the bottleneck; ``wanted`` is what the user named."""
    nodes = layers.nodes
    if wanted is not None:
        return layers.existing(wanted, layers.output_option)
    bottlenecks = [node for name, node in nodes.items() if name.endswith(BOTTLENECK_INPUT)]
    if len(bottlenecks) == 1:
        sources = data_inputs(bottlenecks[0])
        if not sources:
            raise GraphError(
                "it contains only a final layer, fed with bottlenecks; give the graph of the "
                "whole network"
            )
        return spell_tensor(*sources[0])
    known = [name for name in nodes if name == "pool_3/_reshape"] or [
        name for name in nodes if _MOBILENET_LOGITS.fullmatch(name)
    ]
    if len(known) == 1:
        return known[0]
    # Graphs of tlcli have a second output beside the probabilities.
    ends = [name for name in layers.ends() if name != UNKNOWN_SCORE]
    if len(ends) == 1:
        return before_logits(nodes, ends[0])
    raise GraphError(
        "its bottleneck layer cannot be inferred"
        + (f" (it ends in {listed(ends)})" if ends else "")
        + "; name it with --module_output"
    )


def _find_scaling(layers: Layers, fed: str, output: str, options: ModelOptions) -> Scaling:
    """Return what brings pixels into the range of ``fed``; given values go first."""
    mean, std = options.input_mean, options.input_std
    if mean is not None and std is not None:
        return Scaling(float(mean), float(std))
    node, assumed = layers.node(fed), False
    last = node.name.rsplit("/", 1)[-1]
    if node.op == RESIZE:
        found = Scaling(0.0, layers.pixel_range(fed))
    elif node.op in PLACEHOLDERS and data_type(node) != DataType.FLOAT:
        found = Scaling(0.0, 1.0)  # integers are pixels as they are
    elif last == "Mul":
        found = Scaling(128.0, 128.0)
    elif last != INPUT and any(_SLIM.search(each.name) for each in layers.needed(output)):
        found = Scaling(127.5, 127.5)
    else:
        found = Scaling(0.0, 255.0)
        assumed = last != INPUT and mean is None and std is None
    found = found.override(mean, std)
    if assumed:
        _log.warning(
            "The range that the layer %r expects cannot be inferred: pixels from 0 to 1 are "
            "assumed; give --input_mean and --input_std if that is wrong.",
            node.name,
        )
    return found


def bottleneck_sizes(graph: Any, plan: Plan) -> list[int] | None:
    """Return the sizes of one image's bottleneck, D last, where the shapes of the graph give them.

    Raises:
        GraphError: the layer gives a feature map, not one vector.
    """
    found = infer_shapes(graph, plan.input, plan.fed_shape, [plan.output]).get(
        spell_tensor(*split_tensor(plan.output))
    )
    if found is None or any(extent is None for extent in found[1:]):
        return None
    sizes = [extent or 0 for extent in found[1:]]
    if not sizes or math.prod(sizes[:-1]) != 1 or sizes[-1] < 1:
        dims = " x ".join(str(extent) for extent in sizes) or "one number"
        raise GraphError(
            f"its layer {plan.output!r} gives {dims} for an image, not one vector; name a "
            "layer behind the pooling with --module_output"
        )
    return sizes
