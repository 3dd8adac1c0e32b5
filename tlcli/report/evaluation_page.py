"""The page of ``tlcli evaluate``: figures of a graph, or of two side by side, as HTML."""

from __future__ import annotations

from dataclasses import dataclass

from tlcli._version import __version__
from tlcli.core.evaluation.accuracy_tables import (
    compared_images,
    headline,
    paired_labels,
    unknown_lines,
)
from tlcli.core.evaluation.comparison import GraphComparison
from tlcli.core.evaluation.graph_accuracy import GraphAccuracy
from tlcli.report import figures
from tlcli.report.evaluation_pictures import Pictures
from tlcli.report.page import (
    confused_pairs,
    counted,
    filled,
    json_for_html,
    matrix_kind,
    number,
    percent,
)

# Images on which two graphs differ, each with up to three pictures of 6 KB.
PICTURES_SHOWN = 40
# Images that trained the graph and are still misclassified.
MISFITTED_SHOWN = 20
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


def render(
    accuracy: GraphAccuracy,
    comparison: GraphComparison | None,
    facts: RunFacts,
    pictures: Pictures,
) -> str:
    """Return one self-contained page that needs no network and runs no script.

    Every name is escaped; the same content is inside as JSON (``id="evaluation-data"``).

    Args:
        accuracy: of the graph.
        comparison: with another one, or None.
        facts: of the run.
        pictures: makes those of the page.
    """
    data = accuracy.to_dict()
    if comparison is not None:
        data["comparison"] = comparison.to_dict()
    # Figures on images that trained a graph are no figures on new images.
    compared = None if comparison is None else comparison.measured or comparison
    shown = accuracy.measured or accuracy if compared is None else compared.first
    origin, flattered = _origin(accuracy) if comparison is None else _origin_of_both(comparison)
    groups = pictures.groups(shown.misclassified, shown.labels)
    # Where the figures leave them out.
    misfitted = sorted(
        (wrong for wrong in accuracy.misclassified if wrong.trained and shown is not accuracy),
        key=lambda wrong: -wrong.score,
    )
    differing = () if compared is None else compared.differing
    graphs = [shown] if compared is None else [compared.first, compared.second]
    context = {
        "accuracy": shown,
        "whole": accuracy,
        "comparison": compared,
        "graphs": graphs,
        "origin": origin,
        "flattered": flattered,
        "unknown": [f"{line.replace(' = ', ': ')}." for line in unknown_lines(accuracy)],
        "gate": _gate(accuracy, shown, facts),
        **vars(facts),
        "version": __version__,
        "matrix_kind": matrix_kind,
        "pairs_of_labels": None if compared is None else paired_labels(compared)[:ROWS_SHOWN],
        "rows": list(zip(shown.labels, shown.evaluation.labels, strict=True))[:ROWS_SHOWN],
        "groups": groups,
        "linked": {(group.label, group.predicted) for group in groups},
        "confusions": [confused_pairs(each.labels, each.evaluation.confusion) for each in graphs],
        "pictured": sum(len(group.images) for group in groups),
        "misfitted": [pictures.image(wrong) for wrong in misfitted[:MISFITTED_SHOWN]],
        "misfitted_count": len(misfitted),
        "differing": [pictures.difference(each) for each in differing[:PICTURES_SHOWN]],
        "differing_rows": [
            (each, pictures.link(each.image)) for each in differing[PICTURES_SHOWN:ROWS_SHOWN]
        ],
        "has_heat_maps": pictures.has_heat_maps,
        "heat_maps_missing": pictures.missing,
        "heat_map_layers": " ".join(pictures.layers),
        "listed": ROWS_SHOWN,
        "interval_mark": figures.interval_mark,
        "grid": figures.confusion_grid,
        "json": json_for_html(data),
    }
    return filled("evaluation.html", context)


def _origin(accuracy: GraphAccuracy) -> tuple[str, bool]:
    """Return which images trained the graph, and whether the page shows no others."""
    said = headline(accuracy)
    if accuracy.unseen is not None:
        count, left = accuracy.evaluation.count, accuracy.unseen.evaluation.count
        return (
            f"{said[0].partition(';')[0]}; this page shows the other {number(left)}. On all "
            f"{number(count)} the accuracy is {percent(accuracy.accuracy)}.",
            False,
        )
    about = [line for line in said if not line.startswith("Accuracy")]
    return " ".join(about), accuracy.measured is None


def _origin_of_both(comparison: GraphComparison) -> tuple[str, bool]:
    """Return which images trained the graphs, and whether the page shows no others."""
    said = compared_images(comparison)
    if comparison.unseen is not None:
        count = comparison.unseen.first.evaluation.count
        return f"{said.partition(';')[0]}; this page shows the other {number(count)}.", False
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
    low, high = gated.interval
    other = gated.evaluation.count != shown.evaluation.count
    of = f", {percent(gated.accuracy)} of {counted(gated.evaluation.count, 'image')}"
    said = f"The gate of {wanted} was met" if met else f"Below the gate of {wanted}"
    near = ""
    if low < facts.min_accuracy <= high:
        near = (
            f", but these images cannot tell: the 95% interval is {percent(low)} to {percent(high)}"
        )
    return _Gate(met, f"{said}{of if other else ''}{near}.")
