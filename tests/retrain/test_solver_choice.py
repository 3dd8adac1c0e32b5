"""The compared solvers and the weights of labels, from the command to the JSON and the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.core.final_layer.test_discriminant_analysis import clouds
from tests.retrain.imported_houses import IMPORT_ONLY
from tests.support import Run, tlcli

COUNTS = {"roses": 90, "tulips": 40}


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Return a folder of vectors as the originals wrote them."""
    vectors = clouds(sum(COUNTS.values()), 12, 2, 4.0).vectors
    vectors = vectors[np.argsort(np.arange(len(vectors)) % 2, kind="stable")]
    rows = iter(vectors)
    for label, count in COUNTS.items():
        (tmp_path / "texts" / label).mkdir(parents=True)
        for number in range(count):
            text = ",".join(map(str, next(rows)))
            (tmp_path / "texts" / label / f"{number}.jpg.txt").write_text(text)
    return tmp_path / "texts"


def fit(texts: Path, *more: object) -> Run:
    graph = texts.parent / "output_graph.pb"
    return tlcli(
        "retrain", "--import_bottlenecks", texts, *IMPORT_ONLY, "--output_graph", graph,
        "--format", "json", *more,
    )  # fmt: skip


def test_log_json_and_report_show_the_comparison(texts: Path) -> None:
    run = fit(texts, "--solver", "auto")
    assert run.code == 0, run.err
    solver = run.json["solver"]
    assert solver["asked"] == "auto"
    assert f"; {solver['used']} is used" in run.err
    assert [each["solver"] for each in solver["compared"]] == ["lda", "lbfgs", "sgd"]
    for each in solver["compared"]:
        assert f"{each['solver']} {each['cross_entropy']:.3f} ({each['accuracy']:.1%})" in run.err
    assert f"of {solver['images']} training images" in run.err
    page = (texts.parent / "output_report.html").read_text(encoding="utf-8")
    assert "Cross entropy and accuracy on held-out images" in page


def test_a_file_of_label_weights(texts: Path) -> None:
    path = texts.parent / "weights.csv"
    path.write_text("tulips,1e9\n")
    run = fit(texts, "--label_weights", path, "--no_report")
    assert run.code == 0, run.err
    recall = {label: figures["recall"] for label, figures in run.json["labels"].items()}
    assert recall == {"roses": 0, "tulips": 1}


def test_label_weights_that_cannot_be_used_are_refused(texts: Path) -> None:
    path = texts.parent / "weights.csv"
    path.write_text("tulip,2\n")
    run = fit(texts, "--label_weights", path)
    assert run.code == 2
    assert "weights for 'tulip', which no image has" in run.err
    path.write_text("tulips,-2\n")
    run = fit(texts, "--label_weights", path)
    assert run.code == 1
    assert "gives 'tulips' the weight '-2'; give a number above 0" in run.err
    assert not (texts.parent / "output_graph.pb").exists()
