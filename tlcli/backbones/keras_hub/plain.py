"""Networks of tokens in operations that every reader of graphs has.

Keras repeats the class token for each image of a batch, and multiplies by ``Einsum``. Both become
what needs no size of the batch: zeros around the patches to which the token is added, and products
of matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tlcli.graph.constant_ops import attribute_value
from tlcli.graph.nodes import DataType, Shape, const, node, tensor_to_array
from tlcli.graph.shape_inference import Inference
from tlcli.graph.shapes import infer_shapes, placeholder_shape
from tlcli.graph.simplify import simplify
from tlcli.graph.surgery import (
    copy_graph,
    data_inputs,
    needed_nodes,
    nodes_by_name,
    prune,
    spell_tensor,
    take_name,
)


def plain_tokens(graph: Any, input: str, output: str) -> Any:
    """Return a graph that computes the same without repeated tokens and ``Einsum``.

    What is of another form stays as it is.

    Args:
        graph: simplified.
        input: name of the placeholder.
        output: name of the result, which keeps it.
    """
    graph = simplify(_with_known_patches(graph, input, output), input, [output])
    writer = _Writer(graph, infer_shapes(graph, input, outputs=[output]))
    for each in graph.node:
        rewrite = _REWRITES.get(each.op)
        nodes = None if rewrite is None else rewrite(writer, each)
        writer.result.node.extend([each] if nodes is None else nodes)
    return prune(writer.result, [output])


def _with_known_patches(graph: Any, input: str, output: str) -> Any:
    """Write the sizes of a ``Reshape`` to [batch, -1, ...] as [-1, number, ...].

    The batch must be that of the tensor itself: another unknown first size may be any.
    """
    nodes, inference = nodes_by_name(graph), Inference()
    result = copy_graph(graph, ())
    names = set(nodes)
    for found in needed_nodes(graph, [output]):
        copied = result.node.add()
        copied.CopyFrom(found)
        if found.name == input:
            inference.shapes[input, 0] = placeholder_shape(found) or ()
            continue
        if found.op == "Reshape":
            sources = data_inputs(found)
            target = inference.values.get(sources[1])
            before = inference.shapes.get(sources[0])
            sizes = [] if target is None else target.ravel().tolist()
            if (
                before is not None
                and before[:1] == (None,)
                and None not in before[1:]
                and sizes.count(-1) == sizes[:1].count(None) == sizes.count(None) == 1
                and _takes_batch(nodes, inference, sources[1][0])
            ):
                known = math.prod(size for size in sizes[1:] if size != -1)
                rest = math.prod(size or 0 for size in before[1:]) // max(1, known)
                fixed = [-1, *(rest if size == -1 else size for size in sizes[1:])]
                name = take_name(f"{found.name}/sizes", names)
                copied.input[1] = name
                copied.attr["Tshape"].type = int(DataType.INT32)
                result.node.append(const(name, np.array(fixed, np.int32)))
                inference.visit(result.node[-1])
        inference.visit(copied)
    return copy_graph(graph, result.node)


def _takes_batch(nodes: dict[str, Any], inference: Inference, target: str) -> bool:
    """Return whether the first of the sizes that ``target`` packs is the batch's."""
    pack = nodes[target]
    if pack.op != "Pack":
        return False
    first = nodes[data_inputs(pack)[0][0]]
    if first.op != "StridedSlice":
        return False
    source, begin, *_ = data_inputs(first)
    start = inference.values.get(begin)
    shape = nodes[source[0]]
    if shape.op != "Shape" or start is None or start.ravel().tolist() != [0]:
        return False
    measured = inference.shapes.get(data_inputs(shape)[0])
    return measured is not None and measured[:1] == (None,)


class _Writer:
    """What the rewriting of one node needs."""

    def __init__(self, graph: Any, shapes: dict[str, Shape]) -> None:
        self.nodes = nodes_by_name(graph)
        self.result = copy_graph(graph, ())
        self._shapes = shapes
        self._names = set(self.nodes)

    def shape(self, source: tuple[str, int]) -> Shape | None:
        """Return the shape of a tensor, None where it is unknown."""
        return self._shapes.get(spell_tensor(*source))

    def name(self, base: str) -> str:
        """Return a name that no node has."""
        return take_name(base, self._names)

    def constant(self, source: tuple[str, int]) -> Any:
        """Return the values of a constant, None where it is computed."""
        found = self.nodes[source[0]]
        return tensor_to_array(found.attr["value"].tensor) if found.op == "Const" else None


def _concatenation(writer: _Writer, found: Any) -> list[Any] | None:
    """Return a concatenation of patches and repeated tokens as padded patches plus tokens."""
    *sources, last = data_inputs(found)
    axis = writer.constant(last)
    shapes = [writer.shape(source) for source in sources]
    if axis is None or any(shape is None or len(shape) != 3 for shape in shapes):
        return None
    if int(axis) % 3 != 1 or attribute_value(found, "T") != 1:
        return None
    tokens = [_repeated(writer, source) for source in sources]
    rows = [shape[1] for shape in shapes if shape is not None]
    if (
        None in rows
        or all(each is None for each in tokens)
        or all(each is not None for each in tokens)
    ):
        return None
    counts = [int(row or 0) for row in rows]
    width = next(each.shape[2] for each in tokens if each is not None)
    added = np.zeros((1, sum(counts), width), np.float32)
    pieces: list[tuple[tuple[str, int], list[int]]] = []  # tensor, rows of zeros around it
    before = start = 0
    for source, token, count in zip(sources, tokens, counts, strict=True):
        if token is not None:
            added[:, start : start + count] = token
            if pieces:
                pieces[-1][1][1] += count
            else:
                before += count
        else:
            pieces.append((source, [before, 0]))
            before = 0
        start += count
    nodes: list[Any] = []
    padded = [_padded(writer, found.name, nodes, *piece) for piece in pieces]
    joined = padded[0]
    if len(padded) > 1:
        joined = writer.name(f"{found.name}/padded")
        copied = type(found)()
        copied.CopyFrom(found)
        del copied.input[:]
        copied.name = joined
        copied.input.extend([*padded, spell_tensor(*last)])
        copied.attr["N"].i = len(padded)
        nodes.append(copied)
    values = writer.name(f"{found.name}/tokens")
    nodes.append(const(values, added))
    nodes.append(node(found.name, "AddV2", [joined, values], T=np.float32))
    return nodes


def _repeated(writer: _Writer, source: tuple[str, int]) -> Any:
    """Return the token [1, k, D] that a ``Tile`` repeats for each image; None: it is none."""
    found = writer.nodes[source[0]]
    if found.op != "Tile":
        return None
    token = writer.constant(data_inputs(found)[0])
    shape = writer.shape(source)
    if token is None or token.ndim != 3 or token.shape[0] != 1 or token.dtype != np.float32:
        return None
    return token if shape == (None, *token.shape[1:]) else None


def _repetition(writer: _Writer, found: Any) -> list[Any] | None:
    """Return a token [1, 1, D] that is repeated for each image as a sum with zeros."""
    tile = writer.nodes[data_inputs(found)[0][0]] if found.op == "Reshape" else found
    if tile.op != "Tile" or attribute_value(tile, "T") != 1:
        return None
    sources = data_inputs(tile)
    token, images = writer.constant(sources[0]), _images(writer, sources[1][0])
    size = None if images is None else writer.shape(images)
    if token is None or images is None or size is None or len(size) != 3 or size[0] is not None:
        return None
    if token.dtype != np.float32 or token.size != size[2]:
        return None
    if writer.shape((found.name, 0)) not in ((None, 1, size[2]), (None, None, size[2])):
        return None
    axes, mean, zero, zeros, value = (
        writer.name(f"{found.name}/{part}") for part in ("axes", "mean", "zero", "zeros", "token")
    )
    kind = {"T": np.float32}
    return [
        const(axes, np.array([1], np.int32)),
        node(mean, "Mean", [spell_tensor(*images), axes], **kind, Tidx=np.int32, keep_dims=True),
        const(zero, np.float32(0)),
        node(zeros, "Mul", [mean, zero], **kind),
        const(value, token.reshape(1, 1, -1)),
        node(found.name, "AddV2", [zeros, value], **kind),
    ]


def _images(writer: _Writer, name: str) -> tuple[str, int] | None:
    """Return the tensor whose batch is among the sizes of a ``Tile``."""
    waiting = [name]
    while waiting:
        found = writer.nodes[waiting.pop()]
        if found.op == "Shape":
            return data_inputs(found)[0]
        if found.op in ("Pack", "StridedSlice", "Reshape", "Cast"):
            waiting.extend(source for source, _ in data_inputs(found))
    return None


def _padded(
    writer: _Writer, base: str, nodes: list[Any], source: tuple[str, int], around: list[int]
) -> str:
    if around == [0, 0]:
        return spell_tensor(*source)
    pads, name = writer.name(f"{base}/pads"), writer.name(f"{base}/pad")
    nodes.append(const(pads, np.array([[0, 0], around, [0, 0]], np.int32)))
    inputs = [spell_tensor(*source), pads]
    nodes.append(node(name, "Pad", inputs, T=np.float32, Tpaddings=np.int32))
    return name


def _einsum(writer: _Writer, found: Any) -> list[Any] | None:
    """Return an ``Einsum`` of two tensors with one summed axis as a product of matrices."""
    given, arrow, result = attribute_value(found, "equation", "").partition("->")
    terms = given.split(",")
    if not arrow or len(terms) != 2 or "." in given or attribute_value(found, "T") != 1:
        return None
    left, right = terms
    batch = [letter for letter in result if letter in left and letter in right]
    summed = [letter for letter in left if letter in right and letter not in result]
    rows = [letter for letter in result if letter in left and letter not in right]
    columns = [letter for letter in result if letter in right and letter not in left]
    if [len(summed), len(rows), len(columns)] != [1, 1, 1]:
        return None
    if any(len(set(term)) != len(term) for term in (left, right, result)):
        return None
    if {*left} != {*batch, *summed, *rows} or {*right} != {*batch, *summed, *columns}:
        return None
    nodes: list[Any] = []
    sources = [spell_tensor(*source) for source in data_inputs(found)]
    first = _turned(writer, nodes, sources[0], left, "".join(batch + rows + summed))
    second = _turned(writer, nodes, sources[1], right, "".join(batch + summed + columns))
    made = "".join(batch + rows + columns)
    name = found.name if made == result else writer.name(f"{found.name}/product")
    product = node(name, "BatchMatMulV2", [first, second], T=np.float32, adj_x=False, adj_y=False)
    nodes.append(product)
    if made != result:
        nodes += _transpose(writer, found.name, name, made, result)
    return nodes


def _turned(writer: _Writer, nodes: list[Any], source: str, given: str, wanted: str) -> str:
    if given == wanted:
        return source
    name = writer.name(f"{source.replace(':', '_')}/turned")
    nodes += _transpose(writer, name, source, given, wanted)
    return name


def _transpose(writer: _Writer, name: str, source: str, given: str, wanted: str) -> list[Any]:
    order = writer.name(f"{name}/order")
    axes = np.array([given.index(letter) for letter in wanted], np.int32)
    turned = node(name, "Transpose", [source, order], T=np.float32, Tperm=np.int32)
    return [const(order, axes), turned]


_REWRITES: dict[str, Callable[[_Writer, Any], list[Any] | None]] = {
    "ConcatV2": _concatenation,
    "Einsum": _einsum,
    "Reshape": _repetition,
    "Tile": _repetition,
}
