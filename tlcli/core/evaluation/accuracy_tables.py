"""Figures of a graph, and of two, as text for people and as CSV and JSON for programs."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple

from tlcli.core.calibration.reliability import PER_BIN
from tlcli.core.evaluation.comparison import GraphComparison
from tlcli.core.evaluation.graph_accuracy import GraphAccuracy
from tlcli.core.evaluation.metrics import LabelMetrics, Proportion
from tlcli.notebook import percent
from tlcli.spreadsheet import CsvRows
from tlcli.text import counted, printable, table

# A matrix of more columns fits no terminal.
_LARGEST_MATRIX = 12
# More lines are for a program, or for the page.
_DIFFERENCES_SHOWN = 20
_SKIPPED_SHOWN = 10

CSV_COLUMNS = ("graph", "figure", "label", "predicted", "value", "low", "high", "image")


def accuracy_line(accuracy: GraphAccuracy) -> str:
    """Return the one line that matters."""
    low, high = accuracy.interval
    return (
        f"Accuracy = {accuracy.accuracy:.1%} (N={accuracy.evaluation.count}, "
        f"95% interval {low:.1%} to {high:.1%})"
    )


def headline(accuracy: GraphAccuracy) -> list[str]:
    """Return the accuracy on images that did not train the graph, and how many images did."""
    count, trained = accuracy.evaluation.count, accuracy.trained
    if trained is None:
        return [accuracy_line(accuracy)]
    if accuracy.unseen is not None:
        said = f"{trained} of these {count} images trained this graph"
        return [
            f"{said}; on the other {count - trained}:",
            accuracy_line(accuracy.unseen),
            f"Accuracy on all {count} = {accuracy.accuracy:.1%}",
        ]
    if not trained:
        return [accuracy_line(accuracy), "None of these images trained this graph."]
    return [
        f"{_all_of(count)} trained this graph, so the accuracy on new images is not known; "
        "evaluate on images that were kept apart.",
        accuracy_line(accuracy),
    ]


def unknown_lines(accuracy: GraphAccuracy) -> list[str]:
    """Return how many images of other subjects are found, and how many of the labels' are not."""
    if accuracy.unknown is None:
        return []
    found, skipped = accuracy.unknown, accuracy.unknown.skipped
    unread = f"; {counted(skipped, 'image')} could not be read" if skipped else ""
    lines = [
        f"Unknown images found = {found.found.value:.1%} (N={found.count}, 95% interval "
        f"{found.found.low:.1%} to {found.found.high:.1%}){unread}"
    ]
    measured = accuracy.measured
    if measured is not None and measured.false_rejects is not None:
        rejects = measured.false_rejects
        lines.append(
            f"Labelled images called unknown = {rejects.value:.1%} "
            f"(N={measured.evaluation.count}, 95% interval {rejects.low:.1%} to {rejects.high:.1%})"
        )
    return lines


def headlines(accuracy: GraphAccuracy, comparison: GraphComparison | None) -> list[str]:
    """Return what standard output has where the figures are in a file."""
    if comparison is None:
        return [*headline(accuracy), *unknown_lines(accuracy)]
    said = compared_images(comparison)
    shown = comparison.measured or comparison
    return [
        *([said] if said else []),
        accuracy_line(shown.first),
        f"{shown.second.graph}: {accuracy_line(shown.second)}",
        shown.sentence(),
    ]


def _all_of(count: int) -> str:
    return "The only image" if count == 1 else f"All {count} images"


def compared_images(comparison: GraphComparison) -> str:
    """Return which of the images trained the graphs, in a sentence that may end in a colon.

    "" where no model card lists training images.
    """
    if comparison.trained is None:
        return ""
    count = comparison.first.evaluation.count
    parts, unknown = [], ""
    for mark, each in zip("AB", (comparison.first, comparison.second), strict=True):
        if each.trained is None:
            unknown = f" (which ones trained {mark} is not known)"
        else:
            parts.append(f"{each.trained or 'none'} of these {count} images trained {mark}")
    said = " and ".join(parts)
    said = f"{said[0].upper()}{said[1:]}{unknown}"
    if not comparison.trained:
        return f"{said}."
    left = count - comparison.trained
    if left:
        return f"{said}; on the other {left}:"
    return f"{said}, so neither accuracy is that on new images."


def to_json(accuracy: GraphAccuracy, comparison: GraphComparison | None = None) -> str:
    """Return one JSON object; with a comparison, that under a key of its own."""
    found = accuracy.to_dict()
    if comparison is not None:
        found["comparison"] = comparison.to_dict()
    text = json.dumps(found, ensure_ascii=False, indent=2)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # A file name that is no UTF-8: escaped, it stays JSON and can be turned back.
        return json.dumps(found, indent=2)
    return text


def to_text(accuracy: GraphAccuracy, comparison: GraphComparison | None = None) -> str:
    """Return the figures as lines for people."""
    if comparison is not None:
        said = compared_images(comparison)
        lines = [said, ""] if said else []
        lines += _comparison_lines(comparison.measured or comparison)
    else:
        measured = accuracy.measured or accuracy
        lines = [*headline(accuracy), measured.averages.sentence()]
        if measured.reliability is not None and measured.reliability.count >= PER_BIN:
            lines.append(f"Scores: {measured.reliability.sentence()}")
        lines += [*unknown_lines(accuracy), ""]
        lines += [*_label_lines(measured), *_matrix_lines(measured)]
    if accuracy.skipped:
        shown = accuracy.skipped[:_SKIPPED_SHOWN]
        lines += ["", *(f"  {printable(path)}: {reason}" for path, reason in shown)]
        if len(shown) < len(accuracy.skipped):
            lines.append(f"  and {len(accuracy.skipped) - len(shown)} more")
        are = "is" if len(accuracy.skipped) == 1 else "are"
        unread = counted(len(accuracy.skipped), "image")
        lines.append(f"{unread} could not be read and {are} not counted.")
    return "\n".join(lines)


def to_csv(
    accuracy: GraphAccuracy,
    comparison: GraphComparison | None = None,
    for_spreadsheet: bool = False,
) -> str:
    """Return one figure a row under `CSV_COLUMNS`, ready for a filter or a pivot table.

    ``figure`` is "accuracy", "macro_f1", "balanced_accuracy", "images" (of a label: how many there
    are; without one: all), "precision", "recall", "f1", "confusion" (how often ``label`` was
    labelled ``predicted``; a pair that is absent was never seen), "misclassified" (``value`` is the
    score), "skipped", "trained" (how many images trained the graph; absent where unknown), then
    "unknown_images", "unknown_found" and "false_rejects" (with ``--unknown_dir``),
    "unseen_images", "unseen_accuracy", "unseen_macro_f1" and "unseen_balanced_accuracy" (of the
    others), and of two graphs "both_right", "only_this_right", "only_other_right", "both_wrong",
    "mcnemar_p" and "differs" (a row for each graph). The same figures of the images that trained
    neither graph begin with "unseen_". Shares are of 0 to 1.
    """
    stream = io.StringIO()
    rows = CsvRows(stream, for_spreadsheet)
    rows.write(CSV_COLUMNS)
    for each in [accuracy] if comparison is None else [comparison.first, comparison.second]:
        for row in _figure_rows(each):
            rows.write((each.graph, *row))
    if comparison is not None:
        for row in _comparison_rows(comparison):
            rows.write(row)
    return stream.getvalue()


def _figure_rows(accuracy: GraphAccuracy) -> Iterator[Sequence[object]]:
    evaluation, names = accuracy.evaluation, accuracy.labels
    yield "accuracy", "", "", accuracy.accuracy, *accuracy.interval, ""
    yield from _average_rows(accuracy)
    yield "images", "", "", evaluation.count, "", "", ""
    if accuracy.trained is not None:
        yield "trained", "", "", accuracy.trained, "", "", ""
        yield "unseen_images", "", "", evaluation.count - accuracy.trained, "", "", ""
        if accuracy.measured is not None:
            measured = accuracy.measured
            yield "unseen_accuracy", "", "", measured.accuracy, *measured.interval, ""
            yield from _average_rows(measured, "unseen_")
    if accuracy.unknown is not None:
        yield "unknown_images", "", "", accuracy.unknown.count, "", "", ""
        yield "unknown_found", "", "", *astuple(accuracy.unknown.found), ""
        if accuracy.measured is not None and accuracy.measured.false_rejects is not None:
            yield "false_rejects", "", "", *astuple(accuracy.measured.false_rejects), ""
    for label, figures in zip(names, evaluation.labels, strict=True):
        yield "images", label, "", figures.count, "", "", ""
        for name in ("precision", "recall", "f1"):
            proportion: Proportion | None = getattr(figures, name)
            values = ("", "", "") if proportion is None else astuple(proportion)
            yield name, label, "", *values, ""
    for row, column, count in evaluation.confusion.cells:
        yield "confusion", names[row], names[column], count, "", "", ""
    for wrong in accuracy.misclassified:
        yield "misclassified", wrong.label, wrong.predicted, wrong.score, "", "", wrong.image
    for path, reason in accuracy.skipped:
        yield "skipped", "", "", reason, "", "", path


def _average_rows(accuracy: GraphAccuracy, before: str = "") -> Iterator[Sequence[object]]:
    found = accuracy.averages
    for name, value, interval in (
        ("macro_f1", found.macro_f1, found.macro_f1_interval),
        ("balanced_accuracy", found.balanced_accuracy, found.balanced_accuracy_interval),
    ):
        if value is not None:
            yield f"{before}{name}", "", "", value, *(interval or ("", "")), ""


def _comparison_rows(comparison: GraphComparison) -> Iterator[Sequence[object]]:
    for name, value in _pair_figures(comparison):
        yield comparison.first.graph, name, "", "", value, "", "", ""
    if comparison.trained is not None and comparison.measured is not None:
        for name, value in _pair_figures(comparison.measured):
            yield comparison.first.graph, f"unseen_{name}", "", "", value, "", "", ""
    for each in comparison.differing:
        for graph, said in ((comparison.first, each.this), (comparison.second, each.other)):
            yield graph.graph, "differs", each.label, said.label, said.score, "", "", each.image


def _pair_figures(comparison: GraphComparison) -> list[tuple[str, float]]:
    return [
        ("both_right", comparison.both_right),
        ("only_this_right", comparison.only_first),
        ("only_other_right", comparison.only_second),
        ("both_wrong", comparison.both_wrong),
        ("mcnemar_p", comparison.p_value),
    ]


def _label_lines(accuracy: GraphAccuracy) -> list[str]:
    rows: list[Sequence[str]] = [("label", "images", "precision", "recall", "F1")]
    for label, figures in zip(accuracy.labels, accuracy.evaluation.labels, strict=True):
        proportions = (figures.precision, figures.recall, figures.f1)
        rows.append((label, str(figures.count), *map(_formatted, proportions)))
    return [*table(rows), "In brackets: 95% intervals, in per cent."]


def _matrix_lines(accuracy: GraphAccuracy) -> list[str]:
    if len(accuracy.labels) > _LARGEST_MATRIX:
        return [
            "",
            f"The confusion matrix of {len(accuracy.labels)} labels is in the other formats.",
        ]
    numbers = [str(number) for number in range(1, len(accuracy.labels) + 1)]
    rows: list[Sequence[str]] = [("", *numbers)]
    for number, label, counts in zip(
        numbers, accuracy.labels, accuracy.evaluation.confusion.matrix.tolist(), strict=True
    ):
        rows.append((f"{number} {label}", *(str(count) for count in counts)))
    return ["", "Rows: true label; columns: predicted label.", *table(rows)]


def _comparison_lines(comparison: GraphComparison) -> list[str]:
    both = (comparison.first, comparison.second)
    heads = ("accuracy", "95% interval", "macro F1", "balanced accuracy", "right alone")
    rows: list[Sequence[str]] = [("", "graph", *heads)]
    alone = (comparison.only_first, comparison.only_second)
    for mark, each, right in zip("AB", both, alone, strict=True):
        low, high = each.interval
        interval = f"{low:.1%} to {high:.1%}"
        means = (percent(each.macro_f1), percent(each.balanced_accuracy))
        rows.append((mark, each.graph, f"{each.accuracy:.1%}", interval, *means, str(right)))
    lines = [
        *table(rows, right=range(2, len(rows[0]))),
        f"N={comparison.first.evaluation.count}; both right: {comparison.both_right}, "
        f"both wrong: {comparison.both_wrong}.",
        "",
        comparison.sentence(),
        "",
        *_labels_of_both(comparison),
    ]
    for mark, each in zip("AB", both, strict=True):
        title, *matrix = _matrix_lines(each)[1:]
        lines += ["", f"{mark}. {title}", *matrix]
    differing = comparison.differing
    if not differing:
        return [*lines, "", "The two graphs agree on every image."]
    shown = differing[:_DIFFERENCES_SHOWN]
    named: list[Sequence[str]] = [("image", "label", "A predicts", "B predicts")]
    named += [
        (each.image, each.label, *(f"{a.label} ({a.score:.2f})" for a in (each.this, each.other)))
        for each in shown
    ]
    lines += ["", f"They differ on {counted(len(differing), 'image')}:", *table(named, right=())]
    if len(shown) < len(differing):
        lines.append(f"and {len(differing) - len(shown)} more; the other formats name them all.")
    return lines


def _labels_of_both(comparison: GraphComparison) -> list[str]:
    rows: list[Sequence[str]] = [("label", "images", "recall A", "recall B", "F1 A", "F1 B")]
    for label, images, figures, other in paired_labels(comparison):
        both = (figures, other)
        proportions = [None if each is None else each.recall for each in both]
        proportions += [None if each is None else each.f1 for each in both]
        rows.append((label, str(images), *map(_formatted, proportions)))
    return [*table(rows), "In brackets: 95% intervals, in per cent."]


def paired_labels(
    comparison: GraphComparison,
) -> list[tuple[str, int, LabelMetrics | None, LabelMetrics | None]]:
    """Return (label, images, its figures by the first graph, by the second) of each label.

    The first graph's labels in their order, then those that only the second has; None where a
    graph does not know the label.
    """
    from tlcli.core.data.image_folder import label_from_folder

    second = dict(zip(comparison.second.labels, comparison.second.evaluation.labels, strict=True))
    by_spelling = {label_from_folder(label): label for label in second}
    rows: list[tuple[str, int, LabelMetrics | None, LabelMetrics | None]] = []
    for label, figures in zip(
        comparison.first.labels, comparison.first.evaluation.labels, strict=True
    ):
        own = label if label in second else by_spelling.get(label_from_folder(label), label)
        rows.append((label, figures.count, figures, second.pop(own, None)))
    rows += [(label, figures.count, None, figures) for label, figures in second.items()]
    return rows


def _formatted(proportion: Proportion | None) -> str:
    if proportion is None:
        return "-"
    return f"{proportion.value:.1%} ({proportion.low * 100:.0f} to {proportion.high * 100:.0f})"
