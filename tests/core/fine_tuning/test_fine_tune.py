"""A small network is trained for real: the same bytes each time, also after an interrupt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.core.fine_tuning.small_network import SIZE, small_backbone, striped_photos
from tlcli.backbone import INPUT
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.fine_tuning.fine_tune import FineTuneData, FineTuneSettings, Partner, fine_tune
from tlcli.core.fine_tuning.fine_tuned import FineTuned
from tlcli.core.fine_tuning.training import Schedule, Watched
from tlcli.errors import BackboneError
from tlcli.graph.surgery import nodes_by_name
from tlcli.runtime.tensorflow import GraphEngine

pytestmark = pytest.mark.slow
LAYER = FinalLayer(
    np.linspace(-0.5, 0.5, 2 * SIZE, dtype=np.float32).reshape(SIZE, 2), np.zeros(2, np.float32)
)
SILENT = Watched()
FAST = Schedule(epochs=12, learning_rate=0.02, seed=3)


def tuned(
    data: FineTuneData, part: str = "all", watched: Watched = SILENT, keep: bool = False
) -> FineTuned:
    settings = FineTuneSettings(part, FAST, checkpoints=keep)
    return fine_tune(small_backbone(), LAYER, data, settings, watched)


def same(one: FineTuned, other: FineTuned) -> bool:
    return (
        one.backbone.fingerprint == other.backbone.fingerprint
        and one.layer.weights.tobytes() == other.layer.weights.tobytes()
        and one.vectors.tobytes() == other.vectors.tobytes()
    )


@pytest.mark.parametrize("part", ["all", "head_blocks"])
def test_a_network_learns_and_gives_the_same_bytes_twice(tmp_path: Path, part: str) -> None:
    data = striped_photos(tmp_path, 60)
    first, second = tuned(data, part), tuned(data, part)
    assert same(first, second)
    assert first.kept
    assert first.before is not None
    assert first.after is not None
    assert first.after < first.before
    assert first.backbone.fingerprint != small_backbone().fingerprint


def test_the_written_graph_computes_the_vectors_and_only_the_part_changed(tmp_path: Path) -> None:
    data = striped_photos(tmp_path, 60)
    found = tuned(data, "head_blocks")
    graph = found.backbone.load_graph()
    before, after = (nodes_by_name(each.graph) for each in (small_backbone().load_graph(), graph))
    changed = [name for name in before if before[name] != after[name]]
    assert changed == ["c2/weights", "c2/biases", "c3/weights", "c3/biases"]
    from tlcli.core.fine_tuning.pictures import Pictures

    with (
        GraphEngine(graph.graph, INPUT, graph.output) as engine,
        Pictures(data.photos, (16, 16)) as pictures,
    ):
        vectors = engine.run(pictures.plain(np.arange(60)))
    np.testing.assert_allclose(vectors, found.vectors, atol=1e-5)


def test_an_interrupted_training_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tlcli.core.fine_tuning import checkpoint

    data = striped_photos(tmp_path, 60)
    whole = tuned(data)
    # Saves as often as their share of the time allows; the real pause is longer than this training.
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0.0)
    seen: list[int] = []

    def interrupt(stage: str, done: int, total: int) -> None:
        seen.append(done)
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(data, watched=Watched(interrupt), keep=True)
    seen.clear()
    again = tuned(data, watched=Watched(lambda stage, done, total: seen.append(done)), keep=True)
    assert 1 <= seen[0] <= 6
    assert same(again, whole)
    seen.clear()
    finished = tuned(data, watched=Watched(lambda stage, done, total: seen.append(done)), keep=True)
    assert len(set(seen)) == 1
    assert same(finished, whole)
    assert finished.seconds_per_epoch is None


def test_auto_keeps_the_frozen_network_where_nothing_is_gained(tmp_path: Path) -> None:
    data = striped_photos(tmp_path, 60)
    # Labels that no photo shows: what was learned cannot help. Most vectors give the answer.
    numbers = np.random.Generator(np.random.PCG64(5))
    labels = numbers.integers(0, 2, 60)
    vectors = np.zeros((60, SIZE), np.float32)
    vectors[:, 0], vectors[:, -1] = labels == 0, labels == 1
    vectors[::10] = vectors[::10, ::-1]
    layer = FinalLayer(np.zeros((SIZE, 2), np.float32), np.zeros(2, np.float32))
    layer.weights[0, 0] = layer.weights[-1, 1] = 9
    settings = FineTuneSettings("auto", FAST, checkpoints=False)
    data = replace(data, labels=labels, vectors=vectors)
    found = fine_tune(small_backbone(), layer, data, settings, Watched())
    assert not found.kept
    assert found.layer is layer
    assert found.vectors is vectors
    assert found.backbone.fingerprint == small_backbone().fingerprint
    assert "is not kept: validation cross entropy" in found.sentence()
    # The cheap part gained nothing, so the other one is not trained.
    assert list(found.tried) == ["head_blocks"]


def test_auto_trains_nothing_where_nothing_can_be_gained(tmp_path: Path) -> None:
    data = striped_photos(tmp_path, 60)
    vectors = np.zeros((60, SIZE), np.float32)
    vectors[:, 0], vectors[:, -1] = data.labels == 0, data.labels == 1
    layer = FinalLayer(np.zeros((SIZE, 2), np.float32), np.zeros(2, np.float32))
    layer.weights[0, 0] = layer.weights[-1, 1] = 9
    settings = FineTuneSettings("auto", FAST, checkpoints=False)
    found = fine_tune(small_backbone(), layer, replace(data, vectors=vectors), settings, SILENT)
    assert not found.kept
    assert found.after is None
    assert found.sentence().endswith("leaves nothing to gain")


def test_auto_tries_both_parts_and_keeps_the_better(tmp_path: Path) -> None:
    found = tuned(striped_photos(tmp_path, 60), "auto")
    assert found.kept
    assert set(found.tried) == {"head_blocks", "all"}
    assert found.after == min(found.tried.values())


def test_a_partner_is_averaged_with_the_trained_network(tmp_path: Path) -> None:
    data = striped_photos(tmp_path, 60)
    numbers = np.random.Generator(np.random.PCG64(5))
    others = numbers.standard_normal((60, 3)).astype(np.float32)
    frozen = FinalLayer(np.ones((3, 2), np.float32), np.zeros(2, np.float32))
    found = tuned(replace(data, partner=Partner(frozen, others)))
    assert found.vectors.shape == (60, SIZE + 3)
    assert (found.vectors[:, SIZE:] == others).all()
    alone = tuned(data)
    assert found.backbone.fingerprint == alone.backbone.fingerprint
    # This partner prefers no label.
    labels = found.layer.logits(found.vectors).argmax(axis=1)
    assert (labels == alone.layer.logits(alone.vectors).argmax(axis=1)).all()


def test_a_graph_of_one_image_at_a_time_is_refused(tmp_path: Path) -> None:
    data = striped_photos(tmp_path, 10)
    single = replace(small_backbone().load_graph(), any_batch=False)
    backbone = replace(small_backbone(), load_graph=lambda: single)
    settings = FineTuneSettings("all", FAST, checkpoints=False)
    with pytest.raises(BackboneError, match="takes one image at a time"):
        fine_tune(backbone, LAYER, data, settings, Watched())
