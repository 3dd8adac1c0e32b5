"""The page of `tlcli evaluate`: everything escaped, everything in it, silent in a browser."""

from __future__ import annotations

import html.parser
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.chromium import Chromium, find
from tlcli.core.evaluation.comparison import Answer, Difference, GraphComparison
from tlcli.core.evaluation.graph_accuracy import GraphAccuracy, Misclassified
from tlcli.core.evaluation.metrics import evaluate
from tlcli.report import evaluation_page
from tlcli.report.evaluation_page import RunFacts, render
from tlcli.report.evaluation_pictures import Pictures

HIDDEN = """[...document.querySelectorAll(".scroll")].filter(
    (each) => each.scrollWidth > each.clientWidth + 1).map((each) => each.ariaLabel)"""
HOSTILE = "</script><script>alert(1)</script>\"'&\x00\udcff"


def accuracy(graph: str = "a.pb", labels: tuple[str, ...] = ("daisy", "rose")) -> GraphAccuracy:
    truth = np.arange(40) % len(labels)
    said = truth.copy()
    said[:5] = (said[:5] + 1) % len(labels)
    wrong = tuple(
        Misclassified(
            f"photos/{row}.jpg", labels[truth[row]], labels[said[row]], 0.9 - row / 10, 0.1
        )
        for row in range(5)
    )
    return GraphAccuracy(
        graph, labels, evaluate(said, truth, len(labels)), wrong, (("bad.jpg", "empty file"),)
    )


def comparison(first: GraphAccuracy, second: GraphAccuracy) -> GraphComparison:
    said = Answer("rose", 0.9, True), Answer(first.labels[0], 0.6, False)
    differing = (Difference("photos/1.jpg", "rose", *said),)
    return GraphComparison(first, second, 34, 1, 0, 5, differing)


def page(
    first: GraphAccuracy, compared: GraphComparison | None = None, gate: float | None = None
) -> str:
    facts = RunFacts("photos", "2026-01-01", "tlcli evaluate", gate)
    return render(first, compared, facts, Pictures(None))


def embedded(text: str) -> object:
    found = re.search(r'id="evaluation-data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts = 0
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in {"meta", "link", "img", "wbr", "br", "rect", "circle", "line"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"rect", "circle", "line"}:
            assert self.open.pop() == tag


def checked(text: str) -> _Tags:
    tags = _Tags()
    tags.feed(text)
    assert tags.open == []
    assert len(tags.ids) == len(set(tags.ids))
    return tags


def test_figures_of_one_graph() -> None:
    first = accuracy()
    text = page(first)
    assert checked(text).scripts == 1
    assert "87.5%" in text
    assert "35 of 40 images the right label" in text
    assert "0.jpg" in text
    assert "empty file" in text
    assert embedded(text) == first.to_dict()
    assert "gate" not in text[text.index("</style>") :]


@pytest.mark.parametrize(("gate", "said"), [(0.8, "was met"), (0.9, "Below the gate of 90.0%")])
def test_the_gate(gate: float, said: str) -> None:
    assert said in page(accuracy(), gate=gate)


def test_two_graphs_side_by_side() -> None:
    first, second = accuracy("new.pb"), accuracy("old.pb", ("daisy", "rose", "tulip"))
    compared = comparison(first, second)
    text = page(first, compared)
    checked(text)
    assert compared.sentence().replace("'", "&#39;") in text
    assert "Images on which they differ" in text
    assert "B, wrong" in text
    assert "tulip" in text
    assert embedded(text) == {**first.to_dict(), "comparison": compared.to_dict()}


def test_images_that_differ_have_cards_and_further_ones_rows() -> None:
    first, second = accuracy("new.pb"), accuracy("old.pb")
    (one,) = comparison(first, second).differing
    for count, cards, rows in ((1, 1, 0), (41, 40, 1), (510, 40, 460)):
        text = page(first, GraphComparison(first, second, 34, 1, 0, 5, (one,) * count))
        checked(text)
        section = text[text.index('id="differences"') : text.index('id="mistakes"')]
        assert section.count('class="card"') == cards
        assert section.count('class="says wrong"') == rows
        assert section.count("<dt>A, right</dt>") == section.count("<dt>B, wrong</dt>") == cards
        assert section.count("(wrong)") == rows
        assert ("the first 500 shown" in section) == (count > 500)
        assert ("<table" in section) == (rows > 0)


def test_hostile_names_are_text() -> None:
    first = accuracy(HOSTILE, (HOSTILE, "rose"))
    text = page(first, comparison(first, accuracy(HOSTILE, ("x", "y"))))
    assert checked(text).scripts == 1
    assert "<script>alert" not in text
    text.encode("utf-8")
    assert "\x00" not in text


@pytest.mark.parametrize(("count", "has"), [(30, "matrix-grid"), (130, "too large to draw")])
def test_many_labels(count: int, has: str) -> None:
    first = accuracy(labels=tuple(f"label {number}" for number in range(count)))
    text = page(first, comparison(first, first))
    checked(text)
    assert has in text[text.index("</style>") :]


def with_pictures(folder: Path) -> GraphComparison:
    """Return two graphs whose mistakes can be seen, with names of every kind."""
    labels = ("daisy", "rose", "한국 장미", "a-label-without-any-space-that-goes-on-" * 2)
    first = accuracy("models/new/output_graph.pb", labels)
    second = accuracy("/home/somebody/models/" + "a_rather_long_name_" * 3 + "graph.pb", labels)
    for row in range(3):  # of the others there is no picture
        path = folder / first.misclassified[row].image
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (60 + 40 * row, 90), ("red", "green", "blue")[row]).save(path)
    wrong = tuple(
        replace(each, image=str(folder / each.image), label=labels[number % 4])
        for number, each in enumerate(first.misclassified)
    )
    differing = tuple(
        Difference(
            each.image,
            each.label,
            Answer(each.label, 0.9, True),
            Answer(each.predicted, 0.6, False),
        )
        for each in wrong
    )
    first = replace(first, misclassified=wrong)
    return GraphComparison(first, second, 30, 5, 0, 5, differing)


@pytest.mark.slow
@pytest.mark.parametrize("compared", [False, True])
def test_axe_finds_nothing(tmp_path: Path, compared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of five images that differ two are rows of a table.
    monkeypatch.setattr(evaluation_page, "PICTURES_SHOWN", 3)
    program = find()
    if program is None:
        pytest.skip("no Chromium on this machine")
    axe = Path(pytest.importorskip("axe_core_python").__path__[0], "axe.min.js").read_text("utf-8")
    found = with_pictures(tmp_path)
    file = tmp_path / "page.html"
    file.write_text(page(found.first, found if compared else None, 0.9), encoding="utf-8")
    with Chromium(program, tmp_path / "profile") as browser:
        for width in (360, 768, 1280):
            for dark in (False, True):
                browser.screen(width, dark=dark)
                browser.open(file.as_uri())
                assert browser.fits(), width
                # Columns off the screen are not seen to be there.
                assert browser.run(HIDDEN) == [], width
                assert browser.accessibility(axe) == [], (width, dark)
        assert browser.run("[...document.images].filter(each => each.naturalWidth > 50).length") > 2
        # A soft text that is too pale, to see that something can be found.
        browser.run("document.documentElement.style.setProperty('--soft', '#555')")
        assert any(each.startswith("color-contrast") for each in browser.accessibility(axe))
        assert browser.complaints == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser(tmp_path: Path, width: int) -> None:
    program = find()
    if program is None:
        pytest.skip("no Chromium on this machine")
    file = tmp_path / "page.html"
    with Chromium(program, tmp_path / "profile") as browser:
        browser.screen(width)
        for count in (2, 5, 50):
            labels = tuple(f"label {number}" for number in range(count))
            first = accuracy("models/new/output_graph.pb", labels)
            compared = comparison(first, accuracy("models/old/output_graph.pb", labels))
            for text in (page(first), page(first, compared, 0.9)):
                file.write_text(text, encoding="utf-8")
                browser.open(file.as_uri())
                assert width - 30 <= browser.run("document.documentElement.clientWidth") <= width
                assert browser.fits()
                assert browser.run(HIDDEN) == []
                browser.run("document.querySelector('.stack a[href^=\"#m-\"]').click()")
                assert browser.run("document.querySelector(':target') !== null")
        assert browser.complaints == []
