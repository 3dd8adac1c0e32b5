"""The page of ``tlcli evaluate``: figures of a graph, or of two side by side, as HTML."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from tlcli._version import __version__
from tlcli.core.evaluation.accuracy_tables import paired_labels
from tlcli.core.evaluation.comparison import GraphComparison
from tlcli.core.evaluation.graph_accuracy import GraphAccuracy
from tlcli.core.evaluation.metrics import Proportion
from tlcli.report import figures
from tlcli.report.collect import thumbnail
from tlcli.report.page import filled, json_for_html, matrix_kind, percent

# About 6 KB each; the page stays well under a megabyte.
PICTURES_SHOWN = 40
# Rows a person may still scroll through; the JSON in the page holds the rest.
ROWS_SHOWN = 500


@dataclass(frozen=True)
class RunFacts:
    """What a page says about the run that made it.

    Attributes:
        title: of the folder of images.
        created: when, as people write it.
        command: that makes the page again.
        min_accuracy: the gate, 0 to 1; None where none was set.
    """

    title: str
    created: str
    command: str
    min_accuracy: float | None


def render(accuracy: GraphAccuracy, comparison: GraphComparison | None, facts: RunFacts) -> str:
    """Return one self-contained page that needs no network and runs no script.

    Every name is escaped; the same content is inside as JSON (``id="evaluation-data"``).

    Args:
        accuracy: of the graph.
        comparison: with another one, or None.
        facts: of the run.
    """
    data = accuracy.to_dict()
    if comparison is not None:
        data["comparison"] = comparison.to_dict()
    context = {
        "accuracy": accuracy,
        "comparison": comparison,
        "graphs": [accuracy] if comparison is None else [comparison.first, comparison.second],
        **vars(facts),
        "version": __version__,
        "share": _share,
        "matrix_kind": matrix_kind,
        "pairs": None if comparison is None else paired_labels(comparison)[:ROWS_SHOWN],
        "rows": list(zip(accuracy.labels, accuracy.evaluation.labels, strict=True))[:ROWS_SHOWN],
        "misclassified": sorted(accuracy.misclassified, key=lambda wrong: -wrong.score),
        "thumbnail": thumbnail,
        "shown": PICTURES_SHOWN,
        "listed": ROWS_SHOWN,
        "interval_mark": figures.interval_mark,
        "grid": figures.confusion_grid,
        "json": json_for_html(data),
    }
    return filled("evaluation.html", context)


def _share(proportion: Proportion | None) -> Markup:
    """Format a proportion with its interval below."""
    if proportion is None:
        return Markup("–")
    return Markup('{} <span class="range-text">{} to {}</span>').format(
        percent(proportion.value), percent(proportion.low, 0), percent(proportion.high, 0)
    )
