from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.errors import GraphError
from tlcli.graph.messages import GraphDef
from tlcli.graph.nodes import const, new_graph, node, placeholder, tensor_to_array
from tlcli.graph.shapes import (
    freeze_shapes,
    infer_shapes,
    placeholder_shape,
    static_input_size,
    widen_batch,
)
from tlcli.graph.surgery import prune
from tlcli.runtime.tensorflow import GraphEngine, import_tensorflow

FLOAT = np.float32
LOGITS = "MobilenetV1/Predictions/Reshape"


def legacy(shared: Path, folder: str) -> Any:
    return GraphDef.FromString((shared / "legacy" / folder / "graph.pb").read_bytes())


def integers(name: str, *numbers: int) -> Any:
    return const(name, np.array(numbers, np.int32))


def window(name: str, op: str, sources: list[str], stride: int, padding: str, **attrs: Any) -> Any:
    strides = [1, stride, stride, 1]
    return node(name, op, sources, T=FLOAT, strides=strides, padding=padding, **attrs)


def weights(name: str, *shape: int) -> Any:
    return const(name, np.zeros(shape, FLOAT))


def test_placeholder_shape() -> None:
    assert placeholder_shape(placeholder("x", FLOAT, [None, 8, 8, 3])) == (None, 8, 8, 3)
    assert placeholder_shape(placeholder("x", FLOAT, None)) is None
    assert placeholder_shape(node("x", "Placeholder", (), dtype=FLOAT)) is None


def test_shapes_agree_with_tensorflow_for_every_layer(shared: Path) -> None:
    tf = import_tensorflow()
    path = shared / "legacy" / "backbones" / "mobilenet_v1_0.25_128" / "frozen_graph.pb"
    graph = GraphDef.FromString(path.read_bytes())
    shapes = infer_shapes(graph, "input")
    holder = tf.Graph()
    with holder.as_default():
        message = tf.compat.v1.GraphDef.FromString(graph.SerializeToString())
        tf.import_graph_def(message, name="")
    for operation in holder.get_operations():
        expected = operation.outputs[0].shape
        assert list(shapes[operation.name]) == expected.as_list(), operation.name
    assert len(shapes) == len(graph.node)


def test_shapes_of_many_operations() -> None:
    graph = new_graph(
        [
            placeholder("x", FLOAT, [None, 9, 8, 3]),
            weights("w", 3, 3, 3, 5),
            window("valid", "Conv2D", ["x", "w"], 2, "VALID"),
            window(
                "explicit",
                "Conv2D",
                ["x", "w"],
                1,
                "EXPLICIT",
                explicit_paddings=[0, 0, 1, 0, 2, 1, 0, 0],
            ),
            window("dilated", "Conv2D", ["x", "w"], 1, "VALID", dilations=[1, 2, 2, 1]),
            window("depth", "DepthwiseConv2dNative", ["x", "w"], 1, "SAME"),
            integers("pads", 0, 0, 1, 1, 2, 0, 0, 0),
            integers("four_two", 4, 2),
            node("table", "Reshape", ["pads", "four_two"]),
            const("pad_table", np.array([[0, 0], [1, 1], [2, 0], [0, 0]], np.int32)),
            node("pad", "Pad", ["x", "pad_table"]),
            integers("axes", 1, 2),
            node("mean", "Mean", ["x", "axes"], keep_dims=False),
            node("kept", "Mean", ["x", "axes"], keep_dims=True),
            integers("perm", 0, 3, 1, 2),
            node("turned", "Transpose", ["x", "perm"]),
            integers("three", 3),
            const("axis", np.int32(3)),
            node("joined", "ConcatV2", ["x", "x", "axis"], N=2),
            node("split", "Split", ["axis", "x"], num_split=3),
            node("squeezed", "Squeeze", ["kept"], squeeze_dims=[1, 2]),
            integers("flat_shape", -1, 216),
            node("flat", "Reshape", ["x", "flat_shape"]),
            weights("m", 216, 7),
            node("dot", "MatMul", ["flat", "m"]),
            weights("b", 7),
            node("sum", "AddV2", ["dot", "b"]),
            integers("size", 4, 6),
            node("resized", "ResizeBilinear", ["x", "size"]),
        ]
    )
    shapes = infer_shapes(graph, "x")
    expected = {
        "valid": (None, 4, 3, 5),
        "explicit": (None, 8, 9, 5),
        "dilated": (None, 5, 4, 5),
        "depth": (None, 9, 8, 15),
        "pad": (None, 11, 10, 3),
        "mean": (None, 3),
        "kept": (None, 1, 1, 3),
        "turned": (None, 3, 9, 8),
        "joined": (None, 9, 8, 6),
        "split:2": (None, 9, 8, 1),
        "squeezed": (None, 3),
        "flat": (None, 216),
        "sum": (None, 7),
        "resized": (None, 4, 6, 3),
    }
    assert {name: shapes.get(name) for name in expected} == expected


def test_nonsense_has_no_shape() -> None:
    graph = new_graph(
        [
            placeholder("x", FLOAT, [None, 2, 2, 3]),
            weights("w", 3, 3, 3, 5),
            window("small", "Conv2D", ["x", "w"], 1, "VALID"),
            node("many", "Unpack", ["x"], num=1 << 62),
            node("strange", "NoSuchOperation", ["x"]),
            integers("far", 9),
            node("mean", "Mean", ["x", "far", "far"]),
            node("short", "MatMul", ["x"]),
        ]
    )
    shapes = infer_shapes(graph, "x")
    assert set(shapes) <= {"x", "w", "far", "mean"}


def test_freeze_shapes_writes_what_keras_computes() -> None:
    begin, end, step = integers("begin", 0), integers("end", 1), integers("step", 1)
    graph = new_graph(
        [
            placeholder("x", FLOAT, [None, 1, 1, 6]),
            node("shape", "Shape", ["x"], T=FLOAT, out_type=np.int32),
            begin,
            end,
            step,
            node(
                "batch",
                "StridedSlice",
                ["shape", "begin", "end", "step"],
                T=np.int32,
                Index=np.int32,
                shrink_axis_mask=1,
            ),
            const("depth", np.int32(2)),
            const("rest", np.int32(3)),
            node("target", "Pack", ["batch", "depth", "rest"], T=np.int32, N=3),
            node("out", "Reshape", ["x", "target"], T=FLOAT, Tshape=np.int32),
        ]
    )
    result = prune(freeze_shapes(graph, "x"), ["out"])
    assert sorted(each.op for each in result.node) == ["Const", "Placeholder", "Reshape"]
    [target] = [each for each in result.node if each.op == "Const"]
    assert tensor_to_array(target.attr["value"].tensor).tolist() == [-1, 2, 3]
    assert GraphEngine(result, "x", "out").run(np.ones((4, 1, 1, 6), FLOAT)).shape == (4, 2, 3)


def test_static_input_size(shared: Path) -> None:
    assert static_input_size(legacy(shared, "banknotes_224"), "input") == (224, 224)
    lost = legacy(shared, "panels_128_optimized")
    assert placeholder_shape(next(each for each in lost.node if each.name == "input")) is None
    assert static_input_size(lost, "input") == (128, 128)
    with pytest.raises(GraphError, match="no layer 'gone'"):
        static_input_size(lost, "gone")
    nothing = new_graph([placeholder("x", FLOAT, None), node("y", "Relu", ["x"])])
    assert static_input_size(nothing, "x") is None


def test_static_input_size_of_the_trunk_of_inception() -> None:
    # The unpadded layers of Inception-v3, from its input to the last pooling.
    layers = [
        (3, 2, "VALID"),
        (3, 1, "VALID"),
        (3, 1, "SAME"),
        (3, 2, "VALID"),
        (1, 1, "VALID"),
        (3, 1, "VALID"),
        (3, 2, "VALID"),
        (3, 2, "VALID"),
        (3, 2, "VALID"),
    ]
    nodes, last = [placeholder("Mul", FLOAT, None)], "Mul"
    for number, (kernel, stride, padding) in enumerate(layers):
        name = f"layer{number}"
        nodes += [weights(f"{name}/w", kernel, kernel, 3, 3)]
        nodes += [window(name, "Conv2D", [last, f"{name}/w"], stride, padding)]
        last = name
    nodes.append(window("pool", "AvgPool", [last], 1, "VALID", ksize=[1, 8, 8, 1]))
    graph = new_graph(nodes)
    assert static_input_size(graph, "Mul") == (299, 299)
    assert infer_shapes(graph, "Mul", (None, 299, 299, 3), ["pool"])["pool"] == (None, 1, 1, 3)


def widened(nodes: list[Any], output: str, batch: int | None = 1) -> tuple[Any, bool]:
    graph = new_graph([placeholder("x", FLOAT, [batch, 4, 4, 2]), *nodes])
    result, any_batch = widen_batch(graph, "x", [output])
    if any_batch:
        images = np.random.default_rng(3).normal(size=(3, 4, 4, 2)).astype(FLOAT)
        engine = GraphEngine(result, "x", output)
        together = engine.run(images)
        alone = np.concatenate([engine.run(images[index : index + 1]) for index in range(3)])
        assert together.shape[0] == 3
        np.testing.assert_allclose(together, alone, atol=1e-6)
    else:
        assert result is graph
    return result, any_batch


def reshape(*sizes: int, source: str = "x") -> list[Any]:
    return [integers("sizes", *sizes), node("y", "Reshape", [source, "sizes"], T=FLOAT)]


@pytest.mark.parametrize("sizes", [(1, 32), (-1, 32), (1, 4, 8), (1, -1), (1, 2, -1)])
def test_reshapes_that_keep_images_apart(sizes: tuple[int, ...]) -> None:
    assert widened(reshape(*sizes), "y")[1]


@pytest.mark.parametrize("sizes", [(32,), (2, 16), (-1, 16), (4, 8), (-1, 64)])
def test_reshapes_that_mix_images(sizes: tuple[int, ...]) -> None:
    assert not widened(reshape(*sizes), "y")[1]


def test_reshapes_of_a_declared_batch() -> None:
    assert widened(reshape(1, 32), "y", batch=None)[1]
    assert not widened(reshape(2, 16), "y", batch=None)[1]


@pytest.mark.parametrize("axes", [[1, 2], []])
def test_squeeze_leaves_the_batch(axes: list[int]) -> None:
    pool = window("p", "AvgPool", ["x"], 1, "VALID", ksize=[1, 4, 4, 1])
    assert widened([pool, node("y", "Squeeze", ["p"], T=FLOAT, squeeze_dims=axes)], "y")[1]


@pytest.mark.parametrize(
    "nodes",
    [
        [node("y", "Squeeze", ["x"], T=FLOAT, squeeze_dims=[0])],
        [integers("a", 0), node("y", "Mean", ["x", "a"], T=FLOAT, keep_dims=True)],
        [integers("a", 0), node("y", "Mean", ["x", "a"], T=FLOAT)],
        [const("a", np.int32(0)), node("y", "ConcatV2", ["x", "x", "a"], T=FLOAT, N=2)],
        [const("c", np.ones((2, 1, 1, 1), FLOAT)), node("y", "Mul", ["x", "c"], T=FLOAT)],
        [integers("p", 1, 0, 2, 3), node("y", "Transpose", ["x", "p"], T=FLOAT)],
        [node("y", "NoSuchOperation", ["x"])],
    ],
)
def test_what_mixes_images_is_not_widened(nodes: list[Any]) -> None:
    assert not widened(nodes, "y")[1]


def test_real_graph_takes_three_images(shared: Path) -> None:
    for folder in ("plates_128", "panels_128_optimized"):
        graph = legacy(shared, folder)
        result, any_batch = widen_batch(graph, "input", [LOGITS], (128, 128))
        assert any_batch
        images = np.random.default_rng(0).uniform(-1, 1, (3, 128, 128, 3)).astype(FLOAT)
        together = GraphEngine(result, "input", LOGITS).run(images)
        engine = GraphEngine(graph, "input", LOGITS)
        alone = np.concatenate([engine.run(images[index : index + 1]) for index in range(3)])
        assert np.abs(together - alone).max() < 2e-5
