"""Evaluate the constant parts of a frozen graph and fold its batch norms.

A batch norm multiplies each channel by a constant and adds another. After a convolution
or matrix product both go into that layer: the multiplier into its weights, the rest into
one ``BiasAdd``. All arithmetic on weights is done in float64 and rounded once.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.errors import GraphError
from tlcli.graph.constant_ops import attribute_value, compute
from tlcli.graph.messages import GraphDef
from tlcli.graph.nodes import DataType, const, node, tensor_to_array
from tlcli.graph.surgery import (
    ADDING,
    PLAIN_OPERATIONS,
    consumers,
    copy_graph,
    data_inputs,
    needed_nodes,
    nodes_by_name,
    prune,
    spell_tensor,
    split_tensor,
    take_name,
)
from tlcli.runtime.watchdog import first_line

_FUSED = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_LINEAR = frozenset({"Conv2D", "DepthwiseConv2dNative", "MatMul"})
# Evaluated when all inputs are constant. Nothing outside this list ever is: an operation
# of an unknown file might read other files or draw random numbers.
# Of these, TensorFlow is given none whose result may be far larger than its inputs.
_GROWING = frozenset(
    """
    MatMul BatchMatMul BatchMatMulV2 Einsum Conv2D DepthwiseConv2dNative Pad PadV2 MirrorPad
    ResizeBilinear ResizeNearestNeighbor Tile BroadcastTo Fill Range GatherV2 Gather
    """.split()  # noqa: SIM905
)
# Each is limited where it is computed; a graph of thousands must not take all memory.
FOLDED_LIMIT = 2 << 30
_FOLDABLE = (PLAIN_OPERATIONS | {"Dequantize", "Concat", "FloorDiv", "FloorMod"}) - {"Placeholder"}


def fold_constants(graph: Any, outputs: Sequence[str], limit: int = FOLDED_LIMIT) -> Any:
    """Evaluate what depends on no placeholder, and prune to ``outputs``.

    NumPy does the usual operations; the rest of the plain ones are left to TensorFlow,
    which is imported only then. Operations outside inference are left as they are.

    Raises:
        GraphError: the graph is damaged, or a constant would be huge.
    """
    order = needed_nodes(graph, outputs)
    readers = consumers(graph)
    arrays: dict[str, Array] = {}
    folded = 0
    constants: dict[str, Any] = {}  # Const nodes as they stand or as they were evaluated

    def array_of(name: str) -> Array:
        if name not in arrays:
            arrays[name] = tensor_to_array(constants[name].attr["value"].tensor)
        return arrays[name]

    result = copy_graph(graph, ())
    for found in order:
        if found.op == "Const":
            constants[found.name] = found
            result.node.append(found)
            continue
        sources = data_inputs(found)
        if (
            found.op not in _FOLDABLE
            or not sources
            or any(name not in constants or output for name, output in sources)
            or any(output for _, _, output in readers[found.name])
        ):
            result.node.append(_plain_concat(found))
            continue
        inputs = [array_of(name) for name, _ in sources]
        value = compute(found, inputs)
        if value is None and found.op in _GROWING:
            result.node.append(found)
            continue
        if value is None:
            value = _evaluate_with_tensorflow(found, [constants[name] for name, _ in sources])
        folded += value.nbytes
        if folded > limit:
            raise GraphError(f"the graph computes constants of more than {limit >> 30} GB in all")
        constants[found.name] = const(found.name, value)
        arrays[found.name] = value
        result.node.append(constants[found.name])
    return prune(result, outputs)


def _plain_concat(found: Any) -> Any:
    """Return the old ``Concat``, whose axis comes first, as ``ConcatV2``."""
    if found.op != "Concat":
        return found
    inputs = [spell_tensor(*source) for source in data_inputs(found)]
    attrs = {"T": found.attr["T"], "N": len(inputs) - 1, "Tidx": DataType.INT32}
    return node(found.name, "ConcatV2", [*inputs[1:], inputs[0]], **attrs)


def _evaluate_with_tensorflow(found: Any, inputs: Sequence[Any]) -> Array:
    from tlcli.runtime.tensorflow import import_tensorflow

    tensorflow = import_tensorflow()
    small = GraphDef()
    small.node.extend(inputs)
    small.node.append(found)
    message = tensorflow.compat.v1.GraphDef.FromString(small.SerializeToString())
    try:
        with tensorflow.Graph().as_default() as scope:
            tensorflow.import_graph_def(message, name="")
            with tensorflow.compat.v1.Session(graph=scope) as session:
                return np.asarray(session.run(f"{found.name}:0"))
    except Exception as error:  # of TensorFlow's own kinds and of Python's
        raise GraphError(
            f"the graph is damaged: {found.name!r} ({found.op}) cannot be computed: "
            f"{first_line(error)}"
        ) from error


@dataclass(frozen=True)
class _Affine:
    """x -> x * scale + offset, along the last axis; both float64, shape [] or [C]."""

    image: tuple[str, int]
    scale: Array
    offset: Array
    norm: bool  # from a batch norm operation, which must not stay

    def then(self, after: _Affine) -> _Affine:
        return _Affine(
            self.image,
            self.scale * after.scale,
            self.offset * after.scale + after.offset,
            self.norm or after.norm,
        )


class _Folder:
    def __init__(self, graph: Any, outputs: Sequence[str]) -> None:
        self.graph = graph
        self.outputs = {split_tensor(output)[0] for output in outputs}
        self.order = needed_nodes(graph, outputs)
        self.nodes = nodes_by_name(graph)
        self.readers = consumers(copy_graph(graph, self.order))
        self.names = set(self.nodes)

    def constant(self, tensor: tuple[str, int], rank: int | None = None) -> Array | None:
        """Return a per-channel constant as float64 [] or [C]; None when it is something else.

        ``rank`` is that of the other operand: a constant of higher rank would raise it.
        """
        found = self.nodes.get(tensor[0])
        if found is None or found.op != "Const":
            return None
        message = found.attr["value"].tensor
        dims = [dim.size for dim in message.tensor_shape.dim]
        if message.dtype != DataType.FLOAT or any(size != 1 for size in dims[:-1]):
            return None
        if len(dims) > (1 if rank is None else rank):
            return None
        values = tensor_to_array(message).astype(np.float64)
        return values.reshape(()) if values.size == 1 else values.reshape(-1)

    def affine(self, found: Any, rank: int | None) -> _Affine | None:
        """Return what ``found`` does to its image input, when that is affine by channel."""
        sources = data_inputs(found)
        op = found.op
        one, zero = np.asarray(1.0), np.asarray(0.0)
        if op in _FUSED or op == "BatchNormWithGlobalNormalization":
            return self._batch_norm(found, sources)
        if op == "Neg" and attribute_value(found, "T", 0) == DataType.FLOAT:
            return _Affine(sources[0], -one, zero, False)
        if op not in ADDING | {"Sub", "Mul", "RealDiv"} or len(sources) != 2:
            return None
        if op == "BiasAdd" and attribute_value(found, "data_format", "NHWC") != "NHWC":
            return None
        left, right = (self.constant(source, rank) for source in sources)
        if right is not None and left is None:
            image, value = sources[0], right
        elif left is not None and right is None and op != "RealDiv":
            image, value = sources[1], left
        else:
            return None
        if op in ADDING:
            return _Affine(image, one, value, False)
        if op == "Mul":
            return _Affine(image, value, zero, False)
        if op == "RealDiv":
            return None if np.any(value == 0) else _Affine(image, one / value, zero, False)
        if left is None:
            return _Affine(image, one, -value, False)
        return _Affine(image, -one, value, False)

    def _batch_norm(self, found: Any, sources: list[tuple[str, int]]) -> _Affine | None:
        parts = [self.constant(source, 1) for source in sources[1:5]]
        if len(sources) != 5 or any(part is None for part in parts):
            return None
        constants = [np.asarray(part) for part in parts]
        if found.op in _FUSED:
            if attribute_value(found, "is_training", True):
                return None
            if attribute_value(found, "data_format", "NHWC") != "NHWC":
                return None
            if any(output for _, _, output in self.readers[found.name]):
                return None
            gamma, beta, mean, variance = constants
            epsilon = attribute_value(found, "epsilon", 1e-4)
        else:
            mean, variance, beta, gamma = constants
            epsilon = attribute_value(found, "variance_epsilon", 0.0)
            if not attribute_value(found, "scale_after_normalization", False):
                gamma = np.ones_like(gamma)
        with np.errstate(all="ignore"):
            scale = gamma / np.sqrt(variance + epsilon)
            return _Affine(sources[0], scale, beta - mean * scale, True)

    def only_reader(self, name: str) -> Any | None:
        """Return the node that reads output 0 of ``name`` when nothing else does."""
        readers = self.readers.get(name, [])
        if name in self.outputs or len(readers) != 1 or readers[0][2] != 0:
            return None
        return readers[0][0]

    def chain(self, start: str, rank: int | None) -> tuple[list[Any], _Affine | None]:
        """Return the affine nodes that follow ``start`` one by one, and what they do together."""
        members: list[Any] = []
        total: _Affine | None = None
        name = start
        while (reader := self.only_reader(name)) is not None:
            step = self.affine(reader, rank)
            if step is None or step.image != (name, 0):
                break
            members.append(reader)
            total = step if total is None else total.then(step)
            name = reader.name
        return members, total


def fold_batch_norms(graph: Any, outputs: Sequence[str]) -> Any:
    """Fold per-channel multiplications and additions into the layer before them.

    After ``Conv2D``, ``DepthwiseConv2dNative`` and ``MatMul`` with constant weights, in the
    layout NHWC and float32, a chain of batch norm, ``Mul``, ``Add``, ``Sub``, ``BiasAdd``
    becomes new weights and one ``BiasAdd``. A chain that follows anything else becomes one
    ``Mul`` and one ``AddV2``. Where something else reads a value between, the chain ends.
    The last node of a chain keeps its name.

    Args:
        graph: constants are evaluated (see `fold_constants`).
        outputs: names of the outputs; they keep their names.
    """
    folder = _Folder(graph, outputs)
    new: dict[str, list[Any]] = {}  # by the name of the node they replace
    done: set[str] = set()
    for found in folder.order:
        if found.op not in _LINEAR:
            continue
        members, total = folder.chain(found.name, 2 if found.op == "MatMul" else 4)
        replaced = None if total is None else _folded(folder, found, members[-1].name, total)
        if replaced is not None:
            done.update(member.name for member in members)
            new.update({member.name: [] for member in members})
            new[found.name] = replaced
    for found in folder.order:
        if found.name in done:
            continue
        step = folder.affine(found, None)
        if step is None:
            continue
        members, rest = folder.chain(found.name, None)
        total = step if rest is None else step.then(rest)
        members = [found, *members]
        done.update(member.name for member in members)
        if total.norm or len(members) > 2:
            new.update({member.name: [] for member in members})
            new[members[-1].name] = _multiply_and_add(folder, members[-1].name, total)
    nodes: list[Any] = []
    for found in folder.order:
        nodes.extend(new.get(found.name, [found]))
    return prune(copy_graph(graph, nodes), outputs)


def _folded(folder: _Folder, layer: Any, last: str, total: _Affine) -> list[Any] | None:
    """Return ``layer`` with the chain ``total`` folded in, ending in a node named ``last``."""
    source = data_inputs(layer)[1]
    found = folder.nodes.get(source[0])
    if found is None or found.op != "Const" or source[1]:
        return None
    message = found.attr["value"].tensor
    if message.dtype != DataType.FLOAT or attribute_value(layer, "data_format", "NHWC") != "NHWC":
        return None
    weights = tensor_to_array(message)
    depthwise, flat = layer.op == "DepthwiseConv2dNative", layer.op == "MatMul"
    if weights.ndim != (2 if flat else 4):
        return None
    by_row = flat and bool(attribute_value(layer, "transpose_b", False))
    width = weights.shape[2] * weights.shape[3] if depthwise else weights.shape[0 if by_row else -1]
    if total.scale.size not in (1, width) or total.offset.size not in (1, width):
        return None
    scale = np.broadcast_to(total.scale, width)
    offset = np.broadcast_to(total.offset, width).astype(np.float32)
    with np.errstate(all="ignore"):
        if depthwise:
            scaled = weights * scale.reshape(weights.shape[2:])
        elif by_row:
            scaled = weights * scale[:, np.newaxis]
        else:
            scaled = weights * scale
    folded = copy.deepcopy(layer)
    nodes = [folded]
    if not np.all(scale == 1):
        folded.input[1] = take_name(f"{layer.name}/folded_weights", folder.names)
        nodes.insert(0, const(folded.input[1], scaled.astype(np.float32)))
    bias = take_name(f"{last}/bias", folder.names)
    nodes.append(const(bias, offset))
    nodes.append(node(last, "BiasAdd", [layer.name, bias], T=DataType.FLOAT, data_format="NHWC"))
    return nodes


def _multiply_and_add(folder: _Folder, last: str, total: _Affine) -> list[Any]:
    scale, offset, product = (
        take_name(f"{last}/{part}", folder.names) for part in ("scale", "offset", "product")
    )
    return [
        const(scale, total.scale.astype(np.float32)),
        const(offset, total.offset.astype(np.float32)),
        node(product, "Mul", [spell_tensor(*total.image), scale], T=DataType.FLOAT),
        node(last, "AddV2", [product, offset], T=DataType.FLOAT),
    ]
