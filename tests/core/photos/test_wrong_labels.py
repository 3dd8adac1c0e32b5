"""Wrong labels are ranked first, with the label that the photos look like."""

from __future__ import annotations

import numpy as np

from tests.core.photos.clouds import clouds
from tlcli.core.fitting.main_axes import AXES, on_main_axes
from tlcli.core.photos.checking import Photos, find
from tlcli.core.photos.wrong_labels import suspicions


def test_flipped_labels_are_first_with_their_true_label() -> None:
    vectors, truth = clouds(40, 5)
    flipped = np.arange(0, 200, 25)
    labels = truth.copy()
    labels[flipped] = (labels[flipped] + 1) % 5
    found = suspicions(on_main_axes(vectors), labels, 5)
    assert set(found.ranked()[: len(flipped)].tolist()) == set(flipped.tolist())
    assert (found.proposed[flipped] == truth[flipped]).all()
    assert found.probably_wrong[flipped].all()
    assert np.median(found.scores) < 0.2


def test_scores_do_not_depend_on_the_order_of_photos() -> None:
    vectors, labels = clouds(20, 3, seed=4)
    order = np.random.default_rng(1).permutation(60)
    one = suspicions(on_main_axes(vectors), labels, 3).scores
    other = suspicions(on_main_axes(vectors[order]), labels[order], 3).scores
    np.testing.assert_allclose(other, one[order], atol=1e-3)


def test_copies_do_not_confirm_each_others_label() -> None:
    vectors, labels = clouds(15, 2, seed=2)
    # Eight times the same photo of the first cloud under the second label.
    vectors = np.concatenate([vectors, np.repeat(vectors[:1], 8, axis=0)])
    labels = np.concatenate([labels, np.ones(8, int)])
    paths = [f"{number}.jpg" for number in range(38)]
    contents = [str(number) for number in range(30)] + ["same"] * 8
    found = find(Photos(paths, ("a", "b"), labels, contents, vectors))
    (wrong,) = found.wrong_labels
    assert (wrong.path, wrong.label, wrong.proposed) == ("30.jpg", "b", "a")
    assert wrong.reason == f"{wrong.votes} of the {wrong.voters} nearest photos are a"
    assert len(wrong.nearest) == 3
    assert found.counts()["wrong_labels"] == 1


def test_two_photos_are_enough_to_say_nothing() -> None:
    photos = Photos(["1", "2"], ("a", "b"), np.array([0, 1]), ["x", "y"], np.eye(2, 3, dtype="f4"))
    assert find(photos).wrong_labels == ()


def test_axes_are_few_and_keep_angles() -> None:
    vectors, _ = clouds(100, 4, size=400)
    turned = on_main_axes(vectors)
    assert turned.shape == (400, AXES)
    assert np.abs(turned.mean(axis=0)).max() < 1e-3
    assert on_main_axes(np.ones((3, 5), np.float32)).tolist() == [[0.0]] * 3
