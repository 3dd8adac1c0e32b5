"""What else works on a fine-tuned graph, and what a run tells that keeps none."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.retrain.tuning.striped import keras_file, striped_photos
from tests.serve.running import running
from tests.support import tlcli

pytestmark = pytest.mark.slow
LABELS = ("across", "diagonal", "down")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with photos and a network."""
    folder = tmp_path_factory.mktemp("graphs")
    keras_file(folder)
    striped_photos(folder / "photos")
    return folder


def options(place: Path, folder: Path, fine_tune: str) -> list[object]:
    return [
        "retrain", "--module", place / "small.keras", "--preset", "original",
        "--fine_tune", fine_tune, "--output_graph", folder / "graph.pb",
    ]  # fmt: skip


def test_a_tuned_graph_is_served_and_explained(place: Path, tmp_path: Path) -> None:
    run = tlcli(
        *options(place, tmp_path, "head_blocks"), "--image_dir", place / "photos",
        "--no_report", "--format", "json",
    )  # fmt: skip
    assert run.code == 0, run.err
    assert run.json["fine_tuned"]["kept"]
    graph, photo = tmp_path / "graph.pb", place / "photos" / "down" / "1.png"
    labelled = tlcli(
        "label", photo, "--graph", graph, "--explain", tmp_path / "maps", "--format", "json"
    )
    assert labelled.code == 0, labelled.err
    scores = {each["label"]: each["score"] for each in labelled.json[0]["predictions"]}
    assert (tmp_path / "maps" / "1.explained.jpg").is_file()
    assert "gives no heat maps" not in labelled.err
    with running("--graph", graph, "--name", "stripes") as server:
        content = base64.b64encode(photo.read_bytes()).decode()
        body = json.dumps({"instances": [{"b64": content}]})
        status, found = server.ask("POST", "/v1/models/stripes:predict", body)
    assert status == 200
    served = dict(zip(LABELS, found["predictions"][0], strict=True))
    assert served == pytest.approx(scores, abs=1e-5)


def test_what_gains_nothing_is_not_kept_and_both_figures_are_shown(
    place: Path, tmp_path: Path
) -> None:
    lines = ["path,label,split"]
    for number, label in enumerate(LABELS):
        # What is learned is wrong on all validation images, which are too few to choose by.
        other = LABELS[(number + 1) % len(LABELS)]
        for photo in range(45):
            split = "train" if photo < 25 else "val" if photo < 30 else "test"
            path = place / "photos" / label / f"{photo}.png"
            lines.append(f"{path},{other if split == 'val' else label},{split}")
    manifest = tmp_path / "photos.csv"
    manifest.write_text("\n".join(lines))
    few = ("--how_many_training_steps", 1000)
    run = tlcli(*options(place, tmp_path, "auto"), "--manifest", manifest, *few)
    assert run.code == 0, run.err
    card = json.loads((tmp_path / "graph.json").read_text())
    found = card["training"]["fine_tuned"]
    assert not found["kept"], found
    assert found["after"] > found["before"]
    # What gains nothing with the last third is not tried with more.
    assert list(found["tried"]) == ["head_blocks"]
    assert "fine-tuned" not in card["backbone"]["source"]
    sentence = (
        "Fine-tuning of the last third of the network is not kept: validation cross entropy "
        f"{found['before']:.3f} before, {found['after']:.3f} after"
    )
    assert sentence in run.out
    assert sentence in (tmp_path / "output_report.html").read_text()
