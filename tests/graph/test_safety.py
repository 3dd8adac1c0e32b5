"""Refusing what a model file should not do; no TensorFlow here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.backbones import frozen_graph
from tlcli.core.classifier.loading import load
from tlcli.errors import BackboneError, GraphError
from tlcli.graph import safety as graph_safety
from tlcli.graph.messages import GraphDef, SavedModel
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.graph.safety import (
    check_operations,
    check_saved_model,
    read_graph,
    read_saved_model,
)

FROZEN = [
    "plates_128/graph.pb",
    "banknotes_224/graph.pb",
    "panels_128_optimized/graph.pb",
    "mirror_128_quantized/graph.pb",
    "hub_style_128_synthetic/graph.pb",
    "inception2015_style_synthetic/graph.pb",
    "backbones/mobilenet_v1_0.25_128/frozen_graph.pb",
]

_REFUSED = """
    ReadFile WriteFile PyFunc EagerPyFunc PyFuncStateless SaveV2 RestoreV2 Assign AssignVariableOp
    MatchingFiles RemoteCall Send Recv PrintV2 InitializeTableFromTextFileV2 LoadLibrary
    TextLineReaderV2 NotYetInvented
"""


@pytest.mark.parametrize("name", FROZEN)
def test_graphs_of_every_generation_pass(shared: Path, name: str) -> None:
    check_operations(read_graph(shared / "legacy" / name))


@pytest.mark.parametrize(
    "operation",
    _REFUSED.split(),
)
def test_an_operation_outside_inference_is_refused_by_name(operation: str) -> None:
    graph = new_graph([placeholder("input", "float32", None), node("evil", operation, ["input"])])
    with pytest.raises(GraphError) as error:
        check_operations(graph, "old.pb")
    for part in ("old.pb", operation, "'evil'", "--trust"):
        assert part in str(error.value)


def add_function(graph: Any, name: str, *nodes: Any) -> None:
    function = graph.library.function.add()
    function.signature.name = name
    function.node_def.extend(nodes)


def test_operations_are_looked_for_in_every_function() -> None:
    graph = new_graph([node("call", "StatefulPartitionedCall")])
    add_function(graph, "harmless", node("sum", "AddV2"))
    check_operations(graph)
    add_function(graph, "body", node("inner", "WriteFile"))
    with pytest.raises(GraphError, match="WriteFile"):
        check_operations(graph)


def test_a_node_may_call_a_function_by_its_type() -> None:
    graph = new_graph([node("call", "my_function")])
    with pytest.raises(GraphError, match="my_function"):
        check_operations(graph)
    add_function(graph, "my_function", node("sum", "AddV2"))
    check_operations(graph)


def test_a_graph_with_variables_is_called_not_frozen() -> None:
    with pytest.raises(GraphError, match="not frozen"):
        check_operations(new_graph([node("weights", "VariableV2")]))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"this is no graph at all", "another kind or damaged"),
        (bytes(range(256)), "another kind or damaged"),
        # A message of another kind may parse; its fields are then in the wrong places.
        (b"\x18\x01", "it holds no operations"),
    ],
)
def test_what_is_no_graph_gets_a_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(content)
    with pytest.raises(GraphError, match="is not a frozen graph: ") as error:
        read_graph(path)
    assert reason in str(error.value)
    assert str(path) in str(error.value)


def test_a_cut_graph_is_refused(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.pb"
    path.write_bytes((shared / "legacy/plates_128/graph.pb").read_bytes()[:100_000])
    with pytest.raises(GraphError, match="is not a frozen graph"):
        read_graph(path)


def test_an_absent_graph_and_a_folder_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="there is no graph at"):
        read_graph(tmp_path / "absent.pb")
    with pytest.raises(GraphError, match="cannot read"):
        read_graph(tmp_path)


def test_a_file_above_the_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_safety, "MAXIMUM_BYTES", 10)
    path = tmp_path / "graph.pb"
    path.write_bytes(b"x" * 11)
    with pytest.raises(GraphError, match="2 GB at most"):
        read_graph(path)


def saved_model(
    folder: Path, *nodes: Any, restore: str = "", file: str = "", collections: Any = ()
) -> Path:
    """Write a SavedModel whose signature ends at the node ``scores``."""
    message = SavedModel()
    meta = message.meta_graphs.add()
    meta.meta_info_def.tags.append("serve")
    meta.graph_def.CopyFrom(new_graph([const("one", 1.0), node("scores", "Softmax", ["one"])]))
    meta.graph_def.node.extend(nodes)
    meta.signature_def["serving_default"].outputs["scores"].name = "scores:0"
    meta.saver_def.restore_op_name = restore
    meta.saver_def.filename_tensor_name = file
    for key, value in collections:
        meta.collection_def[key].node_list.value.append(value)
    folder.mkdir(exist_ok=True)
    (folder / "saved_model.pb").write_bytes(message.SerializeToString())
    return folder


def test_a_saved_model_may_load_its_variables_and_hold_what_saves_them(tmp_path: Path) -> None:
    check_saved_model(
        saved_model(
            tmp_path,
            node("weights", "VarHandleOp"),
            node("read", "RestoreV2", ["file"]),
            node("assign", "AssignVariableOp", ["weights", "read"]),
            node("restore_all", "NoOp", ["^assign"]),
            node("save", "SaveV2", ["weights"]),
            restore="restore_all",
            file="file",
        )
    )


@pytest.mark.parametrize("op", ["Assign", "AssignVariableOp"])
def test_variables_are_written_while_a_saved_model_is_loaded_only(tmp_path: Path, op: str) -> None:
    write, group = node("write", op, ["weights"]), node("init", "NoOp", ["^write"])
    nodes = [node("weights", "VarHandleOp"), write, group]
    check_saved_model(saved_model(tmp_path, *nodes, collections=[("saved_model_main_op", "init")]))
    message = read_saved_model(tmp_path)
    message.meta_graphs[0].graph_def.node[1].input.append("^init")
    (tmp_path / "saved_model.pb").write_bytes(message.SerializeToString())
    with pytest.raises(GraphError, match=f"'write' is the operation {op}"):
        check_saved_model(tmp_path)


@pytest.mark.parametrize("key", ["saved_model_main_op", "legacy_init_op"])
def test_what_a_saved_model_runs_when_it_is_loaded_is_looked_at(tmp_path: Path, key: str) -> None:
    write = node("write", "WriteFile")
    check_saved_model(saved_model(tmp_path, write))  # nothing runs it
    group = node("init", "NoOp", ["^write"])
    for model in (
        {"restore": "init"},
        {"collections": [(key, "init")]},
    ):
        with pytest.raises(GraphError, match="WriteFile"):
            check_saved_model(saved_model(tmp_path, write, group, **model))


def test_functions_that_a_saved_model_reaches_are_looked_at(tmp_path: Path) -> None:
    message = read_saved_model(saved_model(tmp_path))
    graph = message.meta_graphs[0].graph_def
    add_function(graph, "inner", node("evil", "EagerPyFunc"))
    outer = node("call", "StatefulPartitionedCall")
    outer.attr["f"].func.name = "inner"
    add_function(graph, "outer", outer)
    branches = node("choose", "Case")
    branches.attr["branches"].list.func.add().name = "outer"
    graph.node.append(branches)
    graph.node[1].input.append("^choose")
    (tmp_path / "saved_model.pb").write_bytes(message.SerializeToString())
    with pytest.raises(GraphError, match="EagerPyFunc"):
        check_saved_model(tmp_path)


@pytest.mark.parametrize("op", ["If", "StatelessIf", "While", "StatelessWhile", "Case"])
def test_bodies_within_bodies_are_looked_at(tmp_path: Path, op: str) -> None:
    """A branch of a loop's body in a function that a node calls by its type."""
    message = read_saved_model(saved_model(tmp_path, node("call", "outer")))
    graph = message.meta_graphs[0].graph_def
    inner = node("inner", op)
    inner.attr["then_branch" if "If" in op else "body"].func.name = "deepest"
    graph.node[1].input.append("^call")
    add_function(graph, "outer", inner)
    add_function(graph, "deepest", node("sum", "AddV2"), node("evil", "ReadFile"))
    (tmp_path / "saved_model.pb").write_bytes(message.SerializeToString())
    with pytest.raises(GraphError, match="'evil' is the operation ReadFile"):
        check_saved_model(tmp_path)
    with pytest.raises(GraphError, match="'evil' is the operation ReadFile"):
        check_operations(graph)


def restoring(*nodes: Any) -> Any:
    return [const("other", np.array(b"/home/me/secret")), *nodes]


@pytest.mark.parametrize(
    ("nodes", "function"),
    [
        # The scores are those of another file.
        ([node("read", "RestoreV2", ["file"]), node("also", "Identity", ["read"])], ()),
        # The restore operation reads another file.
        ([node("read", "RestoreV2", ["other"]), node("restore", "NoOp", ["^read"])], ()),
        ([node("read", "Restore", []), node("restore", "NoOp", ["^read"])], ()),
        # A function that restores, given another file, or naming one itself.
        ([node("restore", "reader", ["other"])], [node("r", "RestoreV2", ["file_prefix"])]),
        (
            [node("same", "Identity", ["other"]), node("restore", "reader", ["same"])],
            [node("r", "RestoreV2", ["file_prefix"])],
        ),
        (
            [node("far", "StringJoin", ["file", "other"]), node("restore", "reader", ["far"])],
            [node("r", "RestoreV2", ["file_prefix"])],
        ),
        (
            [node("restore", "reader", ["file"])],
            [
                node("join", "StringJoin", ["file_prefix", "file_prefix"]),
                node("r", "RestoreV2", ["join:output:0"]),
            ],
        ),
        (
            [node("restore", "reader", ["file"])],
            [const("own", np.array(b"/x")), node("r", "RestoreV2", ["own:output:0"])],
        ),
    ],
)
def test_only_the_models_own_variables_are_restored(
    tmp_path: Path, nodes: list[Any], function: Any
) -> None:
    def write(*nodes: Any, function: Any = ()) -> None:
        file = placeholder("file", np.bytes_, ())
        scores = [node("call", "NoOp", ["^also"])] if nodes[-1].name == "also" else []
        saved_model(tmp_path, file, *restoring(*nodes), *scores, restore="restore")
        message = read_saved_model(tmp_path)
        meta = message.meta_graphs[0]
        meta.saver_def.filename_tensor_name = "file:0"
        if scores:
            meta.graph_def.node[1].input.append("^call")
        if function:
            add_function(meta.graph_def, "reader", *function)
            meta.graph_def.library.function[-1].signature.input_arg.add(name="file_prefix")
        (tmp_path / "saved_model.pb").write_bytes(message.SerializeToString())

    write(node("restore", "reader", ["file"]), function=[node("r", "RestoreV2", ["file_prefix"])])
    check_saved_model(tmp_path)
    passed = [node("same", "Identity", ["file_prefix"]), node("r", "RestoreV2", ["same:output:0"])]
    write(node("restore", "reader", ["file"]), function=passed)
    check_saved_model(tmp_path)
    write(*nodes, function=function)
    with pytest.raises(GraphError, match="reads a file other than"):
        check_saved_model(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "graph.pb"
    os.mkfifo(pipe)
    (tmp_path / "graph.json").write_text("{}")
    for read in (read_graph, load):
        with pytest.raises(GraphError, match="not a regular file"):
            read(pipe)
    with pytest.raises(BackboneError, match="not a regular file"):
        frozen_graph.find(pipe)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
def test_a_pipe_in_the_place_of_variables_is_not_waited_for(tmp_path: Path) -> None:
    folder = saved_model(tmp_path)
    (folder / "variables").mkdir()
    os.mkfifo(folder / "variables" / "variables.index")
    with pytest.raises(GraphError, match=r"variables\.index: not a regular file"):
        check_saved_model(folder)


def test_links_among_the_variables_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "model")
    (folder / "variables").mkdir()
    (folder / "variables" / "variables.data").write_bytes(b"")
    (folder / "variables" / "variables.index").symlink_to("variables.data")
    check_saved_model(folder)
    (tmp_path / "other.index").write_bytes(b"")
    (folder / "variables" / "far.index").symlink_to(tmp_path / "other.index")
    with pytest.raises(GraphError, match=r"far\.index is a link that leads out"):
        check_saved_model(folder)


def test_a_folder_that_is_no_saved_model_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"no saved_model\.pb"):
        check_saved_model(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"garbage")
    with pytest.raises(GraphError, match="is not a SavedModel"):
        check_saved_model(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(GraphDef().SerializeToString())
    with pytest.raises(GraphError, match="it is empty"):
        check_saved_model(tmp_path)


def test_the_graph_inside_a_saved_model_is_told_of_its_folder(tmp_path: Path) -> None:
    place = tmp_path / "model" / "saved_model.pb"
    place.parent.mkdir()
    place.write_bytes(SavedModel(schema_version=1).SerializeToString())
    with pytest.raises(GraphError, match=f"SavedModel; give its folder, {place.parent}"):
        read_graph(place)


def test_augmentation_may_count_its_random_numbers(tmp_path: Path) -> None:
    """`model.export()` of Keras leaves it in a SavedModel; whole numbers are no weights."""
    draw = node("draw", "StatelessRandomGetKeyCounter", ["one"])
    count = node("count", "AssignVariableOp", ["seed", "one"], dtype=np.uint32)
    nodes = [node("seed", "VarHandleOp"), draw, count]
    message = read_saved_model(saved_model(tmp_path, *nodes))
    message.meta_graphs[0].graph_def.node[1].input.extend(["^draw", "^count"])
    (tmp_path / "saved_model.pb").write_bytes(message.SerializeToString())
    check_saved_model(tmp_path)

    message.meta_graphs[0].graph_def.node[-1].attr["dtype"].type = 1
    (tmp_path / "saved_model.pb").write_bytes(message.SerializeToString())
    with pytest.raises(GraphError, match="'count' is the operation AssignVariableOp"):
        check_saved_model(tmp_path)
