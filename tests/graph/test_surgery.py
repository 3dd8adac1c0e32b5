from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.errors import GraphError
from tlcli.graph import safety as graph_safety
from tlcli.graph.messages import GraphDef
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.graph.simplify import simplify
from tlcli.graph.surgery import (
    PLAIN_OPERATIONS,
    data_inputs,
    prune,
    redirect,
    rename_nodes,
    replace_input,
    spell_tensor,
    split_tensor,
    strip_identities,
    take_name,
)
from tlcli.runtime.tensorflow import GraphEngine

FLOAT = np.float32


def names(graph: Any) -> list[str]:
    return [each.name for each in graph.node]


def inputs_of(graph: Any, name: str) -> list[str]:
    return next(list(each.input) for each in graph.node if each.name == name)


@pytest.mark.parametrize(
    ("tensor", "parts"),
    [
        ("a/b", ("a/b", 0)),
        ("a:2", ("a", 2)),
        ("^a", ("a", -1)),
        ("a:0", ("a", 0)),
        ("a:", ("a:", 0)),
    ],
)
def test_split_tensor(tensor: str, parts: tuple[str, int]) -> None:
    assert split_tensor(tensor) == parts
    assert split_tensor(spell_tensor(*parts)) == parts


def test_prune_orders_and_drops() -> None:
    graph = new_graph(
        [
            node("out", "Add", ["double", "x:0", "^guard"], T=FLOAT, _class=["loc:@x"]),
            node("unused", "Relu", ["x"], T=FLOAT),
            node("double", "Mul", ["x", "two"], T=FLOAT),
            node("guard", "Assert", ["x"]),
            const("two", FLOAT(2)),
            placeholder("x", FLOAT, [None]),
        ]
    )
    graph.node[2].device = "/gpu:0"
    result = prune(graph, ["out:0"])
    assert set(names(result)) == {"x", "two", "double", "out"}
    for position, each in enumerate(result.node):
        assert all(source in names(result)[:position] for source, _ in data_inputs(each))
    assert inputs_of(result, "out") == ["double", "x:0"]
    assert all(not each.device and "_class" not in each.attr for each in result.node)
    assert result.versions == graph.versions
    assert graph.node[2].device == "/gpu:0"  # the given graph is left alone


def test_functions_stay_only_where_one_is_called() -> None:
    graph = new_graph([placeholder("x", FLOAT, [None]), node("y", "Relu", ["x"], T=FLOAT)])
    graph.library.function.add().signature.name = "f"
    assert not prune(graph, ["y"]).HasField("library")
    graph.node[1].attr["f"].func.name = "f"
    assert len(prune(graph, ["y"]).library.function) == 1


def test_functions_called_by_the_type_of_a_node_stay() -> None:
    graph = new_graph([placeholder("x", "float32", None), node("call", "twice", ["x"])])
    graph.library.function.add().signature.name = "twice"

    kept = prune(graph, ["call"])

    assert [function.signature.name for function in kept.library.function] == ["twice"]


def test_a_function_named_like_an_operation_lets_no_operation_through(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    path = const("path", np.array(str(secret).encode(), dtype=object))
    graph = new_graph([path, node("text", "ReadFile", ["path"])])
    graph.library.function.add().signature.name = "ReadFile"
    graph_safety.check_operations(graph)

    # What the check took for a call of that function is never the operation itself.
    with pytest.raises(GraphError, match="ReadFile"):
        GraphEngine(prune(graph, ["text"]), "path", "text")


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("a", "Relu", ["b"]), node("b", "Relu", ["a"])], "loop"),
        ([node("a", "Relu", ["a"])], "loop"),
        ([node("a", "Relu", ["gone"])], "'a' reads 'gone'"),
        ([node("b", "Relu")], "no layer 'a'"),
        ([node("a", "Relu"), node("a", "Relu")], "'a' is empty or occurs twice"),
    ],
)
def test_damaged_graphs(nodes: list[Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        prune(new_graph(nodes), ["a"])


def test_prune_follows_ten_thousand_nodes() -> None:
    chain = [placeholder("n0", FLOAT, [])]
    chain += [node(f"n{i}", "Add", [f"n{i - 1}", f"n{i - 1}"], T=FLOAT) for i in range(1, 10_000)]
    assert names(prune(new_graph(reversed(chain)), ["n9999"])) == [f"n{i}" for i in range(10_000)]


def test_rename() -> None:
    graph = new_graph(
        [placeholder("x", FLOAT, []), node("y", "Split", ["x"]), node("z", "Add", ["y:1", "^x"])]
    )
    result = rename_nodes(graph, lambda name: f"a/{name}")
    assert names(result) == ["a/x", "a/y", "a/z"]
    assert inputs_of(result, "a/z") == ["a/y:1", "^a/x"]
    with pytest.raises(GraphError, match="same name"):
        rename_nodes(graph, lambda _: "same")


def test_take_name() -> None:
    taken = {"b"}
    assert [take_name("a", taken) for _ in range(3)] == ["a", "a_1", "a_2"]
    assert taken == {"a", "a_1", "a_2", "b"}


def test_replace_input_in_the_middle() -> None:
    graph = new_graph(
        [
            placeholder("jpeg", np.int32, []),
            node("resize", "ResizeBilinear", ["jpeg"]),
            node("sub", "Sub", ["resize:0", "jpeg"]),
        ]
    )
    new = [placeholder("Placeholder", FLOAT, [1, 2, 2, 3]), node("s", "Neg", ["Placeholder"])]
    result = replace_input(graph, "resize:0", new)
    assert inputs_of(result, "sub") == ["s", "jpeg"]
    assert names(result)[:2] == ["Placeholder", "s"]
    assert "resize" not in names(prune(result, ["sub"]))
    with pytest.raises(GraphError, match="no layer 'gone'"):
        replace_input(graph, "gone", new)
    with pytest.raises(GraphError, match="already has a node 'sub'"):
        replace_input(graph, "resize", [placeholder("sub", FLOAT, [])])
    same = replace_input(graph, "jpeg", [placeholder("jpeg", FLOAT, [None])])
    assert names(same).count("jpeg") == 1


def test_redirect_takes_one_output_only() -> None:
    graph = new_graph([node("a", "Split"), node("b", "Add", ["a", "a:1"])])
    assert inputs_of(redirect(graph, {("a", 1): "c"}), "b") == ["a", "c"]


def test_strip_identities() -> None:
    graph = new_graph(
        [
            placeholder("x", FLOAT, [None, 2]),
            const("w", np.ones((2, 2), FLOAT)),
            node("w/read", "Identity", ["w", "^x"], T=FLOAT),
            node("check", "CheckNumerics", ["x"], T=FLOAT, message="no"),
            node("stop", "StopGradient", ["check"], T=FLOAT),
            node("pair", "IdentityN", ["stop", "w/read"], T=[FLOAT, FLOAT]),
            node("dot", "MatMul", ["pair:0", "pair:1"], T=FLOAT),
            node("default", "PlaceholderWithDefault", ["dot"], dtype=FLOAT),
        ]
    )
    result = strip_identities(graph, ["default"])
    assert names(result) == ["x", "w", "dot", "default"]
    assert inputs_of(result, "dot") == ["x", "w"]
    assert [each.op for each in result.node][-1] == "Identity"
    value = GraphEngine(result, "x", "default").run(np.ones((1, 2), FLOAT))
    assert value.tolist() == [[2.0, 2.0]]


def test_simplify_takes_a_placeholder_with_default_as_input() -> None:
    graph = new_graph(
        [
            const("zero", np.zeros((1, 2), FLOAT)),
            node("x", "PlaceholderWithDefault", ["zero"], dtype=FLOAT),
            node("y", "Relu", ["x"], T=FLOAT),
        ]
    )
    result = simplify(graph, "x", ["y"])
    assert [each.op for each in result.node] == ["Placeholder", "Relu"]
    with pytest.raises(GraphError, match="do not depend on the input"):
        simplify(graph, "y", ["zero"])


@pytest.mark.parametrize(
    ("folder", "nodes"),
    [("plates_128", 144), ("panels_128_optimized", 144), ("mirror_128_quantized", 144)],
)
def test_simplify_real_graphs(shared: Path, folder: str, nodes: int) -> None:
    graph = GraphDef.FromString((shared / "legacy" / folder / "graph.pb").read_bytes())
    output = "MobilenetV1/Predictions/Reshape"
    result = simplify(graph, "input", [output])
    assert {node.op for node in result.node} <= PLAIN_OPERATIONS
    assert len(result.node) == nodes
    assert not {each.op for each in result.node} & {"Mul", "Add", "Sub", "Rsqrt", "Identity"}
    image = np.random.default_rng(0).uniform(-1, 1, (1, 128, 128, 3)).astype(FLOAT)
    before, after = (GraphEngine(each, "input", output).run(image) for each in (graph, result))
    assert np.abs(before - after).max() <= 1e-5 * np.abs(before).max()
    again = simplify(result, "input", [output])
    assert len(again.node) == nodes
