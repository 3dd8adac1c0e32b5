"""Data that bring their split, in folders or in a manifest, through the installed command."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.support import Trained, tlcli

STEPS = ("--how_many_training_steps", 20, "--no_report", "--format", "json")


def divide(photos: Path, folder: Path, *splits: str) -> Path:
    """Copy photos into folders of splits; the first and the last get a copy of one image."""
    for label in sorted(path for path in photos.iterdir() if path.is_dir()):
        images = sorted(path for path in label.glob("*.jpg") if path.stat().st_size)
        for number, split in enumerate(splits):
            target = folder / split / label.name
            target.mkdir(parents=True)
            for image in images[number :: len(splits)][:7]:
                shutil.copy(image, target)
    one = min((folder / splits[-1] / "house_with_pool").iterdir())
    shutil.copy(one, folder / splits[0] / "house_with_pool" / "copy.jpg")
    return folder


@pytest.mark.slow
def test_folders_of_splits_are_taken_as_given(trained: Trained, tmp_path: Path) -> None:
    divide(trained.photos, tmp_path / "sets", "Train", "valid", "test")
    run = tlcli("retrain", "--image_dir", "sets", *STEPS, cwd=tmp_path, cache=trained.cache)
    assert run.code == 0, run.err
    assert "The split of sets: 14 training, 14 validation and 14 testing images\n" in run.err
    assert "1 training image is a copy of validation or testing images" in run.err
    assert run.json["split"] == {"by": "folders", "drawn": [], "copies_left_out": 1}
    assert run.json["labels"]["house with pool"]["testing"] == 7
    card = json.loads((tmp_path / "output_graph.json").read_text())
    assert card["training"]["split"] == run.json["split"]
    evaluated = tlcli("evaluate", "--image_dir", "sets", cwd=tmp_path, cache=trained.cache)
    assert evaluated.code == 0, evaluated.err
    assert "sets gives splits: its 14 test images are evaluated, those in sets/test" in (
        evaluated.err
    )
    alone = tlcli("evaluate", "--image_dir", "sets/test", cwd=tmp_path, cache=trained.cache)
    assert evaluated.out.splitlines()[0] == alone.out.splitlines()[0]
    assert f"{run.json['test_accuracy']:.1%} (N=14" in alone.out


@pytest.mark.slow
def test_a_missing_split_is_drawn_from_the_training_images(
    trained: Trained, tmp_path: Path
) -> None:
    divide(trained.photos, tmp_path / "sets", "train", "val")
    run = tlcli(
        "retrain", "--image_dir", "sets", "--testing_percentage", 30, "--format", "json",
        "--preset", "original",
        cwd=tmp_path, cache=trained.cache,
    )  # fmt: skip
    assert run.code == 0, run.err
    assert "14 validation and" in run.err
    assert "(30% testing drawn from its training images)" in run.err
    assert run.json["split"]["drawn"] == ["testing"]
    page = (tmp_path / "output_report.html").read_text()
    sentence = "The split is given by the folders of sets; testing images are drawn from its"
    assert f'<p class="note"><bdi>{sentence} training images; 1 training image is a copy' in page


@pytest.mark.slow
def test_percentages_of_given_splits_and_odd_folders_are_wrong_use(
    trained: Trained, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            folder = tmp_path / "sets" / split / label
            folder.mkdir(parents=True)
            (folder / "1.jpg").write_bytes(b"x")
    run = tlcli("retrain", "--image_dir", "sets", "--testing_percentage", 20, cwd=tmp_path)
    assert run.code == 2
    assert run.err == (
        "Error: --testing_percentage 20 has nothing to divide, as sets gives the testing images "
        "itself; leave the option out\n"
    )
    (tmp_path / "sets" / "cat").mkdir()
    (tmp_path / "sets" / "cat" / "1.jpg").write_bytes(b"x")
    for command in (["retrain"], ["evaluate", "--graph", trained.graph]):
        run = tlcli(*command, "--image_dir", "sets", cwd=tmp_path)
        assert run.code == 2
        assert run.err.startswith(
            "Error: sets contains 'test' and 'train' with folders of labels (cat, dog) and 'cat' "
            "beside: move it away"
        )
        assert run.err.count("\n") == 1


@pytest.mark.slow
def test_a_manifest_and_an_archive_give_what_folders_give(trained: Trained, tmp_path: Path) -> None:
    images = sorted(trained.photos.glob("*/*.jpg"))
    images = [image for image in images if image.stat().st_size][::2]
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as made:
        for image in images:
            made.write(image, f"photos/{image.relative_to(trained.photos)}")
    rows = [(str(image), image.parent.name) for image in images]
    (tmp_path / "list.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    found = {}
    for source in (("--image_dir", "photos.zip"), ("--manifest", "list.csv")):
        run = tlcli("retrain", *source, *STEPS, cwd=tmp_path, cache=trained.cache)
        assert run.code == 0, run.err
        found[source] = [figures["images"] for figures in run.json["labels"].values()]
        measured = tlcli("evaluate", *source, cwd=tmp_path, cache=trained.cache)
        assert f"of these {len(images)} images trained this graph" in measured.out, measured.err
    assert len({str(counts) for counts in found.values()}) == 1


@pytest.mark.slow
def test_what_names_no_images_is_one_sentence(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label\n1.jpg,a\n2.jpg,\n")
    with zipfile.ZipFile(tmp_path / "book.xlsx", "w") as made:
        made.writestr("xl/workbook.xml", "<workbook/>")
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    for name in ("cat/train", "cat/val", "dog/train", "dog/val"):
        (tmp_path / "below" / name).mkdir(parents=True)
        (tmp_path / "below" / name / "1.jpg").write_bytes(b"x")
    for arguments, code, sentence in (
        (("--manifest", "list.csv"), 1, "list.csv, line 3: the label is empty"),
        (("--manifest", "absent.csv"), 1, "the manifest absent.csv cannot be read"),
        (("--manifest", "book.xlsx"), 1, "book.xlsx is no text but a spreadsheet"),
        (("--image_dir", "list.csv"), 2, "is given as --manifest list.csv"),
        (("--image_dir", "empty.zip"), 1, "Error: empty.zip has no folders with images"),
        (("--image_dir", "below"), 2, "the labels in below contain splits (cat/train)"),
        (
            ("--image_dir", "https://x.org/a.zip"),
            2,
            "https://x.org/a.zip is an archive; download it",
        ),
        (("--image_dir", ".", "--manifest", "list.csv"), 2, "--manifest"),
    ):
        for command in (["retrain"], ["evaluate", "--graph", trained.graph]):
            run = tlcli(*command, *arguments, cwd=tmp_path)
            assert (run.code, sentence in run.err) == (code, True), run.err


@pytest.mark.slow
def test_few_training_images_of_a_label_are_a_warning(trained: Trained, tmp_path: Path) -> None:
    images = sorted(trained.photos.glob("*/aerial*.jpg"))
    with_pool = [image for image in images if image.parent.name == "house_with_pool"]
    without = [image for image in images if image.parent.name == "house_without_pool"]
    rows = [
        *((image, "pool") for image in with_pool[:6]),
        *((image, "none") for image in without[:3]),
    ]
    lines = [f"{image}\t{label}\ttrain\n" for image, label in rows]
    (tmp_path / "list.tsv").write_text("".join([*lines, f"{with_pool[7]}\tpool\ttest\n"]))
    run = tlcli(
        "retrain", "--manifest", "list.tsv", "--validation_percentage", 0, *STEPS,
        cwd=tmp_path, cache=trained.cache,
    )  # fmt: skip
    assert run.code == 0, run.err
    assert "fewer than 5 training images: 'none' (3); about 30 images per label" in run.err
    assert run.json["split"] == {"by": "manifest", "drawn": [], "copies_left_out": 0}


@pytest.mark.slow
def test_labels_are_equal_in_card_and_labels_file(trained: Trained, tmp_path: Path) -> None:
    for label, source in (("C++", "house_with_pool"), (" -x- ", "house_without_pool")):
        shutil.copytree(trained.photos / source, tmp_path / "photos" / label)
    for more, labels in (((), [" x ", "c "]), (("--keep_label_names",), [" -x- ", "C++"])):
        run = tlcli(
            "retrain", "--image_dir", "photos", *more, *STEPS, cwd=tmp_path, cache=trained.cache
        )
        assert run.code == 0, run.err
        assert (tmp_path / "output_labels.txt").read_text().splitlines() == labels
        assert json.loads((tmp_path / "output_graph.json").read_text())["labels"] == labels
        assert list(run.json["labels"]) == labels


def test_imported_vectors_and_splits_of_folders_exclude_each_other(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (tmp_path / "sets" / split / label).mkdir(parents=True)
            (tmp_path / "sets" / split / label / "1.jpg").write_bytes(b"x")
            (tmp_path / "texts" / label).mkdir(parents=True, exist_ok=True)
            (tmp_path / "texts" / label / "1.jpg.txt").write_text("1,2,3")
    run = tlcli("retrain", "--image_dir", "sets", "--import_bottlenecks", "texts", cwd=tmp_path)
    assert run.code == 2
    assert "--import_bottlenecks knows no splits, and sets has folders of them" in run.err
