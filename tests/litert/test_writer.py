"""Every operation that the writer knows gives in LiteRT what it gives in TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.litert.cases import (
    CASES,
    F,
    conv,
    gelu,
    graph,
    integers,
    random,
    window,
)
from tlcli.core.model_spec.input_inference import examine
from tlcli.core.model_spec.input_spec import InputOverrides
from tlcli.core.model_spec.origins import specify
from tlcli.errors import GraphError
from tlcli.graph.nodes import const, node, placeholder
from tlcli.graph.safety import read_graph
from tlcli.graph.simplify import simplify
from tlcli.litert.interpreter import LiteRTEngine
from tlcli.litert.operators import CONVERTERS
from tlcli.litert.writer import UnsupportedGraphError, write_model
from tlcli.runtime.tensorflow import GraphEngine


def with_plain_pads(built: Any) -> Any:
    """Return the graph with padding that TensorFlow does as it stands.

    With oneDNN it joins each ``Pad`` with the convolution behind it, also where channels are
    padded, and then refuses to run that.
    """
    changed = type(built)()
    changed.CopyFrom(built)
    for found in changed.node:
        if found.op == "Pad":
            found.op = "PadV2"
            found.input.append("nothing")
    changed.node.extend([const("nothing", np.array(0, F))])
    return changed


@pytest.mark.parametrize("name", CASES)
def test_operations_give_what_tensorflow_gives(name: str) -> None:
    built = graph(CASES[name])
    output = built.node[-1].name
    engine = LiteRTEngine(write_model(built, "x", output))
    with GraphEngine(with_plain_pads(built), "x", output) as tensorflow:
        for count in (1, 3):
            images = np.random.default_rng(count).normal(0, 2, (count, 9, 10, 3)).astype(F)
            expected = tensorflow.run(images)
            given = engine._invoke(images)
            assert given.shape == expected.shape
            np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)


def test_a_dilated_depthwise_convolution_is_a_sparse_convolution() -> None:
    # TensorFlow has no depthwise convolution with gaps on processors.
    weights = random(3, 3, 3, 2)
    full = np.zeros((3, 3, 3, 6), F)
    for channel in range(3):
        full[:, :, channel, 2 * channel : 2 * channel + 2] = weights[:, :, channel]
    gaps = {"dilations": [1, 2, 2, 1]}
    sparse = graph([const("w", weights), window("DepthwiseConv2dNative", "x", "w", **gaps)])
    dense = graph([const("w", full), window("Conv2D", "x", "w", **gaps)])
    images = random(2, 9, 10, 3)
    given, expected = (
        LiteRTEngine(write_model(each, "x", "window")).run(images) for each in (sparse, dense)
    )
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)


def test_every_operation_has_a_case() -> None:
    used = {each.op for nodes in CASES.values() for each in nodes}
    assert set(CONVERTERS) <= used


def operators(content: bytes) -> list[str]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    names = {number: name for name, number in vars(schema.BuiltinOperator).items()}
    codes = [names[code.builtinCode] for code in model.operatorCodes]
    return [codes[each.opcodeIndex] for each in model.subgraphs[0].operators]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conv bias relu6", ["CONV_2D"]),
        ("depthwise bias relu", ["DEPTHWISE_CONV_2D"]),
        ("dense bias relu", ["RESHAPE", "FULLY_CONNECTED"]),
        ("AddV2 of two", ["TANH", "ADD"]),
        ("pad as same", ["CONV_2D"]),
        ("pad as same with a stride", ["CONV_2D"]),
        ("pad unlike same", ["PAD", "CONV_2D"]),
        ("conv explicit as same", ["CONV_2D"]),
        ("conv relu read twice", ["CONV_2D", "RELU", "SUB"]),
        ("identity", ["TANH"]),
    ],
)
def test_what_is_fused(name: str, expected: list[str]) -> None:
    assert operators(write_model(graph(CASES[name]), "x", CASES[name][-1].name)) == expected


def test_an_output_in_the_middle_is_not_fused_away() -> None:
    built = graph(CASES["conv bias relu6"])
    engine = LiteRTEngine(write_model(built, "x", "window"))
    images = random(1, 9, 10, 3)
    with GraphEngine(built, "x", "window") as tensorflow:
        np.testing.assert_allclose(engine.run(images), tensorflow.run(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["conv bias relu6", "identity", "dense softmax"])
def test_names_shapes_and_bytes(name: str) -> None:
    built = graph(CASES[name])
    content = write_model(built, "x", "out:0")
    engine = LiteRTEngine(content)
    assert (engine.input_name, engine.output_name) == ("x", "out")
    assert engine.input_shape == (None, 9, 10, 3)
    assert engine.output_shape[0] is None
    assert None not in engine.output_shape[1:]
    assert content == write_model(built, "x", "out")


def test_a_batch_of_one_stays_fixed() -> None:
    built = graph(CASES["conv bias relu6"], [1, 9, 10, 3])
    assert LiteRTEngine(write_model(built, "x", "out")).input_shape == (1, 9, 10, 3)


def test_the_graph_is_not_changed() -> None:
    built = graph(CASES["identity"])
    before = built.SerializeToString(deterministic=True)
    write_model(built, "x", "out")
    assert built.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([node("out", "Erfinv", ["x"], T=F)], "Erfinv.*not known how"),
        ([node("out", "Relu", ["x"], T=np.float64)], "no float32"),
        ([*conv()[:1],
          node("out", "Conv2D", ["x", "w"], T=F, data_format="NCHW", padding="SAME")], "channels"),
        ([const("w", random(3, 3, 3, 4)), node("v", "Tanh", ["w"], T=F),
          node("out", "Conv2D", ["x", "v"], T=F, padding="SAME")], "input 1 is not constant"),
        ([node("out", "Squeeze", ["x"], T=F)], "shape cannot be inferred"),
        ([placeholder("y", F, [None, 9, 10, 3]), node("out", "AddV2", ["x", "y"], T=F)], "second"),
        ([node("out", "Identity", ["x"], T=F)], "is the input itself"),
        ([integers("c", [1, 2, 3]), node("out", "AddV2", ["x", "c"], T=F)], "type int32"),
        ([const("out", random(3))], "does not depend"),
        ([node("out", "Erfc", ["x"], T=F)], "no part of a GELU"),
        (gelu(half=0.4), "no part of a GELU"),
    ],
)  # fmt: skip
def test_what_is_unknown_is_refused(nodes: list[Any], reason: str) -> None:
    with pytest.raises(UnsupportedGraphError, match=reason):
        write_model(graph(nodes), "x", "out")


def test_an_input_of_unknown_size_is_refused() -> None:
    with pytest.raises(UnsupportedGraphError, match="known size"):
        write_model(graph(CASES["tanh"], [None, None, None, 3]), "x", "out")


def test_an_absent_output_is_an_error() -> None:
    with pytest.raises(GraphError, match="no layer 'nothing'"):
        write_model(graph(CASES["tanh"]), "x", "nothing")


def test_nothing_heavy_is_imported() -> None:
    program = (
        "import sys\n"
        "from tlcli.backbones.efficientnet_lite import find\n"
        "from tlcli.litert.writer import write_model\n"
        "graph = find('efficientnet_lite0').load_graph()\n"
        "content = write_model(graph.graph, 'Placeholder', graph.output)\n"
        "assert content[4:8] == b'TFL3'\n"
        "print(sorted({'tensorflow', 'keras', 'ai_edge_litert'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


FOLDERS = (
    "banknotes_224",
    "hub_style_128_synthetic",
    "inception2015_style_synthetic",
    "mirror_128_quantized",
    "panels_128_optimized",
    "plates_128",
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_graphs_of_the_original_tools(folder: str, shared: Path) -> None:
    wants = examine(read_graph(shared / "legacy" / folder / "graph.pb"))
    spec = specify(wants.facts, InputOverrides())
    plain = simplify(wants.graph, wants.input, [wants.output])
    engine = LiteRTEngine(write_model(plain, wants.input, wants.output))
    images = np.random.default_rng(0).random((3, spec.height, spec.width, 3), dtype=F)
    raw = images * 255
    images = (raw - F(spec.scaling.mean)) / F(spec.scaling.std)
    with GraphEngine(wants.graph, wants.input, wants.output) as tensorflow:
        for count in (1, 3):
            expected = tensorflow.run(images[:count])
            np.testing.assert_allclose(engine._invoke(images[:count]), expected, atol=1e-5)
