"""The split: the original's hash, copies together, no label without any of a split."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcli.core.data.splits import (
    SPLITS,
    assign_splits,
    check_percentages,
    complete_splits,
    cross_label_duplicates,
    drawn_splits,
    hash_percentage,
    split_of,
)
from tlcli.errors import DataError, UsageError


def test_known_hashes() -> None:
    # SHA-1 of the UTF-8 name modulo 2^27, times 100 / (2^27 - 1): retrain.py's rule.
    assert hash_percentage("daisy/a.jpg") == 70.1545489590954
    assert hash_percentage("roses/12240303_80d87f77a3_n.jpg") == 56.4537879560425
    assert hash_percentage("house_with_pool/photo.jpg") == 73.45776240123631
    assert hash_percentage("caf\u00e9/\u00fc.jpg") == 36.636214976282524
    assert hash_percentage("daisy/a_nohash_1.jpg") == hash_percentage("daisy/a_nohash_2_x.png")
    assert hash_percentage("daisy/a_nohash_1.jpg") == hash_percentage("daisy/a")


def test_spelling_of_macos_splits_the_same() -> None:
    assert hash_percentage("caf\u00e9/\u00fc.jpg") == hash_percentage("cafe\u0301/u\u0308.jpg")


def test_names_that_are_no_text_have_a_hash() -> None:
    assert 0 <= hash_percentage("a/\udcff\udc80.jpg") <= 100
    assert hash_percentage("a/x\n_nohash_\ny.jpg") == hash_percentage("a/x\n")


def counts_by_bare_name(names: list[str]) -> tuple[int, int, int]:
    counts = Counter(split_of(hash_percentage(name), 10, 10) for name in names)
    return counts["training"], counts["validation"], counts["testing"]


def test_flowers_split_as_the_original_rule_does(shared: Path) -> None:
    with np.load(shared / "flowers" / "bottlenecks.npz") as stored:
        names = [str(name).split("/")[1] for name in stored["names"]]
    assert counts_by_bare_name(names) == (2955, 356, 359)


def test_houses_split_as_the_original_rule_does(shared: Path) -> None:
    names = [path.name[:-4] for path in (shared / "houses" / "bottlenecks").glob("*/*.txt")]
    assert counts_by_bare_name(names) == (403, 69, 46)


def split(names: list[str], testing: float = 10, validation: float = 10) -> dict[str, str]:
    labels = [name.split("/")[0] for name in names]
    found = assign_splits(names, labels, [None] * len(names), testing, validation)
    return dict(zip(names, found, strict=True))


def test_flowers_with_labels_need_no_moving(shared: Path) -> None:
    with np.load(shared / "flowers" / "bottlenecks.npz") as stored:
        names = [str(name) for name in stored["names"]]
    found = split(names)
    assert all(found[name] == split_of(hash_percentage(name), 10, 10) for name in names)


@pytest.mark.parametrize("count", [3, 4, 7, 20])
def test_every_split_has_one(count: int) -> None:
    for start in range(30):
        found = split([f"a/{start}-{number}.jpg" for number in range(count)])
        assert set(found.values()) == set(SPLITS)


def test_the_nearest_hash_is_moved() -> None:
    names = [f"a/{number}.jpg" for number in range(300)]
    names = [name for name in names if hash_percentage(name) >= 20][:40]
    found = split(names)
    by_hash = sorted(names, key=hash_percentage)
    # Validation, 0 to 10, is filled first and takes the lowest; testing the next.
    assert [found[name] for name in by_hash[:3]] == ["validation", "testing", "training"]
    assert list(found.values()).count("training") == 38


def test_training_is_never_empty() -> None:
    names = [f"a/{number}.jpg" for number in range(500)]
    low = [name for name in names if hash_percentage(name) < 20][:6]
    assert set(split(low).values()) == set(SPLITS)


@pytest.mark.parametrize(
    ("testing", "validation", "needed"), [(10, 10, 3), (10, 0, 2), (0, 10, 2), (0, 0, 1)]
)
def test_how_many_a_label_needs(testing: int, validation: int, needed: int) -> None:
    names = [f"a/{number}.jpg" for number in range(needed)]
    found = split(names, testing, validation)
    assert len(set(found.values())) == needed
    assert "training" in found.values()
    if needed > 1:
        with pytest.raises(DataError, match=rf"'a' has {needed - 1} image.*at least {needed} "):
            split(names[:-1], testing, validation)


def test_copies_do_not_count_as_images() -> None:
    names = ["a/1.jpg", "a/2.jpg", "a/3.jpg"]
    with pytest.raises(DataError, match="3 images, 2 of them distinct"):
        assign_splits(names, ["a"] * 3, ["x", "x", "y"], 10, 10)
    with pytest.raises(DataError, match="2 of them distinct"):
        split(["a/1.jpg", "a/2_nohash_1.jpg", "a/2_nohash_2.jpg"])


def test_copies_follow_the_first_name() -> None:
    names = [f"a/{number:03}.jpg" for number in range(200)]
    plain = split(names)
    for copy in ("a/999.jpg", "a/sub/copy.jpg"):
        for original in names[:50]:
            everything = [copy, *names]
            contents = ["same" if n in (copy, original) else n for n in everything]
            found = assign_splits(everything, ["a"] * len(everything), contents, 10, 10)
            assert found[0] == plain[original]


def test_chains_of_copies_and_groups_stay_together() -> None:
    names = ["a/1_nohash_1", "a/1_nohash_2", "a/2_nohash_1", "a/2_nohash_2", "a/3", "a/4", "a/5"]
    contents = ["p", "q", "q", "r", "r", "s", "t"]
    found = assign_splits(names, ["a"] * 7, contents, 10, 10)
    assert len(set(found[:5])) == 1


def test_copies_under_two_labels_are_named() -> None:
    names = ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg", "b/3.jpg"]
    contents = ["x", "y", "x", "z", "z"]
    labels = [name[0] for name in names]
    assert cross_label_duplicates(names, labels, contents) == [("a/1.jpg", "b/1.jpg")]
    assert cross_label_duplicates(names, labels, [None] * 5) == []


@pytest.mark.parametrize(
    ("testing", "validation"),
    [(50, 50), (100, 0), (0, 100), (-1, 10), (10, 101), (float("nan"), 1)],
)
def test_percentages_that_cannot_work(testing: float, validation: float) -> None:
    with pytest.raises(UsageError, match="percentage"):
        check_percentages(testing, validation)
    with pytest.raises(UsageError, match="percentage"):
        split(["a/1"], testing, validation)


stems = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=8)
name_sets = st.sets(stems, min_size=3, max_size=40).map(
    lambda found: sorted(f"a/{stem}" for stem in found)
)


def distinct(names: list[str]) -> int:
    return len({hash_percentage(name) for name in names})


@settings(max_examples=60, deadline=None)
@given(name_sets, st.sets(stems, max_size=5))
def test_adding_images_moves_no_other(names: list[str], added: set[str]) -> None:
    """Where every split of the label had an image by hash alone, nothing moves at all."""
    more = sorted({*names, *(f"a/{stem}" for stem in added)})
    by_hash = {name: split_of(hash_percentage(name), 10, 10) for name in more}
    if distinct(names) < 3 or {by_hash[name] for name in names} != set(SPLITS):
        return
    before, after = split(names), split(more)
    assert all(after[name] == before[name] == by_hash[name] for name in names)


@settings(max_examples=60, deadline=None)
@given(name_sets)
def test_no_more_are_moved_than_the_minimum_needs(names: list[str]) -> None:
    if distinct(names) < 3:
        return
    by_hash = {name: split_of(hash_percentage(name), 10, 10) for name in names}
    found = split(names)
    assert set(found.values()) == set(SPLITS)
    moved = {hash_percentage(name) for name in names if found[name] != by_hash[name]}
    assert len(moved) <= 3 - len(set(by_hash.values()))


@settings(max_examples=60, deadline=None)
@given(name_sets, st.data())
def test_no_content_in_two_splits(names: list[str], data: st.DataObject) -> None:
    contents = [data.draw(st.sampled_from("pqrstuvw")) for _ in names]
    try:
        found = assign_splits(names, ["a"] * len(names), contents, 20, 20)
    except DataError:
        return
    for content in set(contents):
        assert len({s for s, c in zip(found, contents, strict=True) if c == content}) == 1


@settings(max_examples=60, deadline=None)
@given(name_sets, st.data(), st.randoms())
def test_no_content_of_several_labels_in_two_splits(
    names: list[str], data: st.DataObject, random: Any
) -> None:
    contents = {name: data.draw(st.integers(0, 30).map(str)) for name in names}
    labels = {name: data.draw(st.sampled_from("abc")) for name in names}

    def assigned(order: list[str]) -> dict[str, str]:
        found = assign_splits(
            order, [labels[name] for name in order], [contents[name] for name in order], 20, 20
        )
        return dict(zip(order, found, strict=True))

    try:
        found = assigned(names)
    except DataError:
        return
    for content in set(contents.values()):
        assert len({found[name] for name in names if contents[name] == content}) == 1
    for label in set(labels.values()):
        assert "training" in {found[name] for name in names if labels[name] == label}
    shuffled = list(names)
    random.shuffle(shuffled)
    assert assigned(shuffled) == found


def test_copies_under_another_label_follow_the_first_name() -> None:
    names = [f"{label}/{number:03}.jpg" for label in "ab" for number in range(200)]
    alone = split(names)
    contents = [name[2:] for name in names]  # each image of b is one of a

    found = assign_splits(names, [name[0] for name in names], contents, 10, 10)

    assert found[:200] == found[200:] == [alone[name] for name in names[:200]]


def test_a_label_of_copies_that_leave_it_nothing_to_train_on_is_one_sentence() -> None:
    names, contents = [], []
    for label, content in (("a", "x"), ("b", "y")):
        numbered = [f"{label}/{number}.jpg" for number in range(300)]
        tested = next(name for name in numbered if hash_percentage(name) < 10)
        trained = next(name for name in numbered if hash_percentage(name) >= 10)
        # The only test image of its label is under c too, so it cannot move.
        names += [tested, trained, f"c/{content}.jpg"]
        contents += [content, f"{label} trained", content]
    with pytest.raises(DataError, match="'c' has no image to train on"):
        assign_splits(names, [name[0] for name in names], contents, 10, 0)


@settings(max_examples=30, deadline=None)
@given(name_sets, st.randoms())
def test_the_order_given_does_not_matter(names: list[str], random: object) -> None:
    if distinct(names) < 3:
        return
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert split(shuffled) == split(names)


def test_given_splits_stay_and_missing_ones_are_drawn() -> None:
    names = [f"a/{number}.jpg" for number in range(60)]
    taken = ["testing"] * 20 + ["training"] * 40
    percentages = {"testing": 10, "validation": 20}
    found = complete_splits(names, ["a"] * 60, [None] * 60, taken, percentages)
    assert found[:20] == ["testing"] * 20
    assert set(found[20:]) == {"training", "validation"}
    # Drawn as if the training images were all there are.
    assert found[20:] == assign_splits(names[20:], ["a"] * 40, [None] * 40, 0, 20)
    assert drawn_splits(taken) == ("validation",)
    percentages["validation"] = 0
    assert complete_splits(names, ["a"] * 60, [None] * 60, taken, percentages) == taken


def test_images_without_a_split_get_one_beside_given_ones() -> None:
    names = [f"a/{number}.jpg" for number in range(60)]
    taken: list[str | None] = ["training", "testing", *[None] * 58]
    percentages = {"testing": 30, "validation": 30}
    found = complete_splits(names, ["a"] * 60, [None] * 60, taken, percentages)
    assert found[:2] == ["training", "testing"]
    assert found[2:] == [split_of(hash_percentage(name), 30, 30) for name in names[2:]]
    assert drawn_splits(taken) == ("validation", "testing")


def test_copies_of_measured_images_leave_the_training_split() -> None:
    taken = ["training", "training", "training", "testing", "validation", "testing"]
    contents = ["x", "y", None, "x", "y", "y"]
    names = [f"a/{number}.jpg" for number in range(6)]
    found = complete_splits(names, ["a"] * 6, contents, taken, {"testing": 10, "validation": 10})
    assert found == ["", "", "training", "testing", "validation", "testing"]
    with pytest.raises(DataError, match="all training images of the label 'a' are copies"):
        complete_splits(
            names[:1] + names[3:4], ["a", "a"], ["x", "x"], ["training", "testing"],
            {"testing": 0, "validation": 0},
        )  # fmt: skip


def test_too_few_to_draw_from_names_the_percentage_that_helps() -> None:
    taken = ["training", "testing"]
    with pytest.raises(DataError, match=r"or give --validation_percentage 0$"):
        complete_splits(
            ["a/1", "a/2"], ["a", "a"], [None, None], taken, {"testing": 10, "validation": 10}
        )
