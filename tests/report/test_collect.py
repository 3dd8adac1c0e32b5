from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from tlcli.report import collect


def decoded(uri: str) -> Image.Image:
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_data_uri() -> None:
    uri = collect.data_uri(Image.new("RGB", (160, 120), "teal"))
    assert decoded(uri).size == (160, 120)
    assert len(uri) < 20_000


def test_picks() -> None:
    given, scores = [0, 1, 0, 1, 1, 0], [0.9, 0.8, 0.6, 0.55, 0.95, 0.99]
    truth = [0, 0, 0, 0, 1, 1]
    found = collect.pick(given, scores, truth)
    assert found.misclassified == [5, 1, 3]
    assert found.most_confident == [5, 4, 0]
    assert found.least_confident == [3, 2, 1]
    assert found.comparisons == [0, 4, 1, 5, 2, 3]


def test_picks_are_capped() -> None:
    found = collect.pick([1] * 300, np.linspace(0, 1, 300), [0] * 299 + [1])
    assert found.misclassified == list(range(298, 278, -1))
    assert found.most_confident == [299, 298, 297, 296, 295, 294]
    assert found.least_confident == [0, 1, 2, 3, 4, 5]
    assert found.comparisons == [0, 299, 1, 2, 3, 4]
    pictures = [*found.misclassified, *found.most_confident, *found.least_confident]
    assert len(pictures) + len(found.comparisons) <= 40


def test_few_images_are_not_both_most_and_least_confident() -> None:
    found = collect.pick([0, 0, 0], [0.9, 0.6, 0.7], [0, 0, 0])
    assert found.most_confident == [0]
    assert found.least_confident == [1]
    empty = collect.pick([], [], [])
    assert empty == collect.Picks([], [], [], [])
