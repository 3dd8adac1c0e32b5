"""What a retraining says of how far it is."""

from __future__ import annotations

import shutil
from pathlib import Path

from retrain.job import retrain


def test_the_fit_and_the_folds_are_counted_to_their_ends(shared: Path, tmp_path: Path) -> None:
    for folder in sorted((shared / "houses" / "bottlenecks").iterdir()):
        copied = tmp_path / "texts" / folder.name
        copied.mkdir(parents=True)
        for file in sorted(folder.iterdir())[:20]:
            shutil.copy(file, copied)
    said: dict[str, list[tuple[int, int]]] = {}
    retrain(
        import_bottlenecks=tmp_path / "texts",
        output_graph=tmp_path / "output_graph.pb",
        how_many_training_steps=25,
        cross_validate=2,
        final_layer_only=True,
        no_report=True,
        progress=lambda stage, done, total: said.setdefault(stage, []).append((done, total)),
    )
    assert said["fit"] == [(1, 25), (11, 25), (21, 25), (25, 25)]
    assert said["folds"] == [(1, 2), (2, 2)]
