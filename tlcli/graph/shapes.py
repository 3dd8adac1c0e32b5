"""Shapes of a frozen graph, and the sizes that matter to its callers.

Batch, image size and width of the feature vector, inferred from the graph alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.graph.constant_ops import attribute_value
from tlcli.graph.nodes import (
    DTYPES,
    DataType,
    Shape,
    const,
    shape_dims,
    shape_message,
    tensor_to_array,
)
from tlcli.graph.shape_inference import (
    BROADCASTING,
    SAME,
    WINDOWS,
    Inference,
    windows,
)
from tlcli.graph.surgery import (
    constant_behind,
    copy_graph,
    data_inputs,
    needed_nodes,
    node_of,
    nodes_by_name,
    spell_tensor,
    take_name,
)


def _inferred(
    graph: Any, input: str, shape: Shape | None = None, outputs: Sequence[str] | None = None
) -> tuple[Inference, list[Any]]:
    """Return what can be inferred, and the nodes in running order."""
    start = node_of(nodes_by_name(graph), input)
    if shape is None:
        shape = placeholder_shape(start)
    inference = Inference()
    if shape is not None:
        inference.shapes[start.name, 0] = shape
    order = needed_nodes(graph, outputs)
    for node in order:
        if node.name != start.name:
            inference.visit(node)
    return inference, order


def placeholder_shape(node: Any) -> Shape | None:
    """Return the shape that a placeholder declares; None: it declares no rank."""
    # A scalar placeholder of an image network does not exist: tools that lost the
    # shape leave an empty one.
    dims = shape_dims(node.attr["shape"].shape) if "shape" in node.attr else None
    return dims or None


def infer_shapes(
    graph: Any, input: str, shape: Shape | None = None, outputs: Sequence[str] | None = None
) -> dict[str, Shape]:
    """Return the shapes that can be inferred, by tensor (``NAME``, ``NAME:1``).

    Args:
        graph: a frozen graph.
        input: name of the placeholder (or of any node, which is then taken as the input).
        shape: of the input; default: what the placeholder declares.
        outputs: only what they need is inferred; default: everything.
    """
    inference, _ = _inferred(graph, input, shape, outputs)
    return {spell_tensor(*tensor): dims for tensor, dims in inference.shapes.items()}


def freeze_shapes(graph: Any, input: str) -> Any:
    """Write shapes that the graph computes from shapes as constants.

    A list of sizes that is known wholly becomes a constant; the target of a ``Reshape`` in
    which only one size is unknown (the batch) gets -1 there.
    """
    inference, order = _inferred(graph, input)
    result = copy_graph(graph, ())
    names = {node.name for node in graph.node}
    for node in order:
        value = inference.values.get((node.name, 0))
        if value is not None and node.op != "Const" and None not in value.ravel().tolist():
            kind = DTYPES[_integer_type(node)]
            result.node.append(const(node.name, value.astype(kind)))
            continue
        copied = result.node.add()
        copied.CopyFrom(node)
        if node.op != "Reshape":
            continue
        target = inference.values.get(data_inputs(node)[1])
        if target is not None:
            sizes = target.ravel().tolist()
            if sizes.count(None) == 1 and -1 not in sizes:
                name = take_name(f"{node.name}/shape", names)
                fixed = [-1 if size is None else int(size) for size in sizes]
                result.node.append(_set_target(copied, name, fixed))
    return result


def _set_target(reshape: Any, name: str, sizes: list[int]) -> Any:
    """Let a ``Reshape`` read its target from a new constant, which is returned."""
    reshape.input[1] = name
    reshape.attr["Tshape"].type = int(DataType.INT32)
    return const(name, np.array(sizes, np.int32))


def _integer_type(node: Any) -> int:
    for key in ("out_type", "DstT", "T", "dtype", "Tparams"):
        kind = attribute_value(node, key)
        if kind in (DataType.INT32, DataType.INT64):
            return int(kind)
    return int(DataType.INT32)


def widen_batch(
    graph: Any, input: str, outputs: Sequence[str], size: tuple[int, int] | None = None
) -> tuple[Any, bool]:
    """Let a graph that was frozen for one batch size take any.

    The placeholder becomes [?, height, width, 3]; a ``Reshape`` to a constant shape whose
    first size is the batch gets -1 there; a ``Squeeze`` of all sizes of 1 leaves the batch.

    Args:
        graph: a frozen graph.
        input: name of the placeholder.
        outputs: names of the outputs.
        size: (height, width) where the placeholder declares none.

    Returns:
        The graph and True; or the graph as it was and False where an operation mixes the
        images of a batch, or needs its size.
    """
    start = node_of(nodes_by_name(graph), input)
    declared = placeholder_shape(start)
    if declared is not None and len(declared) != 4:
        return graph, False
    batch = declared[0] if declared is not None else 1
    height, width, channels = declared[1:] if declared is not None else (None, None, 3)
    if size is not None:
        height, width = size
    shape: Shape = (None, height, width, channels)

    order = needed_nodes(graph, outputs)
    result = copy_graph(graph, ())
    inference = Inference()
    inference.shapes[start.name, 0] = shape
    fed = {start.name}
    names = {node.name for node in graph.node}
    for node in order:
        copied = result.node.add()
        copied.CopyFrom(node)
        if node.name == start.name:
            copied.attr["shape"].shape.CopyFrom(shape_message(shape))
            continue
        sources = data_inputs(copied)
        if not any(source in fed for source, _ in sources):
            inference.visit(copied)
            continue
        fed.add(node.name)
        before = inference.shapes.get(sources[0])
        if node.op == "Reshape" and before is not None:
            target = inference.values.get(sources[1])
            fixed = _free_reshape(before, target, batch)
            if fixed is not None:
                name = take_name(f"{node.name}/free_shape", names)
                result.node.append(_set_target(copied, name, fixed))
                inference.visit(result.node[-1])
        elif node.op == "Squeeze" and before is not None:
            axes = attribute_value(node, "squeeze_dims") or attribute_value(node, "axis") or []
            if not axes:
                del copied.attr["squeeze_dims"].list.i[:]
                copied.attr["squeeze_dims"].list.i.extend(
                    axis for axis, extent in enumerate(before) if axis and extent == 1
                )
        inference.visit(copied)
        if (node.name, 0) in inference.values:
            continue  # sizes, not images
        after = inference.shapes.get((node.name, 0))
        if after is None:
            if batch is None:
                continue  # declared free, and nothing contradicts it
            return graph, False
        if not after or after[0] is not None or _crosses_images(copied, inference):
            return graph, False
        if None not in shape[1:] and None in after[1:]:
            return graph, False
        if node.op == "Reshape" and not _keeps_images(before, after):
            return graph, False
    return copy_graph(graph, result.node), True


def _crosses_images(node: Any, inference: Inference) -> bool:
    """Return whether ``node`` joins or cuts along the batch, or counts over it."""
    axis_input = {"Concat": 0, "ConcatV2": -1, "Split": 0, "SplitV": 2}.get(node.op)
    if axis_input is not None:
        sources = data_inputs(node)
        image = sources[1] if axis_input == 0 else sources[0]
        rank = len(inference.shapes[image])
        return int(inference.values[sources[axis_input]].reshape(())) % rank == 0
    if node.op.startswith("FusedBatchNorm"):
        return bool(attribute_value(node, "is_training", True))
    if node.op == "StridedSlice":
        return not (
            attribute_value(node, "begin_mask", 0) & attribute_value(node, "end_mask", 0) & 1
        )
    return False


def _free_reshape(before: Shape, target: Array | None, batch: int | None) -> list[int] | None:
    """Return the target of a ``Reshape`` with a free batch; None: leave it as it is."""
    if target is None or before[0] is not None or None in before[1:]:
        return None
    sizes = target.ravel().tolist()
    if not sizes or None in sizes[1:]:
        return None
    one = math.prod(size or 1 for size in before[1:])
    rest = math.prod(sizes[1:]) if -1 not in sizes[1:] else None
    if sizes[0] == (1 if batch is None else batch) or sizes[0] is None:
        if rest is None and sizes.count(-1) == 1:
            others = math.prod(size for size in sizes[1:] if size != -1)
            if not others or one % others:
                return None
            return [-1, *(one // others if size == -1 else size for size in sizes[1:])]
        if rest == one:
            return [-1, *sizes[1:]]
    return None


def _keeps_images(before: Shape | None, after: Shape) -> bool:
    """Return whether a ``Reshape`` to [-1, ...] gives one row for each image."""
    if before is None or before[0] is not None or None in before[1:] or None in after[1:]:
        return False
    return math.prod(size or 0 for size in before[1:]) == math.prod(size or 0 for size in after[1:])


def static_input_size(
    graph: Any, input: str, outputs: Sequence[str] | None = None
) -> tuple[int, int] | None:
    """Return (height, width) of the input, or None where it cannot be inferred.

    The placeholder declares it; where the shape was lost, it is counted back from the last
    average pooling without padding, whose window is the whole of its input.
    """
    nodes = nodes_by_name(graph)
    start = node_of(nodes, input)
    declared = placeholder_shape(start)
    if declared is not None and len(declared) == 4:
        height, width = declared[1:3]
        if height is not None and width is not None:
            return height, width
    pools = [
        node
        for node in needed_nodes(graph, outputs)
        if node.op == "AvgPool" and attribute_value(node, "padding") == "VALID"
    ]
    return _size_before(nodes, pools[-1], start.name) if pools else None


def _size_before(nodes: dict[str, Any], pool: Any, input: str) -> tuple[int, int] | None:
    sizes = [1, 1]
    node = pool
    for _ in range(len(nodes)):
        sources = data_inputs(node)
        if node.op in WINDOWS:
            if node.op in ("AvgPool", "MaxPool"):
                ksize = attribute_value(node, "ksize", [1, 1, 1, 1])
                kernel = (ksize[1], ksize[2])
            else:
                weights = constant_behind(nodes, sources[1][0])
                if weights is None:
                    return None
                dims = shape_dims(weights.attr["value"].tensor.tensor_shape) or ()
                if len(dims) != 4 or dims[0] is None or dims[1] is None:
                    return None
                kernel = (dims[0], dims[1])
            pairs, padding = windows(node, kernel)
            for axis, (extent, stride) in enumerate(pairs):
                same = padding == "SAME"
                sizes[axis] = sizes[axis] * stride if same else (sizes[axis] - 1) * stride + extent
        elif node.op in ("Pad", "PadV2", "MirrorPad"):
            pads = constant_behind(nodes, sources[1][0])
            if pads is None:
                return None
            table = tensor_to_array(pads.attr["value"].tensor)
            if table.shape != (4, 2):
                return None
            sizes = [size - int(table[axis + 1].sum()) for axis, size in enumerate(sizes)]
        elif node.op not in SAME | BROADCASTING | {"Concat", "ConcatV2"}:
            return None
        images = [source for source, _ in sources if constant_behind(nodes, source) is None]
        if not images:
            return None
        if images[0] == input:
            return (sizes[0], sizes[1]) if min(sizes) > 0 else None
        node = nodes[images[0]]
    return None
