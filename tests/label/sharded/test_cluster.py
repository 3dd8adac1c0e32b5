"""Images evaluated on a real Ray cluster."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import Trained, tlcli

pytestmark = [
    pytest.mark.slow,
    # Of Ray itself, also when its sockets are collected.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_an_evaluation_on_the_cluster_has_the_figures_of_one_here(
    nodes: Any, trained: Trained
) -> None:
    usual = ("evaluate", "--image_dir", trained.photos, "--graph", trained.graph)
    here = tlcli(*usual, "--format", "json")
    there = tlcli(*usual, "--format", "json", "--runner", "ray", "--address", nodes.address)
    assert there.code == here.code == 0, there.err
    assert there.json == here.json
    assert there.json["unseen"]["count"] < there.json["count"]
    assert "broken.jpg is left out" in there.err
