from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.litert.quantized.quantised import needs_quantizer, photos
from tlcli.backbone import INPUT, Backbone, BackboneGraph, FeatureBlock
from tlcli.backbones.layers.joined import join
from tlcli.backbones.layers.pooled_maps import with_pooled_maps
from tlcli.backbones.resolve import resolve
from tlcli.core.bottlenecks.eight_bits.backbone import (
    MEASURED,
    MEASURED_WITH_MAPS,
    in_int8,
    int8_engine,
)
from tlcli.core.bottlenecks.engine_choice import largest_difference
from tlcli.core.bottlenecks.engines import LiteRTBackbone
from tlcli.errors import BackboneError, OutputError
from tlcli.litert.writer import write_model


def never() -> BackboneGraph:
    raise AssertionError("the network was loaded")


MEASURED_ONE = Backbone(MEASURED[0], "a wheel", "unknown", 8, 8, "fingerprint", 3, never)


@needs_quantizer
def test_vectors_of_eight_bits_have_a_fingerprint_of_their_own() -> None:
    changed = in_int8(MEASURED_ONE)
    assert (MEASURED_ONE.precision, changed.precision) == ("float32", "int8")
    assert changed.fingerprint not in (MEASURED_ONE.fingerprint, "")
    assert in_int8(MEASURED_ONE).fingerprint == changed.fingerprint
    other = in_int8(replace(MEASURED_ONE, fingerprint="another"))
    assert other.fingerprint != changed.fingerprint


@needs_quantizer
def test_each_part_of_a_joined_backbone_is_changed() -> None:
    other = replace(MEASURED_ONE, fingerprint="another")
    changed = in_int8(join([MEASURED_ONE, other]))
    assert [part.precision for part in changed.parts] == ["int8", "int8"]
    assert changed.parts[0].fingerprint == in_int8(MEASURED_ONE).fingerprint


def test_a_backbone_whose_accuracy_was_not_measured_is_refused() -> None:
    unknown = replace(MEASURED_ONE, name="mobilenet.pb", fingerprint="another")
    for backbone in (unknown, join([MEASURED_ONE, unknown])):
        with pytest.raises(BackboneError, match=r"--precision int8 is offered .* of mobilenet"):
            in_int8(backbone)


@needs_quantizer
def test_one_is_offered_with_the_averages_of_further_maps_only() -> None:
    head = replace(MEASURED_ONE, name=MEASURED_WITH_MAPS[0])
    with pytest.raises(BackboneError, match="with --layers ms, efficientnet_lite2"):
        in_int8(head)
    blocks = (FeatureBlock("head", 2), FeatureBlock("block 1", 1))
    assert in_int8(replace(head, blocks=blocks)).precision == "int8"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    with pytest.raises(OutputError, match=r"pip install 'tlcli\[int8\]'"):
        in_int8(MEASURED_ONE)


@needs_quantizer
@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURED)
def test_vectors_are_near_those_of_float32(name: str, shared: Path, tmp_path: Path) -> None:
    backbone = with_pooled_maps(resolve(name))
    folder = tmp_path / "photos"
    for label in sorted((shared / "flowers" / "photos").iterdir()):
        for path in sorted(label.glob("*.jpg"))[:5]:
            (folder / label.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / label.name)
    images = photos(folder, backbone.height)
    graph = backbone.load_graph()
    expected = LiteRTBackbone(write_model(graph.graph, INPUT, graph.output)).run(images)
    changed = in_int8(backbone)
    given = int8_engine(changed, tmp_path / "cache").run(images)
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(given, axis=1)
    assert ((expected * given).sum(1) / lengths).min() > 0.98
    assert largest_difference(given, expected) > 1e-4  # it was quantised
    # The file is cached: the network is not loaded again.
    again = int8_engine(replace(changed, load_graph=never), tmp_path / "cache")
    assert np.array_equal(again.run(images), given)
