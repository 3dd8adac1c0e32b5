from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from tlcli.report import collect


def decoded(uri: str) -> Image.Image:
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_thumbnail(shared: Path) -> None:
    photo = next((shared / "flowers" / "photos" / "daisy").iterdir())
    uri = collect.thumbnail(photo)
    assert uri is not None
    assert max(decoded(uri).size) == 160
    assert len(uri) < 20_000


def test_thumbnail_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert collect.thumbnail(tmp_path / "empty.jpg") is None
    assert collect.heat_map(tmp_path / "empty.jpg", np.ones((2, 2))) is None


def test_picks() -> None:
    scores = np.array(
        [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55], [0.05, 0.95], [0.99, 0.01]]
    )
    truth = [0, 0, 0, 0, 1, 1]
    found = collect.pick(scores, truth, confident=2, comparisons=3)
    assert found.misclassified == [5, 1, 3]
    assert found.most_confident == [5, 4]
    assert found.least_confident == [3, 2]
    assert found.comparisons == [0, 4, 1]
    assert collect.pick(scores, truth, misclassified=1).misclassified == [5]


def test_few_images_are_not_both_most_and_least_confident() -> None:
    found = collect.pick(np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]]), [0, 0, 0])
    assert found.most_confident == [0]
    assert found.least_confident == [1]
    empty = collect.pick(np.zeros((0, 2)), [])
    assert empty == collect.Picks([], [], [], [])
