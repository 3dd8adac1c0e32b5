"""`tlcli cache` on the folder of a retraining by shards."""

from __future__ import annotations

from pathlib import Path

from tests.core.parts.test_obsolete import written
from tests.support import tlcli
from tlcli.core.parts.part_cache import PARTS


def test_obsolete_parts_are_removed_and_the_others_when_all_are(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    parts = tmp_path / PARTS / "f"
    parts.mkdir(parents=True)
    old, new = written(parts, 9, ["a", "b"]), written(parts, 8, ["a", "b", "c"])
    clear = ("cache", "clear", "--bottleneck_dir", tmp_path)
    asked = tlcli(*clear, "--obsolete")
    assert (asked.code, old.exists()) == (2, True)
    assert f"this removes the obsolete part files in {tmp_path}, " in asked.err

    removed = tlcli(*clear, "--obsolete", "--yes")
    assert removed.out.startswith("Removed: parts of shards of fake, ")
    assert removed.out.endswith(f" KB are left in {tmp_path}.\n")
    assert (old.exists(), new.exists()) == (False, True)
    rest = tlcli(*clear, "--module", "fake", "--yes", "--format", "json").json
    assert [(row["backbone"], row["count"]) for row in rest["removed"]] == [("fake", 1)]
    assert not new.exists()
