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
        most_confident=[],
        least_confident=[],
        comparisons=[],
        untrained_accuracy=None,
    ),
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
                assert value.startswith(("data:image/jpeg;base64,", "#", "data:,")), (tag, value)
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
    expected["confusion"] = data.confusion.dense().tolist() if data.confusion.cells else []
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
    assert {*wanted, *(link[1:] for link in links)} <= set(ids)
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


def test_one_mistake_is_not_many() -> None:
    text = Page(render(samples.usual(misclassified_count=1))).text
    assert "One. A wrong label in the data looks like a certain mistake" in " ".join(text.split())


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
    data = samples.usual(
        misclassified=[image] * 20,
        misclassified_count=300,
        most_confident=[image] * 6,
        least_confident=[image] * 6,
        comparisons=samples.usual().comparisons * 6,
    )
    found = Page(render(data))
    assert len(found.all("img")) == 2 * (20 + 6 + 6) + 6
    assert "20 of 300" in found.text


def test_an_image_without_a_picture() -> None:
    image = TestImage("a/1.jpg", "daisy", "roses", 0.6, 0.4)
    found = Page(render(samples.usual(misclassified=[image])))
    assert "no picture" in found.text


def test_no_mistakes() -> None:
    text = Page(render(samples.usual(misclassified=[], misclassified_count=0, accuracy=1.0))).text
    assert "None: every test image got its label." in text


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
