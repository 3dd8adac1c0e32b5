"""What the report states, part by part."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.report import samples
from tests.report.pages import EVERY, Page, many
from tlcli.core.evaluation.thresholds import threshold_figures
from tlcli.report import page
from tlcli.report.data import Curve, ReportData
from tlcli.report.page import gate, render, verdict


def test_the_verdict() -> None:
    data = samples.usual()
    assert verdict(data) == (
        "6 of 8 test images that were kept out of training got the right label; "
        "on new images of the same kind expect 40.9% to 92.9%."
    )
    assert verdict(EVERY["no test images"]) == (
        "No test images were set aside, so how well this works on new images is not known "
        "(validation accuracy: 80.0%)."
    )
    text = Page(render(data)).text
    assert "75.0%" in text
    assert "N = 8" in text


def test_what_each_validation_accuracy_was_measured_on() -> None:
    text = " ".join(Page(render(samples.usual())).text.split())
    assert "80.0%on the whole validation split, N = 4" in text
    assert "is measured on a batch that was drawn for it" in text
    assert "of 80.0% at the top is that of the finished layer on the whole validation split" in text
    optimum = samples.usual(training_curve=None, validation_curve=None)
    text = " ".join(Page(render(optimum)).text.split())
    assert "80.0%on the whole validation split, N = 4" in text
    assert "batch" not in text


def plain(data: ReportData) -> str:
    """Return the text of the page, its white space as one space each."""
    return " ".join(Page(render(data)).text.split())


def test_one_mistake_is_not_many() -> None:
    group = dataclasses.replace(samples.usual().mistakes[0], count=1, listed=[])
    text = plain(samples.usual(mistakes=[group], mistakes_count=1))
    assert "1 image of 8 got a wrong label. A wrong label in the data looks like" in text
    assert "daisy taken for roses 1 image 70.0%, true label 20.0% daisy/1.jpg" in text


def test_the_parts_are_in_the_order_of_peoples_questions() -> None:
    found = Page(render(samples.usual()))
    headings = [attributes.get("id") for tag, attributes in found.elements if tag == "h2"]
    assert headings == [
        *("verdict", "next", "grown", "mistakes", "confusion", "labels", "data"),
        *("more-photos", "scores", "thresholds", "curves", "before-after", "run"),
    ]
    links = [str(link["href"]) for link in found.all("a")]
    assert [link[1:] for link in links if link[1:] in headings[1:]][:12] == headings[1:]
    folded = [number for number, (tag, _) in enumerate(found.elements) if tag == "summary"]
    after = [found.elements[number + 1] for number in folded]
    assert [attributes["id"] for tag, attributes in after if tag == "h2"] == ["before-after", "run"]


def test_advice_is_on_the_page() -> None:
    text = render(samples.usual())
    assert "<li>Only 8 test images: add <code>--cross_validate 5</code>.</li>" in text
    assert "<li>1 file was skipped: replace it.</li>" in text
    assert "Nothing in these figures asks for a change." in plain(samples.usual(advice=[]))


def test_folds_are_the_headline() -> None:
    data = samples.folds()
    assert verdict(data) == (
        "16 of 20 images got the right label from a fit that had not seen them (cross-validation, "
        "5 folds); on new images of the same kind expect 58.4% to 91.9%."
    )
    text = plain(data)
    assert "80.0%cross-validated accuracy" in text
    assert "Test accuracy75.0%of the graph on its own test images, N = 8" in text
    assert "5 foldsmean 81.0%, deviation 3.0%" in text
    assert "Each image was labelled by the fit of the cross-validation that had not seen it" in text
    # The matrix is theirs too.
    tables = [attributes for tag, attributes in Page(render(data)).elements if tag == "table"]
    matrix = tables[1]  # after the images of what changed
    assert matrix["class"] == "matrix"
    assert "daisy93roses17" in "".join(text.split())


def test_each_wrong_cell_leads_to_its_images() -> None:
    found = Page(render(samples.usual()))
    groups = {attributes["id"] for tag, attributes in found.elements if tag == "section"
              and attributes.get("class", "").startswith("group")}  # fmt: skip
    links = [str(link["href"]) for link in found.all("a") if "#m-" in str(link["href"])]
    assert groups == {"m-0-1"}
    # From the matrix and from the list of the most frequent confusions.
    assert links == ["#m-0-1", "#m-0-1"]


def test_each_wrong_square_leads_to_its_images() -> None:
    count = page.MATRIX_NUMBERS + 1
    matrix = np.eye(count, dtype=int)
    matrix[3, 5] = 2
    group = dataclasses.replace(samples.usual().mistakes[0], label=3, predicted=5)
    data = dataclasses.replace(
        many(count), confusion=samples.confusion_of(matrix), mistakes=[group], mistakes_count=2
    )
    found = Page(render(data))
    links = [link for link in found.all("a") if link["href"] == "#m-3-5"]
    assert [link.get("aria-label") for link in links] == ["label 3: 2 labelled label 5", None]
    (grid,) = [svg for svg in found.all("svg") if svg.get("class") == "matrix-grid"]
    assert grid["role"] == "group"


def test_pictures_and_names_of_mistakes_lead_to_the_files() -> None:
    links = [str(link["href"]) for link in Page(render(samples.usual())).all("a")]
    # With its picture among the mistakes and among the least confident ones.
    assert links.count("photos/daisy/1.jpg") == 2
    assert links.count("photos/daisy/4.jpg") == 1


def test_the_threshold() -> None:
    text = plain(samples.usual())
    assert "At 0.8, 75% get a label and 100% of those are right." in text
    assert "0.875%6 of 8100.0% 61% to 100%" in text
    none = list(threshold_figures([0.3], [True], [0.0, 0.8]))
    assert "At 0.8, no image gets a label." in plain(samples.usual(thresholds=none))


def test_copies_are_counted() -> None:
    assert "1 image is a copy of another one with the same label." in plain(samples.usual())
    assert "of another one with the same label" not in plain(samples.usual(copies=0))


def test_curves_of_whole_splits_take_the_place_of_those_of_batches() -> None:
    whole = Curve([0, 10], [0.4, 0.93], [0.9, 0.1], 21)
    data = samples.usual(training_split_curve=whole, validation_split_curve=whole)
    text = plain(data)
    assert "drawn for it" not in text
    assert "Validation is measured on all 4 images of that split" in text
    assert "Training is measured on 21 images spread over that split." in text
    assert "93.0%" in text
    part = dataclasses.replace(whole, images=3)
    text = plain(samples.usual(training_split_curve=whole, validation_split_curve=part))
    assert "Validation is measured on 3 images drawn from that split, always the same" in text
    # Without a validation split there is one curve.
    text = plain(samples.usual(training_split_curve=whole))
    assert "Validation is measured" not in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"min_accuracy": None}, None),
        ({"min_accuracy": 0.4}, "The gate of 40.0% was met."),
        ({}, "The gate of 70.0% was met, but the interval reaches below it."),
        ({"min_accuracy": 0.9}, "Below the gate of 90.0%."),
        ({"accuracy": None}, "The gate of 70.0% could not be checked."),
    ],
)
def test_the_gate(changes: dict[str, Any], expected: str | None) -> None:
    data = samples.usual(**changes)
    assert gate(data) == expected
    assert expected is None or expected in Page(render(data)).text


def test_what_scores_mean_has_a_diagram_and_a_sentence() -> None:
    text = Page(render(samples.usual())).text
    assert "When it reports 85% (scores of 80% to 97%), it is right in 80 of 100 images" in text
    assert (
        "Expected calibration error 5.0%, and 12.5% before scores were divided by 1.42; 60 images "
        "without any error would show 6.0% by chance."
    ) in text
    assert 'id="scores"' not in render(samples.usual(calibration=None))


def test_what_changed_since_an_earlier_run_is_a_part_of_its_own() -> None:
    text = Page(render(samples.usual())).text
    assert "Since earlier.json: 21 images added (roses 18, daisy 3)" in text
    assert "better on 7, worse on 2 of 60: may be chance, p = 0.18" in text
    assert 'id="grown"' not in render(samples.usual(grown=None))
