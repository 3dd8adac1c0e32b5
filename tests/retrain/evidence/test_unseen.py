"""The accuracy without the test photos that have a copy among the training photos."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.report.pages import Page
from tests.support import Trained, tlcli
from tlcli.core.photos.findings import CopyPair, Findings
from tlcli.report.data import UnseenTests


def pair(one: str, other: str, *splits: str) -> CopyPair:
    return CopyPair((one, other), ("a", "a"), (splits[0], splits[1]), "copy")


def test_a_copy_of_a_copy_was_seen_too_and_copies_of_other_splits_were_not() -> None:
    copies = (
        pair("training", "validation", "training", "validation"),
        pair("validation", "testing", "validation", "testing"),
        pair("one test", "another test", "testing", "testing"),
    )
    groups = (("training", "validation", "testing"), ("one test", "another test"))
    assert Findings(9, 2, copies=copies, groups=groups).seen_in_training() == {"testing"}
    assert Findings(9, 2).seen_in_training() == frozenset()


def test_nothing_is_left_where_all_have_copies() -> None:
    sentence = UnseenTests(1, None, None, 0).sentence
    assert "1 test photo that has a copy among the training photos" in sentence


@pytest.mark.slow
def test_the_accuracy_without_copies_stands_beside_the_accuracy(
    trained: Trained, tmp_path: Path
) -> None:
    rows = ["path,label,split"]
    for label in ("house_with_pool", "house_without_pool"):
        photos = sorted(p for p in (trained.photos / label).glob("*.jpg") if p.stat().st_size)
        splits = ["training"] * 12 + ["validation"] * 4 + ["testing"] * 4
        rows += [f"{p},{label},{split}" for p, split in zip(photos, splits, strict=False)]
    with Image.open(photos[0]) as image:
        image.resize((image.width // 2, image.height // 2)).save(tmp_path / "half.jpg", quality=80)
    rows += [f"half.jpg,{label},testing"]
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    run = tlcli(
        "retrain", "--manifest", "list.csv", "--preset", "standard", "--fine_tune", "none",
        "--format", "json", cwd=tmp_path, cache=trained.cache,
    )  # fmt: skip
    assert run.code == 0, run.err
    found = run.json["test_without_copies"]
    assert found["copies"] >= 1
    assert found["count"] == run.json["test_count"] - found["copies"]
    page = Page((tmp_path / "output_report.html").read_text("utf-8"))
    assert "Test accuracy without copies" in page.text
    assert json.loads(page.json)["unseen"]["copies"] == found["copies"]
