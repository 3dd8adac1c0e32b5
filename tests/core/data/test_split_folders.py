"""Folders named train, val and test: taken as splits, as labels, or refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.data.filling import fill
from tlcli.core.data.held_out import images_to_evaluate
from tlcli.core.data.image_folder import Dataset, scan_folder
from tlcli.core.data.split_folders import split_named
from tlcli.errors import UsageError

WHOLE = tuple(
    f"{split}/{label}/{number}.jpg"
    for split in ("train", "val", "test")
    for label in ("cat", "dog")
    for number in range(2)
)


def by_split(dataset: Dataset) -> dict[str | None, list[str]]:
    found: dict[str | None, list[str]] = {}
    for image in dataset.images:
        found.setdefault(image.split, []).append(f"{image.label}: {image.name}")
    return found


def test_the_split_is_that_of_the_folders(tmp_path: Path) -> None:
    found = scan_folder(fill(tmp_path, *WHOLE, "train/classes.txt", "README.md"))
    assert found.labels == ("cat", "dog")
    assert (found.split_by, found.ignored) == ("folders", ())
    assert by_split(found)["testing"] == [
        "cat: test/cat/0.jpg",
        "cat: test/cat/1.jpg",
        "dog: test/dog/0.jpg",
        "dog: test/dog/1.jpg",
    ]
    assert len(found.images) == 12
    assert all(image.path is not None and image.path.is_file() for image in found.images)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "training"), ("Training", "training"), ("val", "validation"),
        ("VALID", "validation"), ("validation", "validation"), ("dev", "validation"),
        ("Test", "testing"), ("testing", "testing"), ("cat", None), ("tests", None),
    ],
)  # fmt: skip
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_named(name) == split


def test_labels_called_train_and_test_stay_labels(tmp_path: Path) -> None:
    found = scan_folder(fill(tmp_path, "train/1.jpg", "test/1.jpg"))
    assert (found.labels, found.split_by) == (("test", "train"), "names")
    found = scan_folder(fill(tmp_path, "bus/1.jpg"))
    assert found.labels == ("bus", "test", "train")
    # A label may have folders of its own beside its images.
    found = scan_folder(fill(tmp_path, "train/steam/2.jpg"))
    assert found.labels == ("bus", "test", "train")


def test_one_folder_of_splits_is_one_folder(tmp_path: Path) -> None:
    found = scan_folder(fill(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg") / "train")
    assert (found.labels, found.split_by) == (("cat", "dog"), "names")


def test_spelling_of_a_label_may_differ_between_splits(tmp_path: Path) -> None:
    fill(tmp_path, "train/Big_Cat/1.jpg", "train/dog/1.jpg", "test/big cat/1.jpg")
    assert scan_folder(tmp_path).labels == ("big cat", "dog")
    kept = scan_folder(tmp_path, keep_label_names=True)
    assert kept.labels == ("Big_Cat", "dog")
    assert by_split(kept)["testing"] == ["Big_Cat: test/big cat/1.jpg"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["cat/1.jpg"], r"contains 'test', 'train' and 'val' with folders of labels \(cat, dog\) "
         r"and 'cat' beside: move it away"),
        (["eval/cat/1.jpg"], "and 'eval' beside: move it away"),
        (["valid/cat/1.jpg"], "'val' and 'valid', which both name the validation images"),
        (["train/3.jpg"], r"train contains 1 image without a folder of a label \(3.jpg\)"),
        (["test/bird/1.jpg"], "test has the label bird, of which .*train has no images .its "
         "labels: cat, dog"),
        (["lone.jpg"], r"and 1 image beside them \(lone.jpg\); move"),
    ],
)  # fmt: skip
def test_what_is_not_quite_a_split_is_refused(
    tmp_path: Path, names: list[str], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        scan_folder(fill(tmp_path, *WHOLE, *names))


def test_splits_below_the_labels_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, "cat/train/1.jpg", "cat/val/2.jpg", "dog/train/1.jpg", "dog/val/2.jpg")
    sentence = r"contain splits \(cat/train\); put the splits above the labels, as in train/cat"
    with pytest.raises(UsageError, match=sentence):
        scan_folder(tmp_path)
    # Beside folders of other names they are nothing special.
    assert scan_folder(fill(tmp_path, "dog/black/1.jpg")).labels == ("cat", "dog")


def test_splits_without_labels_or_training_are_refused(tmp_path: Path) -> None:
    unlabelled = fill(tmp_path / "1", "train/cat/1.jpg", "train/dog/1.jpg", "test/1.jpg")
    with pytest.raises(UsageError, match=r"test contains 1 image without a folder of a label"):
        scan_folder(unlabelled)
    untrained = fill(tmp_path / "2", "val/cat/1.jpg", "test/cat/1.jpg")
    with pytest.raises(UsageError, match="no training images; add a folder named train"):
        scan_folder(untrained)
    mixed = fill(tmp_path / "3", "train/cat/1.jpg", "cat/1.jpg")
    with pytest.raises(UsageError, match="'train' with folders of labels"):
        scan_folder(mixed)


def test_the_test_split_is_evaluated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, *WHOLE)
    with caplog.at_level("INFO", "tlcli"):
        found = images_to_evaluate(tmp_path)
    assert {image.split for image in found.images} == {"testing"}
    assert caplog.messages == [
        f"{tmp_path} gives splits: its 4 test images are evaluated, those in {tmp_path / 'test'}"
    ]
    assert len(images_to_evaluate(tmp_path / "test").images) == 4


def test_without_a_test_split_the_validation_split_is_evaluated(tmp_path: Path) -> None:
    fill(tmp_path, *(name for name in WHOLE if not name.startswith("test")))
    assert {image.split for image in images_to_evaluate(tmp_path).images} == {"validation"}
