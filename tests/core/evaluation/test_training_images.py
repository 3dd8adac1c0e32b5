"""Which images trained a graph, as its model card lists them."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from tlcli.core.evaluation.training_images import (
    TrainingImages,
    images_from_card,
    images_to_card,
    to_card,
)


def content(number: int) -> str:
    return hashlib.sha256(bytes([number])).hexdigest()


def test_what_was_listed_is_found_and_nothing_else() -> None:
    values = to_card([content(number) for number in (3, 1, 2, 3)])
    assert values["count"] == 4
    listed = base64.b64decode(values["sha256_prefixes"])
    assert listed == b"".join(sorted(bytes.fromhex(content(number))[:8] for number in (1, 2, 3)))
    training = TrainingImages.from_card(values)
    assert training is not None
    assert training.contain([content(2), None, content(4), content(3)]) == [
        True,
        False,
        False,
        True,
    ]
    assert training.contain([]) == []


def test_the_first_and_the_last_number_are_contents_like_others() -> None:
    lowest, highest = "0" * 64, "f" * 64
    training = TrainingImages.from_card(to_card([lowest, highest]))
    assert training is not None
    assert training.contain([None, lowest, highest, "1" * 64]) == [False, True, True, False]


def test_images_that_are_not_all_known_or_too_many_are_not_listed() -> None:
    assert to_card([]) == {}
    assert to_card([content(1), None]) == {}
    assert to_card([content(1), content(2)], largest=1) == {}
    assert to_card([content(1), content(2)], largest=2) != {}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"count": 5},
        {"sha256_prefixes": ""},
        {"sha256_prefixes": 7},
        {"sha256_prefixes": "no base64 at all"},
        {"sha256_prefixes": base64.b64encode(b"seven b").decode()},
    ],
)
def test_a_card_that_lists_none_or_is_damaged(values: dict[str, Any]) -> None:
    assert TrainingImages.from_card(values) is None


def test_the_images_of_each_label_come_back_with_their_copies() -> None:
    contents = [f"{number:064x}" for number in (1 << 200, 2 << 200, 1 << 200)]
    found = images_from_card(images_to_card(["a", "b"], [0, 1, 0], contents))
    assert found == {"a": [1 << 8, 1 << 8], "b": [2 << 8]}
    assert images_to_card(["a"], [0, 0], ["0" * 64, None]) == {}
    assert images_to_card(["a"], [0, 0], ["0" * 64] * 2, largest=1) == {}
    for damaged in ({}, {"a": "!"}, {"a": "AAAA"}, {"a": 3}):
        assert images_from_card(damaged) is None
