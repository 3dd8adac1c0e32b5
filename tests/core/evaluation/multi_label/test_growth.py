"""What changed since an earlier run with several labels per image."""

from __future__ import annotations

import numpy as np
import pytest

from tlcli.core.evaluation.multi_label.figures import evaluate_marks
from tlcli.core.evaluation.multi_label.growth import (
    UNLABELLED,
    MarkedGrowth,
    SameMarkedImages,
    mark_changes,
)


def test_an_image_counts_once_however_many_labels_it_has() -> None:
    before = {"pool": [1, 2, 3], "garden": [1], "court": [4], UNLABELLED: [5]}
    now = {"pool": [1, 2, 6], "garden": [6, 7, 5], "tree": [6], UNLABELLED: []}
    found = mark_changes(before, now)
    # 6 and 7 are new, 3 and 4 are gone, 1 lost its garden, 5 has one now.
    assert (found.added, found.removed, found.relabelled) == (2, 2, 2)
    changes = {each.label: (each.before, each.added, each.removed) for each in found.labels}
    assert changes == {
        "pool": (3, 1, 1), "garden": (1, 3, 1), "tree": (0, 1, 0), "court": (1, 0, 1)
    }  # fmt: skip
    growth = MarkedGrowth(
        "old.json", found.labels, ("tree",), ("court",), found.relabelled, True,
        untested="Not compared: why.", added=found.added, removed=found.removed,
    )  # fmt: skip
    assert growth.lines() == [
        "Since old.json: 2 images added, 2 images removed, 2 images with other labels, by label "
        "pool +1 -1, garden +3 -1, tree +1, court -1, label added: tree, label removed: court.",
        "Not compared: why.",
    ]
    assert (growth.to_dict()["added"], growth.to_dict()["removed"]) == (2, 2)


def test_both_classifiers_are_compared_by_ranking_and_by_images_that_are_right() -> None:
    truth = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], bool)
    worse = np.array([[0.9, 0.8], [0.2, 0.9], [0.4, 0.7], [0.1, 0.2]], np.float32)
    better = truth.astype(np.float32)
    figures = [evaluate_marks(each, truth, (0.5, 0.5)) for each in (worse, better)]
    right = tuple(((each >= 0.5) == truth).all(axis=1) for each in (worse, better))
    found = SameMarkedImages.compared(*figures, right)  # type: ignore[arg-type]
    assert (found.before, found.after, found.better, found.worse) == (0.5, 1.0, 2, 0)
    assert found.to_dict()["mean_average_precision_after"] == pytest.approx(1.0)
    assert found.sentence() == (
        "Mean average precision of the 2 labels that both know: 91.7% before, 100.0% now. On 4 "
        "test images new to both, all labels right in 50.0% before, 100.0% now; better on 2, worse "
        "on 0 of 4: may be chance, p = 0.5 (McNemar's exact test)."
    )


def test_nothing_changed_is_said_in_one_sentence() -> None:
    same = mark_changes({"pool": [1], UNLABELLED: [2]}, {"pool": [1], UNLABELLED: [2]})
    growth = MarkedGrowth("old.json", same.labels, (), (), same.relabelled, True)
    assert growth.lines()[0] == "Since old.json: no image added or removed."
