"""Labels that photos have wrongly, or lack, are ranked first."""

from __future__ import annotations

import numpy as np
import pytest

from tests.core.photos.clouds import clouds
from tlcli.arrays import Array, Floats
from tlcli.core.photos.checking import Photos
from tlcli.core.photos.multi_label.checking import MarkedPhotos, find_marked, sets_of
from tlcli.core.photos.multi_label.held_out_marks import held_out_probabilities, logistic_curve


def mixed(count: int = 160, labels: int = 4, seed: int = 0) -> tuple[Floats, Array]:
    """Return vectors that are sums of what their labels add, and which row has which label."""
    draw = np.random.default_rng(seed)
    marks = draw.random((count, labels)) < 0.35
    parts = 3 * draw.standard_normal((labels, 24))
    vectors = marks @ parts + draw.standard_normal((count, 24))
    return vectors.astype(np.float32), marks


def checked(vectors: Floats, marks: Array, contents: list[str] | None = None) -> MarkedPhotos:
    names = [f"label {number}" for number in range(marks.shape[1])]
    texts = ["|".join(np.array(names)[own]) for own in marks]
    paths = [f"{number}.jpg" for number in range(len(marks))]
    labels, targets = sets_of(texts)
    photos = Photos(paths, labels, targets, contents or paths, vectors)
    return MarkedPhotos(photos, names, marks)


def test_a_wrong_and_a_missing_label_are_found_with_what_they_should_be() -> None:
    vectors, truth = mixed()
    marks = truth.copy()
    wrong = int(np.flatnonzero(~truth[:, 1])[0])
    lacking = int(np.flatnonzero(truth[:, 2])[5])
    marks[wrong, 1], marks[lacking, 2] = True, False
    found = find_marked(checked(vectors, marks))
    first = {(each.path, each.to_dict()["doubted"]): each for each in found.wrong_labels[:2]}
    assert set(first) == {(f"{wrong}.jpg", "label 1"), (f"{lacking}.jpg", "label 2")}
    one, other = first[f"{wrong}.jpg", "label 1"], first[f"{lacking}.jpg", "label 2"]
    assert set(one.label.split("|")) - set(one.proposed.split("|")) == {"label 1"}
    assert set(other.proposed.split("|")) - set(other.label.split("|")) == {"label 2"}
    assert one.reason.startswith("label 1 is doubted: ")
    assert other.reason.endswith("nearest photos have it")
    assert found.doubted is not None
    assert found.doubted["label 1"][0] >= 1
    assert found.doubted["label 2"][1] >= 1
    assert found.to_dict()["doubted"]["label 1"]["has"] == found.doubted["label 1"][0]
    assert found.labels == 4


def test_scores_are_those_of_fits_without_the_row() -> None:
    vectors, marks = mixed(40, 2)
    (_, chances), _ = held_out_probabilities(vectors, marks)
    doubtful = int(np.where(marks[:, 0], 1 - chances, chances).argmax())
    changed = marks.copy()
    changed[doubtful, 0] = not changed[doubtful, 0]
    (_, after), _ = held_out_probabilities(vectors, changed)
    # Its own label does not speak for itself: what is left is the changed base rate.
    assert after[doubtful] == pytest.approx(chances[doubtful], abs=0.1)


def test_nothing_is_said_of_labels_that_few_have_or_few_lack() -> None:
    vectors, marks = mixed(30, 3)
    marks[:, 0] = True
    marks[:, 1] = False
    marks[3, 1] = True
    found = find_marked(checked(vectors, marks))
    assert {each.to_dict()["doubted"] for each in found.wrong_labels} <= {"label 2"}
    texts = [note.text for note in found.notes]
    assert "0 photos are without label 0; 30 are a workable minimum." in texts
    assert "label 1 has 1 photo; 30 are a workable minimum." in texts


def test_files_with_the_same_content_and_labels_are_copies() -> None:
    vectors, marks = mixed(20, 2)
    vectors[1], marks[1] = vectors[0], marks[0]
    contents = ["same", "same", *(str(number) for number in range(18))]
    (copy,) = find_marked(checked(vectors, marks, contents)).copies
    assert (copy.paths, copy.reason) == (("0.jpg", "1.jpg"), "same file")


def test_a_logistic_curve_is_that_of_the_scores_and_never_sure() -> None:
    draw = np.random.default_rng(1)
    scores = draw.standard_normal(4000)
    has = draw.random(4000) < 1 / (1 + np.exp(-(2 * scores - 1)))
    expected = 1 / (1 + np.exp(-(2 * scores - 1)))
    assert np.abs(logistic_curve(scores, has) - expected).max() < 0.05
    apart = logistic_curve(np.arange(10.0), np.arange(10) >= 5)
    assert ((apart > 0) & (apart < 1)).all()
    assert (np.diff(apart) > 0).all()
    same = logistic_curve(np.zeros(8), np.arange(8) < 2)
    assert same == pytest.approx(0.25, abs=0.1)


def test_one_label_is_enough() -> None:
    vectors, targets = clouds(20, 2, seed=3)
    marks = (targets == 1)[:, np.newaxis].copy()
    marks[4, 0] = True
    found = find_marked(checked(vectors, marks))
    assert found.wrong_labels[0].path == "4.jpg"
    assert found.wrong_labels[0].proposed == ""
