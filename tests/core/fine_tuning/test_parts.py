"""Which part of a network is trained, which views it sees, and what is chosen: all quick."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.core.fine_tuning.small_network import (
    SIDE,
    small_backbone,
    small_graph,
    striped_photos,
)
from tlcli.backbones import efficientnet_lite
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.fine_tuning.averaging import (
    Tempered,
    gains,
    side_by_side,
    softened,
    tempered,
)
from tlcli.core.fine_tuning.checkpoint import FineTuningCheckpoint, State, training_digest
from tlcli.core.fine_tuning.fine_tune import check_trainable
from tlcli.core.fine_tuning.pictures import Pictures
from tlcli.core.fine_tuning.pointwise import as_matrix_products
from tlcli.core.fine_tuning.trainable_network import averaged
from tlcli.core.fine_tuning.trained_part import trained_part
from tlcli.core.fine_tuning.training import Schedule
from tlcli.core.fine_tuning.untrained_part import Maps, UntrainedPart
from tlcli.errors import BackboneError, DataError
from tlcli.graph.shapes import infer_shapes
from tlcli.runtime.tensorflow import GraphEngine


@pytest.mark.parametrize(
    ("part", "weights", "boundary"),
    [
        ("head_blocks", 16, "efficientnet_lite/block_10/add"),
        ("all", 34, "efficientnet_lite/block_4/add"),
    ],
)
def test_the_border_of_efficientnet_lite_lies_between_blocks(
    part: str, weights: int, boundary: str
) -> None:
    found = efficientnet_lite.find("efficientnet_lite0")
    part_of = trained_part(found.load_graph(), found.height, found.width, part)
    assert (len(part_of.weights), len(part_of.biases)) == (weights, weights)
    assert part_of.boundary == (boundary,)


def test_where_no_border_lies_near_the_share_the_layers_beyond_it_are_trained() -> None:
    found = trained_part(small_graph(), SIDE, SIDE, "head_blocks")
    assert found.weights == ("c2/weights", "c3/weights")
    assert found.biases == ("c2/biases", "c3/biases")
    assert found.boundary == ("c1/Relu",)
    assert found.shapes == ((8, 8, 6),)
    assert found.size == 8 * 8 * 6


def test_a_network_without_weights_cannot_be_trained() -> None:
    graph = small_graph()
    with pytest.raises(BackboneError, match="cannot be fine-tuned: its graph has no convolution"):
        trained_part(replace(graph, output="Placeholder"), SIDE, SIDE, "all")


def test_frozen_graphs_and_imported_vectors_are_refused() -> None:
    frozen = replace(small_backbone(), name="old.pb", trainable=False)
    with pytest.raises(BackboneError, match=r"^old\.pb cannot be fine-tuned: frozen graphs"):
        check_trainable(frozen)
    with pytest.raises(BackboneError, match=r"^old\.pb cannot"):
        check_trainable(replace(small_backbone(), parts=(frozen, small_backbone())))
    # of joined ones the first is trained
    joined = replace(small_backbone(), parts=(small_backbone(), frozen))
    assert check_trainable(joined) is joined
    with pytest.raises(BackboneError, match="imported bottlenecks cannot be fine-tuned"):
        check_trainable(None)
    assert check_trainable(small_backbone()).name == "small"


def test_views_depend_on_seed_and_epoch_and_plain_photos_do_not(tmp_path: Path) -> None:
    data, rows = striped_photos(tmp_path, 8), np.arange(8)
    with (
        Pictures(data.photos, (SIDE, SIDE), seed=1) as one,
        Pictures(data.photos, (SIDE, SIDE), seed=1, largest=0) as same,
        Pictures(data.photos, (SIDE, SIDE), seed=2) as other,
    ):
        first = one.view(rows, 0)
        assert first.shape == (8, SIDE, SIDE, 3)
        assert 0 <= first.min() < first.max() <= 1
        assert (same.view(rows[3:], 0) == first[3:]).all()
        assert (one.view(rows, 1) != first).any()
        assert (other.view(rows, 0) != first).any()
        assert (other.plain(rows) == one.plain(rows)).all()


def test_a_photo_that_changed_meanwhile_is_named(tmp_path: Path) -> None:
    data = striped_photos(tmp_path, 2)
    Path(data.photos[1].path).write_bytes(b"something else")
    with (
        Pictures(data.photos, (SIDE, SIDE)) as pictures,
        pytest.raises(DataError, match=r"1\.png changed while the network was fine-tuned"),
    ):
        pictures.plain(np.arange(2))


def test_the_learning_rate_rises_and_falls_along_a_cosine() -> None:
    schedule = Schedule()
    steps = schedule.steps(100)
    assert steps == 8 * 7
    assert schedule.rate(0, steps) == pytest.approx(3e-4 / 7)
    rates = [schedule.rate(step, steps) for step in range(steps)]
    assert rates[:7] == sorted(rates[:7])
    assert rates[6:] == sorted(rates[6:], reverse=True)
    assert replace(schedule, warm_up=0.0).rate(0, steps) == 3e-4
    assert schedule.rate(steps // 2, steps) == pytest.approx(1.5e-4)
    assert schedule.rate(steps - 1, steps) < 1e-6


def test_an_average_lies_between_start_and_end() -> None:
    start, end = [np.float32([0, 4])], [np.float32([2, 0])]
    assert averaged(start, end, 0.5)[0].tolist() == [1, 2]
    assert averaged(start, end, 1.0)[0].tolist() == [2, 0]
    assert averaged(start, end, 0.0)[0].tolist() == [0, 4]


def test_a_temperature_undoes_how_sure_a_layer_is() -> None:
    numbers = np.random.Generator(np.random.PCG64(0))
    vectors = numbers.standard_normal((400, 3)).astype(np.float32)
    labels = (vectors + numbers.gumbel(size=vectors.shape)).argmax(axis=1)
    plain = FinalLayer(np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    sure = FinalLayer(3 * plain.weights, plain.biases)
    found, other = tempered(plain, vectors, labels), tempered(sure, vectors, labels)
    assert found.temperature == pytest.approx(1, abs=0.2)
    assert other.cross_entropy == pytest.approx(found.cross_entropy, abs=1e-3)
    again = tempered(other.cooled(sure), vectors, labels)
    assert again.temperature == pytest.approx(1, abs=0.01)


def test_a_few_images_that_are_all_right_leave_a_temperature_near_1() -> None:
    layer = FinalLayer(2 * np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    vectors = np.eye(3, dtype=np.float32)
    found = tempered(layer, vectors, np.arange(3))
    assert 0.4 < found.temperature < 1
    assert found.cross_entropy > 0.01


def test_a_gain_on_few_images_must_exceed_its_standard_error() -> None:
    def measured(*losses: float) -> Tempered:
        return Tempered(np.array(losses), 1.0)

    assert gains(measured(0.9, 0.8, 1.0), measured(0.3, 0.1, 0.2))
    assert not gains(measured(0.1, 0.0, 1.0), measured(0.2, 0.2, 0.6))
    assert not gains(measured(0.9), measured(0.1))
    many = np.tile([0.1, 0.0, 1.0], 10)
    assert gains(Tempered(many, 1.0), Tempered(np.tile([0.2, 0.2, 0.6], 10), 1.0))
    assert not gains(Tempered(many, 1.0), Tempered(many, 1.0))


@pytest.mark.parametrize("factor", [1, 100])
def test_a_start_has_the_same_scale_however_sure_the_layer_is(factor: float) -> None:
    numbers = np.random.Generator(np.random.PCG64(0))
    vectors = numbers.standard_normal((100, 3)).astype(np.float32)
    labels = vectors.argmax(axis=1)
    layer = FinalLayer(factor * np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    found = softened(layer, vectors, labels, 0.1)
    assert found.weights[0, 0] == pytest.approx(2.7, rel=0.1)
    assert (found.logits(vectors).argmax(axis=1) == labels).all()


def test_two_layers_side_by_side_average_their_logits() -> None:
    numbers = np.random.Generator(np.random.PCG64(0))
    one, two = (
        FinalLayer(
            numbers.standard_normal((size, 4)).astype(np.float32),
            numbers.standard_normal(4).astype(np.float32),
        )
        for size in (5, 3)
    )
    vectors = numbers.standard_normal((7, 8)).astype(np.float32)
    expected = (one.logits(vectors[:, :5]) + two.logits(vectors[:, 5:])) / 2
    np.testing.assert_allclose(side_by_side(one, two).logits(vectors), expected, atol=1e-5)


def test_a_checkpoint_comes_back_and_one_of_another_training_does_not(tmp_path: Path) -> None:
    values = [np.float32([[1, 2]]), np.float32([3])]
    state = State(5, values, [*values, *values])
    digest = training_digest(["seed", 0], [values[0]])
    FineTuningCheckpoint(digest, folder=tmp_path).save(state)
    found = FineTuningCheckpoint(digest, folder=tmp_path).load(values)
    assert found is not None
    assert found.steps_done == 5
    assert [each.tolist() for each in found.moments] == [[[1, 2]], [3], [[1, 2]], [3]]
    done = State(8, values, [])
    FineTuningCheckpoint(digest, folder=tmp_path).save(done)
    finished = FineTuningCheckpoint(digest, folder=tmp_path).load(values)
    assert finished is not None
    assert (finished.steps_done, finished.moments) == (8, [])
    assert [each.tolist() for each in finished.values] == [[[1, 2]], [3]]
    other = training_digest(["seed", 1], [values[0]])
    assert FineTuningCheckpoint(other, folder=tmp_path).load(values) is None
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    assert FineTuningCheckpoint(digest, folder=tmp_path).load(values) is None


@pytest.mark.slow
def test_maps_at_the_border_are_those_of_the_network_and_computed_once(tmp_path: Path) -> None:
    data, graph = striped_photos(tmp_path, 6), small_graph()
    part = trained_part(graph, SIDE, SIDE, "head_blocks")
    with (
        Pictures(data.photos, (SIDE, SIDE), seed=1) as pictures,
        UntrainedPart(graph, part, (SIDE, SIDE), 6) as untrained,
        GraphEngine(graph.graph, "Placeholder", "c1/Relu") as engine,
    ):
        maps = Maps(untrained, pictures)
        rows = np.array([4, 1, 4])
        (found,) = maps.of(rows, [0, 0, 2])
        plain, view = pictures.plain(rows[:2]), pictures.view(rows[2:], 2)
        np.testing.assert_allclose(found[:2], engine.run(plain), atol=1e-5)
        np.testing.assert_allclose(found[2:], engine.run(view), atol=1e-5)
        assert maps.views_that_fit == 6
        few = Maps(untrained, pictures, largest=2 * 6 * part.size * 4)
        assert few.views_that_fit == 2
        # The files are not needed again.
        for photo in data.photos:
            Path(photo.path).unlink()
        assert (maps.of(rows, [0, 0, 2])[0] == found).all()
        assert (maps.plain(rows[:1])[0] == found[:1]).all()


@pytest.mark.slow
def test_convolutions_of_single_pixels_become_matrix_products_of_the_same_result() -> None:
    found = efficientnet_lite.find("efficientnet_lite0").load_graph()
    changed = as_matrix_products(found.graph, infer_shapes(found.graph, "Placeholder"))
    counts = Counter(node.op for node in changed.node)
    assert (counts["Conv2D"], counts["MatMul"]) == (1, 32)
    pixels = np.random.Generator(np.random.PCG64(0)).random((2, 224, 224, 3), np.float32)
    with (
        GraphEngine(found.graph, "Placeholder", found.output) as before,
        GraphEngine(changed, "Placeholder", found.output) as after,
    ):
        np.testing.assert_allclose(after.run(pixels), before.run(pixels), atol=1e-4)
