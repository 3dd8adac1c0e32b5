"""The images of an export: the splits of the training, and what fits into the memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tlcli import load
from tlcli.core.data.image_folder import scan_folder
from tlcli.core.formats.images import calibration_batches, divided, generated
from tlcli.core.images.preprocessing import Preprocessing


def test_the_splits_are_those_of_the_training(trained: Any) -> None:
    with load(trained.graph) as classifier:
        dataset = scan_folder(trained.photos, keep_label_names=True)
        found = divided(classifier, dataset)
    counts = json.loads(trained.graph.with_suffix(".json").read_text())["training"]["images"]
    for split, images in (("validation", found.validation), ("testing", found.test)):
        here = [Path(file) for file in images.files if Path(file).name != "broken.jpg"]
        assert len(here) == sum(counts[split].values())
    labels = ["house with pool", "house without pool"]
    names = [Path(file).parent.name.replace("_", " ") for file in found.test.files]
    assert [labels[index] for index in found.test.truth] == names
    assert not {*found.training} & {*found.test.files, *found.validation.files}


def test_calibration_images_are_the_same_every_time(trained: Any) -> None:
    files = [str(path) for path in sorted(trained.photos.rglob("*.jpg"))]
    given = Preprocessing("tlcli-1", 16, 16)
    first, second = (list(calibration_batches(files, given, 7)) for _ in range(2))
    # One of the files cannot be read; it may be among those drawn.
    assert 6 <= len(first) <= 7
    for one, other in zip(first, second, strict=True):
        assert one.shape == (1, 16, 16, 3)
        assert one.dtype == np.float32
        assert 0 <= one.min() <= one.max() <= 1
        np.testing.assert_array_equal(one, other)


def test_generated_images_have_no_labels() -> None:
    found = generated(Preprocessing("tlcli-1", 16, 24))
    assert len(found) == 8
    assert not len(found.truth)
    assert {each.shape for each in found.pixels} == {(16, 24, 3)}


def test_few_images_are_no_obstacle(trained: Any, tmp_path: Path) -> None:
    for label in ("house_with_pool", "house_without_pool"):
        (tmp_path / label).mkdir()
        for number in range(2):
            (tmp_path / label / f"{number}.jpg").write_bytes(trained.photo.read_bytes())
    with load(trained.graph) as classifier:
        found = divided(classifier, scan_folder(tmp_path, keep_label_names=True))
    assert len(found.training) + len(found.validation.files) + len(found.test.files) == 4
