"""Figures of a graph with several labels per image, as text for people and as CSV for programs."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from tlcli.core.evaluation.accuracy_tables import CSV_COLUMNS
from tlcli.core.evaluation.metrics import Proportion
from tlcli.core.evaluation.multi_label.figures import value_of
from tlcli.core.evaluation.multi_label.graph import MultiLabelAccuracy
from tlcli.notebook import percent
from tlcli.spreadsheet import CsvRows
from tlcli.text import counted, printable, table

_SKIPPED_SHOWN = 10


def headlines(accuracy: MultiLabelAccuracy) -> list[str]:
    """Return the figures of all labels together on images that did not train the graph."""
    count, trained = accuracy.evaluation.count, accuracy.trained
    shown = accuracy.measured or accuracy
    lines = []
    if trained:
        rest = count - trained
        on = f"; on the other {rest}:" if rest else ", so these figures promise too much:"
        lines.append(f"{trained} of these {count} images trained this graph{on}")
    found = shown.evaluation
    mean, exact = found.mean_average_precision, found.exact_match
    lines.append(f"Mean average precision = {_described(mean)}, N={found.count}")
    lines.append(f"All labels right = {_described(exact)} of the images")
    if found.hamming is not None:
        f1 = f"macro F1 {percent(found.macro_f1)}, micro F1 {percent(value_of(found.micro_f1))}"
        lines.append(f"Single labels right = {found.hamming:.1%}; {f1}")
    return lines


def to_text(accuracy: MultiLabelAccuracy) -> str:
    """Return the figures as lines for people."""
    shown = accuracy.measured or accuracy
    heads = ("label", "images", "predicted", "threshold", "precision", "recall", "F1", "AP")
    rows: list[Sequence[str]] = [heads]
    found = shown.evaluation
    for label, limit, each, average in zip(
        shown.labels, shown.thresholds, found.labels, found.average_precisions, strict=True
    ):
        values = (each.precision, each.recall, each.f1, average)
        shares = [percent(value_of(value)) for value in values]
        rows.append((label, str(each.count), str(each.predicted), f"{limit:.2f}", *shares))
    lines = [*headlines(accuracy), "", *table(rows)]
    if accuracy.skipped:
        listed = accuracy.skipped[:_SKIPPED_SHOWN]
        lines += ["", *(f"  {printable(path)}: {reason}" for path, reason in listed)]
        are = "is" if len(accuracy.skipped) == 1 else "are"
        unread = counted(len(accuracy.skipped), "image")
        lines.append(f"{unread} could not be read and {are} not counted.")
    return "\n".join(lines)


def to_csv(accuracy: MultiLabelAccuracy, for_spreadsheet: bool = False) -> str:
    """Return one figure a row under `CSV_COLUMNS`.

    ``figure`` is "mean_average_precision", "exact_match", "hamming", "macro_f1", "micro_f1",
    "images" (of a label, or all), "predicted", "threshold", "precision", "recall", "f1",
    "average_precision", "both" (images with ``label`` that were predicted to have ``predicted``),
    "trained", "skipped", and all of the images that did not train the graph with "unseen_" before.
    """
    stream = io.StringIO()
    rows = CsvRows(stream, for_spreadsheet)
    rows.write(CSV_COLUMNS)
    for row in _rows(accuracy):
        rows.write((accuracy.graph, *row))
    if accuracy.trained is not None:
        rows.write((accuracy.graph, "trained", "", "", accuracy.trained, "", "", ""))
    if accuracy.unseen is not None:
        for name, *row in _rows(accuracy.unseen):
            rows.write((accuracy.graph, f"unseen_{name}", *row))
    for path, reason in accuracy.skipped:
        rows.write((accuracy.graph, "skipped", "", "", reason, "", "", path))
    return stream.getvalue()


def _rows(accuracy: MultiLabelAccuracy) -> Iterator[Sequence[object]]:
    found = accuracy.evaluation
    for name in ("mean_average_precision", "exact_match", "micro_f1"):
        yield name, "", "", *_values(getattr(found, name)), ""
    for name in ("hamming", "macro_f1"):
        value = getattr(found, name)
        yield name, "", "", "" if value is None else value, "", "", ""
    yield "images", "", "", found.count, "", "", ""
    for label, limit, each, average in zip(
        accuracy.labels,
        accuracy.thresholds,
        found.labels,
        found.average_precisions,
        strict=True,
    ):
        yield "images", label, "", each.count, "", "", ""
        yield "predicted", label, "", each.predicted, "", "", ""
        yield "threshold", label, "", limit, "", "", ""
        for name in ("precision", "recall", "f1"):
            yield name, label, "", *_values(getattr(each, name)), ""
        yield "average_precision", label, "", *_values(average), ""
    for label, counts in zip(accuracy.labels, found.pairs.tolist(), strict=True):
        for other, count in zip(accuracy.labels, counts, strict=True):
            yield "both", label, other, count, "", "", ""


def _values(found: Proportion | None) -> tuple[object, object, object]:
    return ("", "", "") if found is None else (found.value, found.low, found.high)


def _described(found: Proportion | None) -> str:
    if found is None:
        return "unknown"
    return f"{found.value:.1%} (95% interval {found.low:.1%} to {found.high:.1%})"
