"""Frozen graphs of one operation each, with something changed: for `tests.fuzz.models`.

The attributes of every operation and their allowed values come from TensorFlow's own registry.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from tests.fuzz.odd_values import FLOATS, INTEGERS, TEXTS, integer, integers
from tlcli.graph.messages import GraphDef, SavedModel
from tlcli.graph.nodes import DTYPES, const, new_graph, node, placeholder
from tlcli.graph.safety import INFERENCE_OPERATIONS

# Sound attributes where the registry has no default.
_SOUND: dict[str, Any] = {
    "strides": [1, 1, 1, 1],
    "ksize": [1, 2, 2, 1],
    "ksizes": [1, 2, 2, 1],
    "rates": [1, 1, 1, 1],
    "padding": b"SAME",
    "block_size": 2,
    "num_split": 3,
    "num": 3,
    "mode": b"REFLECT",
    "equation": b"abcd,abcd->abcd",
    "k": 2,
}
# What follows the image, as arrays or "x", the image again; integers are int32.
_WITH: dict[str, list[Any]] = {
    "Conv2D": [np.ones((3, 3, 3, 4))],
    "DepthwiseConv2dNative": [np.ones((3, 3, 3, 1))],
    "Dilation2D": [np.ones((3, 3, 3))],
    "BiasAdd": [np.ones(3)],
    "BiasAddV1": [np.ones(3)],
    "MatMul": [np.ones((3, 4))],
    **{
        name: [np.ones(3)] * 4
        for name in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
    },
    "BatchNormWithGlobalNormalization": [np.ones(3)] * 4,
    **{
        name: [[4, 5]]
        for name in ("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea")
    },
    "CropAndResize": [np.array([[0, 0, 1, 1.0]]), [0], [4, 4]],
    "Reshape": [[1, -1]],
    "Transpose": [[0, 2, 1, 3]],
    "Pad": [[[0, 0], [1, 1], [2, 0], [0, 0]]],
    "PadV2": [[[0, 0], [1, 1], [2, 0], [0, 0]], np.array(0.5)],
    "MirrorPad": [[[0, 0], [1, 1], [2, 0], [0, 0]]],
    "Tile": [[1, 2, 1, 1]],
    "ExpandDims": [1],
    "ConcatV2": ["x", 3],
    "Slice": [[0, 1, 1, 0], [1, 3, -1, 3]],
    "StridedSlice": [[0, 1, 1, 0], [1, 5, 7, 3], [1, 2, 1, 1]],
    "GatherV2": [[0, 0], 1],
    "Gather": [[0, 0]],
    "GatherNd": [[[0, 0]]],
    "OneHot": [3, np.array(1.0), np.array(0.0)],
    "TopKV2": [2],
    "SplitV": [[1, 2], 3],
    "ClipByValue": [np.array(0.0), np.array(1.0)],
    "FusedPadConv2D": [[[0, 0], [1, 1], [1, 1], [0, 0]], np.ones((3, 3, 3, 4))],
    "BroadcastTo": [[1, 8, 8, 3]],
    "ReverseV2": [[1]],
    "Roll": [1, 1],
    "Cumsum": [1],
    "SpaceToBatchND": [[2, 2], [[0, 0], [0, 0]]],
    "BatchToSpaceND": [[1, 1], [[0, 0], [0, 0]]],
    "AdjustContrastv2": [np.array(2.0)],
    "AdjustHue": [np.array(0.5)],
    "AdjustSaturation": [np.array(0.5)],
    **{name: [[1, 2]] for name in ("Mean", "Sum", "Prod", "Max", "Min", "EuclideanNorm")},
    **{name: [3] for name in ("ArgMax", "ArgMin")},
}
_ALL: dict[str, list[Any]] = {
    "Split": [3, "x"],
    "Concat": [3, "x", "x"],
    "Fill": [[1, 8], np.array(1.0)],
    "Range": [0, 8, 1],
    "LinSpace": [np.array(0.0), np.array(1.0), 8],
    "Conv2DBackpropInput": [[1, 16, 16, 3], np.ones((3, 3, 3, 3)), "x"],
    "RandomUniform": [[1, 8]],
}
# Their attributes name functions of the library.
_CALLING = ("PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "While", "Case")
_SIZES = (0, 1, 2, 3, 4, 7, 8, 9, 100, -1, -2, 1 << 20, 1 << 31, 1 << 40, 1 << 62)


def graph_file(chance: random.Random) -> bytes:
    """Return a small graph with one operation of the allow-list and up to three changes."""
    graph = _graph(chance.choice(sorted(INFERENCE_OPERATIONS)), chance)
    for _ in range(chance.choice((0, 1, 1, 1, 1, 2, 3))):
        _change(graph, chance)
    return bytes(graph.SerializeToString())


def changed_graph(content: bytes, chance: random.Random) -> bytes:
    """Return another graph with up to three changes in its nodes."""
    graph = GraphDef.FromString(content)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        _change(graph, chance)
    return bytes(graph.SerializeToString())


def as_saved_model(content: bytes) -> bytes:
    """Return the ``saved_model.pb`` of a graph without variables."""
    model = SavedModel(schema_version=1)
    meta = model.meta_graphs.add()
    meta.meta_info_def.tags.append("serve")
    meta.graph_def.ParseFromString(content)
    signature = meta.signature_def["serving_default"]
    signature.method_name = "tensorflow/serving/predict"
    for ends, name, sizes in (
        (signature.inputs, "image", (1, 8, 8, 3)),
        (signature.outputs, "scores", (1, 2)),
    ):
        ends[name].name = "input:0" if name == "image" else "final_result:0"
        ends[name].dtype = 1
        for size in sizes:
            ends[name].tensor_shape.dim.add(size=size)
    return bytes(model.SerializeToString())


def _graph(op: str, chance: random.Random) -> Any:
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(op)
    arguments = list(definition.input_arg) if definition is not None else []
    nodes = [placeholder("input", np.float32, (1, 8, 8, 3))]
    given = _ALL.get(op, ["x", *_WITH.get(op, ["x"] * (len(arguments) - 1))])
    inputs = []
    for at, value in enumerate(given[: None if op in _ALL or op in _WITH else len(arguments)]):
        if isinstance(value, str):
            inputs.append("input")
            continue
        kind = np.float32 if isinstance(value, np.ndarray) else np.int32
        nodes.append(const(f"given{at}", np.array(value, kind)))
        inputs.append(nodes[-1].name)
    made = node("tried", op, inputs)
    for attribute in definition.attr if definition is not None else ():
        _set_sound(made.attr[attribute.name], attribute, len(inputs))
    nodes.append(made)
    given_type = _output_type(made, definition)
    if given_type != 1:
        nodes.append(node("cast", "Cast", ["tried"], DstT=np.float32))
        nodes[-1].attr["SrcT"].type = given_type
    nodes += [
        const("flat/shape", np.array([1, -1], np.int32)),
        node("flat", "Reshape", [nodes[-1].name, "flat/shape"], T=np.float32, Tshape=np.int32),
        const("axis", np.array([1], np.int32)),
        node("sum", "Sum", ["flat", "axis"], T=np.float32, Tidx=np.int32, keep_dims=True),
        const("weights", np.ones((1, 2), np.float32)),
        node("product", "MatMul", ["sum", "weights"], T=np.float32),
        node("final_result", "Softmax", ["product"], T=np.float32),
    ]
    graph = new_graph(nodes)
    if op in _CALLING:
        _add_functions(graph, made, chance)
    return graph


def _output_type(made: Any, definition: Any) -> int:
    """Return the number of the type of a node's first output."""
    if definition is None or not definition.output_arg:
        return 1
    first = definition.output_arg[0]
    return first.type or (made.attr[first.type_attr].type if first.type_attr else 1)


def _add_functions(graph: Any, made: Any, chance: random.Random) -> None:
    """Give a node that calls functions one, which may call itself."""
    function = graph.library.function.add()
    function.signature.name = "body"
    function.signature.input_arg.add(name="x")
    function.signature.output_arg.add(name="y")
    inner = node("inner", chance.choice(("Identity", "Identity", "body", made.op)), ["x"])
    inner.attr["T"].type = 1
    if inner.op == made.op:
        inner.attr["f"].func.name = "body"
    function.node_def.append(inner)
    function.ret["y"] = chance.choice(("inner:output:0", "x", "inner:y:0"))
    for value in made.attr.values():
        if value.WhichOneof("value") == "func":
            value.func.name = "body"


def _set_sound(value: Any, attribute: Any, inputs: int) -> None:
    sound: Any = _SOUND.get(attribute.name)
    kind = attribute.type
    if attribute.HasField("default_value"):
        value.ParseFromString(attribute.default_value.SerializeToString())
    elif kind == "type":
        allowed = list(attribute.allowed_values.list.type)
        value.type = next((each for each in (1, 3) if each in (allowed or [1])), 0) or allowed[0]
    elif kind == "int":
        value.i = inputs if attribute.name == "N" else 1 if sound is None else sound
    elif kind == "string":
        value.s = sound or b""
    elif kind == "list(int)":
        value.list.i.extend(sound or [1])
        value.list.i.extend([1] * (attribute.minimum - len(value.list.i)))
    elif kind == "list(type)":
        value.list.type.extend([1] * inputs)
    elif kind == "func":
        value.func.name = "body"
    elif kind == "shape":
        value.shape.SetInParent()
    elif kind == "bool":
        value.b = False
    elif kind == "float":
        value.f = 0.5


def _change(graph: Any, chance: random.Random) -> None:
    """Change one thing in place: an attribute most often, then a constant, or an input."""
    nodes = [*graph.node, *(each for f in graph.library.function for each in f.node_def)]
    if not nodes:
        return
    tried = [each for each in nodes if each.name == "tried"]
    chosen = chance.choice(tried) if tried and chance.random() < 0.7 else chance.choice(nodes)
    kind = chance.random()
    if kind < 0.6 and chosen.attr:
        _change_value(chosen.attr[chance.choice(sorted(chosen.attr))], chance)
    elif kind < 0.85:
        constants = [each for each in nodes if each.op == "Const" and "value" in each.attr]
        if constants:
            _change_tensor(chance.choice(constants).attr["value"].tensor, chance)
    elif kind < 0.93 and chosen.input:
        other = chance.choice(nodes).name
        chosen.input[chance.randrange(len(chosen.input))] = chance.choice(
            (other, f"{other}:1", f"^{other}", f"{other}:-1", "nothing")
        )
    elif kind < 0.97:
        chosen.op = chance.choice(sorted(INFERENCE_OPERATIONS))
    elif chosen.attr:
        del chosen.attr[chance.choice(sorted(chosen.attr))]


def _change_value(value: Any, chance: random.Random) -> None:
    kind = value.WhichOneof("value")
    if kind == "i":
        value.i = integer(chance, value.i)
    elif kind == "f":
        value.f = chance.choice(FLOATS)
    elif kind == "b":
        value.b = not value.b
    elif kind == "s":
        value.s = chance.choice(TEXTS).encode()
    elif kind == "type":
        value.type = chance.choice((*DTYPES, 0, 7, 20, 21, 99, 101))
    elif kind == "shape":
        _change_shape(value.shape, chance)
    elif kind == "tensor":
        _change_tensor(value.tensor, chance)
    elif kind == "func":
        value.func.name = chance.choice(("body", "", "Identity", "nothing"))
    elif kind == "list":
        value.list.i[:] = integers(chance, list(value.list.i))
    else:
        value.i = integer(chance)


def _change_shape(shape: Any, chance: random.Random) -> None:
    if shape.dim and chance.random() < 0.7:
        chance.choice(list(shape.dim)).size = chance.choice(_SIZES)
    elif chance.random() < 0.2:
        shape.unknown_rank = True
    else:
        shape.dim.add(size=chance.choice(_SIZES))


def _change_tensor(tensor: Any, chance: random.Random) -> None:
    kind = chance.random()
    dtype = DTYPES.get(tensor.dtype)
    if kind < 0.2:
        _change_shape(tensor.tensor_shape, chance)
    elif kind < 0.3:
        tensor.dtype = chance.choice((*DTYPES, 0, 7, 20, 99))
    elif tensor.tensor_content and dtype is not None and not dtype.hasobject:
        data = np.frombuffer(tensor.tensor_content, np.uint8).copy()
        if len(data) and len(data) % dtype.itemsize == 0:
            values = data.view(dtype)
            with np.errstate(all="ignore"):
                odd = chance.choice(FLOATS if dtype.kind == "f" else INTEGERS)
                values[chance.randrange(len(values))] = np.array(odd).astype(dtype)
        tensor.tensor_content = data.tobytes()[: None if chance.random() < 0.9 else -1]
    elif tensor.int_val:
        # The field holds 32 bits.
        changed = integer(chance, tensor.int_val[0])
        tensor.int_val[0] = max(-(1 << 31), min(changed, (1 << 31) - 1))
    elif tensor.float_val:
        tensor.float_val[0] = chance.choice(FLOATS)
