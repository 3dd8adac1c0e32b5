"""Any frozen inference graph (``.pb``) as a backbone.

The layers of the known generations are found by name; those of other graphs are inferred from
their structure, or named with ``--module_input`` and ``--module_output``:

    2015 Inception-v3   DecodeJpeg/contents ... ResizeBilinear, Sub, Mul ... pool_3/_reshape
    2017 Inception-v3   the same, or cut off at the placeholder Mul, fed (pixel - 128) / 128
    2017 MobileNet      input ... MobilenetV1/Predictions/Reshape, (pixel - 127.5) / 127.5
    retrained graphs    up to what feeds the BottleneckInputPlaceholder
    classifiers         up to what feeds the last matrix product
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from tlcli.backbone import INPUT, Backbone, BackboneGraph
from tlcli.backbones.bottleneck_layer import warn_of_scores
from tlcli.backbones.frozen_graph_layers import Plan, bottleneck_sizes, find_plan
from tlcli.backbones.model_options import DEFAULT_OPTIONS, ModelOptions
from tlcli.core.images.preprocessing import LARGEST_SIDE, PREPROCESSING_VERSION
from tlcli.core.images.resizing import GREY_WEIGHTS
from tlcli.errors import BackboneError, GraphError, UsageError
from tlcli.graph.constant_ops import attribute_value
from tlcli.graph.endpoints import PLACEHOLDERS, data_type
from tlcli.graph.limits import check_constants, check_inputs, check_messages, check_sizes
from tlcli.graph.messages import GraphDef
from tlcli.graph.nodes import DataType, const, node, placeholder
from tlcli.graph.safety import INFERENCE_OPERATIONS, MAXIMUM_BYTES, check_operations
from tlcli.graph.shapes import placeholder_shape, widen_batch
from tlcli.graph.simplify import simplify
from tlcli.graph.surgery import (
    PLAIN_OPERATIONS,
    calls_function,
    copy_graph,
    data_inputs,
    nodes_by_name,
    prune,
    rename_nodes,
    replace_input,
    spell_tensor,
    split_tensor,
)
from tlcli.system.regular_files import read_regular

_SCALING = "input_scaling"
# Left out of fingerprints: vectors of colour images were cached before grey images could be fed.
_PLAN_DEFAULTS = {"channels": 3, "channel_axis": True}


def find(
    path: Path | str,
    options: ModelOptions = DEFAULT_OPTIONS,
    *,
    name: str | None = None,
) -> Backbone:
    """Return the frozen graph at ``path`` as a backbone, without importing TensorFlow.

    Args:
        path: a ``.pb`` file.
        options: layers are tensors, "NAME" or "NAME:0"; the scaling defaults to that of the
            graph's generation; ``trust`` also allows any size.
        name: of the backbone; default: the path.

    Raises:
        BackboneError: no frozen graph, or its layers or size cannot be inferred.
        UsageError: a size or scaling that cannot work.
    """
    path = Path(path)
    _check_values(options)
    content = _read(path)
    digest = hashlib.sha256(content).hexdigest()
    with _explained(path):
        graph = _parse(content, path)
        del content
        plan = find_plan(graph, options)
        sizes = bottleneck_sizes(graph, plan)
    facts = {
        "kind": "frozen graph",
        "file": digest,
        **{
            name: value for name, value in asdict(plan).items() if value != _PLAN_DEFAULTS.get(name)
        },
        "precision": "float32",
        "preprocessing": PREPROCESSING_VERSION,
    }
    fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def load_graph() -> BackboneGraph:
        data = _read(path)
        if hashlib.sha256(data).hexdigest() != digest:
            raise BackboneError(f"{path} was changed while it was in use; run the command again")
        with _explained(path):
            result = _build(_parse(data, path), plan, options.trust)
        if options.bottleneck_layer is None:
            warn_of_scores(result, f"the frozen graph {path}")
        return result

    return Backbone(
        name=str(path) if name is None else name,
        source=f"frozen graph {path}",
        licence="unknown",
        height=plan.height,
        width=plan.width,
        fingerprint=fingerprint,
        bottleneck_size=None if sizes is None else sizes[-1],
        load_graph=load_graph,
    )


def _check_values(options: ModelOptions) -> None:
    mean, std = options.input_mean, options.input_std
    for option, side in (
        ("--input_height", options.input_height),
        ("--input_width", options.input_width),
    ):
        if side is not None and not 1 <= side <= LARGEST_SIDE:
            raise UsageError(f"{option} {side} is not from 1 to {LARGEST_SIDE} pixels")
    if mean is not None and not math.isfinite(mean):
        raise UsageError(f"--input_mean {mean} is not a number")
    if std is not None and (not math.isfinite(std) or std == 0):
        raise UsageError(f"--input_std {std} must be a number other than 0")


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise BackboneError(f"{path} is a folder, not a frozen graph; give the .pb file")
        return read_regular(path, MAXIMUM_BYTES)
    except FileNotFoundError:
        raise BackboneError(f"there is no frozen graph at {path}; check the path") from None
    except OSError as error:
        raise BackboneError(f"cannot read {path}: {error.strerror or error}") from error


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what a damaged or unsuitable graph raises into one sentence about ``path``."""
    try:
        yield
    except GraphError as error:
        raise BackboneError(f"{path} cannot be a backbone: {error}") from error
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError) as error:
        raise BackboneError(f"{path} cannot be a backbone: the graph is damaged") from error


def _parse(content: bytes, path: Path) -> Any:
    graph = GraphDef()
    check_messages(content, GraphDef, "it")
    try:
        graph.ParseFromString(content)
        found = len(graph.node) > 0 and all(each.op and each.name for each in graph.node)
    except (DecodeError, RecursionError, ValueError):
        found = False
    if found:
        check_inputs(graph.node, "it")
        return graph
    if path.name == "saved_model.pb":
        raise BackboneError(f"{path} belongs to a SavedModel; give the folder {path.parent}")
    raise BackboneError(
        f"{path} is not a frozen TensorFlow graph, or it is damaged; give a .pb file that "
        "contains one GraphDef"
    )


def _scaling_nodes(plan: Plan, batch: int | None) -> list[Any]:
    """Return the placeholder and what turns [0, 1] into (pixel - mean) / std."""
    nodes = [placeholder(INPUT, np.float32, (batch, plan.height, plan.width, 3))]
    if plan.channels == 1:
        nodes += _grey_nodes(plan)
    if plan.std != 255.0:
        factor, before = f"{_SCALING}/factor", nodes[-1].name
        nodes.append(const(factor, np.float32(255.0 / plan.std)))
        nodes.append(node(f"{_SCALING}/product", "Mul", [before, factor], T=np.float32))
    if plan.mean != 0.0:
        mean = f"{_SCALING}/mean"
        before = nodes[-1].name
        nodes.append(const(mean, np.float32(plan.mean / plan.std)))
        nodes.append(node(f"{_SCALING}/difference", "Sub", [before, mean], T=np.float32))
    return nodes


def _grey_nodes(plan: Plan) -> list[Any]:
    """Return what turns colours into grey: a convolution of 1 x 1, known to every reader."""
    name = f"{_SCALING}/grey"
    weights = const(f"{name}/weights", np.array(GREY_WEIGHTS, np.float32).reshape(1, 1, 3, 1))
    nodes = [
        weights,
        node(
            *(name, "Conv2D", [INPUT, weights.name]),
            T=np.float32,
            strides=[1, 1, 1, 1],
            padding="VALID",
        ),
    ]
    if not plan.channel_axis:
        shape = const(f"{name}/shape", np.array([-1, plan.height, plan.width], np.int32))
        flat = node(f"{name}/flat", "Reshape", [name, shape.name], T=np.float32, Tshape=np.int32)
        nodes += [shape, flat]
    return nodes


def _build(graph: Any, plan: Plan, trust: bool) -> BackboneGraph:
    # The names of the nodes below are needed; a graph that tlcli exported has them too.
    def new_name(name: str) -> str:
        return f"backbone/{name}" if name == INPUT or name.split("/")[0] == _SCALING else name

    fed, output = (
        spell_tensor(new_name(name), number)
        for name, number in (split_tensor(plan.input), split_tensor(plan.output))
    )
    if not trust:
        # All of it, as `label` does: other layers than those named never run, but a file that
        # contains such an operation is no mere network.
        check_operations(graph, "it")
    graph = rename_nodes(prune(graph, [plan.output, plan.input]), new_name)
    declared = placeholder_shape(nodes_by_name(graph)[split_tensor(fed)[0]])
    batch = 1 if declared is None else declared[0]
    graph = _take_floats(graph, fed)
    cut = prune(replace_input(graph, fed, _scaling_nodes(plan, batch)), [output])
    _check_cut(cut, trust)
    if not trust:
        check_constants(cut.node, "it")
        check_sizes(cut, INPUT, [output], (plan.height, plan.width), "it")
    cut = simplify(cut, INPUT, [output])
    # The placeholder takes three channels, whatever the graph itself is fed.
    rgb = Plan(INPUT, output, plan.height, plan.width, plan.mean, plan.std)
    sizes = bottleneck_sizes(cut, rgb)
    size = _measured_size(cut, output, plan, batch) if sizes is None else sizes[-1]
    if sizes is None or len(sizes) > 1 or split_tensor(output)[1]:
        flat = f"{split_tensor(output)[0]}/bottleneck"
        cut = copy_graph(cut, cut.node)
        cut.node.append(const(f"{flat}/shape", np.array([-1, size], np.int32)))
        cut.node.append(
            node(flat, "Reshape", [output, f"{flat}/shape"], T=np.float32, Tshape=np.int32)
        )
        output = flat
    widened, any_batch = widen_batch(cut, INPUT, [output], (plan.height, plan.width))
    return BackboneGraph(widened, split_tensor(output)[0], size, any_batch)


def _take_floats(graph: Any, fed: str) -> Any:
    """Let a graph that is fed integers and casts them to float32 be fed float32."""
    found = nodes_by_name(graph)[split_tensor(fed)[0]]
    if found.op not in PLACEHOLDERS or data_type(found) == DataType.FLOAT:
        return graph
    result = copy_graph(graph, graph.node)
    for each in result.node:
        if split_tensor(fed) not in data_inputs(each):
            continue
        if each.op != "Cast" or attribute_value(each, "DstT", 0) != DataType.FLOAT:
            raise GraphError(
                f"its input {found.name!r} does not take float32; name the layer behind its "
                "conversion with --module_input"
            )
        each.CopyFrom(node(each.name, "Identity", list(each.input), T=np.float32))
    return result


def _check_cut(cut: Any, trust: bool) -> None:
    """Refuse what cannot be run from the image alone, or should not be."""
    if all(each.name != INPUT for each in cut.node):
        raise GraphError(
            "the layer of --module_output does not depend on that of --module_input; name others"
        )
    for each in cut.node:
        if each.op in PLACEHOLDERS and each.name != INPUT:
            raise GraphError(
                f"it needs the input {each.name!r} as well as the image; freeze it with that fixed"
            )
        known = trust or each.op in INFERENCE_OPERATIONS | PLAIN_OPERATIONS
        if calls_function(each) or not known:
            raise GraphError(
                f"its node {each.name!r} is the operation {each.op}, which a frozen inference "
                "graph does not contain; freeze it with its variables and functions turned into "
                "constants, or add --trust if you trust its maker"
            )


def _measured_size(cut: Any, output: str, plan: Plan, batch: int | None) -> int:
    """Return D by running the graph once, where its shapes do not give it."""
    from tlcli.runtime.tensorflow import GraphEngine

    with GraphEngine(cut, INPUT, output) as engine:
        values = engine.run(np.zeros((batch or 1, plan.height, plan.width, 3), np.float32))
    if values.ndim == 0 or values.size != values.shape[-1] * (batch or 1):
        raise GraphError(
            f"its layer {plan.output!r} gives {' x '.join(map(str, values.shape))} values, not "
            "one vector per image; name a layer behind the pooling with --module_output"
        )
    return int(values.shape[-1])
