"""Reports to draw, and the elements of a page."""

from __future__ import annotations

import html.parser

import numpy as np

from tests.report import samples
from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.report import page
from tlcli.report.data import Comparison, LabelFigures, ReportData

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
