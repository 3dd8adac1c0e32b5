"""How lists of images are cut into shards."""

from __future__ import annotations

import json
from hashlib import sha256
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from tlcli.core.data.image_list import ImageFile
from tlcli.core.parts.part_file import FORMAT
from tlcli.shards.planning import Shard, plan


def image(name: str, label: str = "rose", root: str = "/photos") -> ImageFile:
    return ImageFile(root, label, name, label)


def folder(name: str, count: int) -> list[ImageFile]:
    return [image(f"{name}/{number:05}.jpg", name) for number in range(count)]


def planned(images: list[ImageFile], size: int = 8) -> list[Shard]:
    return list(plan(images, "f", "{}", size))


def keys(shards: list[Shard]) -> set[str]:
    return {shard.key for shard in shards}


names = st.lists(
    st.tuples(st.sampled_from("abc"), st.text(min_size=1, max_size=3)), unique=True, max_size=60
)


@given(names, st.integers(1, 9))
def test_each_image_is_in_one_shard_in_order(found: list[tuple[str, str]], size: int) -> None:
    images = [image("/".join(each)) for each in sorted(found)]
    shards = planned(images, size)
    assert list(chain.from_iterable(shard.images for shard in shards)) == images
    assert [shard.number for shard in shards] == list(range(len(shards)))
    assert all(1 <= len(shard.images) <= 2 * size for shard in shards)
    assert len(keys(shards)) == len(shards)
    assert planned(images, size) == shards


@given(names, st.integers(0, 60))
def test_an_image_more_changes_few_shards(found: list[tuple[str, str]], place: int) -> None:
    """Those of one folder from the image to the next cut by a hash, and nothing in others."""
    images = [image("/".join(each)) for each in sorted(found)]
    grown = [image("/".join(each)) for each in sorted([*found, ("b", f"{place}-new.jpg")])]
    before, after = planned(images), planned(grown)
    for top in "ac":
        own = [keys([s for s in shards if s.first.startswith(top)]) for shards in (before, after)]
        assert own[0] == own[1]


def test_a_new_image_in_a_large_folder_changes_one_or_two_shards() -> None:
    images = folder("rose", 2000)
    before = keys(planned(images))
    for place in (0, 700, 1300, 1999):
        grown = sorted([*images, image(f"rose/{place:05}b.jpg")], key=lambda each: each.name)
        assert len(keys(planned(grown)) - before) <= 4
        assert len(before - keys(planned(grown))) <= 3


def test_a_new_folder_changes_no_shard() -> None:
    before = planned([*folder("daisy", 90), *folder("tulip", 90)])
    after = planned([*folder("daisy", 90), *folder("rose", 50), *folder("tulip", 90)])
    assert keys(before) < keys(after)


def test_label_split_root_backbone_and_options_change_the_key() -> None:
    images = [image("a/1.jpg")]
    (usual,) = keys(planned(images))
    others = [
        keys(planned([image("a/1.jpg", "tulip")])),
        keys(planned([image("a/1.jpg", root="/other")])),
        keys(planned([ImageFile("/photos", "rose", "a/1.jpg", "rose", "testing")])),
        keys(list(plan(images, "g", "{}", 8))),
        keys(list(plan(images, "f", "[]", 8))),
    ]
    assert all(usual not in each for each in others)
    assert usual == planned(images)[0].key


def test_the_key_is_stable() -> None:
    assert planned([image("a/1.jpg")])[0].key == "39794a29487c65931192941055898d5f"


rows = st.lists(
    st.tuples(
        st.text(st.characters(codec=None), min_size=1, max_size=4),
        st.sampled_from(["rose", "튤립", 'a "b"']),
        st.sampled_from([None, "testing"]),
    ),
    min_size=1,
    max_size=6,
)


@given(rows)
def test_the_key_is_a_hash_of_json(found: list[tuple[str, str, str | None]]) -> None:
    """As in the document of shards, so that other programs can compute it."""
    images = [ImageFile("/p", label, f"x/{name}", label, split) for name, label, split in found]
    (shard,) = plan(images, "f", "{}", 2**31)
    text = json.dumps(["/p", [(image.name, image.label, image.split) for image in images]])
    assert shard.key == sha256(f"{FORMAT}|f|{{}}\n{text}".encode()).hexdigest()[:32]


def test_a_plan_is_streamed() -> None:
    taken = 0

    def images() -> object:
        nonlocal taken
        for each in folder("rose", 1000):
            taken += 1
            yield each

    next(plan(images(), "f", "{}", 8))  # type: ignore[arg-type]
    assert taken <= 17


def test_images_without_a_folder_are_cut_by_hashes_alone() -> None:
    shards = planned([image(f"{number:05}.jpg") for number in range(200)])
    assert 10 < len(shards) < 60
