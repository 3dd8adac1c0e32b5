"""The page of ``tlcli evaluate``: figures of a graph, or of two side by side, as HTML."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from tlcli._version import __version__
from tlcli.core.evaluation.accuracy_tables import compared_images, headline, paired_labels
from tlcli.core.evaluation.comparison import GraphComparison
from tlcli.core.evaluation.graph_accuracy import GraphAccuracy
from tlcli.core.evaluation.metrics import Proportion
from tlcli.report import figures
from tlcli.report.collect import thumbnail
from tlcli.report.page import counted, filled, json_for_html, matrix_kind, percent

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
        gates_all: the gate is for all images, not for those alone that did not train the graph.
    """

    title: str
    created: str
    command: str
    min_accuracy: float | None
    gates_all: bool = False


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
    # Figures on images that trained a graph are no figures on new images.
    compared = None if comparison is None else comparison.measured or comparison
    shown = accuracy.measured or accuracy if compared is None else compared.first
    origin, flattered = _origin(accuracy) if comparison is None else _origin_of_both(comparison)
    mistakes = sorted(accuracy.misclassified, key=lambda wrong: -wrong.score)
    # Only where the figures leave them out.
    misfitted = [wrong for wrong in mistakes if wrong.trained] if accuracy.unseen else []
    context = {
        "accuracy": shown,
        "whole": accuracy,
        "comparison": compared,
        "graphs": [shown] if compared is None else [compared.first, compared.second],
        "origin": origin,
        "flattered": flattered,
        "gate": _gate(accuracy, shown, facts),
        **vars(facts),
        "version": __version__,
        "share": _share,
        "matrix_kind": matrix_kind,
        "pairs": None if compared is None else paired_labels(compared)[:ROWS_SHOWN],
        "rows": list(zip(shown.labels, shown.evaluation.labels, strict=True))[:ROWS_SHOWN],
        "misclassified": [wrong for wrong in mistakes if not (misfitted and wrong.trained)],
        "misfitted": misfitted,
        "thumbnail": thumbnail,
        "shown": PICTURES_SHOWN,
        "listed": ROWS_SHOWN,
        "interval_mark": figures.interval_mark,
        "grid": figures.confusion_grid,
        "json": json_for_html(data),
    }
    return filled("evaluation.html", context)


def _origin(accuracy: GraphAccuracy) -> tuple[str, bool]:
    """Return which images trained the graph, and whether the page shows no others."""
    said, flattered = headline(accuracy), accuracy.measured is None
    if accuracy.unseen is not None:
        return (
            f"{said[0].partition(';')[0]}. This page shows the other "
            f"{accuracy.unseen.evaluation.count}. {said[-1]}, with those that trained it.",
            False,
        )
    return next((line for line in said if not line.startswith("Accuracy")), ""), flattered


def _origin_of_both(comparison: GraphComparison) -> tuple[str, bool]:
    """Return which images trained the graphs, and whether the page shows no others."""
    said = compared_images(comparison)
    if comparison.unseen is not None:
        count = comparison.unseen.first.evaluation.count
        return f"{said.partition(';')[0]}. This page shows the other {count}.", False
    return said, comparison.measured is None


@dataclass(frozen=True)
class _Gate:
    """Whether the gate was met, in words."""

    met: bool
    sentence: str


def _gate(accuracy: GraphAccuracy, shown: GraphAccuracy, facts: RunFacts) -> _Gate | None:
    """Return the gate of ``accuracy``; it may count other images than those that are shown."""
    if facts.min_accuracy is None:
        return None
    wanted = percent(facts.min_accuracy)
    gated = accuracy if facts.gates_all else accuracy.measured
    if gated is None:
        return _Gate(False, f"The gate of {wanted} could not be checked.")
    met = gated.accuracy >= facts.min_accuracy
    other = gated.evaluation.count != shown.evaluation.count
    of = f", {percent(gated.accuracy)} of {counted(gated.evaluation.count, 'image')}"
    said = f"The gate of {wanted} was met" if met else f"Below the gate of {wanted}"
    return _Gate(met, f"{said}{of if other else ''}.")


def _share(proportion: Proportion | None) -> Markup:
    """Format a proportion with its interval below."""
    if proportion is None:
        return Markup("–")
    return Markup('{} <span class="range-text">{} to {}</span>').format(
        percent(proportion.value), percent(proportion.low, 0), percent(proportion.high, 0)
    )
