"""`tlcli retrain --preset` from outside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.backbones.layers.networks import Network, saved
from tests.support import Run, Trained, tlcli
from tlcli.backbone import INPUT


def retrain(trained: Trained, folder: Path, *options: object, cache: Path | None = None) -> Run:
    run = tlcli(
        "retrain", "--image_dir", trained.photos, "--output_graph", folder / "output_graph.pb",
        *options, cache=cache or trained.cache,
    )  # fmt: skip
    assert run.code == 0, run.err
    return run


def texts(folder: Path, count: int = 10) -> Path:
    """Write vectors of two labels as the originals did."""
    draw = np.random.default_rng(0)
    for label, centre in (("cat", 0.0), ("dog", 2.0)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            values = ",".join(map(str, draw.normal(centre, 1, 4)))
            (folder / label / f"{number}.jpg.txt").write_text(values)
    return folder


def test_imported_vectors_have_one_layer_and_no_next_preset(tmp_path: Path) -> None:
    run = tlcli(
        "retrain", "--import_bottlenecks", texts(tmp_path / "texts"), "--final_layer_only",
        "--preset", "standard", "--no_report", "--format", "json", cwd=tmp_path,
    )  # fmt: skip
    assert run.code == 0, run.err
    assert run.json["preset"] == "standard"
    assert "next_preset" not in run.json
    assert "--layers head, as --import_bottlenecks brings vectors of one layer" in run.err
    assert "Step " not in run.err
    training = json.loads((tmp_path / "output_graph.json").read_text())["training"]
    assert (training["preset"], training["layers"]) == ("standard", "head")


@pytest.mark.slow
def test_the_standard_preset_reads_several_layers(trained: Trained, tmp_path: Path) -> None:
    # What the next preset costs follows from the vectors that this run computes: of a cache that
    # no other test fills.
    cache = tmp_path / "cache"
    run = retrain(trained, tmp_path, "--preset", "standard", "--format", "json", cache=cache)
    assert run.json["preset"] == "standard"
    assert run.json["backbone"]["bottleneck_size"] > 1280
    assert run.json["next_preset"]["preset"] == "best"
    assert run.json["next_preset"]["seconds"] > 1
    card = json.loads((tmp_path / "output_graph.json").read_text())
    assert card["training"]["preset"] == "standard"
    assert card["training"]["layers"] == "ms"
    assert "Step " not in run.err
    first, *following = run.json["report"]["preset"]
    assert first.startswith("Preset: standard (efficientnet_lite0, ms, ")
    start = "--preset best joins the installed EfficientNet-Lites"
    assert any(line.startswith(start) for line in following)
    text = retrain(trained, tmp_path, "--preset", "standard", "--quiet", cache=cache).out
    assert first in text
    # All vectors are in the cache now.
    assert "estimated from 7 ms per image on two cores." in text


@pytest.mark.slow
def test_the_fast_preset_draws_no_heat_maps(trained: Trained, tmp_path: Path) -> None:
    run = retrain(trained, tmp_path, "--preset", "fast", "--format", "json")
    assert run.json["backbone"]["bottleneck_size"] == 1280
    assert run.json["cache"]["computed"] == 0
    assert run.json["report"]["heat_maps_missing"] == "No heat maps: --preset fast draws none."
    assert run.json["report"]["command"].endswith("--preset fast")


@pytest.mark.slow
def test_a_backbone_without_maps_falls_back_to_its_head(trained: Trained, tmp_path: Path) -> None:
    network = Network(16)
    mean = saved(network.loaded(network.pooled(INPUT), 3), tmp_path / "mean.pb")
    run = retrain(
        trained, tmp_path, "--module", mean, "--preset", "standard", "--format", "json",
        "--no_report",
    )  # fmt: skip
    assert "Only the bottleneck of" in run.err
    training = json.loads((tmp_path / "output_graph.json").read_text())["training"]
    assert training["layers"] == "head"
    asked = tlcli("retrain", "--image_dir", trained.photos, "--module", mean, "--layers", "ms")
    assert asked.code == 1
    assert "use --layers head" in asked.err
