"""Lists of images in a bucket, which are objects only while they are looked at."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcli.core.data.image_list import Group, ImageFile, ImageList, images_of, sorted_images
from tlcli.core.data.image_objects import ObjectName, ObjectNames

ROOT = "s3://bucket/photos"
keys = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=3)
listings = st.dictionaries(
    st.sampled_from(["a", "a b", "a-", "B", "é", "튤립"]), st.sets(keys, max_size=5), max_size=4
)
facts = st.tuples(st.none() | st.integers(0, 2**40), st.sampled_from(["", "0f" * 16, "é"]))


def listed(found: dict[str, set[str]], fact: tuple[int | None, str]) -> list[Group]:
    """Return what a bucket lists, in the order of the keys' bytes."""
    groups = []
    for folder, own in found.items():
        names = ObjectNames()
        for name in sorted(f"{folder}/{each}" for each in own):
            names.append(name, *fact)
        groups.append(Group(folder, f"label {folder}", names, f"{folder}/", "training"))
    return groups


@given(listings, facts)
def test_a_list_has_the_images_of_one_object_each(
    found: dict[str, set[str]], fact: tuple[int | None, str]
) -> None:
    images = images_of(ROOT, listed(found, fact))
    plain = sorted_images(
        ImageFile(ROOT, folder, ObjectName(f"{folder}/{own}", *fact), f"label {folder}", "training")
        for folder, names in found.items()
        for own in names
    )
    assert tuple(images) == plain
    assert len(images) == len(plain)
    assert [images[number] for number in range(-len(plain), len(plain))] == [*plain, *plain]
    assert images[1:4] == plain[1:4]
    assert [image.file for image in images] == [image.file for image in plain]
    assert [image.name.entry(ROOT).change for image in images] == [fact[1]] * len(plain)
    assert [image.name.entry(ROOT).size for image in images] == [fact[0]] * len(plain)


def test_names_that_macos_writes_differently_are_sorted_alike() -> None:
    """As (e + accent) and é are the same name, the order of their bytes is not that of a list."""
    composed, apart = "\u00e9.jpg", unicodedata.normalize("NFD", "\u00e9.jpg")
    assert isinstance(images_of(ROOT, listed({"a": {composed, "z.jpg"}}, (1, ""))), ImageList)
    images = images_of(ROOT, listed({"a": {apart, "z.jpg"}}, (1, "")))
    assert not isinstance(images, ImageList)
    assert [image.name for image in images] == ["a/z.jpg", f"a/{apart}"]


def test_long_lists_are_as_short_ones() -> None:
    own = {f"{number:05}.jpg" for number in range(2500)}
    images = images_of(ROOT, listed({"a": own, "b": {"1.jpg"}}, (7, "e")))
    assert isinstance(images, ImageList)
    assert [image.name for image in images] == [*(f"a/{name}" for name in sorted(own)), "b/1.jpg"]
    for number in (0, 1023, 1024, 2047, 2048, 2499):
        assert images[number].name == f"a/{number:05}.jpg"
        assert images[number].name.entry(ROOT).size == 7


@pytest.mark.parametrize("place", [0, 1023, 1024, 2499])
def test_a_list_in_another_order_is_sorted(place: int) -> None:
    names = ObjectNames()
    for number in range(2500):
        names.append(f"a/{number:05}.jpg" if number != place else f"a/{1500:05}b.jpg", 1, "")
    images = images_of(ROOT, [Group("a", "a", names, "a/")])
    assert not isinstance(images, ImageList)
    assert [image.name for image in images] == sorted(names)


def test_a_number_outside_the_list_is_refused() -> None:
    images = images_of(ROOT, listed({"a": {"1.jpg"}, "b": set()}, (1, "")))
    for number in (1, -2):
        with pytest.raises(IndexError):
            images[number]
