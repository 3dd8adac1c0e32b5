"""What changed since an earlier run."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tlcli.core.evaluation.growth import (
    Growth,
    SameImages,
    count_changes,
    label_changes,
    renumbered,
)

Images = st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(0, 9), max_size=6))


def test_both_are_compared_on_the_same_images() -> None:
    truth = np.array([0] * 60)
    before, after = truth.copy(), truth.copy()
    before[:10], after[3:5], after[20:22] = 1, 1, 1
    found = SameImages.of(before, after, truth)
    assert found is not None
    assert (found.count, found.better, found.worse) == (60, 8, 2)
    assert found.sentence() == (
        "On 60 test images new to both: 83.3% before, 93.3% now; better on 8, worse on 2 of 60: "
        "may be chance, p = 0.11 (McNemar's exact test)."
    )
    assert SameImages.of(truth[:0], truth[:0], truth[:0]) is None
    same = SameImages.of(before, before, truth)
    assert same is not None
    assert same.sentence().endswith("now; no image is labelled better or worse.")


def test_images_that_came_and_went_are_counted_by_label() -> None:
    changes, relabelled = label_changes({"a": [1, 2, 2, 3], "b": [4]}, {"a": [1, 2], "c": [3, 5]})
    assert [(each.label, each.before, each.added, each.removed) for each in changes] == [
        ("a", 4, 0, 2),
        ("c", 0, 2, 0),
        ("b", 1, 0, 1),
    ]
    assert relabelled == 1
    found = Growth("old.json", changes, ("c",), ("b",), relabelled, exact=True)
    assert found.lines() == [
        "Since old.json: 2 images added (c 2), 3 images removed (a 2, b 1), 1 of them with another "
        "label, label added: c, label removed: b."
    ]


@given(Images, Images)
def test_every_image_is_kept_added_or_removed(
    before: dict[str, list[int]], now: dict[str, list[int]]
) -> None:
    changes, _ = label_changes(before, now)
    assert {each.label: each.now for each in changes if each.label in now} == {
        label: len(images) for label, images in now.items()
    }
    assert all(each.now == 0 for each in changes if each.label not in now)
    assert label_changes(now, now)[1] == 0


def test_numbers_alone_and_no_change_are_reported_as_such() -> None:
    changes = count_changes({"a": 3, "b": 2}, {"a": 5, "b": 1})
    found = Growth("old.json", changes, (), (), 0, exact=False, untested="Not compared: why.")
    assert found.lines() == [
        "Since old.json: 2 images added (a 2), 1 image removed (b 1). By their numbers; the card "
        "does not list its images.",
        "Not compared: why.",
    ]
    same = Growth("old.json", count_changes({"a": 3}, {"a": 3}), (), (), 0, exact=True)
    assert same.lines() == ["Since old.json: no image added or removed."]
    assert same.to_dict()["tested"] is None


def test_labels_are_found_by_name() -> None:
    assert renumbered(["b", "x", "a"], ["a", "b"]).tolist() == [1, -1, 0]
