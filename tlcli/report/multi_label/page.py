"""Figures of several labels per image as one HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlcli._version import __version__
from tlcli.arrays import Floats
from tlcli.core.evaluation.metrics import Bools
from tlcli.core.evaluation.multi_label.figures import MultiLabelEvaluation
from tlcli.report.page import MATRIX_NUMBERS, command_lines, filled, json_for_html
from tlcli.report.your_photos import YourPhotos

PICTURED = 4
"""Mistakes of each kind of a label that have pictures."""


@dataclass(frozen=True)
class Mistake:
    """One image that lacks a label at its threshold, or has one too many.

    Attributes:
        row: position of the image among those that were measured.
        label: index of the label.
        missed: it has the label, and its score is below the threshold.
        score: of the label.
    """

    row: int
    label: int
    missed: bool
    score: float


@dataclass(frozen=True)
class PictureFacts:
    """What the page shows of an image.

    Attributes:
        name: of the image.
        labels: its true labels; "" for none.
        thumbnail: data URI, or None.
        heat_map: data URI of the picture with the map of the doubted label, or None.
        link: address of the file, or None.
    """

    name: str
    labels: str
    thumbnail: str | None
    heat_map: str | None
    link: str | None


@dataclass(frozen=True)
class PageFacts:
    """What the page says beside the figures.

    Attributes:
        title: name of the folder or list of images.
        created: date and time, for people.
        command: that makes the page again.
        of: the images that were measured, such as "test images".
        names: of the labels.
        thresholds: of the labels.
        notes: sentences on minimums, skipped files and the like.
        tables: heading and rows of further tables, two cells each.
        heat_maps_missing: why there are none, or "".
        your_photos: what a check found in the photos, or None where it was not run.
    """

    title: str
    created: str
    command: str
    of: str
    names: Sequence[str]
    thresholds: Sequence[float]
    notes: Sequence[str] = ()
    tables: Sequence[tuple[str, Sequence[tuple[str, str]]]] = ()
    heat_maps_missing: str = ""
    your_photos: YourPhotos | None = None


def chosen_mistakes(scores: Floats, marks: Bools, thresholds: Sequence[float]) -> list[Mistake]:
    """Return the mistakes to show: the clearest of each label and kind, each image once.

    Args:
        scores: of N images, [N, L].
        marks: which image has which label, [N, L].
        thresholds: of the labels, [L].
    """
    found: list[Mistake] = []
    shown: set[int] = set()
    limits = np.asarray(thresholds, np.float64)
    for label in range(len(limits)):
        given = scores[:, label] >= limits[label]
        for missed in (True, False):
            wrong = np.flatnonzero(marks[:, label] & ~given if missed else ~marks[:, label] & given)
            sign = 1 if missed else -1
            order = wrong[np.argsort(sign * scores[wrong, label], kind="stable")]
            rows = [row for row in order.tolist() if row not in shown][:PICTURED]
            shown.update(rows)
            found += [Mistake(row, label, missed, float(scores[row, label])) for row in rows]
    return found


def render(
    figures: MultiLabelEvaluation,
    facts: PageFacts,
    mistakes: Sequence[Mistake],
    picture: Callable[[Mistake], PictureFacts],
    content: Any,
) -> str:
    """Return the page; every name is escaped.

    Args:
        figures: of the images that were measured.
        facts: what it says beside them.
        mistakes: that are shown, by `chosen_mistakes`.
        picture: returns what is shown of one.
        content: the same as JSON types, which the page contains (``id="report-data"``).
    """
    groups: dict[tuple[int, bool], list[dict[str, Any]]] = {}
    for each in mistakes:
        shown = {**vars(picture(each)), "score": each.score, "predicted": facts.names[each.label]}
        groups.setdefault((each.label, each.missed), []).append(shown)
    labels = figures.to_dict(facts.names)["labels"]
    rows = [
        {"label": name, "threshold": limit, **labels[name]}
        for name, limit in zip(facts.names, facts.thresholds, strict=True)
    ]
    context = {
        "facts": facts,
        "figures": figures,
        "command": command_lines(facts.command),
        "rows": rows,
        "pairs": figures.pairs.tolist() if len(rows) <= MATRIX_NUMBERS else None,
        "groups": [
            {
                "label": facts.names[label],
                "missed": missed,
                "count": labels[facts.names[label]][
                    "false_negatives" if missed else "false_positives"
                ],
                "images": images,
            }
            for (label, missed), images in groups.items()
        ],
        "has_heat_maps": any(each["heat_map"] for own in groups.values() for each in own),
        "version": __version__,
        "json": json_for_html(content),
    }
    return filled("multi_label.html", context)
