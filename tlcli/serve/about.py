"""What the page states about the model: a name to recognise it by, its accuracy and its date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tlcli.core.classifier.classifier import Classifier
from tlcli.core.export.model_card import ModelCard
from tlcli.text import counted

DEFAULT_NAME = "model"
"""In the URL, as in TensorFlow Serving's own examples."""


@dataclass(frozen=True)
class About:
    """Facts about a served model. None of them is a path.

    Attributes:
        name: in the URL.
        title: the name that was given, else that of the model's folder, else of its file.
        file: name of the file.
        accuracy: on the test images of its retraining, as a sentence; "" where unknown.
        date: when it was made, as YYYY-MM-DD; "" where unknown.
    """

    name: str
    title: str
    file: str
    accuracy: str = ""
    date: str = ""


def about(classifier: Classifier, name: str | None = None) -> About:
    """Return the facts about a loaded graph.

    Args:
        classifier: of any generation; only a graph of tlcli has a known accuracy.
        name: as given with ``--name``.
    """
    graph = classifier.graph
    card = classifier.card
    return About(
        name=name or DEFAULT_NAME,
        title=name or _folder(graph) or graph.name,
        file=graph.name,
        accuracy="" if card is None else _accuracy(card.accuracy),
        date=_date(graph, card),
    )


def _folder(graph: Path) -> str:
    """Return the name of the folder of a graph; "" for the root and for a home folder.

    The name of a home folder is a person's, not a model's.
    """
    folder = graph.resolve().parent
    try:
        is_home = folder == Path.home().resolve()
    except (OSError, RuntimeError):  # a user without one
        is_home = False
    return "" if is_home else folder.name


def _accuracy(facts: dict[str, Any]) -> str:
    try:
        if "mean_average_precision" in facts:
            mean, count = float(facts["mean_average_precision"]), int(facts["count"])
            return f"mean average precision {mean:.1%} on {counted(count, 'test image')}"
        accuracy, count = float(facts["test"]), int(facts["count"])
        low, high = map(float, facts["interval"])
    except (KeyError, TypeError, ValueError):
        return ""
    images = "image" if count == 1 else "images"
    return f"{accuracy:.1%} on {count} test {images} (95% interval {low:.1%} to {high:.1%})"


def _date(graph: Path, card: ModelCard | None) -> str:
    if card is not None:
        try:
            return datetime.fromisoformat(card.created).date().isoformat()
        except ValueError:  # a card that something else wrote
            pass
    try:
        seconds = graph.stat().st_mtime
        return datetime.fromtimestamp(seconds, timezone.utc).date().isoformat()
    except (OSError, OverflowError, ValueError):
        return ""
