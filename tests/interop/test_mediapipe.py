"""LiteRT files in MediaPipe Tasks' image classifier, as they are: labels and scores."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tlcli
from tests.core.classifier.test_load_litert import LABELS, TAKES, of_bytes
from tests.interop.conftest import Flowers
from tests.retrain.multi_label.drawn import draw
from tests.support import tlcli as run_tlcli
from tlcli.core.export.embedded_card import embed_card
from tlcli.core.export.packing import with_metadata

pytestmark = [
    pytest.mark.slow,
    # MediaPipe's own warnings are its own.
    pytest.mark.filterwarnings("ignore"),
]

TOLERANCE = 0.02
Scores = dict[str, float]
Classify = Callable[[Any], Scores]


@contextmanager
def mediapipe(graph: Path) -> Iterator[Classify]:
    """Yield what returns the scores that MediaPipe gives for uint8 pixels [height, width, 3]."""
    for library in ("libGL.so.1", "libEGL.so.1", "libGLESv2.so.2"):
        try:
            ctypes.CDLL(library)
        except OSError:
            pytest.skip(f"MediaPipe needs {library}, which this machine lacks")
    package = pytest.importorskip("mediapipe")
    tasks = pytest.importorskip("mediapipe.tasks.python")
    options = tasks.vision.ImageClassifierOptions(
        base_options=tasks.BaseOptions(model_asset_path=str(graph))
    )

    def classify(pixels: Any) -> Scores:
        image = package.Image(
            image_format=package.ImageFormat.SRGB, data=np.ascontiguousarray(pixels)
        )
        [found] = classifier.classify(image).classifications
        return {each.category_name: each.score for each in found.categories}

    with tasks.vision.ImageClassifier.create_from_options(options) as classifier:
        yield classify


def of_tlcli(graph: Path, photos: list[Path]) -> list[Scores]:
    with tlcli.load(graph) as classifier:
        found = classifier.label(photos, top_k=None)
    return [{each.label: each.score for each in one.scores} for one in found]


def resized(graph: Path, photos: list[Path]) -> list[Any]:
    with tlcli.load(graph) as classifier:
        return [classifier.preprocessing.read(photo) for photo in photos]


def largest_difference(one: Scores, other: Scores) -> float:
    assert one.keys() == other.keys()
    return max(abs(one[label] - other[label]) for label in one)


@pytest.mark.parametrize("ending", ["", "-float16", "-int8"])
def test_resized_photos_get_the_same_labels_and_scores(
    flowers: Flowers, tmp_path: Path, ending: str
) -> None:
    # Alone in its folder: MediaPipe takes the labels from the file.
    graph = tmp_path / "graph.tflite"
    shutil.copy(flowers.folder / f"output_graph{ending}.tflite", graph)
    expected = of_tlcli(graph, flowers.photos)
    with mediapipe(graph) as classify:
        found = [classify(pixels) for pixels in resized(graph, flowers.photos)]
    assert found[0].keys() == set(flowers.labels)
    assert max(map(largest_difference, found, expected)) < TOLERANCE


def test_of_several_labels_those_that_reach_their_thresholds_are_left(tmp_path: Path) -> None:
    draw(tmp_path / "photos", 100)
    run = run_tlcli(
        "retrain", "--manifest", "photos/labels.csv", "--multi_label", "--no_report", cwd=tmp_path
    )
    assert run.code == 0, run.err
    graph = tmp_path / "output_graph.tflite"
    photos = sorted(tmp_path.glob("photos/photos/*.jpg"))
    expected = of_tlcli(graph, photos)
    assert {len(each) for each in expected} >= {0, 1, 2}
    with mediapipe(graph) as classify:
        for scores, pixels in zip(expected, resized(graph, photos), strict=True):
            found = classify(pixels)
            assert found.keys() == scores.keys()
            assert not found or largest_difference(found, scores) < TOLERANCE


def test_a_file_that_takes_pixels_as_bytes_is_read_too(tmp_path: Path) -> None:
    path, image = tmp_path / "graph.tflite", tmp_path / "image.png"
    known: Any = {"labels": LABELS, "input": TAKES, "output": "final_result"}
    path.write_bytes(embed_card(with_metadata(of_bytes("UINT8"), LABELS), **known))
    pixels = np.random.default_rng(0).integers(0, 256, (8, 10, 3), np.uint8)
    Image.fromarray(pixels).save(image)
    with mediapipe(path) as classify:
        assert largest_difference(classify(pixels), of_tlcli(path, [image])[0]) < TOLERANCE
