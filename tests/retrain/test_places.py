"""Where outputs go: folders that are made for them, and what an earlier run left there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from retrain import job
from retrain.arguments.options import RetrainOptions
from retrain.job import retrain
from retrain.outputs import checked_outputs
from tests.support import tlcli
from tlcli.errors import DataError, OutputError, UsageError


@pytest.fixture
def texts(shared: Path, tmp_path: Path) -> Path:
    """Return a folder of 20 imported vectors of each of two labels."""
    for folder in sorted((shared / "houses" / "bottlenecks").iterdir()):
        copied = tmp_path / "texts" / folder.name
        copied.mkdir(parents=True)
        for file in sorted(folder.iterdir())[:20]:
            shutil.copy(file, copied)
    return tmp_path / "texts"


def run(texts: Path, graph: Path, **options: Any) -> None:
    retrain(
        import_bottlenecks=texts,
        output_graph=graph,
        final_layer_only=True,
        how_many_training_steps=5,
        **options,
    )


def test_the_report_of_a_graph_goes_with_that_graph(
    texts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    graph, report = tmp_path / "out" / "output_graph.pb", tmp_path / "out" / "output_report.html"
    run(texts, graph)
    assert report.is_file()
    # The folder may have been moved, and the command given from elsewhere.
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    with caplog.at_level("INFO", "tlcli"):
        run(texts, moved / "output_graph.pb", no_report=True)
    assert not (moved / "output_report.html").exists()
    assert f"The report of the earlier graph, {moved / 'output_report.html'}, is removed" in (
        caplog.messages
    )
    assert sorted(path.name for path in moved.iterdir()) == [
        "output_graph.json", "output_graph.pb", "output_labels.txt",
    ]  # fmt: skip


def test_a_litert_file_of_an_earlier_run_is_said_to_be_one(
    texts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(texts, tmp_path / "g.pb")
    assert caplog.messages == []
    (tmp_path / "g.tflite").write_bytes(b"earlier")
    run(texts, tmp_path / "g.pb")
    assert f"{tmp_path / 'g.tflite'} is not of this run, which writes no LiteRT file" in (
        caplog.messages
    )
    assert (tmp_path / "g.tflite").read_bytes() == b"earlier"


def test_the_report_of_another_graph_stays(texts: Path, tmp_path: Path) -> None:
    run(texts, tmp_path / "one.pb")
    before = (tmp_path / "output_report.html").read_bytes()
    run(texts, tmp_path / "two.pb", no_report=True)
    assert (tmp_path / "output_report.html").read_bytes() == before
    run(texts, tmp_path / "elsewhere" / "two.pb", output_report=tmp_path / "output_report.html")
    run(texts, tmp_path / "two.pb", no_report=True)
    assert (tmp_path / "output_report.html").is_file()


@pytest.mark.parametrize(
    "content",
    [
        "<h1>My own notes on output_graph.pb</h1>",
        "",
        '<script type="application/json" id="report-data">[1</script>',
        '<script type="application/json" id="report-data">{"outputs": ["graph"]}</script>',
        '<script type="application/json" id="report-data">{}</script>',
    ],
)
def test_a_page_that_is_no_report_of_ours_stays(texts: Path, tmp_path: Path, content: str) -> None:
    page = tmp_path / "output_report.html"
    page.write_text(content)
    run(texts, tmp_path / "output_graph.pb", no_report=True)
    assert page.read_text() == content


def test_an_early_interruption_leaves_no_empty_folder(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "find_images", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(texts, tmp_path / "new" / "deep" / "g.pb", summaries_dir=tmp_path / "events")
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]


def test_nor_does_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "kept").mkdir()
    with pytest.raises(DataError):
        retrain(tmp_path / "photos", output_graph=tmp_path / "new" / "g.pb")
    with pytest.raises(DataError):
        retrain(tmp_path / "photos", output_graph=tmp_path / "kept" / "g.pb")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "photos"]


@pytest.mark.parametrize("talk", [["--quiet"], ["--logging_verbosity", "ERROR"]])
def test_a_list_that_was_asked_for_is_printed_however_quiet(
    texts: Path, tmp_path: Path, talk: list[str]
) -> None:
    done = tlcli(
        "retrain", "--import_bottlenecks", texts, "--final_layer_only", "--output_graph",
        tmp_path / "g.pb", "--how_many_training_steps", 5, "--testing_percentage", 40,
        "--print_misclassified_test_images", "--format", "json", *talk,
    )  # fmt: skip
    wrong = done.json["misclassified"]
    assert wrong
    assert done.err.splitlines() == [
        "=== MISCLASSIFIED TEST IMAGES ===",
        *(f"{each['image']}  {each['predicted']}" for each in wrong),
    ]


def test_a_folder_with_anything_else_is_not_replaced_by_a_saved_model(tmp_path: Path) -> None:
    photos, model, file = tmp_path / "photos", tmp_path / "model", tmp_path / "file"
    (photos / "daisy").mkdir(parents=True)
    (photos / "daisy" / "1.jpg").write_text("mine")
    with pytest.raises(
        OutputError, match=r"photos: it contains daisy, which is no part of an older"
    ):
        retrain(photos, saved_model_dir=photos, output_graph=tmp_path / "g.pb")
    assert (photos / "daisy" / "1.jpg").read_text() == "mine"
    file.write_text("mine")
    with pytest.raises(OutputError, match="file: it is a file; give the name of a folder"):
        retrain(photos, saved_model_dir=file, output_graph=tmp_path / "g.pb")
    options = RetrainOptions(
        image_dir=photos, saved_model_dir=model, output_graph=tmp_path / "g.pb"
    )
    model.mkdir()
    with checked_outputs(options):  # an empty folder
        pass
    (model / "variables").mkdir()
    with pytest.raises(OutputError, match="model: it contains variables"), checked_outputs(options):
        pass
    (model / "saved_model.pb").touch()
    with checked_outputs(options):
        pass
    (model / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"contains notes\.txt, which"), checked_outputs(options):
        pass


@pytest.mark.parametrize("graph", ["out/g.pb", "out", "out/deep/g.pb"])
def test_a_saved_model_has_a_folder_of_its_own(tmp_path: Path, graph: str) -> None:
    with pytest.raises(UsageError, match="must be a folder of its own, and --output_graph"):
        retrain(tmp_path, saved_model_dir=tmp_path / "out", output_graph=tmp_path / graph)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["output_graph", "output_labels", "output_report"])
@pytest.mark.parametrize("place", [".", "..", "/"])
def test_an_output_needs_a_name(tmp_path: Path, name: str, place: str) -> None:
    with pytest.raises(UsageError, match=f"--{name} .* is a folder; give the name of a file"):
        RetrainOptions(image_dir=tmp_path, **{name: Path(place)})  # type: ignore[arg-type]


def test_a_file_in_the_place_of_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: there is a file where a folder is needed; choose"):
        retrain(tmp_path, output_graph=tmp_path / "file" / "g.pb")
