"""The text at the end of a retraining, and the command it tells to type next."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from retrain.result import LABELS_SHOWN, RetrainResult, next_command
from tests.support import Trained, tlcli
from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.errors import OutputError
from tlcli.report.data import Advice, Curve, LabelFigures, SkippedFile

RESULT = RetrainResult(
    test_accuracy=0.9,
    test_count=20,
    test_interval=(0.699, 0.972),
    validation_accuracy=0.8,
    labels={
        "수영장": LabelFigures("수영장", 80, 10, 10, precision=1.0, recall=0.8),
        "none": LabelFigures("none", 72, 8, 10, precision=0.833),
    },
    skipped=(SkippedFile("a\nb.jpg", "empty file"),),
    backbone={},
    outputs={"graph": Path("my graph.pb"), "report": Path("output_report.html")},
    seconds={},
    cache={},
    example="photos/it's.jpg",
)


CELLS = ((0, 0, 8), (0, 1, 2), (1, 1, 9), (1, 2, 1))
SHOWN = replace(
    RESULT,
    labels={**RESULT.labels, "<b>&": replace(RESULT.labels["none"], label="<b>&")},
    confusion=ConfusionMatrix(3, CELLS, ("수영장", "none", "<b>&")),
    curves={"training": Curve([0, 10], [0.5, 0.9], [0.7, 0.2])},
    report={"much": list(range(10_000))},
)


def test_a_prompt_shows_one_line() -> None:
    assert repr(SHOWN) == (
        "<RetrainResult: Test accuracy 90.0% (N=20, 95% interval 69.9% to 97.2%); 3 labels; "
        "my graph.pb>"
    )


def test_notebooks_show_tables_that_are_escaped() -> None:
    html = SHOWN._repr_html_()
    assert "Test accuracy 90.0%" in html
    assert "<b>" not in html
    assert html.count("&lt;b&gt;&amp;") == 3  # its figures, and its row and column
    assert "my graph.pb" in html
    assert "http" not in html
    assert len(html) < 20_000
    # Without test images there is no matrix.
    assert "true label" not in RESULT._repr_html_()


def test_figures_as_data_frames() -> None:
    pytest.importorskip("pandas")
    frame = SHOWN.to_frame()
    assert list(frame.index) == ["수영장", "none", "<b>&"]
    assert frame.images["수영장"] == 100
    assert frame.recall["수영장"] == 0.8
    counts = SHOWN.confusion.to_frame()
    assert counts.loc["수영장", "none"] == 2
    assert counts.to_numpy().tolist() == SHOWN.confusion.matrix.tolist()


@pytest.mark.slow
def test_plots() -> None:
    pytest.importorskip("matplotlib")
    labels = ("pool", "none", "<b>&")
    shown = replace(SHOWN, confusion=replace(SHOWN.confusion, labels=labels))
    figure = shown.plot()
    assert [axes.get_title() for axes in figure.axes] == [
        "accuracy", "cross entropy", "confusion matrix",
    ]  # fmt: skip
    assert figure._repr_png_().startswith(b"\x89PNG")
    # Logistic regression has no curves.
    assert len(replace(shown, curves={}).plot().axes) == 1


@pytest.mark.parametrize(
    ("package", "method", "sentence"),
    [
        (
            "matplotlib.figure",
            "plot",
            r"plot needs the package matplotlib: pip install 'tlcli\[plot",
        ),
        ("pandas", "to_frame", "to_frame needs the package pandas: pip install pandas"),
    ],
)
def test_a_missing_package_is_one_sentence(
    package: str, method: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for shown in (SHOWN, SHOWN.confusion):
        with pytest.raises(OutputError, match=sentence):
            getattr(shown, method)()


def test_one_label_more_is_not_many() -> None:
    labels = {f"label {number}": RESULT.labels["none"] for number in range(LABELS_SHOWN + 1)}
    assert "and 1 more label, found no less often." in replace(RESULT, labels=labels).to_text()


def test_the_whole_text() -> None:
    assert RESULT.to_text() == (
        "Test accuracy 90.0% (N=20, 95% interval 69.9% to 97.2%)\n"
        "\n"
        "label   images  training  validation  testing  precision  recall\n"
        "수영장     100        80          10       10     100.0%   80.0%\n"
        "none        90        72           8       10      83.3%       -\n"
        "\n"
        "Skipped 1 unreadable:\n"
        "  a\\nb.jpg: empty file\n"
        "\n"
        "Outputs:\n"
        "  graph   my graph.pb\n"
        "  report  output_report.html\n"
        "\n"
        "Preset: original\n"
        "\n"
        "Next: tlcli label '--graph=my graph.pb' '--image=photos/it'\"'\"'s.jpg'"
    )


def test_the_first_advice_is_in_the_text() -> None:
    found = [Advice(f"rule_{n}", f"Do {n}\nnow.") for n in range(3)]
    text = replace(RESULT, advice=tuple(found)).to_text()
    assert "\n\nAdvice:\n  Do 0\\nnow.\n  Do 1\\nnow.\n\nNext: " in text
    assert "Do 2" not in text


def test_many_labels_are_those_found_least() -> None:
    labels = {
        (name := f"label {number}"): LabelFigures(
            name, 7, 1, 1, precision=0.5, recall=None if number == 0 else number / 100
        )
        for number in range(60)
    }
    lines = replace(RESULT, labels=labels).to_text().splitlines()
    assert lines[3].startswith("label 1 ")
    assert lines[2 + LABELS_SHOWN].startswith(f"label {LABELS_SHOWN} ")
    assert lines[3 + LABELS_SHOWN] == f"and {60 - LABELS_SHOWN} more labels, found no less often."


def test_nothing_to_try_the_graph_on() -> None:
    assert next_command(replace(RESULT, example=None)) is None
    assert next_command(replace(RESULT, final_layer_only=True)) is None
    assert "Next" not in replace(RESULT, final_layer_only=True).to_text()


def test_no_test_images() -> None:
    result = replace(RESULT, test_accuracy=None, test_interval=None, test_count=0)
    assert result.to_text().startswith("No test images, so no test accuracy.\n")


@pytest.mark.slow
def test_the_next_command_works(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.photos, tmp_path / "my 'photos'; echo")
    run = tlcli(
        "retrain", "--image_dir", "my 'photos'; echo", "--no_report", "--quiet",
        "--how_many_training_steps", 20, "--output_graph", "-out put/g.pb",
        cwd=tmp_path, cache=trained.cache,
    )  # fmt: skip
    assert run.code == 0, run.err
    (line,) = [line for line in run.out.splitlines() if line.startswith("Next: ")]
    command = line.removeprefix("Next: ")
    assert shlex.split(command)[:2] == [str(Path(sys.executable).parent / "tlcli"), "label"]
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "(score=" in done.stdout
