"""Findings about the photos of a run, for its report."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from retrain.arguments.options import RetrainOptions
from retrain.evidence.photos import findings_for_report
from retrain.inputs import Inputs
from tests.support import Trained
from tlcli.core.data.image_list import ImageFile


def test_a_check_that_fails_costs_the_findings_and_not_the_graph(
    trained: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [
        path.relative_to(trained.photos).as_posix()
        for path in sorted(trained.photos.rglob("*.jpg"))
    ]
    images = [ImageFile(str(trained.photos), "a", name, "a") for name in names[:6]]
    inputs = Inputs(
        labels=("a", "b"),
        images=tuple(images),
        contents=tuple(f"{row:064}" for row in range(6)),
        # A fault that no code expects.
        targets=np.array([0, 0, 0, 1, 1, 7], np.int64),
        splits=("training",) * 6,
        vectors=np.random.default_rng(0).random((6, 4), dtype=np.float32),
        views=np.zeros((0, 4), np.float32),
        view_rows=np.zeros(0, np.int64),
    )
    options = RetrainOptions(image_dir=trained.photos, bottleneck_dir=tmp_path)
    with caplog.at_level(logging.WARNING, "tlcli"):
        assert findings_for_report(inputs, options) is None
    assert "The photos were not checked: " in caplog.text
