"""Images that are like none of the training images, by the command."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from label.formats import OutputStyle
from label.sharded.part_files import part_content
from tests.label.running import invoke
from tests.support import Trained, tlcli
from tlcli.backbones import frozen_graph
from tlcli.core.classifier.outputs import Prediction, Score
from tlcli.core.unknown.reading import Unknown


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of pictures that show no houses."""
    folder = tmp_path_factory.mktemp("noise")
    generator = np.random.default_rng(0)
    for number in range(3):
        pixels = generator.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        picture = Image.fromarray(pixels).resize((200, 200), Image.Resampling.NEAREST)
        picture.save(folder / f"{number}.png")
    return folder


def labelled(trained: Trained, *arguments: object) -> str:
    graph = trained.folder / "output_graph.pb"
    result = invoke("--graph", graph, "--unknown", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_an_unknown_image_says_so_first_with_the_reason(trained: Trained, noise: Path) -> None:
    first, *others = labelled(trained, noise / "0.png").splitlines()
    card = json.loads((trained.folder / "output_graph.json").read_text())
    images = card["unknown"]["images"]
    assert first.startswith(f"unknown (nothing like it among {images} training photos; nearest: ")
    assert first.endswith(".png)") or first.endswith(".jpg)")
    assert len(others) == len(card["labels"])


def test_json_and_csv_have_the_score(trained: Trained, noise: Path) -> None:
    photo = next(trained.photos.rglob("*.jpg"))
    found = json.loads(labelled(trained, noise / "0.png", photo, "--format", "json"))
    one, other = (each["unknown"] for each in found)
    assert one["score"] > one["threshold"] > other["score"]
    assert (trained.folder / other["nearest"]).exists()
    rows = list(csv.DictReader(io.StringIO(labelled(trained, noise, photo, "--format", "csv"))))
    assert {row["unknown"] for row in rows if row["image"] == str(photo)} == {"no"}
    assert {row["unknown"] for row in rows if row["image"] != str(photo)} == {"yes"}


def test_unknown_images_are_sorted_into_a_folder_of_their_own(
    trained: Trained, noise: Path, tmp_path: Path
) -> None:
    labelled(trained, noise, next(trained.photos.rglob("*.jpg")), "--sort_into", tmp_path / "out")
    assert len(list((tmp_path / "out" / "unknown").iterdir())) == 3
    assert len(list((tmp_path / "out").rglob("*.*"))) == 4


@pytest.mark.slow
def test_the_graph_alone_tells_unknown_images(
    trained: Trained, noise: Path, tmp_path: Path
) -> None:
    content = (trained.folder / "output_graph.pb").read_bytes()
    (tmp_path / "alone.pb").write_bytes(content)
    # Without the embedded card too, as other programs would write it again.
    from tlcli.graph.messages import GraphDef

    message = GraphDef.FromString(content)
    bare = GraphDef(node=message.node, versions=message.versions)
    (tmp_path / "bare.pb").write_bytes(bare.SerializeToString())
    shutil.copy(trained.folder / "output_labels.txt", tmp_path / "output_labels.txt")
    found = []
    for name in ("alone.pb", "bare.pb"):
        result = invoke("--graph", tmp_path / name, "--unknown", noise / "0.png")
        assert result.exit_code == 0, result.output
        found.append(result.stdout)
    assert found[0].startswith("unknown (nothing like it among the training photos)\n")
    assert found[1].startswith(found[0].partition("\n")[0])


def test_such_a_graph_is_still_a_backbone(trained: Trained) -> None:
    found = frozen_graph.find(trained.folder / "output_graph.pb")
    assert found.load_graph().bottleneck_size >= 1280


def test_other_graphs_cannot(trained: Trained, noise: Path, tmp_path: Path) -> None:
    graph = trained.folder / "output_graph.tflite"
    result = tlcli("label", "--graph", graph, "--unknown", noise / "0.png")
    assert result.code == 1
    assert "cannot tell unknown images: it has no unknown_score" in result.err


@pytest.mark.slow
def test_an_evaluation_counts_both_kinds_of_mistakes(trained: Trained, noise: Path) -> None:
    found = tlcli(
        *("evaluate", "--graph", trained.folder / "output_graph.pb", "--format", "json"),
        *("--image_dir", trained.photos, "--unknown_dir", noise),
    ).json["unknown"]
    assert found["found"]["value"] == 1
    assert found["count"] == 3
    assert found["false_rejects"]["value"] < 0.5
    assert found["false_rejects_count"] > 0


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_part_files_have_the_score(kind: str) -> None:
    known = Prediction("a.jpg", (Score("daisy", 0.9),), unknown=Unknown(0.5, 1.0, "b.jpg", 9))
    content = part_content(
        [known, Prediction("c.jpg", error="no image")], OutputStyle(kind, unknown=True)
    )
    if kind == "jsonl":
        first, second = map(json.loads, content.decode().splitlines())
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        first, second = parquet.read_table(io.BytesIO(content)).to_pylist()
    assert first["unknown"] == {"score": 0.5, "threshold": 1.0, "nearest": "b.jpg"}
    assert second.get("unknown") is None
