"""Graph files of a few bytes that would take all memory."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.backbones import frozen_graph
from tlcli.backbones.model_options import ModelOptions
from tlcli.core.classifier.loading import load
from tlcli.errors import GraphError, TlcliError
from tlcli.graph.folding import fold_constants
from tlcli.graph.limits import (
    MessageLimits,
    check_constants,
    check_inputs,
    check_messages,
    check_sizes,
)
from tlcli.graph.messages import GraphDef, SavedModel
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.graph.safety import check_operations, check_saved_model, read_graph


def filled(name: str, *dims: int) -> Any:
    """Return a constant of one value that stands for all."""
    made = const(name, np.float32(1))
    for size in dims:
        made.attr["value"].tensor.tensor_shape.dim.add(size=size)
    return made


def network(*nodes: Any, output: str) -> Any:
    """Return a graph of images 8 x 8 whose scores come from ``output`` by a mean."""
    return new_graph(
        [
            placeholder("image", np.float32, (None, 8, 8, 3)),
            *nodes,
            const("axes", np.array([1, 2], np.int32)),
            node("mean", "Mean", [output, "axes"], T=np.float32, Tidx=np.int32, keep_dims=False),
            node("final_result", "Softmax", ["mean"], T=np.float32),
        ]
    )


BOMBS = {
    "repeated value": network(
        filled("huge", 1_000_000_000, 1_000_000_000),
        node("sum", "AddV2", ["image", "huge"], T=np.float32),
        output="sum",
    ),
    "resize": network(
        const("size", np.array([100_000, 100_000], np.int32)),
        node("resize", "ResizeBilinear", ["image", "size"], T=np.float32),
        output="resize",
    ),
    "bicubic": network(
        const("size", np.array([100_000, 100_000], np.int32)),
        node("resize", "ResizeBicubic", ["image", "size"], T=np.float32),
        output="resize",
    ),
    "tile": network(
        const("by", np.array([1, 10_000, 10_000, 1], np.int32)),
        node("tile", "Tile", ["image", "by"], T=np.float32, Tmultiples=np.int32),
        output="tile",
    ),
    "fill": network(
        const("dims", np.array([1, 100_000, 100_000, 3], np.int32)),
        const("one", np.float32(1)),
        node("fill", "Fill", ["dims", "one"], T=np.float32, index_type=np.int32),
        node("sum", "AddV2", ["image", "fill"], T=np.float32),
        output="sum",
    ),
    "broadcast": network(
        const("dims", np.array([1, 100_000, 100_000, 3], np.int32)),
        const("one", np.float32(1)),
        node("spread", "BroadcastTo", ["one", "dims"], T=np.float32, Tidx=np.int32),
        node("sum", "AddV2", ["image", "spread"], T=np.float32),
        output="sum",
    ),
    "outer product": network(
        const("axes_of_one", np.array([1, 1_000_000, 1, 1], np.int32)),
        const("axes_of_other", np.array([1, 1, 1_000_000, 1], np.int32)),
        const("one", np.float32(1)),
        node("rows", "BroadcastTo", ["one", "axes_of_one"], T=np.float32, Tidx=np.int32),
        node("columns", "BroadcastTo", ["one", "axes_of_other"], T=np.float32, Tidx=np.int32),
        node("product", "Mul", ["rows", "columns"], T=np.float32),
        node("shrunk", "Mean", ["product", "axes"], T=np.float32, Tidx=np.int32, keep_dims=True),
        node("sum", "AddV2", ["image", "shrunk"], T=np.float32),
        output="sum",
    ),
    "padding": network(
        const("pads", np.array([[0, 0], [0, 100_000], [0, 100_000], [0, 0]], np.int32)),
        node("pad", "Pad", ["image", "pads"], T=np.float32, Tpaddings=np.int32),
        output="pad",
    ),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_graph_that_would_take_all_memory_is_not_run(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(BOMBS[kind].SerializeToString())
    assert path.stat().st_size < 2000
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(GraphError, match=r"was not run|impossible shape") as error:
        load(path)
    assert "\n" not in str(error.value)
    with pytest.raises(TlcliError):
        frozen_graph.find(
            path,
            ModelOptions(
                bottleneck_layer="mean", input_height=8, input_width=8, input_mean=0, input_std=1
            ),
        ).load_graph()
    # In KiB on Linux: nothing of what was asked for was taken.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000


def test_a_repeated_value_hides_nowhere() -> None:
    bomb = filled("huge", 1 << 20, 1 << 20)
    graph = new_graph([const("one", 1.0)])
    function = graph.library.function.add()
    function.signature.name = "body"
    function.node_def.append(bomb)
    with pytest.raises(GraphError, match="'huge' has the shape"):
        check_operations(graph)
    listed = node("many", "IdentityN")
    listed.attr["values"].list.tensor.append(bomb.attr["value"].tensor)
    with pytest.raises(GraphError, match="'many' has the shape"):
        check_constants([listed], "x.pb")
    with pytest.raises(GraphError, match="'odd' has the shape"):
        check_constants([filled("odd", 1 << 62, 0)], "x.pb")
    many = [filled(f"part{number}", 1 << 26) for number in range(5)]
    check_constants(many[:4], "x.pb")
    with pytest.raises(GraphError, match="its constants would take"):
        check_constants(many, "x.pb")


def test_a_repeated_value_in_a_saved_model_is_refused(tmp_path: Path) -> None:
    model = SavedModel()
    model.meta_graphs.add().graph_def.node.append(filled("huge", 1 << 20, 1 << 20))
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(GraphError, match="'huge' has the shape"):
        check_saved_model(tmp_path)


def test_many_computed_constants_together() -> None:
    nodes = [const("dims", np.array([1000], np.int32)), const("one", np.float32(1))]
    nodes += [node(f"fill{n}", "Fill", ["dims", "one"], T=np.float32) for n in range(2)]
    nodes.append(node("sum", "AddV2", ["fill0", "fill1"], T=np.float32))
    with pytest.raises(GraphError, match="constants of more than"):
        fold_constants(new_graph(nodes), ["sum"], 5000)
    folded = fold_constants(new_graph(nodes), ["sum"], 50_000)
    assert [each.name for each in folded.node] == ["sum"]


def test_sizes_that_networks_have_pass(shared: Path) -> None:
    """The message of one empty message a node is far above what any graph holds."""
    for path in shared.glob("legacy/**/*.pb"):
        graph = read_graph(path)
        check_operations(graph)
        name = next(each.name for each in graph.node if each.op.startswith("Placeholder"))
        check_sizes(graph, name, [graph.node[-1].name], (224, 224), path.name)


def test_messages_of_empty_messages_are_counted() -> None:
    limits = MessageLimits(small_file=1000, most_messages=7500)
    graph = new_graph()
    graph.node.extend([const(f"n{number}", 1.0) for number in range(500)])
    check_messages(graph.SerializeToString(), GraphDef, "x.pb", limits)
    with pytest.raises(GraphError, match="more than 7,500 parts"):
        check_messages(b"\x0a\x00" * 8000, GraphDef, "x.pb", limits)  # empty nodes
    holder = node("list", "IdentityN")
    for _ in range(8000):
        holder.attr["values"].list.tensor.add()
    with pytest.raises(GraphError, match="more than 7,500 parts"):
        check_messages(new_graph([holder]).SerializeToString(), GraphDef, "x.pb", limits)
    # Damage is left to the reader.
    for damaged in (b"\x0a\xff\xff\xff\xff\x0f" * 500, b"\xff" * 3000, b"\x0f" * 3000):
        check_messages(damaged, GraphDef, "x.pb", limits)


def test_nesting_ends_in_a_sentence(tmp_path: Path) -> None:
    inner = b""
    for _ in range(5000):  # functions within attributes within functions
        entry = b"\x0a\x01a\x12" + _length(b"\x52" + _length(inner))
        inner = b"\x12" + _length(entry)
    graph = b"\x0a" + _length(
        b"\x0a\x01n\x12\x01N\x2a" + _length(b"\x12" + _length(b"\x52" + _length(inner)))
    )
    path = tmp_path / "deep.pb"
    path.write_bytes(graph)
    with pytest.raises(GraphError, match="another kind or damaged"):
        read_graph(path)


def _length(content: bytes) -> bytes:
    size, written = len(content), b""
    while size > 127:
        written += bytes([size & 127 | 128])
        size >>= 7
    return written + bytes([size]) + content


def test_an_operation_that_lacks_a_tensor() -> None:
    nodes = [
        placeholder("images", np.float32, [None, 8, 8, 3]),
        node("flat", "Reshape", ["images", "^images"]),
    ]
    with pytest.raises(GraphError, match=r"its Reshape 'flat' reads 1 tensors in place of 2"):
        check_inputs(nodes, "g.pb")
