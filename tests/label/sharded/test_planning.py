"""How images to label are cut into shards, and the names of their parts."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from label.sharded.planning import LabelShard, PartName, plan
from tlcli.core.data.image_files import NoImage


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for folder in ("january", "february"):
        (tmp_path / folder).mkdir()
        for number in range(40):
            (tmp_path / folder / f"{number:03}.jpg").write_bytes(b"no image")
    return tmp_path


def planned(*arguments: str, settings: str = "{}") -> list[LabelShard]:
    return list(plan(arguments, settings, 8))


def keys(shards: list[LabelShard]) -> set[str]:
    return {shard.key for shard in shards}


def test_each_image_is_in_one_shard_in_order(photos: Path) -> None:
    shards = planned("january", "february")
    assert [each for shard in shards for each in shard.images] == [
        f"{folder}/{number:03}.jpg" for folder in ("january", "february") for number in range(40)
    ]
    assert [shard.number for shard in shards] == list(range(len(shards)))
    assert len(keys(shards)) == len(shards) > 4
    assert planned("january", "february") == shards


def test_a_further_argument_adds_shards_and_changes_none(photos: Path) -> None:
    assert keys(planned("january")) < keys(planned("february", "january"))


def test_a_changed_image_changes_its_shard_alone(photos: Path) -> None:
    before = planned("january")
    os.utime(photos / "january" / "020.jpg", ns=(1, 1))
    after = planned("january")
    assert len(keys(before) - keys(after)) == len(keys(after) - keys(before)) == 1
    assert {shard.series for shard in (*before, *after)} == {before[0].series}


def test_other_settings_make_another_series(photos: Path) -> None:
    (one, other) = planned("january")[0], planned("january", settings="other")[0]
    assert one.series != other.series
    assert one.key != other.key


def test_an_argument_without_an_image_is_a_shard_that_travels(photos: Path) -> None:
    (shard,) = planned("*.png")
    (image,) = pickle.loads(pickle.dumps(shard)).images
    assert isinstance(image, NoImage)
    assert image.reason == "no file matches this pattern"


@pytest.mark.parametrize("errors", [0, 12])
def test_the_name_of_a_part_is_read_back(errors: int) -> None:
    shard = LabelShard(0, "0123abcd", "f" * 32, ("a.jpg",))
    found = PartName.of(shard.part_name(errors, "parquet"))
    assert found == PartName("0123abcd", "f" * 32, errors)


def test_other_files_are_no_parts() -> None:
    assert PartName.of("labels.jsonl") is None
    assert PartName.of("labels-0123abcd-ff.csv") is None
