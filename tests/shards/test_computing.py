"""The part of one shard: computed once, again where a file changed, from older parts if any."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from tests.core.bottlenecks.fake_backbone import FakeEngine, backbone, picture
from tlcli.core.bottlenecks import extraction
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.data.image_list import ImageFile
from tlcli.core.images.augmentation import Augmentation
from tlcli.core.parts.part_cache import part_path
from tlcli.core.parts.part_file import Part
from tlcli.shards.computing import ShardComputer, Views, Work, options_text
from tlcli.shards.planning import Shard, plan


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[FakeEngine]:
    class Fresh(FakeEngine):
        batches: list[int] = []  # noqa: RUF012
        opened = closed = 0

    monkeypatch.setattr(extraction, "backbone_engine", Fresh)
    return Fresh


def photos(folder: Path, count: int) -> list[ImageFile]:
    """Return images of one label; those that are missing are written."""
    (folder / "rose").mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(count):
        path = folder / "rose" / f"{number:03}.png"
        if not path.exists():
            path.write_bytes(picture(number))
        found.append(ImageFile(str(folder), "rose", f"rose/{number:03}.png", "rose"))
    return found


def settled() -> None:
    """Wait until files that were just written have a reliable state."""
    time.sleep(2.1)


def only(images: list[ImageFile], views: Views | None = None) -> Shard:
    (shard,) = plan(images, "fingerprint", options_text(views), 1000)
    return shard


def test_a_part_is_computed_once_and_read_by_the_cache(
    tmp_path: Path, engine: type[FakeEngine]
) -> None:
    images = photos(tmp_path / "photos", 5)
    (tmp_path / "photos" / "rose" / "004.png").write_bytes(b"nothing")
    settled()
    shard, folder = only(images), tmp_path / "cache"
    first = ShardComputer(backbone(), folder)(Work(shard))
    assert (first.images, first.computed, first.was_there) == (5, 4, False)
    assert first.unreadable == ((str(images[4].file), "not an image"),)
    path = part_path(folder, "fingerprint", shard.key)
    state = path.stat()
    again = ShardComputer(backbone(), folder)(Work(shard))
    assert (again.computed, again.was_there, again.unreadable) == (0, True, first.unreadable)
    assert path.stat().st_mtime_ns == state.st_mtime_ns
    with BottleneckStore(folder) as store:
        files = [str(image.file) for image in images]
        contents = store.contents(files)
        assert all(isinstance(content, str) for content in contents)
        assert store.failures(contents) == {contents[4]: "not an image"}
        assert store.count("fingerprint", contents) == 4
        found = extraction.compute(
            backbone(), [extraction.Request(*each) for each in zip(files, contents, strict=True)],
            store,
        )  # fmt: skip
        assert (found.hits, found.computed, len(found.failures)) == (4, 0, 1)
    assert engine.opened == 1


def test_a_changed_file_is_computed_again_and_the_others_are_not(
    tmp_path: Path, engine: type[FakeEngine]
) -> None:
    images = photos(tmp_path / "photos", 4)
    work = Work(only(images))
    compute = ShardComputer(backbone(), tmp_path / "cache")
    compute(work)
    Path(str(images[1].file)).write_bytes(picture(77))
    done = compute(work)
    assert (done.computed, done.was_there) == (1, False)


def test_vectors_of_an_older_part_are_taken_over(tmp_path: Path, engine: type[FakeEngine]) -> None:
    compute = ShardComputer(backbone(), tmp_path / "cache")
    old = only(photos(tmp_path / "photos", 4))
    compute(Work(old))
    new = only(photos(tmp_path / "photos", 6))
    earlier = part_path(tmp_path / "cache", "fingerprint", old.key)
    before = earlier.read_bytes()
    assert compute(Work(new, (earlier,))).computed == 2
    assert earlier.read_bytes() == before


def test_a_part_is_the_same_whoever_computes_it(tmp_path: Path, engine: type[FakeEngine]) -> None:
    shard = only(photos(tmp_path / "photos", 40))
    for name in "ab":
        ShardComputer(backbone(), tmp_path / name)(Work(shard))
    first, second = (part_path(tmp_path / name, "fingerprint", shard.key) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_distorted_views_are_computed_of_training_images(
    tmp_path: Path, engine: type[FakeEngine]
) -> None:
    views = Views(Augmentation(flip_left_right=True), 2, 30, 30)
    images = photos(tmp_path / "photos", 20)
    wanted = [image for image in images if views.wanted(image)]
    assert 0 < len(wanted) < len(images)
    shard = only(images, views)
    assert shard.key != only(images).key
    done = ShardComputer(backbone(), tmp_path / "cache", views)(Work(shard))
    assert done.computed == 20 + 2 * len(wanted)
    part = Part(part_path(tmp_path / "cache", "fingerprint", shard.key))
    assert part.texts("view").count("") == 20
    assert part.sums.count == 20
    with BottleneckStore(tmp_path / "cache") as store:
        content = store.contents([str(wanted[0].file)])
        matrix = np.zeros((1, 3), np.float32)
        for view in range(2):
            key = views.distortions.view_key(view)
            assert store.fill("fingerprint", key, content, matrix).all()


def test_a_shard_without_any_readable_image_has_a_part(
    tmp_path: Path, engine: type[FakeEngine]
) -> None:
    images = photos(tmp_path / "photos", 2)
    for image in images:
        Path(str(image.file)).unlink()
    os.symlink("nowhere", str(images[0].file))  # noqa: PTH211
    done = ShardComputer(backbone(), tmp_path / "cache")(Work(only(images)))
    assert [reason for _, reason in done.unreadable] == ["no such file or directory"] * 2
    with BottleneckStore(tmp_path / "cache") as store:
        assert store.bottleneck_size("fingerprint") is None
