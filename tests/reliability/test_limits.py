"""Much, large and odd: bounded memory, an answer for everything, nothing taken along.

TLCLI_FAULTS of 100 or more takes the full sizes: a million paths, 10,000 labels, 200,000 files.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.reliability import harness

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="memory is measured as POSIX systems tell it"),
]
FULL = harness.tries(0) >= 100
MB = 1 << 20


@pytest.fixture(scope="module")
def plates(shared: Path) -> Path:
    return shared / "legacy" / "plates_128"


@pytest.fixture(scope="module")
def module(shared: Path) -> list[object]:
    backbone = shared / "legacy" / "backbones" / "mobilenet_v1_0.25_128" / "frozen_graph.pb"
    return ["--module", backbone, "--quiet", "--format", "json", "--how_many_training_steps", 20]


def tiny(path: Path, number: int) -> None:
    """Write a PNG of a few bytes whose content is that of no other number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = (number % 251, number // 251 % 251, number // 251 // 251)
    Image.new("RGB", (3, 2), colour).save(path, "PNG")


@pytest.mark.parametrize("by", ["@LIST", "-"])
def test_a_long_list_of_paths_takes_no_more_memory_than_a_short_one(
    plates: Path, tmp_path: Path, by: str
) -> None:
    count = 1_000_000 if FULL else 30_000
    photo = min((plates / "photos").glob("*.jpg"))
    peaks = []
    for number in (100, count):
        with (tmp_path / "paths.txt").open("w", encoding="utf-8") as file:
            for line in range(number - 1):
                file.write(f"/nowhere/at/all/a folder/photo number {line:08d}.jpg\n")
            file.write(f"{photo}\n")
        argument = "@paths.txt" if by == "@LIST" else "-"
        with (tmp_path / "paths.txt").open("rb") as stdin:
            done = harness.measured(
                ["label", "--graph", plates / "graph.tflite", argument, "--format", "jsonl"],
                tmp_path,
                tmp_path / "cache",
                stdin=stdin,
            )
        assert done.code == 1, done.err
        lines = done.out.splitlines()
        assert len(lines) == number
        assert json.loads(lines[0])["error"] == "no such file"
        assert json.loads(lines[-1])["predictions"][0]["label"]
        assert f"{number - 1} of {number} images" in done.err
        peaks.append(done.peak_bytes)
    size = (tmp_path / "paths.txt").stat().st_size
    print(f"\n{by}, {count} paths: {peaks[1] // MB} MB, {peaks[0] // MB} MB for 100 paths")
    # The list itself is kept: it may be written to meanwhile.
    assert peaks[1] < peaks[0] + 40 * MB + 2 * size


def test_many_labels(module: list[object], tmp_path: Path) -> None:
    count = 10_000 if FULL else 300
    for number in range(3 * count):
        tiny(tmp_path / "photos" / f"label {number // 3}" / f"{number}.png", number)
    done = harness.measured(
        ["retrain", "--image_dir", "photos", *module], tmp_path, tmp_path / "cache"
    )
    assert done.code == 0, done.err
    assert len(done.json["labels"]) == count
    said = harness.measured(
        ["label", "photos/label 7", "--top_k", count, "--format", "json"],
        tmp_path,
        tmp_path / "cache",
    )
    assert said.code == 0, said.err
    assert [len(one["predictions"]) for one in said.json] == [count] * 3
    print(f"\n{count} labels: retrain {done.peak_bytes // MB} MB, label {said.peak_bytes // MB} MB")
    assert done.peak_bytes < 1500 * MB
    assert said.peak_bytes < 600 * MB


def test_a_folder_of_very_many_files(module: list[object], tmp_path: Path) -> None:
    count, distinct = (200_000, 400) if FULL else (4_000, 100)
    for number in range(distinct):
        tiny(tmp_path / "photos" / f"side {number % 2}" / f"{number}.png", number)
    originals = sorted((tmp_path / "photos").rglob("*.png"))
    contents = [path.read_bytes() for path in originals]
    for number in range(distinct, count):
        original = originals[number % distinct]
        original.with_name(f"copy {number}.png").write_bytes(contents[number % distinct])
    done = harness.measured(
        ["retrain", "--image_dir", "photos", *module, "--no_report"], tmp_path, tmp_path / "cache"
    )
    assert done.code == 0, done.err
    counts = [label["images"] for label in done.json["labels"].values()]
    assert counts == [count // 2, count // 2]
    assert done.json["cache"]["computed"] == distinct
    print(f"\n{count} files: {done.peak_bytes // MB} MB")
    # One float32 row of 1001 numbers a file, and what the names take.
    assert done.peak_bytes < 500 * MB + count * (4 * 1001 + 2000)


@pytest.mark.parametrize("ending", ["jpg", "png"] if FULL else ["png"])
def test_an_image_of_a_hundred_megapixels(
    module: list[object], tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    ramp = np.linspace(0, 255, 10_000, dtype=np.uint8)
    large = tmp_path / f"large.{ending}"
    Image.fromarray(np.broadcast_to(ramp, (10_000, 10_000))).convert("RGB").save(large)
    small = tmp_path / f"small.{ending}"
    Image.open(large).resize((400, 400)).save(small)
    for number in range(8):
        tiny(tmp_path / "photos" / f"side {number % 2}" / f"{number}.png", number)
    shutil.copy(large, tmp_path / "photos" / "side 0")
    done = harness.measured(
        ["retrain", "--image_dir", "photos", *module], tmp_path, tmp_path / "cache"
    )
    assert done.code == 0, done.err
    assert done.json["skipped"] == []
    graph = tmp_path / "output_graph.pb"
    said = harness.measured(["label", "--graph", graph, large], tmp_path, tmp_path / "cache")
    assert said.code == 0, said.err
    # Beside itself made small it has the same scores, but for what the resizing rounds.
    scores = harness.scores_of(graph, [large, small])
    assert all(abs(scores[0][name] - scores[1][name]) < 0.05 for name in scores[0])
    print(f"\n{ending}: retrain {done.peak_bytes // MB} MB, label {said.peak_bytes // MB} MB")
    # 300 MB of pixels, once more while they are turned into RGB.
    assert max(done.peak_bytes, said.peak_bytes) < 1200 * MB


def test_a_label_with_one_image_is_one_sentence(module: list[object], tmp_path: Path) -> None:
    for number in range(9):
        tiny(tmp_path / "photos" / ("alone" if number == 8 else "many") / f"{number}.png", number)
    done = harness.run(["retrain", "--image_dir", "photos", *module], tmp_path, tmp_path / "cache")
    assert done.code == 1
    assert done.err.startswith("Error: the label 'alone' has 1 image, but")
    assert len(done.err.strip().splitlines()) == 1
    plain = [*module, "--testing_percentage", 0, "--validation_percentage", 0]
    done = harness.run(["retrain", "--image_dir", "photos", *plain], tmp_path, tmp_path / "cache")
    assert done.code == 0, done.err
    assert done.json["test_accuracy"] is None


ODD_NAMES = (
    "two\nlines.png", "carriage\rreturn.png", "שלום עולם.png", "\u202egnp.exe.png", "🌻🌹.png",
    "tab\tand \"quotes\", commas.png", "-", "@list.png", "--image.png", " spaces .png",
    "n\u0303.png", "a" * 251 + ".png",
)  # fmt: skip


def test_odd_names(module: list[object], tmp_path: Path) -> None:
    labels = ("שלום", "🌻 sun", "two\nlines")
    for number, label in enumerate(labels):
        for place, name in enumerate(ODD_NAMES):
            tiny(tmp_path / "photos" / label / name, 100 * number + place)
    done = harness.run(["retrain", "--image_dir", "photos", *module], tmp_path, tmp_path / "cache")
    assert done.code == 0, done.err
    assert set(done.json["labels"]) == {"שלום", " sun", "two lines"}
    assert done.json["skipped"] == []
    assert done.json["cache"]["computed"] == len(labels) * len(ODD_NAMES)
    folder = tmp_path / "photos" / labels[0]
    found = harness.run(
        ["label", "--graph", tmp_path / "output_graph.pb", folder, "--format", "jsonl"],
        tmp_path, tmp_path / "cache",
    )  # fmt: skip
    assert found.code == 0, found.err
    answers = [json.loads(line) for line in found.out.splitlines()]
    assert sorted(Path(one["image"]).name for one in answers) == sorted(ODD_NAMES)
    harness.measured(
        ["label", "--graph", tmp_path / "output_graph.pb", folder, "--format", "csv", "--top_k", 1],
        tmp_path, tmp_path / "cache",
    )  # fmt: skip
    with (tmp_path / "out.txt").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(Path(row["image"]).name for row in rows) == sorted(ODD_NAMES)
    kept = harness.run(
        ["retrain", "--image_dir", "photos", *module, "--keep_label_names"],
        tmp_path, tmp_path / "cache",
    )  # fmt: skip
    assert kept.code == 1
    assert "one line of UTF-8" in kept.err
    assert len(kept.err.strip().splitlines()) == 1


def test_paths_at_and_beyond_what_the_system_allows(
    module: list[object], plates: Path, tmp_path: Path
) -> None:
    long = str(tmp_path / ("x" * 300 + ".jpg"))
    beyond = str(tmp_path / ("y/" * 3000 + "z.jpg"))
    done = harness.run(
        ["label", "--graph", plates / "graph.tflite", long, beyond, "--format", "jsonl"],
        tmp_path, tmp_path / "cache",
    )  # fmt: skip
    assert done.code == 1
    errors = [json.loads(line)["error"] for line in done.out.splitlines()]
    assert errors == ["file name too long"] * 2
    # A tree deeper than a path may be long can be made step by step only.
    for number in range(8):
        tiny(tmp_path / "photos" / f"side {number % 2}" / f"{number}.png", number)
    deep = (
        "import os\nos.chdir('photos/side 0')\n"
        "for _ in range(25):\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)\n"
        "    open('in.png', 'wb').write(open(os.environ['PHOTO'], 'rb').read())\n"
    )
    photo = {**os.environ, "PHOTO": str(tmp_path / "photos" / "side 0" / "0.png")}
    subprocess.run([sys.executable, "-c", deep], cwd=tmp_path, env=photo, check=True)
    try:
        done = harness.run(
            ["retrain", "--image_dir", tmp_path / "photos", *module], tmp_path, tmp_path / "cache"
        )
        assert len(done.err.strip().splitlines()) >= 1
        assert "too long" in done.err
        assert done.code == 1
        said = harness.run(
            ["label", "--graph", plates / "graph.tflite", tmp_path / "photos", "--format", "jsonl"],
            tmp_path, tmp_path / "cache",
        )  # fmt: skip
        answers = [json.loads(line) for line in said.out.splitlines()]
        errors = [one["error"] for one in answers if "error" in one]
        assert errors.count("the folder cannot be read: File name too long") == 1
        # The last file may be beyond the limit where its folder is not: that depends on tmp_path.
        assert set(errors) <= {
            "the folder cannot be read: File name too long",
            "file name too long",
        }
        assert sum("predictions" in one for one in answers) > 20
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "photos")], check=True)


def test_links_that_lead_round(module: list[object], plates: Path, tmp_path: Path) -> None:
    for number in range(8):
        tiny(tmp_path / "photos" / f"side {number % 2}" / f"{number}.png", number)
    side = tmp_path / "photos" / "side 0"
    (side / "up").symlink_to(tmp_path / "photos")
    (side / "here").symlink_to(".")
    (side / "self.png").symlink_to("self.png")
    (side / "one").symlink_to("two")
    (side / "two").symlink_to("one")
    (side / "gone.png").symlink_to("nowhere.png")
    done = harness.run(["retrain", "--image_dir", "photos", *module], tmp_path, tmp_path / "cache")
    assert done.code == 0, done.err
    assert sum(label["images"] for label in done.json["labels"].values()) >= 8
    assert done.json["cache"]["computed"] == 8
    said = harness.run(
        ["label", "--graph", plates / "graph.tflite", "photos", "--format", "jsonl"],
        tmp_path, tmp_path / "cache",
    )  # fmt: skip
    answers = [json.loads(line) for line in said.out.splitlines()]
    assert said.code == 1
    assert sum("predictions" in one for one in answers) >= 8


def test_files_that_vanish_while_label_runs(plates: Path, tmp_path: Path) -> None:
    photo = min((plates / "photos").glob("*.jpg")).read_bytes()
    (tmp_path / "photos").mkdir()
    for number in range(400):
        (tmp_path / "photos" / f"{number:03d}.jpg").write_bytes(photo)
    command = ["label", "--graph", str(plates / "graph.tflite"), "photos", "--format", "jsonl"]
    with harness.started(
        [harness.COMMAND, *command], tmp_path, env=harness.environment(tmp_path / "cache")
    ) as process:
        while process.poll() is None and not (tmp_path / "killed.out").read_bytes():
            harness.wait(process, 0.001)
        process.send_signal(signal.SIGSTOP)  # it is not to be done before they are gone
        for number in range(399, 299, -1):
            (tmp_path / "photos" / f"{number:03d}.jpg").unlink()
        process.send_signal(signal.SIGCONT)
        assert process.wait(120) == 1
    answers = [json.loads(line) for line in (tmp_path / "killed.out").read_text().splitlines()]
    assert len(answers) == 400
    gone = [one for one in answers if "error" in one]
    assert {one["error"] for one in gone} == {"no such file"}
    assert 0 < len(gone) <= 100
    assert all(one["predictions"] for one in answers if "error" not in one)
