from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tlcli
from tests.core.heat_maps.test_activation_maps import tiny_backbone
from tests.support import Trained
from tlcli.core.classifier.explanations import classifier_maps
from tlcli.core.heat_maps.activation_maps import ActivationMapper
from tlcli.core.heat_maps.linear_head import NoActivationMapError
from tlcli.errors import ImageError, UsageError


def test_a_bottleneck_without_a_final_layer_has_no_labels(tmp_path: Path) -> None:
    (tmp_path / "graph.pb").write_bytes(tiny_backbone().graph.SerializeToString())
    (tmp_path / "labels.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    with (
        tlcli.load(tmp_path / "graph.pb", labels=tmp_path / "labels.txt") as classifier,
        pytest.raises(NoActivationMapError, match="no linear layer"),
    ):
        classifier_maps(classifier)


@pytest.mark.parametrize("name", ["output_graph.pb", "output_graph.tflite"])
def test_maps_of_an_exported_graph_add_up_to_its_scores(trained: Trained, name: str) -> None:
    photos = sorted((trained.folder / "photos" / "house_with_pool").glob("[!b]*.jpg"))
    with (
        tlcli.load(trained.folder / name) as classifier,
        closing(classifier_maps(classifier)) as mapper,
    ):
        maps = mapper.maps(classifier.read(photos[0]))
        assert maps.shape == (1, 7, 7, len(classifier.labels))
        assert_maps_give_scores(classifier, mapper, photos[:2])


def test_a_litert_file_alone_has_no_maps(trained: Trained, tmp_path: Path) -> None:
    import shutil

    for name in ("output_graph.tflite", "output_labels.txt"):
        shutil.copy(trained.folder / name, tmp_path)
    with (
        tlcli.load(tmp_path / "output_graph.tflite") as classifier,
        pytest.raises(NoActivationMapError, match="without the frozen graph"),
    ):
        classifier_maps(classifier)


@pytest.mark.parametrize(
    "folder",
    [
        "plates_128",
        "panels_128_optimized",
        "mirror_128_quantized",
        "hub_style_128_synthetic",
        "inception2015_style_synthetic",
    ],
)
def test_maps_of_older_graphs_add_up_to_their_scores(shared: Path, folder: str) -> None:
    place = shared / "legacy" / folder
    expected = json.loads((place / "expected.json").read_text(encoding="utf-8"))
    photos = [shared / photo for photo in photos_of(expected)[:2]]
    with (
        tlcli.load(place / "graph.pb") as classifier,
        closing(classifier_maps(classifier)) as mapper,
    ):
        assert_maps_give_scores(classifier, mapper, photos)


def test_a_loaded_graph_explains_one_image(trained: Trained, tmp_path: Path) -> None:
    photo = sorted((trained.photos / "house_with_pool").glob("aerial_*"))[0]
    with tlcli.load(trained.graph) as classifier:
        found = classifier.explain(photo)
        (prediction,) = classifier.label(photo)
        assert (found.image, found.label, found.score) == (
            str(photo),
            prediction.label,
            prediction.score,
        )
        assert (found.heat_map.dtype, found.heat_map.shape) == (np.float32, (7, 7))
        with classifier_maps(classifier) as mapper:
            (expected,) = mapper.maps(
                classifier.read(photo), [classifier.labels.index(found.label)]
            )
        np.testing.assert_array_equal(found.heat_map, expected)
        assert max(found.picture.size) <= 384
        with Image.open(photo) as opened:
            other = classifier.explain(opened, "house without pool")
        assert other.label == "house without pool"
        assert not np.array_equal(other.heat_map, expected)
        assert (
            repr(other)
            == f"<Explanation of house without pool in {photo}: score {other.score:.3f}>"
        )
        assert "data:image/jpeg;base64," in other._repr_html_()
        with pytest.raises(UsageError, match="no label 'pond'; choose one of house with pool, ho"):
            classifier.explain(photo, "pond")
        with pytest.raises(UsageError, match="is a folder; give one image"):
            classifier.explain(trained.photos)
        with pytest.raises(ImageError, match=r"absent\.jpg: no such file"):
            classifier.explain(tmp_path / "absent.jpg")


def assert_maps_give_scores(
    classifier: tlcli.Classifier, mapper: ActivationMapper, photos: Sequence[Path]
) -> None:
    """Compare two photos: a label's bias is the same in both, so the maps are what differs."""
    one, two = (mapper.maps(classifier.read(photo)).mean(axis=(1, 2))[0] for photo in photos)
    said = []
    for photo in photos:
        scores = {score.label: score.score for score in classifier.label(photo, None)[0].scores}
        said.append(np.array([scores[label] for label in classifier.labels]))
    assert not np.allclose(*said, rtol=0.1, atol=0)
    expected = said[1] * np.exp((one - two).astype(np.float64))
    # Of each score a thousandth: that of a label which is not meant may be 1e-10.
    np.testing.assert_allclose(said[0], expected / expected.sum(), rtol=1e-3)


def photos_of(expected: Any) -> list[str]:
    photos = expected["photos"]
    return list(photos) if isinstance(photos, dict) else [each["photo"] for each in photos]
