"""Frozen graphs that cannot be used, and the messages about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backbones.frozen_graphs import FLOAT, pooled, written
from tlcli.backbones.frozen_graph import find
from tlcli.backbones.model_options import ModelOptions
from tlcli.errors import BackboneError, UsageError
from tlcli.graph.nodes import const, node, placeholder


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a frozen TensorFlow graph"),
        (b"not a graph at all", "not a frozen TensorFlow graph"),
        (b"\x0a\x05\xff\xff\xff", "not a frozen TensorFlow graph"),
        (b"\x18\x01", "not a frozen TensorFlow graph"),
    ],
)
def test_garbage(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(content)
    with pytest.raises(BackboneError, match=message):
        find(path)


def test_places_that_hold_no_graph(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="there is no frozen graph"):
        find(tmp_path / "absent.pb")
    with pytest.raises(BackboneError, match="is a folder"):
        find(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    with pytest.raises(BackboneError, match="give the folder"):
        find(tmp_path / "saved_model.pb")


X = placeholder("x", FLOAT, [None, 4, 4, 3])


@pytest.mark.parametrize(
    ("nodes", "options", "message"),
    [
        ([X, *pooled(), node("r", "Relu", ["x"], T=FLOAT)], {}, "'features', 'r'.*--module_output"),
        ([X, *pooled()], {"bottleneck_layer": "featurs"}, "did you mean 'features'"),
        ([X, *pooled()], {"input_layer": "y"}, "no layer 'y' for --module_input"),
        ([X, node("y", "Relu", ["x"], T=FLOAT)], {}, "gives 4 x 4 x 3 for an image"),
        ([placeholder("x", FLOAT, None), *pooled()], {}, "--input_height and --input_width"),
        ([const("x", np.ones((1, 4, 4, 3), FLOAT)), *pooled()], {}, "no placeholder"),
        (
            [
                X,
                placeholder("z", FLOAT, [None, 4, 4, 3]),
                node("s", "Add", ["x", "z"], T=FLOAT),
                *pooled(source="s"),
            ],
            {},
            "candidates are 'x', 'z'.*--module_input",
        ),
        (
            [placeholder("BottleneckInputPlaceholder", FLOAT, [None, 4]), X],
            {},
            "only a final layer",
        ),
        ([X, node("y", "Relu", ["gone"]), *pooled(source="y")], {}, "reads 'gone'"),
        ([X, node("y", "Relu", ["y"]), *pooled(source="y")], {}, "loop"),
    ],
)
def test_layers_that_cannot_be_told(
    tmp_path: Path, nodes: list[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BackboneError, match=message) as caught:
        find(written(tmp_path, nodes), ModelOptions(**options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "options", "message"),
    [
        ([X, node("y", "PyFunc", ["x"]), *pooled(source="y")], {}, "operation PyFunc"),
        (
            [
                X,
                node("v", "VariableV2"),
                node("y", "Add", ["x", "v"], T=FLOAT),
                *pooled(source="y"),
            ],
            {},
            "is a VariableV2.*not frozen",
        ),
        (
            [
                X,
                placeholder("keep", FLOAT, []),
                node("y", "Mul", ["x", "keep"], T=FLOAT),
                *pooled(source="y"),
            ],
            {},
            "needs the input 'keep'",
        ),
        ([X, *pooled()], {"bottleneck_layer": "x", "input_layer": "features"}, "does not depend"),
    ],
)
def test_graphs_that_cannot_be_run(
    tmp_path: Path, nodes: list[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BackboneError, match=message):
        find(
            written(tmp_path, nodes),
            ModelOptions(input_mean=0, input_height=4, input_width=4, **options),
        ).load_graph()


def test_trust_lets_an_operation_through_that_is_named_without(tmp_path: Path) -> None:
    """One that TensorFlow knows, that is not on the list, and that does no harm."""
    nodes = [X, node("y", "BesselI0e", ["x"], T=FLOAT), *pooled(source="y")]
    options = {"input_mean": 0, "input_height": 4, "input_width": 4}
    path = written(tmp_path, nodes)
    with pytest.raises(BackboneError, match=r"operation BesselI0e.*--trust"):
        find(path, ModelOptions(**options)).load_graph()
    loaded = find(path, ModelOptions(trust=True, **options)).load_graph()
    assert any(each.op == "BesselI0e" for each in loaded.graph.node)


def test_an_operation_beside_the_layers_is_refused_too(tmp_path: Path) -> None:
    path = written(tmp_path, [X, *pooled(), node("aside", "ReadFile", ["x"])])
    options = {"input_mean": 0, "input_height": 4, "input_width": 4, "bottleneck_layer": "features"}
    with pytest.raises(BackboneError, match=r"'aside' is the operation ReadFile.*--trust"):
        find(path, ModelOptions(**options)).load_graph()
    trusted = find(path, ModelOptions(trust=True, **options)).load_graph()
    assert all(each.op != "ReadFile" for each in trusted.graph.node)


@pytest.mark.parametrize(
    "options",
    [{"input_std": 0}, {"input_mean": float("nan")}, {"input_height": 0}, {"input_width": 10**9}],
)
def test_values_that_cannot_work(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        find(tmp_path / "graph.pb", ModelOptions(**options))


def test_damaged_bytes_never_give_anything_but_our_error(shared: Path, tmp_path: Path) -> None:
    content = (shared / "legacy" / "mirror_128_quantized" / "graph.pb").read_bytes()
    rng = np.random.default_rng(11)
    path = tmp_path / "graph.pb"
    messages: list[str] = []
    for number in range(40):
        damaged = bytearray(content)
        if number % 2:
            del damaged[int(rng.integers(1, len(damaged))) :]
        else:
            for place in rng.integers(0, len(damaged), 300):
                damaged[place] = int(rng.integers(0, 256))
        path.write_bytes(bytes(damaged))
        try:
            find(path, ModelOptions(input_mean=0)).load_graph()
        except BackboneError as error:
            messages.append(str(error))
    assert len(messages) >= 20
    assert not any("\n" in message for message in messages)
