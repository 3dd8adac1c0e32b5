"""A run that begins where an earlier one ended: ``tlcli retrain --from output_graph.json``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from retrain.arguments.options import RetrainOptions
from retrain.growing.inherited import with_earlier
from retrain.job import options_of, retrain
from tests.support import Run, Trained, tlcli
from tlcli.errors import DataError, TlcliError


def card_of(trained: Trained, folder: Path, **training: Any) -> Path:
    """Return a copy of the card of a run, with other options."""
    card = json.loads(trained.graph.with_suffix(".json").read_text())
    card["training"] |= training
    path = folder / "earlier.json"
    path.write_text(json.dumps(card))
    return path


def test_the_options_of_the_earlier_run_are_taken_over(trained: Trained) -> None:
    found, _ = options_of({"from_card": trained.graph, "learning_rate": 0.02})
    expected = ("original", 300, 25, 0.02, trained.photos)
    names = ("preset", "how_many_training_steps", "testing_percentage", "learning_rate")
    assert (*(getattr(found, name) for name in names), found.image_dir) == expected
    # What a run prints and writes is its own.
    assert not found.print_misclassified_test_images
    assert found.output_graph == Path("output_graph.pb")


def test_options_that_are_given_replace_what_belongs_together(
    trained: Trained, tmp_path: Path
) -> None:
    best = card_of(
        trained, tmp_path, preset="best", solver="lda", layers="ms", fine_tune="auto",
        module="a+b", how_many_training_steps=4000, testing_percentage=10, seed=3,
    )  # fmt: skip
    found = with_earlier({"from_card": best, "preset": "fast", "manifest": "list.csv"})
    assert found == {"from_card": best, "preset": "fast", "manifest": "list.csv", "seed": 3}
    found = with_earlier({"from_card": best, "image_dir": "x"})
    assert (found["preset"], found["solver"], found["module"]) == ("best", "lda", "a+b")
    found = with_earlier({"from_card": best, "image_dir": "x", "learning_rate": 0.1, "module": "c"})
    assert "preset" not in found
    assert found["module"] == "c"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "it is no JSON"),
        ('{"format": 2}', "its format is not 1, which this version of tlcli reads"),
        ('{"name": "of another tool"}', "its format is not 1"),
        (None, "No such file or directory"),
    ],
)
def test_a_card_that_cannot_be_used_is_named_with_the_reason(
    tmp_path: Path, content: str | None, reason: str
) -> None:
    path = tmp_path / "card.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError) as caught:
        with_earlier({"from_card": path})
    assert str(caught.value).startswith(f"--from {path} cannot be used: {reason}")
    assert "give the model card" in str(caught.value)


def test_options_of_another_version_or_damaged_ones_are_named(
    trained: Trained, tmp_path: Path
) -> None:
    for training, reason in (
        ({"preset": "later"}, "this version has no preset 'later'"),
        ({"learning_rate": "fast"}, "its learning_rate is 'fast'"),
        ({"image_dir": "gone"}, "its --image_dir gone is not here; give --image_dir"),
    ):
        with pytest.raises(DataError, match=reason):
            with_earlier({"from_card": card_of(trained, tmp_path, **training)})
    later = card_of(trained, tmp_path, option_of_a_later_version=1, image_dir=str(tmp_path))
    assert "option_of_a_later_version" not in with_earlier({"from_card": later})


def test_a_graph_without_a_card_is_refused(tmp_path: Path) -> None:
    (tmp_path / "foreign.pb").write_bytes(b"graph")
    with pytest.raises(DataError, match=r"has no model card, foreign\.json, next to it"):
        with_earlier({"from_card": tmp_path / "foreign.pb"})


def test_every_option_is_taken_over_or_each_runs_own() -> None:
    assert RetrainOptions(image_dir="x").to_dict().keys() >= {"from_card", "seed"}  # type: ignore[arg-type]


def grown(trained: Trained, folder: Path, *options: object) -> Run:
    """Add a label and three photos, take two away, and run again from the card."""
    photos = folder / "photos"
    shutil.copytree(trained.photos, photos)
    for path in sorted((photos / "house_with_pool").glob("*.jpg"))[1:3]:
        path.unlink()
    (photos / "blue").mkdir()
    for number in range(24):
        colour = (number, 2 * number, 255 - 3 * number)
        Image.new("RGB", (64, 48), colour).save(photos / "blue" / f"{number}.png")
    return tlcli(
        "retrain", "--from", trained.graph.with_suffix(".json"), "--image_dir", photos,
        "--output_graph", folder / "new.pb", *options, cache=trained.cache,
    )  # fmt: skip


@pytest.mark.slow
def test_a_grown_folder_is_compared_with_the_earlier_run(trained: Trained, tmp_path: Path) -> None:
    run = grown(trained, tmp_path, "--format", "json")
    assert run.code == 0, run.err
    found = run.json["grown"]
    assert found["labels_added"] == ["blue"]
    assert found["images"]["blue"] == {"before": 0, "added": 24, "removed": 0}
    assert found["images"]["house with pool"]["removed"] == 2
    assert found["exact"]
    tested = found["tested"]
    # The split is by name: what was tested then is tested now.
    assert tested["count"] == run.json["test_count"] - run.json["labels"]["blue"]["testing"]
    assert tested["before"] == pytest.approx(
        tested["after"] - (tested["better"] - tested["worse"]) / tested["count"]
    )
    assert found["sentences"][-1] == "The fit began with the earlier final layer."
    assert run.json["cache"]["computed"] == 24
    page = (tmp_path / "output_report.html").read_text()
    assert "What changed" in page
    assert "label added: blue" in page
    # The new card lists the images in its turn.
    again = tlcli(
        "retrain", "--from", tmp_path / "new.pb", "--output_graph", tmp_path / "third.pb",
        "--module", "efficientnet_lite0", "--solver", "lda", "--preset", "standard",
        cwd=tmp_path, cache=trained.cache,
    )  # fmt: skip
    assert again.code == 0, again.err
    assert "new.json: no image added or removed." in again.out
    assert "test images new to both" in again.out


@pytest.mark.slow
def test_exact_solvers_give_the_same_graph_as_without_a_card(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLCLI_CACHE_DIR", str(trained.cache))
    written = []
    for name, card in (("a", None), ("b", trained.graph)):
        options: dict[str, Any] = {"from_card": card, "output_graph": tmp_path / name / "g.pb"}
        retrain(trained.photos, preset="fast", testing_percentage=25, no_report=True, **options)
        written.append((tmp_path / name / "g.pb").read_bytes())
    assert written[0] == written[1]


@pytest.mark.slow
def test_a_graph_that_is_gone_is_reported_and_the_run_goes_on(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLCLI_CACHE_DIR", str(trained.cache))
    card = card_of(trained, tmp_path, image_dir=str(trained.photos))
    result = retrain(from_card=card, output_graph=tmp_path / "new.pb", no_report=True)
    assert result.grown is not None
    assert result.grown.tested is None
    assert result.grown.untested == (
        "Not compared with the earlier classifier: its graph is gone, or was changed since its "
        "card was written."
    )
    assert "Not compared" in result.to_text()


def test_the_command_reports_a_card_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("[]")
    run = tlcli("retrain", "--from", "card.json", cwd=tmp_path)
    assert run.code == TlcliError.exit_code
    assert run.err.strip().endswith("such as output_graph.json")
