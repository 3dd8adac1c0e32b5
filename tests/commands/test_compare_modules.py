"""``tlcli modules compare``: the table, the formats, the exit codes; and ``--module auto``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from retrain.job import retrain
from tests.backbones.probe.test_comparison import network, photos
from tests.support import Trained, tlcli
from tlcli.commands import modules
from tlcli.errors import UsageError

__all__ = ["photos"]


def compare(photos: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        modules.command,
        ["compare", "--image_dir", str(photos), "--trust", *arguments],
        standalone_mode=False,
    )


def test_the_table_the_skipped_image_and_the_next_command(tmp_path: Path, photos: Path) -> None:
    red, colour = network(tmp_path, "red", 1), network(tmp_path, "colour", 3)

    done = compare(photos, "--module", red, "--module", colour)

    assert done.return_value == 0
    lines = done.stdout.splitlines()
    heading = ["backbone", "accuracy", "95%", "interval", "cross", "entropy", "images/s", "graph"]
    assert lines[0].split() == heading
    assert lines[1].split()[:5] == [colour, "100.0%", "90.4%", "to", "100.0%"]
    assert float(lines[1].split()[5]) > 0
    assert float(lines[1].split()[6]) > 0
    assert lines[2].startswith(red)
    assert "Cross-validated on 36 images of 3 labels." in done.stdout
    assert f"Use {colour}: the lowest cross entropy." in lines
    assert "Skipped 1 unreadable:" in lines
    assert lines[-1].startswith("Next: ")
    assert lines[-1].endswith(f"tlcli retrain --image_dir {photos} --module {colour}")


def test_layers_are_those_of_the_preset_that_the_next_command_names(
    tmp_path: Path, photos: Path
) -> None:
    done = compare(photos, "--module", network(tmp_path, "red", 1), "--layers", "ms")
    assert " --preset standard --module " in done.stdout.splitlines()[-1]


def test_the_same_as_json_and_as_csv(tmp_path: Path, photos: Path) -> None:
    colour = network(tmp_path, "colour", 3)
    found = json.loads(compare(photos, "--module", colour, "--format", "json").stdout)
    assert (found["best"], found["faster"]) == (colour, None)
    (row,) = found["candidates"]
    assert (row["module"], row["accuracy"], row["reason"]) == (colour, 1.0, None)
    assert row["interval"] == [pytest.approx(0.9036, abs=1e-4), 1.0]
    assert row["images_per_second"] > 0
    assert row["cross_entropy"] >= 0
    assert row["graph_bytes"] > 0
    assert found["skipped"][0]["path"].endswith("broken.png")
    text = compare(photos, "--module", colour, "--format", "csv").stdout
    (line,) = csv.DictReader(io.StringIO(text))
    assert (line["module"], line["accuracy"], line["high"]) == (colour, "1.0", "1.0")


def test_a_backbone_that_was_named_and_fails_is_an_error_and_the_others_are_shown(
    tmp_path: Path, photos: Path
) -> None:
    colour = network(tmp_path, "colour", 3)
    done = compare(photos, "--module", "absent.pb", "--module", colour)
    assert done.return_value == 1
    assert f"Use {colour}: the lowest cross entropy." in done.stdout
    assert "absent.pb: there is no file or folder absent.pb" in done.stdout


def test_auto_refuses_what_belongs_to_one_backbone(photos: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"module_output": "features"}
    with pytest.raises(UsageError, match="--module_output is of one backbone"):
        retrain(photos, module="auto", output_graph=tmp_path / "new" / "graph.pb", **options)


@pytest.mark.slow
def test_auto_uses_the_best_of_this_machine_and_says_what_was_compared(
    trained: Trained, tmp_path: Path
) -> None:
    arguments = ("--image_dir", trained.photos, "--output_graph", tmp_path / "graph.pb")
    run = tlcli("retrain", *arguments, "--module", "auto", "--format", "json", cache=trained.cache)
    assert run.code == 0
    found = run.json["module_comparison"]
    assert run.json["backbone"]["name"] == found["best"]
    assert "efficientnet_lite0" in [each["module"] for each in found["candidates"]]
    assert f"{found['best']} is the choice: " in run.err
    card = json.loads((tmp_path / "graph.json").read_text("utf-8"))
    assert card["training"]["module"] == found["best"]
    again = tlcli(
        "retrain", *arguments, "--module", "auto", "--format", "json", cache=trained.cache
    )
    assert again.json["module_comparison"] == found
