"""GraphDef messages without TensorFlow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlcli.graph.messages import GraphDef


def test_an_attribute_is_written_byte_for_byte_as_tensorflow_does() -> None:
    graph = GraphDef()
    node = graph.node.add(name="x", op="Placeholder")
    node.attr["dtype"].type = 1
    graph.versions.producer = 27
    # Field numbers and wire types of graph.proto, node_def.proto and attr_value.proto.
    assert graph.SerializeToString(deterministic=True) == (
        b"\x0a\x1d\x0a\x01x\x12\x0bPlaceholder\x2a\x0b\x0a\x05dtype\x12\x02\x30\x01\x22\x02\x08\x1b"
    )


@pytest.mark.parametrize(
    "name", ["plates_128", "panels_128_optimized", "mirror_128_quantized", "banknotes_224"]
)
def test_a_real_graph_survives_a_round_trip(shared: Path, name: str) -> None:
    data = (shared / "legacy" / name / "graph.pb").read_bytes()
    graph = GraphDef.FromString(data)
    again = GraphDef.FromString(graph.SerializeToString(deterministic=True))
    assert again == graph
    assert sum(node.ByteSize() for node in graph.node) > 0.9 * len(data)
