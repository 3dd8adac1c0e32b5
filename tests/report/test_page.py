from __future__ import annotations

import dataclasses
import html.parser
import itertools
import json
import re
from typing import Any

import numpy as np
import pytest

from tests.report import samples
from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.core.evaluation.thresholds import threshold_figures
from tlcli.report import page
from tlcli.report.data import Comparison, Curve, LabelFigures, ReportData, TestImage
from tlcli.report.page import command_lines, gate, percent, render, verdict

VOID = {"meta", "link", "img", "wbr", "br", "hr", "input"}


class Page(html.parser.HTMLParser):
    """The elements of a page, the text outside of scripts, and the report's JSON."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.json = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), f"an attribute given twice in <{tag}>"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.json += data
        elif "style" not in self._open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def without_pictures(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: without_pictures(item)
            for key, item in value.items()
            if key not in ("thumbnail", "heat_map")
        }
    if isinstance(value, (list, tuple)):
        return [without_pictures(item) for item in value]
    return value


def many(count: int) -> ReportData:
    labels = [
        LabelFigures(f"label {n}", 8, 1, 1, None, None, 1.0, (0.2, 1), 1.0) for n in range(count)
    ]
    return samples.usual(
        labels=labels,
        confusion=samples.confusion_of(np.eye(count, dtype=int)),
        mistakes=[],
        mistakes_count=0,
        comparisons=[
            Comparison("a.jpg", f"label {count - 1}", [1 / count] * count, [1 / count] * count)
        ],
    )


EVERY = {
    "usual": samples.usual(),
    "hostile": samples.hostile(),
    "no test images": samples.usual(
        accuracy=None,
        interval=None,
        test_count=0,
        confusion=ConfusionMatrix(2),
        misclassified=[],
        misclassified_count=0,
        mistakes=[],
        mistakes_count=0,
        thresholds=[],
        most_confident=[],
        least_confident=[],
        comparisons=[],
        untrained_accuracy=None,
    ),
    "folds": samples.folds(),
    "bare": ReportData(
        title="x",
        created="",
        accuracy=1.0,
        interval=None,
        test_count=1,
        labels=[LabelFigures("a", 1, 0, 1), LabelFigures("b", 1, 0, 0)],
        confusion=samples.confusion_of([[1, 0], [0, 0]]),
        backbone=samples.usual().backbone,
        command="",
        settings={},
    ),
    "squares": many(page.MATRIX_NUMBERS + 1),
    "thousands": many(2000),
}


@pytest.fixture(scope="module", params=EVERY, ids=str)
def drawn(request: pytest.FixtureRequest) -> tuple[ReportData, str, Page]:
    data = EVERY[request.param]
    text = render(data)
    return data, text, Page(text)


def test_nothing_comes_from_outside(drawn: tuple[ReportData, str, Page]) -> None:
    _, _, found = drawn
    for tag, attributes in found.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "data", "action", "poster"):
                assert value is not None
                # A photo may be opened, as a file next to the page; nothing else is asked for.
                local = tag == "a" and name == "href" and not re.match(r"\w+:|/", value)
                inside = value.startswith(("data:image/jpeg;base64,", "#", "data:,"))
                assert inside or local, (tag, value)
    assert [script.get("type") for script in found.all("script")] == ["application/json"]
    assert not {tag for tag, _ in found.elements} & {"iframe", "object", "embed", "form", "base"}
    policy = next(m for m in found.all("meta") if m.get("http-equiv"))["content"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_style_asks_for_nothing(drawn: tuple[ReportData, str, Page]) -> None:
    style = re.search("<style>(.*?)</style>", drawn[1], re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_the_json_is_the_content(drawn: tuple[ReportData, str, Page]) -> None:
    data, _, found = drawn
    expected = without_pictures(dataclasses.asdict(data))
    if data.out_of_fold is not None:
        expected["out_of_fold"]["confusion"] = data.out_of_fold.confusion.matrix.tolist()
    expected["confusion"] = data.confusion.matrix.tolist() if data.confusion.cells else []
    if len(data.labels) == 2000:
        expected |= {"confusion": None, "confusion_cells": [[n, n, 1] for n in range(2000)]}
    assert json.loads(found.json) == {"format": 1, **expected}


def test_structure_for_screen_readers(drawn: tuple[ReportData, str, Page]) -> None:
    _, _, found = drawn
    assert all(image.get("alt") for image in found.all("img"))
    assert found.all("html")[0]["lang"] == "en"
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = [
        name
        for _, attributes in found.elements
        for name in (attributes.get("aria-labelledby") or "").split()
    ]
    links = [str(link["href"]) for link in found.all("a")]
    assert links[0] == "#content"
    assert {*wanted, *(link[1:] for link in links if link.startswith("#"))} <= set(ids)
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for name in ("main", "header", "footer", "title"):
        assert len([attributes for tag, attributes in found.elements if tag == name]) >= 1


def test_size_is_bounded(drawn: tuple[ReportData, str, Page]) -> None:
    _, text, found = drawn
    assert len(text) < 1_000_000
    assert len(found.all("tr")) < 600


def test_names_stay_names() -> None:
    text = render(samples.hostile())
    found = Page(text)
    assert "alert(1)</script>" not in text.replace("&lt;/script&gt;", "")
    assert samples.HOSTILE in found.text
    assert samples.QUOTED in found.text
    assert samples.CLOSING in found.text
    assert found.all("img") == []
    assert "\x00" not in text
    assert "\x1b" not in text
    text.encode("utf-8")


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
        *("verdict", "next", "mistakes", "confusion", "labels", "data"),
        *("more-photos", "thresholds", "curves", "before-after", "run"),
    ]
    links = [str(link["href"]) for link in found.all("a")]
    assert [link[1:] for link in links if link[1:] in headings[1:]][:10] == headings[1:]
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
    matrix = next(attributes for tag, attributes in Page(render(data)).elements if tag == "table")
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


def test_tables_of_many_labels_are_cut_and_say_so(drawn: tuple[ReportData, str, Page]) -> None:
    data, _, found = drawn
    text = found.text
    if len(data.labels) < 2000:
        assert "labels with the lowest F1" not in text
        return
    assert "The 100 labels with the lowest F1, of 2,000" in text
    assert "The matrix of 2,000 labels is too large to draw" in text
    assert "and 1,995 more labels" in text
    # The true label is among the scores shown even when four others are better.
    assert "label 1999" in text


def test_every_picture_is_shown() -> None:
    image = samples.usual().misclassified[0]
    group = dataclasses.replace(
        samples.usual().mistakes[0], count=300, images=[image] * 40, listed=[]
    )
    data = samples.usual(
        mistakes=[group],
        mistakes_count=300,
        most_confident=[image] * 6,
        least_confident=[image] * 6,
        comparisons=samples.usual().comparisons * 6,
    )
    found = Page(render(data))
    assert len(found.all("img")) == 2 * (40 + 6 + 6) + 6
    assert "40 of them are shown with a picture" in found.text
    assert "And 260 more images." in found.text


def test_an_image_without_a_picture() -> None:
    image = TestImage("a/1.jpg", "daisy", "roses", 0.6, 0.4)
    found = Page(render(samples.usual(least_confident=[image])))
    assert "no picture" in found.text


def test_no_mistakes() -> None:
    data = samples.usual(mistakes=[], mistakes_count=0, accuracy=1.0)
    assert "None: every test image got its label." in Page(render(data)).text


def test_values_that_are_not_finite() -> None:
    data = samples.usual(
        training_curve=Curve([0, 1], [0.5, float("nan")], [float("inf"), 0.5]),
        settings={"learning_rate": float("inf"), "numpy": np.float32(0.5)},
    )
    found = json.loads(Page(render(data)).json)
    assert found["training_curve"]["accuracy"] == [0.5, None]
    assert found["settings"] == {"learning_rate": None, "numpy": 0.5}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("tlcli doctor", "tlcli doctor"),
        (
            "tlcli retrain --image_dir 'my photos' --seed 0",
            "tlcli retrain \\\n  --image_dir 'my photos' \\\n  --seed 0",
        ),
        ("tlcli label 'a --b'", "tlcli label 'a --b'"),
    ],
)
def test_the_command_can_be_pasted(command: str, expected: str) -> None:
    assert command_lines(command) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.312, "0.31 s"), (12.4, "12 s"), (185, "3 min 5 s"), (7322, "2 h 2 min")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert page.duration(seconds) == expected


def test_percent_of_nothing() -> None:
    assert percent(None) == "–"
    assert percent(1 / 3, 0) == "33%"
