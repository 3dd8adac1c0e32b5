from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.backbones.layers.networks import inverted, residual, saved
from tests.backbones.layers.test_pooled_maps import backbone, run
from tests.core.bottlenecks.fake_backbone import wanted
from tests.pictures import encoded, photo
from tests.support import Trained, tlcli
from tlcli.backbone import INPUT, Backbone
from tlcli.backbones.layers.joined import join
from tlcli.backbones.layers.pooled_maps import with_pooled_maps
from tlcli.backbones.model_options import ModelOptions
from tlcli.backbones.resolve import resolve
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.extraction import compute
from tlcli.errors import BackboneError, UsageError
from tlcli.runtime.tensorflow import GraphEngine


def parts() -> tuple[Backbone, Backbone]:
    """Return a backbone of 16 pixels, and one of 24 pixels with nodes of the same names."""
    small = replace(backbone(inverted(), "small"), name="small")
    large = replace(backbone(residual(24), "large"), name="large", height=24, width=24)
    return small, large


def test_a_joined_backbone_has_the_vectors_of_its_parts_side_by_side() -> None:
    small, large = parts()
    joined = join([small, large])
    loaded = joined.load_graph()
    images = np.full((2, 24, 24, 3), 0.5, np.float32)
    images[1] = 0.25

    vectors = run(loaded, loaded.output, images)

    assert (joined.name, joined.height, joined.width) == ("small+large", 24, 24)
    assert joined.bottleneck_size == loaded.bottleneck_size == 16
    assert [(block.name, block.size) for block in joined.blocks] == [
        ("small head", 12),
        ("large head", 4),
    ]
    # Images of one colour look the same at any size.
    expected = [
        run(part.load_graph(), "pooled", images[:, : part.height, : part.width])
        for part in (small, large)
    ]
    np.testing.assert_allclose(vectors, np.concatenate(expected, axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_tensorflow_and_litert_agree_on_a_joined_graph() -> None:
    loaded = with_pooled_maps(join(parts())).load_graph()
    images = np.random.default_rng(0).random((3, 24, 24, 3), np.float32)

    with GraphEngine(loaded.graph, INPUT, loaded.output) as engine:
        expected = engine.run(images)

    np.testing.assert_allclose(run(loaded, loaded.output, images), expected, rtol=1e-4, atol=1e-5)


def test_each_part_of_several_layers_keeps_its_weights() -> None:
    small, large = parts()
    found = with_pooled_maps(join([small, large]))

    own = [*with_pooled_maps(small).blocks, *with_pooled_maps(large).blocks]
    assert [(block.size, block.weight) for block in found.blocks] == [
        (block.size, block.weight) for block in own
    ]
    assert found.blocks[0].name == "small head"
    assert found.fingerprint != join([small, large]).fingerprint


def test_vectors_are_cached_for_each_part(tmp_path: Path) -> None:
    small, large = parts()
    requests = [wanted(tmp_path / "photo.png", encoded(photo(64, 48)))]
    with BottleneckStore(tmp_path / "cache") as store:
        progress: list[tuple[int, int]] = []
        first = compute(
            join([small, large]), requests, store,
            progress=lambda stage, done, total: progress.append((done, total)),
        )  # fmt: skip
        alone = compute(large, requests, store)
        turned = compute(join([large, small]), requests, store)

    assert (first.hits, first.computed, alone.hits, turned.hits) == (0, 1, 1, 1)
    assert progress[-1] == (2, 2)
    np.testing.assert_array_equal(first.vectors[:, 12:], alone.vectors)
    np.testing.assert_array_equal(turned.vectors, np.roll(first.vectors, 4, axis=1))


def test_an_unreadable_image_fails_once(tmp_path: Path) -> None:
    request = wanted(tmp_path / "broken.png", b"no image")
    with BottleneckStore(tmp_path / "cache") as store:
        found = compute(join(parts()), [request], store)

    assert list(found.failures) == [str(tmp_path / "broken.png")]
    assert not found.found.any()


@pytest.mark.parametrize(
    ("module", "error", "sentence"),
    [
        ("efficientnet_lite0+efficientnet_lite0", UsageError, "joins efficientnet_lite0 with its"),
        ("efficientnet_lite0+", UsageError, "empty name beside a plus sign"),
        ("efficientnet_lite0+nothing_such", BackboneError, "nothing_such"),
        ("no+such.pb", BackboneError, "no file or folder no.such.pb"),
    ],
)
def test_joins_that_cannot_be_are_refused(
    module: str, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        resolve(module)


def test_names_and_files_are_joined_and_a_file_with_a_plus_sign_is_itself(tmp_path: Path) -> None:
    path = saved(inverted(), tmp_path / "a+b.pb")
    other = saved(residual(24), tmp_path / "other.pb")

    assert resolve(str(path)).parts == ()
    found = resolve(f"efficientnet_lite0 + {other}")
    assert found.name == f"efficientnet_lite0+{other}"
    assert [part.height for part in found.parts] == [224, 24]
    assert found.bottleneck_size == 1280 + 4


def test_options_of_one_network_do_not_fit_several() -> None:
    with pytest.raises(UsageError, match="--input_height cannot be changed for joined backbones"):
        resolve("efficientnet_lite0+mobilenet_v2", ModelOptions(input_height=96))


@pytest.mark.slow
def test_a_retraining_on_joined_backbones(trained: Trained, tmp_path: Path) -> None:
    other = saved(residual(24), tmp_path / "other.pb")
    arguments = (
        "retrain",
        "--image_dir",
        trained.photos,
        "--trust",
        "--format",
        "json",
        "--layers",
        "head",
    )
    more = ("--solver", "lda", "--cross_validate", 3, "--saved_model_dir", "saved")
    run = tlcli(
        *arguments, "--module", f"efficientnet_lite0+{other}", *more,
        cwd=tmp_path, cache=trained.cache,
    )  # fmt: skip

    assert run.code == 0, run.err
    found = run.json["backbone"]
    assert found["name"] == f"efficientnet_lite0+{other}"
    assert [each["name"] for each in found["parts"]] == ["efficientnet_lite0", str(other)]
    assert found["parts"][0]["fingerprint"] == trained.run.json["backbone"]["fingerprint"]
    # What the retraining on the first part alone computed is not computed again.
    again = tlcli(*arguments, "--output_graph", "alone.pb", cwd=tmp_path, cache=trained.cache)
    assert again.json["cache"]["computed"] == 0
    photo = trained.photo
    scores = {}
    for graph in ("output_graph.pb", "output_graph.tflite", "saved"):
        labelled = tlcli("label", "--graph", graph, photo, "--format", "json", cwd=tmp_path)
        assert labelled.code == 0, labelled.err
        (first,) = labelled.json
        scores[graph] = {each["label"]: each["score"] for each in first["predictions"]}
    for found in scores.values():
        assert found == pytest.approx(scores["saved"], abs=1e-4)
    measured = tlcli(
        *("evaluate", "--graph", "output_graph.pb", "--image_dir", trained.photos),
        *("--format", "json"),
        cwd=tmp_path,
    )
    assert measured.json["accuracy"] > 0.5
    explained = tlcli(
        "label", "--graph", "output_graph.pb", photo, "--explain", "maps", cwd=tmp_path
    )
    assert explained.code == 0, explained.err
    assert "no heat maps" not in explained.err
    assert len(list((tmp_path / "maps").iterdir())) == 1
