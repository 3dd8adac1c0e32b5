"""What a person reads at the end of a retraining: how good, label by label, where, what next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tlcli.text import counted, printable, table

if TYPE_CHECKING:
    from retrain.result import LabelCounts, RetrainResult

# More lines push the verdict off the screen; the report and JSON have them all.
LABELS_SHOWN = 24
_SKIPPED_SHOWN = 10


def summary(result: RetrainResult) -> str:
    """Return a short summary of a retraining as text."""
    lines = [verdict(result)]
    if result.cross_validation is not None:
        cross = result.cross_validation
        lines.append(
            f"Cross-validation, {cross.folds} folds: "
            f"{cross.accuracy:.1%} (deviation {cross.deviation:.1%})"
        )
    lines += ["", *_label_table(result.labels)]
    if result.skipped:
        lines += ["", f"Skipped {len(result.skipped)} unreadable:"]
        shown = result.skipped[:_SKIPPED_SHOWN]
        lines += [f"  {printable(skipped.path)}: {skipped.reason}" for skipped in shown]
        if len(result.skipped) > len(shown):
            lines.append(f"  and {len(result.skipped) - len(shown)} more")
    outputs = [(kind, str(path)) for kind, path in result.outputs.items()]
    lines += ["", "Outputs:", *(f"  {line}" for line in table(outputs, right=()))]
    following = next_command(result)
    if following is not None:
        lines += ["", f"Next: {following}"]
    return "\n".join(lines)


def verdict(result: RetrainResult) -> str:
    """Return the one line that matters."""
    if result.test_accuracy is None or result.test_interval is None:
        return "No test images, so no test accuracy."
    low, high = result.test_interval
    said = (
        f"Test accuracy {result.test_accuracy:.1%} (N={result.test_count}, "
        f"95% interval {low:.1%} to {high:.1%})"
    )
    if result.min_accuracy is None:
        return said
    if result.passed:
        return f"{said}, at or above the minimum of {result.min_accuracy:.1%}"
    return f"{said}, below the minimum of {result.min_accuracy:.1%}"


def next_command(result: RetrainResult) -> str | None:
    """Return the command that labels an image with the new graph, ready for a shell.

    None where the graph takes no images, or where there is no image to try it on.
    """
    graph = result.outputs.get("graph")
    if graph is None or result.final_layer_only or result.example is None:
        return None
    # A name that begins like an option would be one after a space.
    return shlex.join(["tlcli", "label", f"--graph={graph}", f"--image={result.example}"])


def _label_table(labels: dict[str, LabelCounts]) -> list[str]:
    names = list(labels)
    if len(names) > LABELS_SHOWN:
        names.sort(key=lambda name: (_rank(labels[name].recall), _rank(labels[name].precision)))
        names = names[:LABELS_SHOWN]
    columns = ("images", "training", "validation", "testing", "precision", "recall")
    rows: list[Sequence[str]] = [("label", *columns)]
    for name in names:
        counts = labels[name]
        whole = (counts.images, counts.training, counts.validation, counts.testing)
        shares = (counts.precision, counts.recall)
        rows.append(
            (name, *map(str, whole), *("-" if each is None else f"{each:.1%}" for each in shares))
        )
    lines = table(rows)
    if len(names) < len(labels):
        lines.append(f"and {counted(len(labels) - len(names), 'more label')}, found no less often.")
    return lines


def _rank(share: float | None) -> float:
    # Labels without a test image come last.
    return 2.0 if share is None else share
