from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tlcli.backbones.keras_hub.plain import plain_tokens
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.runtime.tensorflow import GraphEngine

F, INT = np.float32, np.int32


def integers(name: str, values: Any) -> Any:
    return const(name, np.array(values, INT))


def random(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(len(shape)).normal(0, 1, shape).astype(F)


def _first_size(of: str) -> list[Any]:
    return [
        node("shape", "Shape", [of], T=F, out_type=INT),
        *(integers(f"at_{number}", [number]) for number in (0, 1)),
        node(
            "batch", "StridedSlice", ["shape", "at_0", "at_1", "at_1"], T=INT, Index=INT,
            shrink_axis_mask=1, begin_mask=0, end_mask=0, ellipsis_mask=0, new_axis_mask=0,
        ),
        integers("one", 1), integers("four", 4), integers("rest", -1), integers("axis", 1),
    ]  # fmt: skip


def _tokens(order: str) -> Any:
    """Return a graph that joins patches ("p") and two tokens ("t") for each image."""
    join = [{"p": "patches", "t": "tokens"}[each] for each in order]
    return new_graph([
        placeholder("x", F, [None, 3, 2, 4]),
        *_first_size("x"),
        node("sizes", "Pack", ["batch", "rest", "four"], T=INT, N=3, axis=0),
        node("patches", "Reshape", ["x", "sizes"], T=F, Tshape=INT),
        node("times", "Pack", ["batch", "one", "one"], T=INT, N=3, axis=0),
        const("token", random(1, 2, 4)),
        node("tokens", "Tile", ["token", "times"], T=F, Tmultiples=INT),
        node("out", "ConcatV2", [*join, "axis"], T=F, N=len(join), Tidx=INT),
    ])  # fmt: skip


def _run(graph: Any, images: Any) -> Any:
    with GraphEngine(graph, "x", "out") as engine:
        return engine.run(images)


@pytest.mark.parametrize("order", ["tp", "pt", "tpt", "ptp", "ttpp"])
def test_repeated_tokens_become_zeros_around_patches(order: str) -> None:
    graph, images = _tokens(order), random(2, 3, 2, 4)

    plain = plain_tokens(graph, "x", "out")

    assert not {"Tile", "Shape", "Pack"} & {each.op for each in plain.node}
    np.testing.assert_array_equal(_run(plain, images), _run(graph, images))


@pytest.mark.parametrize(
    ("equation", "left", "right"),
    [
        ("btnh,bsnh->bnts", (5, 2, 3), (4, 2, 3)),
        ("bnts,bsnh->btnh", (2, 5, 4), (4, 2, 3)),
        ("bth,bsh->bts", (5, 3), (4, 3)),
        ("bth,bsh->bst", (5, 3), (4, 3)),
    ],
)
def test_einsum_becomes_a_product_of_matrices(
    equation: str, left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    graph = new_graph(
        [
            placeholder("x", F, [None, *left]),
            const("other", random(1, *right)),
            node("out", "Einsum", ["x", "other"], T=F, N=2, equation=equation),
        ]
    )
    images = random(1, *left)

    plain = plain_tokens(graph, "x", "out")

    assert "Einsum" not in {each.op for each in plain.node}
    np.testing.assert_allclose(_run(plain, images), _run(graph, images), rtol=1e-5, atol=1e-5)


def test_what_is_of_another_form_stays() -> None:
    graph = new_graph(
        [
            placeholder("x", F, [None, 5, 3]),
            const("other", random(1, 5, 3)),
            node("out", "Einsum", ["x", "other"], T=F, N=2, equation="bth,bth->bt"),
        ]
    )
    assert [each.op for each in plain_tokens(graph, "x", "out").node][-1] == "Einsum"
