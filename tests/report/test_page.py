from __future__ import annotations

import dataclasses
import itertools
import json
import re
from typing import Any

import numpy as np
import pytest

from tests.report import samples
from tests.report.pages import EVERY, Page
from tlcli.report import page
from tlcli.report.data import Curve, ReportData, TestImage
from tlcli.report.page import command_lines, percent, render


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
