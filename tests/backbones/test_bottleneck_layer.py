from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.backbones.frozen_graphs import FLOAT, pooled
from tlcli.backbone import INPUT, BackboneGraph
from tlcli.backbones.bottleneck_layer import (
    at_layer,
    before_scores,
    has_layer,
    named_layer,
    short_name,
    warn_of_scores,
)
from tlcli.backbones.freezing import NetworkInput
from tlcli.errors import GraphError, UsageError
from tlcli.graph.nodes import const, new_graph, node, placeholder

IMAGES = NetworkInput(8, 8)


def classifier(end: str | None = "Softmax", labels: int = 4, *, width: int = 9) -> BackboneGraph:
    """Return convolution, pooling, a dense layer and its scores, named as Keras names them."""
    kernel = np.ones((3, 3, 3, width), FLOAT)
    nodes = [
        placeholder(INPUT, FLOAT, (None, 8, 8, 3)),
        const("net/conv_1/kernel", kernel),
        node(
            *("net/conv_1/convolution", "Conv2D", [INPUT, "net/conv_1/kernel"]),
            T=FLOAT,
            strides=[1, 1, 1, 1],
            padding="SAME",
        ),
        *pooled("net/pool_1/Mean", "net/conv_1/convolution"),
        const("net/dense_1/kernel", np.ones((width, labels), FLOAT)),
        node("net/dense_1/MatMul", "MatMul", ["net/pool_1/Mean", "net/dense_1/kernel"], T=FLOAT),
    ]
    output = "net/dense_1/MatMul"
    if end is not None:
        nodes.append(node("net/dense_1/Softmax", end, [output], T=FLOAT))
        output = "net/dense_1/Softmax"
    return BackboneGraph(new_graph(nodes), output, labels)


@pytest.mark.parametrize("end", ["Softmax", "Sigmoid", None])
def test_what_feeds_the_scores_is_the_bottleneck(
    end: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    found = before_scores(classifier(end), IMAGES, "the model")

    assert (found.output, found.bottleneck_size) == ("net/pool_1/Mean", 9)
    assert "scores of 4 labels" in caplog.text
    assert "pool_1/Mean (9 numbers)" in caplog.text
    assert "--module_output" in caplog.text


def test_wide_features_of_a_dense_layer_are_left_as_they_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = classifier(None, labels=256)

    assert before_scores(whole, IMAGES, "the model") is whole
    assert not caplog.text


def test_a_narrow_bottleneck_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    whole = classifier(width=3)
    warn_of_scores(at_layer(whole, "net/pool_1/Mean", IMAGES, "it"), "the model")

    assert "has 3 numbers per image" in caplog.text


def test_a_layer_is_named_by_its_node_or_its_scope() -> None:
    whole = classifier()

    for name in ("net/pool_1/Mean", "pool_1/Mean", "pool_1", "pool"):
        assert has_layer(whole.graph, name)
        assert named_layer(whole.graph, whole.output, name, "it") == "net/pool_1/Mean"
    assert not has_layer(whole.graph, "po")
    with pytest.raises(UsageError, match=r"no layer 'po'; its last layers are .*Softmax"):
        named_layer(whole.graph, whole.output, "po", "it")
    with pytest.raises(UsageError, match="several layers called"):
        named_layer(new_graph([*_twin("a"), *_twin("b"), _sum()]), "sum", "same", "it")


def _twin(name: str) -> list[Any]:
    if name == "a":
        return [placeholder("x", FLOAT, (None, 2)), node("a/same/Relu", "Relu", ["x"], T=FLOAT)]
    return [node("b/same/Relu", "Relu", ["x"], T=FLOAT)]


def _sum() -> Any:
    return node("sum", "AddV2", ["a/same/Relu", "b/same/Relu"], T=FLOAT)


def test_short_names_are_found_again() -> None:
    whole = classifier()

    for tensor in ("net/pool_1/Mean", "net/conv_1/convolution"):
        short = short_name(whole.graph, tensor)
        assert len(short) < len(tensor)
        assert named_layer(whole.graph, whole.output, short, "it") == tensor


def test_a_map_is_averaged() -> None:
    found = at_layer(classifier(), "net/conv_1/convolution", IMAGES, "it")

    assert found.bottleneck_size == 9
    assert found.graph.node[-1].op == "Mean"


def test_a_layer_apart_from_the_image_is_refused() -> None:
    whole = classifier()
    with pytest.raises(GraphError, match="does not depend on the image"):
        at_layer(whole, "net/dense_1/kernel", IMAGES, "it")
