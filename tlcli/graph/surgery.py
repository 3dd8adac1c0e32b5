"""Turn any frozen inference graph into a plain one, without importing TensorFlow.

A plain graph has one input, no training leftovers and only operations that other readers
of frozen graphs know. This module holds the structure (who reads what); the numbers are in
`tlcli.graph.folding`, the shapes in `tlcli.graph.shapes`, and `tlcli.graph.simplify` runs all.

Every function takes a ``GraphDef`` and returns a new one. A tensor is written as in the graph
itself: ``NAME`` (output 0), ``NAME:1``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tlcli.errors import GraphError
from tlcli.graph.messages import GraphDef

_PASSING = """
    Identity IdentityN StopGradient PreventGradient CheckNumerics Snapshot PlaceholderWithDefault
"""
PASSING = frozenset(_PASSING.split())
"""Operations that pass on what they read when nothing is being trained or debugged."""
ADDING = frozenset({"Add", "AddV2", "BiasAdd"})
RESHAPING = frozenset({"Reshape", "Squeeze"})
# Between a frozen weight and its reader. Dequantize changes the values and not their shape.
_CONSTANT_PASSING = frozenset({"Identity", "StopGradient", "Dequantize"})
PIXEL_PASSING = frozenset({"Identity", "StopGradient", "CheckNumerics"}) | (
    RESHAPING | {"ExpandDims", "Cast"}
)
"""Between a decoder and a resize: also what changes the type or the shape of pixels."""
LINEAR_PASSING = (PASSING - {"IdentityN"}) | RESHAPING
"""Between pooled features and scores; an ``IdentityN`` has several outputs."""
AFTER_LOGITS = frozenset({"Identity", "Softmax", "Sigmoid"}) | RESHAPING | ADDING
"""Between the last matrix product and the scores: also what changes the values."""
# Notes for TensorFlow's own tools; other readers stumble over some of them.
_NOTES = ("_class", "_output_shapes", "_XlaCompile", "_XlaScope", "_grappler:")

_PLAIN = """
    Placeholder Const Identity
    Conv2D DepthwiseConv2dNative BiasAdd MatMul BatchMatMul BatchMatMulV2 Einsum
    Add AddV2 AddN Sub Mul RealDiv Div Maximum Minimum Neg Abs Square SquaredDifference Sqrt
    Rsqrt Pow Exp Log Log1p Erf Erfc Sin Cos Less SelectV2 Floor Round Reciprocal
    Relu Relu6 Elu Selu LeakyRelu Sigmoid Tanh Softplus Softsign Softmax LogSoftmax
    AvgPool MaxPool LRN Mean Max Min Sum Prod ArgMax L2Loss
    Reshape Squeeze ExpandDims Transpose Pad PadV2 MirrorPad ConcatV2 Pack Unpack Split SplitV
    Slice StridedSlice GatherV2 Gather Tile BroadcastTo Fill Range Shape Cast
    ResizeBilinear ResizeNearestNeighbor SpaceToDepth DepthToSpace SpaceToBatchND BatchToSpaceND
"""
PLAIN_OPERATIONS = frozenset(_PLAIN.split())
"""Operations that a plain graph may hold."""


def split_tensor(tensor: str) -> tuple[str, int]:
    """Return the node's name and the number of its output; ``^NAME`` gives output -1."""
    if tensor.startswith("^"):
        return tensor[1:], -1
    name, colon, number = tensor.rpartition(":")
    if colon and number.isdigit() and len(number) < 6:
        return name, int(number)
    return tensor, 0


def spell_tensor(name: str, output: int = 0) -> str:
    """Return the tensor as inputs of nodes spell it; the reverse of `split_tensor`."""
    if output < 0:
        return f"^{name}"
    return name if output == 0 else f"{name}:{output}"


def nodes_by_name(graph: Any) -> dict[str, Any]:
    """Return the nodes of ``graph`` by name.

    Raises:
        GraphError: a name is empty or occurs twice.
    """
    nodes: dict[str, Any] = {}
    for node in graph.node:
        if not node.name or node.name in nodes:
            raise GraphError(
                f"the graph is damaged: the node name {node.name!r} is empty or occurs twice"
            )
        nodes[node.name] = node
    return nodes


def node_of(nodes: Mapping[str, Any], tensor: str) -> Any:
    """Return the node that gives ``tensor``.

    Raises:
        GraphError: there is none.
    """
    name = split_tensor(tensor)[0]
    if name not in nodes:
        raise GraphError(f"the graph has no layer {name!r}")
    return nodes[name]


def data_inputs(node: Any) -> list[tuple[str, int]]:
    """Return the tensors that ``node`` reads as (name, output), without control inputs."""
    return [split_tensor(tensor) for tensor in node.input if not tensor.startswith("^")]


def consumers(graph: Any) -> dict[str, list[tuple[Any, int, int]]]:
    """Return, for each node's name, who reads it: (reader, input number, output read)."""
    readers: dict[str, list[tuple[Any, int, int]]] = {node.name: [] for node in graph.node}
    for node in graph.node:
        for number, (name, output) in enumerate(data_inputs(node)):
            readers.setdefault(name, []).append((node, number, output))
    return readers


def constant_behind(nodes: Mapping[str, Any], name: str) -> Any | None:
    """Return the ``Const`` that the node ``name`` is, or passes on unchanged; None: it is none."""
    for _ in range(len(nodes)):
        node = nodes.get(name)
        if node is None or node.op == "Const":
            return node
        if node.op not in _CONSTANT_PASSING or not data_inputs(node):
            return None
        name = data_inputs(node)[0][0]
    return None


def take_name(wanted: str, taken: set[str]) -> str:
    """Return ``wanted``, with a number behind it when it is in ``taken``, and add it there."""
    name, number = wanted, 0
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def copy_graph(graph: Any, nodes: Iterable[Any]) -> Any:
    """Return a graph of copies of ``nodes`` with the versions and functions of ``graph``."""
    result = GraphDef()
    result.library.CopyFrom(graph.library)
    result.versions.CopyFrom(graph.versions)
    result.node.extend(nodes)
    return result


def needed_nodes(graph: Any, outputs: Sequence[str] | None = None) -> list[Any]:
    """Return the nodes that ``outputs`` need by data, each after all that it reads.

    Without ``outputs``, these are all nodes.

    Raises:
        GraphError: an output or an input of a node is absent, or the graph has a loop.
    """
    nodes = nodes_by_name(graph)
    order: list[Any] = []
    state: dict[str, bool] = {}  # False: being visited, True: done
    for wanted in nodes if outputs is None else outputs:
        stack: list[tuple[str, str]] = [(node_of(nodes, wanted).name, "")]
        while stack:
            name, reader = stack[-1]
            if state.get(name) is True:
                stack.pop()
                continue
            if name not in nodes:
                raise GraphError(
                    f"the graph is damaged: {reader!r} reads {name!r}, which is not in it"
                )
            if name in state:
                state[name] = True
                order.append(nodes[name])
                stack.pop()
                continue
            state[name] = False
            for source, _ in data_inputs(nodes[name]):
                if source in state and not state[source]:
                    raise GraphError(f"the graph has a loop through {source!r}, it cannot be used")
                if source not in state:
                    stack.append((source, name))
    return order


def calls_function(node: Any) -> bool:
    """Return whether an attribute of ``node`` names a function of the graph's library."""
    return any(value.WhichOneof("value") == "func" for value in node.attr.values())


def prune(graph: Any, outputs: Sequence[str]) -> Any:
    """Keep what ``outputs`` need, in an order in which it can be run.

    Control inputs are dropped: the operations of a frozen graph have no side effects that
    a result could depend on. So are devices, notes for TensorFlow's tools, and the functions
    where no node calls one.

    Raises:
        GraphError: an output or an input of a node is absent, or the graph has a loop.
    """
    result = copy_graph(graph, needed_nodes(graph, outputs))
    # A node may call a function by its type. Without its function TensorFlow would take it for
    # the operation of that name, which was never checked.
    functions = {function.signature.name for function in graph.library.function}
    if not any(calls_function(node) or node.op in functions for node in result.node):
        result.ClearField("library")
    for node in result.node:
        if any(tensor.startswith("^") for tensor in node.input):
            kept = [tensor for tensor in node.input if not tensor.startswith("^")]
            del node.input[:]
            node.input.extend(kept)
        node.device = ""
        for key in [key for key in node.attr if key.startswith(_NOTES)]:
            del node.attr[key]
    return result


def rename_nodes(graph: Any, new_name: Callable[[str], str]) -> Any:
    """Give every node the name ``new_name(old name)``, wherever it occurs.

    Raises:
        GraphError: two nodes would get the same name.
    """
    names = {node.name: new_name(node.name) for node in graph.node}
    if len(set(names.values())) < len(names):
        raise GraphError("two nodes of the graph would get the same name")
    result = copy_graph(graph, graph.node)
    for node in result.node:
        node.name = names[node.name]
        for number, tensor in enumerate(node.input):
            name, output = split_tensor(tensor)
            node.input[number] = spell_tensor(names.get(name, name), output)
    return result


def redirect(graph: Any, tensors: Mapping[tuple[str, int], str]) -> Any:
    """Let every reader of a tensor (name, output) read the mapped tensor instead."""
    result = copy_graph(graph, graph.node)
    for node in result.node:
        for number, tensor in enumerate(node.input):
            target = tensors.get(split_tensor(tensor))
            if target is not None:
                node.input[number] = target
    return result


def without_identity_n(graph: Any) -> Any:
    """Return a graph without ``IdentityN``, which functions with their own gradient (swish) leave.

    It passes several tensors on at once, and few readers of frozen graphs know it.
    """
    passed = {
        (node.name, number): source
        for node in graph.node
        if node.op == "IdentityN"
        for number, source in enumerate(data_inputs(node))
    }

    def origin(tensor: tuple[str, int]) -> tuple[str, int]:
        while tensor in passed:
            tensor = passed[tensor]
        return tensor

    return redirect(graph, {tensor: spell_tensor(*origin(tensor)) for tensor in passed})


def replace_input(graph: Any, old_tensor: str, new_nodes: Sequence[Any]) -> Any:
    """Let all that reads ``old_tensor`` read the last of ``new_nodes`` instead.

    Args:
        graph: what produced ``old_tensor`` stays until the graph is pruned, unless a new
            node has its name.
        old_tensor: ``NAME`` or ``NAME:0``; any tensor of the graph, not only a placeholder.
        new_nodes: come first in the new graph; the last one gives the new tensor.

    Raises:
        GraphError: the graph has no such tensor, or another node has a new node's name.
    """
    old = split_tensor(old_tensor)
    nodes = nodes_by_name(graph)
    node_of(nodes, old_tensor)
    added = {node.name for node in new_nodes}
    for name in added:
        if name in nodes and name != old[0]:
            raise GraphError(f"the graph already has a node {name!r}")
    kept = [node for node in graph.node if node.name not in added]
    changed = redirect(copy_graph(graph, kept), {old: new_nodes[-1].name})
    result = copy_graph(graph, new_nodes)
    result.node.extend(changed.node)
    return result


def strip_identities(graph: Any, keep: Sequence[str] = ()) -> Any:
    """Remove the nodes that only pass on their input (see `PASSING`).

    A ``PlaceholderWithDefault`` is taken as its default. Nodes named in ``keep`` stay, the
    one that is an output of the graph among them, as ``Identity`` where it was another.
    """
    kept = {split_tensor(name)[0] for name in keep}
    passing = {
        (node.name, number): source
        for node in graph.node
        if node.op in PASSING and node.name not in kept
        for number, source in enumerate(data_inputs(node))
    }
    gone = {name for name, _ in passing}

    def resolve(tensor: tuple[str, int]) -> tuple[str, int]:
        seen = set()
        while tensor in passing and tensor not in seen:
            seen.add(tensor)
            tensor = passing[tensor]
        return tensor

    targets = {tensor: spell_tensor(*resolve(source)) for tensor, source in passing.items()}
    result = redirect(
        copy_graph(graph, (node for node in graph.node if node.name not in gone)), targets
    )
    for node in result.node:
        if node.op in PASSING - {"Identity", "IdentityN"} and data_inputs(node):
            node.op = "Identity"
            for key in [key for key in node.attr if key not in ("T", "dtype")]:
                del node.attr[key]
            if "dtype" in node.attr:
                node.attr["T"].CopyFrom(node.attr["dtype"])
                del node.attr["dtype"]
    return result
