"""A served graph with several labels per image."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serve.asking import Mapper, ask, model, picture
from tlcli.serve.app import make_app
from tlcli.serve.limits import Limits


@pytest.fixture(scope="module")
def app() -> Any:
    limits = Limits(max_bytes=100_000, max_pixels=1_000_000)
    return make_app(model(Mapper(), thresholds=(0.3, 0.6, 0.32)), limits)


def names(found: Any) -> list[str]:
    return [each["label"] for each in found.json["predictions"]]


def test_labels_count_from_their_own_thresholds(app: Any) -> None:
    grey = ask(app, "POST", "/label", picture("#808080"))
    assert names(grey) == ["red", "blue"]
    green = ask(app, "POST", "/label", picture("#2d502d"))
    assert green.json["predictions"] == []
    assert green.json["best"]["label"] == "green"
    assert names(ask(app, "POST", "/label?top_k=1", picture("#808080"))) == ["red"]
    assert len(names(ask(app, "POST", "/label?threshold=0", picture("#808080")))) == 3


def test_the_page_is_told_which_labels_count(app: Any) -> None:
    found = ask(app, "POST", "/page/label", picture("#808080"))
    counts = {each["label"]: each["counts"] for each in found.json["predictions"]}
    assert counts == {"red": True, "green": False, "blue": True}
