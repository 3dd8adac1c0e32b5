"""A run with several labels per image that begins where an earlier one ended."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.retrain.multi_label.drawn import draw
from tests.support import tlcli

pytestmark = pytest.mark.slow


def test_a_grown_list_is_compared_with_the_earlier_run(tmp_path: Path) -> None:
    labels = draw(tmp_path / "photos", 90)
    rows = list(csv.DictReader(labels.read_text("utf-8").splitlines()))

    def write(name: str, chosen: list[dict[str, str]]) -> None:
        with (tmp_path / "photos" / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["path", "label"])
            writer.writeheader()
            writer.writerows(chosen)

    first = rows[:70]
    later = [dict(row) for row in rows[2:]]
    later[1]["label"] = "pool" if later[1]["label"] != "pool" else "trampoline"
    write("first.csv", first)
    write("later.csv", later)
    common = ("--testing_percentage", 30, "--solver", "sgd", "--how_many_training_steps", 300)
    options = ("--multi_label", *common, "--no_report", "--final_layer_only")
    run = tlcli(
        "retrain", "--manifest", "photos/first.csv", *options, "--output_graph", "first.pb",
        cwd=tmp_path, cache=tmp_path / "cache",
    )  # fmt: skip
    assert run.code == 0, run.err
    run = tlcli(
        "retrain", "--from", "first.json", "--manifest", "photos/later.csv", "--no_report",
        "--output_graph", "later.pb", "--format", "json", cwd=tmp_path, cache=tmp_path / "cache",
    )  # fmt: skip
    assert run.code == 0, run.err
    found = run.json["grown"]
    assert (found["added"], found["removed"], found["relabelled"]) == (20, 2, 1)
    assert found["exact"]
    tested = found["tested"]
    # The split is by name: what was tested then is tested now.
    assert tested["count"] == run.json["test_count"]
    assert tested["labels"] == 3
    assert tested["mean_average_precision_after"] == pytest.approx(
        run.json["mean_average_precision"]
    )
    assert tested["after"] == pytest.approx(run.json["exact_match"])
    assert found["sentences"][-1] == "The fit began with the earlier final layer."
    assert run.json["cache"]["computed"] == 20
