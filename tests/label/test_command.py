"""The command: its output, its exit codes, and how it ends. LiteRT only, so it is fast."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from label.command import command
from tests.label.running import invoke, label, run
from tests.support import ROOT, Trained, tlcli
from tlcli.errors import DataError, GraphError, UsageError


def test_one_image_is_one_line_a_label(plates: Path, photo: Path) -> None:
    result = label(plates, "--image", photo, "--num_top_predictions", 2)
    assert result.return_value == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "newyork (score=1.00000)"
    assert len(lines) == 2
    assert result.stderr == ""


def test_several_images_have_their_paths(plates: Path, photo: Path) -> None:
    other = plates / "photos" / "indianaTest1.jpg"
    result = label(plates, "--image", photo, other, "--top_k", 1)
    assert result.stdout == f"{photo}\n  newyork (score=1.00000)\n\n{other}\n" + (
        "  indiana (score=0.99927)\n"
    )


def test_a_threshold_leaves_lower_scores_out(plates: Path, photo: Path) -> None:
    result = label(plates, photo, "--threshold", "0.5", "--format", "json")
    assert [each["label"] for each in json.loads(result.stdout)[0]["predictions"]] == ["newyork"]


def test_what_no_score_reaches_is_unsure(plates: Path, tmp_path: Path) -> None:
    image = plates / "photos" / "indianaTest1.jpg"
    graph = plates / "graph.tflite"

    def said(*arguments: object) -> str:
        run = tlcli("label", image, "--graph", graph, "--threshold", "99.95%", *arguments)
        assert run.code == 0, run.err
        return run.out

    assert said() == "unsure (best: indiana, 0.999)\n"
    (found,) = json.loads(said("--format", "json"))
    assert found == {
        "image": str(image),
        "predictions": [],
        "best": {"label": "indiana", "score": pytest.approx(0.99927, abs=1e-4)},
    }
    assert said("--format", "csv").splitlines()[1] == f"{image},,,,"
    run = tlcli(
        *("label", image, "--graph", graph, "--threshold", "99.95%"),
        *("--sort_into", tmp_path / "out", "--explain", tmp_path / "explained"),
    )
    assert (tmp_path / "out" / "unsure" / image.name).is_file()
    assert "unsure" in run.err


def test_every_kind_of_argument_at_once(plates: Path, tmp_path: Path, photo: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{photo}\n")
    result = label(
        plates,
        *("--image", plates / "photos", "--image", f"@{listed}"),
        *("--image", "-", "--image", plates / "photos" / "*1.jpg"),
        *("--format", "jsonl", "--top_k", 1),
        input=f"{photo}\n{photo}\n",
    )
    images = [Path(json.loads(line)["image"]).name for line in result.stdout.splitlines()]
    folder = sorted(path.name for path in (plates / "photos").iterdir())
    ones = [name for name in folder if name.endswith("1.jpg")]
    assert images == [*folder, photo.name, photo.name, photo.name, *ones]


@pytest.mark.parametrize("output_format", ["text", "jsonl", "json", "csv"])
def test_some_images_fail_and_the_others_are_labelled(
    plates: Path, tmp_path: Path, photo: Path, output_format: str
) -> None:
    empty = tmp_path / "empty.jpg"
    empty.write_bytes(b"")
    result = label(plates, empty, photo, "--format", output_format)
    assert result.return_value == 1
    assert "newyork" in result.stdout
    assert "1 of 2 images could not be labelled" in result.stderr
    assert ("empty file" in result.stdout) == (output_format != "text")
    assert (f"Warning: {empty}: empty file" in result.stderr) == (output_format == "text")


@pytest.mark.parametrize("output_format", ["text", "jsonl", "json", "csv"])
def test_one_failing_image_is_one_sentence(
    plates: Path, tmp_path: Path, output_format: str
) -> None:
    result = label(plates, tmp_path / "absent.jpg", "--format", output_format)
    assert result.return_value == 1
    assert ("no such file" in result.stdout) == (output_format != "text")
    assert result.stderr == f"Error: {tmp_path / 'absent.jpg'}: no such file\n"


def test_a_folder_without_images_and_a_pattern_without_files(plates: Path, tmp_path: Path) -> None:
    result = label(plates, tmp_path, tmp_path / "*.jpg")
    assert result.return_value == 1
    assert "no images in this folder" in result.stderr
    assert "no file matches this pattern" in result.stderr


def test_standard_input_that_names_nothing_is_nothing_to_do(plates: Path) -> None:
    result = label(plates, "-", "--format", "json", input="")
    assert (result.return_value, result.stdout) == (0, "[]\n")


@pytest.mark.skipif(os.name != "posix", reason="no such names elsewhere")
def test_no_name_steers_the_terminal(plates: Path, tmp_path: Path) -> None:
    for name in ("\x1b[31mone.jpg", "\x1b[31mtwo.jpg"):
        (tmp_path / name).write_bytes(b"no image")
    for images in ([tmp_path], [tmp_path / "\x1b[31mone.jpg"]):
        done = run("--graph", plates / "graph.tflite", *images)
        assert done.returncode == 1
        assert "\\x1b[31mone.jpg: " in done.stderr
        assert "\x1b" not in done.stderr + done.stdout


def test_no_image_is_wrong_use(plates: Path) -> None:
    done = run("--graph", plates / "graph.tflite")
    assert done.returncode == 2
    assert "no image was named" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--top_k", "0"], "--top_k"),
        (["--threshold", "nan"], "'nan' is no score"),
        (["--threshold", "80"], "give a fraction such as 0.9, or 90%"),
        (["--input_mean", "grey"], "'grey' is not a number"),
        (["--input_height", "0"], "--input_height"),
        (["--batch_size", "0"], "--batch_size"),
        (["--format", "xml"], "xml"),
        (["--grpah", "x"], "--graph"),
    ],
)
def test_wrong_use_exits_with_two(photo: Path, arguments: list[str], hint: str) -> None:
    result = CliRunner().invoke(command, [str(photo), *arguments])
    assert result.exit_code == 2
    assert hint in result.stderr


def test_hyphens_and_equals_signs_are_taken(plates: Path, photo: Path) -> None:
    result = invoke(
        f"--graph={plates / 'graph.tflite'}",
        f"--labels={plates / 'labels.txt'}",
        "--num-top-predictions=1",
        "--input-mean=128",
        f"--image={photo}",
    )
    assert result.stdout == "newyork (score=1.00000)\n"


def test_zero_is_a_value(plates: Path, photo: Path) -> None:
    options = ["--input_mean", "0", "--format", "json"]
    changed, same = label(plates, photo, *options), label(plates, photo, "--format", "json")
    assert json.loads(changed.stdout) != json.loads(same.stdout)


def test_errors_of_the_graph_are_sentences(plates: Path, photo: Path, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pb"
    garbage.write_bytes(b"garbage")
    result = invoke("--graph", garbage, photo)
    assert isinstance(result.exception, GraphError)
    done = run("--graph", garbage, photo)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {garbage} is not a frozen graph")
    assert done.stderr.count("\n") == 1
    assert isinstance(label(plates, "@absent").exception, DataError)


def test_the_default_graph_is_that_of_the_current_folder(
    plates: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "empty"))
    result = invoke(photo)
    assert isinstance(result.exception, GraphError)
    assert "--graph" in str(result.exception)
    # By content, whatever its name says.
    shutil.copyfile(plates / "graph.tflite", "output_graph.pb")
    shutil.copyfile(plates / "labels.txt", "output_labels.txt")
    assert "newyork" in invoke(photo).stdout


def test_help_lists_every_option_and_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom label.command import command\n"
        "command.main(['--help'], standalone_mode=False)\n"
        "print({'numpy', 'PIL', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("set()\n")
    contract = "image graph labels input_layer output_layer input_height input_width input_mean"
    contract += " input_std num_top_predictions top_k format threshold batch_size trust"
    for option in contract.split():
        assert f"--{option}" in done.stdout


def test_sorting_into_folders(plates: Path, tmp_path: Path, photo: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, name in enumerate(("newyorkTest1", "indianaTest1")):
        shutil.copyfile(plates / "photos" / f"{name}.jpg", tmp_path / "in" / f"{number}.jpg")
    (tmp_path / "in" / "bad.jpg").write_bytes(b"")
    out = tmp_path / "out"
    arguments = (tmp_path / "in", "--sort_into", out, "--format", "jsonl", "--top_k", 1)
    result = label(plates, *arguments)
    assert result.return_value == 1
    assert len(result.stdout.splitlines()) == 3
    assert "1 of 3 images could not be labelled" in result.stderr
    assert re.search(r"^indiana +1$", result.stderr, re.M)
    expected = ["indiana/1.jpg", "newyork/0.jpg"]
    assert sorted(path.relative_to(out).as_posix() for path in out.glob("*/*")) == expected
    assert (out / "newyork" / "0.jpg").read_bytes() == photo.read_bytes()
    assert (tmp_path / "in" / "bad.jpg").exists()
    # Again, with links and a threshold: what lies there stays.
    result = label(plates, *arguments, "--link", "--threshold", "0.9995", "--quiet")
    found = sorted(path.relative_to(out).as_posix() for path in out.glob("*/*"))
    assert found == [*expected, "unsure/1.jpg"]
    assert (out / "unsure" / "1.jpg").samefile(tmp_path / "in" / "1.jpg")
    assert [path for path in out.iterdir() if path.name.startswith(".")] == []


def test_explaining(plates: Path, tmp_path: Path, photo: Path) -> None:
    result = invoke("--graph", plates / "graph.pb", photo, "--explain", tmp_path, "--top_k", 2)
    assert result.return_value == 0
    assert result.stdout.startswith("newyork (score=1.00000)\n")
    assert result.stderr.endswith(f"Pictures in {tmp_path}: 1\n")
    assert [path.name for path in tmp_path.iterdir()] == ["newyorkTest1.explained.jpg"]


def test_csv_for_a_spreadsheet_has_a_byte_order_mark(plates: Path, photo: Path) -> None:
    result = label(plates, photo, "--format", "csv", "--spreadsheet")
    assert result.stdout_bytes.startswith(b"\xef\xbb\xbfimage,label")
    assert not label(plates, photo, "--format", "csv").stdout_bytes.startswith(b"\xef")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--spreadsheet"], "--format csv"),
        (["--link"], "--sort_into"),
    ],
)
def test_options_that_need_another(photo: Path, arguments: list[str], hint: str) -> None:
    result = CliRunner().invoke(command, [str(photo), *arguments])
    assert result.exit_code == 2
    assert hint in result.stderr


@pytest.mark.parametrize("option", ["--sort_into", "--explain"])
def test_results_do_not_go_among_the_images(plates: Path, tmp_path: Path, option: str) -> None:
    result = label(plates, tmp_path, option, tmp_path / "out")
    assert isinstance(result.exception, UsageError)
    assert option in str(result.exception)


@pytest.mark.parametrize("option", ["--explain", "--sort_into"])
def test_a_file_in_the_place_of_a_folder_is_said_first(
    plates: Path, tmp_path: Path, option: str
) -> None:
    (tmp_path / "file").write_text("mine")
    run = tlcli("label", plates / "photos", "--graph", "nosuch.pb", option, tmp_path / "file")
    assert (run.code, run.out) == (1, "")
    assert run.err == (
        f"Error: cannot write {tmp_path / 'file'}: it is a file; give {option} the name of a "
        "folder\n"
    )


def test_what_cannot_be_labelled_says_what_to_do(trained: Trained, tmp_path: Path) -> None:
    heic = ROOT / "tests" / "core" / "images" / "heic" / "plain.heic"
    (tmp_path / "list").write_text(f'"{heic}"\n')
    run = tlcli(
        *("label", "@list", "ftp://x.org/1.jpg", "photos.zip", "list.csv"),
        *("--graph", trained.graph, "--format", "jsonl"),
        cwd=tmp_path, cache=trained.cache,
    )  # fmt: skip
    assert run.code == 1
    found = [json.loads(line) for line in run.out.splitlines()]
    assert (found[0]["image"], len(found[0]["predictions"])) == (str(heic), 2)
    assert [each["error"].partition(":")[0] for each in found[1:]] == [
        "a URL of an unknown kind",
        "an archive",
        "a table",
    ]
