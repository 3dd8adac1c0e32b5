"""Render the report: `ReportData` in, one self-contained HTML page out."""

from __future__ import annotations

import functools
import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from tlcli.core.data.splits import SPLITS
from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.core.evaluation.thresholds import THRESHOLDS
from tlcli.report import figures
from tlcli.report.data import Advice, Curve, LabelFigures, ReportData

SCORES_SHOWN = 5
# Rows a person may still scroll through; the JSON in the page holds the rest.
ROWS_SHOWN = 100
LIST_SHOWN = 50
# Numbers in cells stay readable up to here, squares up to there.
MATRIX_NUMBERS = 20
MATRIX_SQUARES = 120
PAIRS_SHOWN = 10
# What the templates include.
_INCLUDED = ("parts.html", "photos.html", "head.html", "style.css", "foot.html")
# That of the examples in the documentation.
THRESHOLD = 0.8

_SURROGATES = re.compile("[\ud800-\udfff]")
# What a name may hold and a page may not: control characters other than tab and line breaks.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

# After these a long name may go on in the next line; not inside an escaped character ("&lt;").
_JOINTS = re.compile(r"[/_\\.-](?=[^/_\\.-])")


@dataclass(frozen=True)
class Confusion:
    """How often one label was taken for another; ``cell`` has their positions."""

    label: str
    predicted: str
    count: int
    share: float
    cell: tuple[int, int]


def render(data: ReportData) -> str:
    """Return the report as one HTML page that needs no network and runs no script.

    Every name is escaped; the same content is inside as JSON (``id="report-data"``).
    """
    return filled("template.html", _context(data))


def filled(template: str, context: Mapping[str, Any]) -> str:
    """Return a template with its values, every one escaped, as text that is valid UTF-8.

    Args:
        template: name of a file next to this module, which may include others.
        context: its values.
    """
    page: str = _environment().get_template(template).render(**context)
    # A file name that is no valid text must not keep the page from being UTF-8.
    return _SURROGATES.sub("�", page)


def prepare(template: str = "template.html") -> None:
    """Compile a template ahead of `filled`, as another thread can while a fit computes products."""
    environment = _environment()
    for name in (template, *_INCLUDED):
        environment.get_template(name)


@functools.cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tlcli.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters.update(
        percent=percent,
        number=number,
        counted=counted,
        duration=duration,
        value=value,
        breakable=breakable,
        with_option=with_option,
        shades=figures.shades,
    )
    return environment


def json_for_html(content: Any) -> str:
    """Return JSON that can stand inside a ``<script>`` element whatever the names are."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def breakable(text: Any) -> Markup:
    """Escape ``text`` and let it break after the joints of a path or an option's name."""
    return Markup(_JOINTS.sub(r"\g<0><wbr>", str(escape(_CONTROLS.sub("�", str(text))))))


def percent(fraction: float | None, digits: int = 1) -> str:
    """Spell a fraction as "91.2%"; None as a dash."""
    return "–" if fraction is None else f"{100 * fraction:.{digits}f}%"


def number(count: int) -> str:
    """Spell a count as "3,670"."""
    return f"{count:,}"


def counted(count: int, noun: str) -> str:
    """Spell a count with its noun as "1 image" or "3,670 images"."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Spell seconds for people: "0.31 s", "12 s", "3 min 5 s"."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def value(setting: Any) -> str:
    """Spell an option's value: True is "yes"."""
    if isinstance(setting, bool):
        return "yes" if setting else "no"
    return str(setting)


def with_option(advice: Advice) -> Markup:
    """Return the text of an advice with its option marked as something to type."""
    text = escape(_CONTROLS.sub("�", advice.text))
    if advice.option is None:
        return text
    option = escape(advice.option)
    return Markup(text.replace(option, Markup("<code>{}</code>").format(option), 1))


def verdict(data: ReportData) -> str:
    """Say in one sentence what the images showed that were kept out of training."""
    shown = data.headline
    if shown.accuracy is None or shown.count == 0:
        sentence = (
            "No test images were set aside, so how well this works on new images is not known"
        )
        if data.validation_accuracy is not None:
            sentence += f" (validation accuracy: {percent(data.validation_accuracy)})"
        return sentence + "."
    right = number(round(shown.accuracy * shown.count))
    if data.out_of_fold is None:
        sentence = (
            f"{right} of {number(shown.count)} test images that were kept out of training got the "
            "right label"
        )
    else:
        sentence = (
            f"{right} of {number(shown.count)} images got the right label from a fit that had not "
            f"seen them (cross-validation, {data.out_of_fold.folds} folds)"
        )
    if shown.interval is not None:
        low, high = (percent(end) for end in shown.interval)
        sentence += f"; on new images of the same kind expect {low} to {high}"
    return sentence + "."


def threshold_sentence(data: ReportData) -> str | None:
    """Say what a threshold of `THRESHOLD` gives, or None without any images."""
    found = [each for each in data.thresholds if each.threshold == THRESHOLD]
    if not found:
        return None
    accuracy = found[0].accuracy
    if accuracy is None:
        return f"At {THRESHOLD:g}, no image gets a label."
    labelled = percent(found[0].labelled, 0)
    return (
        f"At {THRESHOLD:g}, {labelled} get a label and {percent(accuracy, 0)} of those are right."
    )


def gate(data: ReportData) -> str | None:
    """Say whether the gate was met, or None where none was set."""
    if data.min_accuracy is None:
        return None
    wanted = percent(data.min_accuracy)
    if data.passed is None:
        return f"The gate of {wanted} could not be checked."
    if not data.passed:
        return f"Below the gate of {wanted}."
    if data.interval is not None and data.interval[0] < data.min_accuracy:
        return f"The gate of {wanted} was met, but the interval reaches below it."
    return f"The gate of {wanted} was met."


def command_lines(command: str) -> str:
    """Spell a command with one option a line, so that it can be read and still be pasted."""
    lines: list[list[str]] = [[]]
    for word in shlex.split(command):
        if word.startswith("--") and lines[-1]:
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return " \\\n  ".join(" ".join(line) for line in lines)


def confused_pairs(names: Sequence[str], confusion: ConfusionMatrix) -> list[Confusion]:
    """Return the most frequent confusions, most frequent first, at most `PAIRS_SHOWN`."""
    totals = confusion.row_sums()
    found = [
        Confusion(names[row], names[column], count, count / totals[row], (row, column))
        for row, column, count in confusion.cells
        if row != column
    ]
    found.sort(key=lambda pair: (-pair.count, -pair.share, pair.label, pair.predicted))
    return found[:PAIRS_SHOWN]


def _printable(value: Any) -> Any:
    # Markup is ours; only plain text from outside can hold control characters.
    if type(value) is str:
        return _CONTROLS.sub("�", value)
    return value


def _shortened(
    labels: list[LabelFigures], rank: Callable[[LabelFigures], tuple[float, ...]]
) -> list[LabelFigures]:
    """Return all labels in their order, or the first by rank and name where they are too many."""
    if len(labels) <= ROWS_SHOWN:
        return labels
    return sorted(labels, key=lambda row: (rank(row), row.label))[:ROWS_SHOWN]


def _best_scores(data: ReportData) -> list[dict[str, Any]]:
    names = [row.label for row in data.labels]
    shown = []
    for item in data.comparisons:
        order = sorted(range(len(item.after)), key=lambda index: -item.after[index])
        best = order[:SCORES_SHOWN]
        if item.label in names and names.index(item.label) not in best:
            best = [*best[:-1], names.index(item.label)]
        rows = [
            {
                "label": names[index],
                "before": item.before[index],
                "after": item.after[index],
                "true": names[index] == item.label,
            }
            for index in best
        ]
        shown.append({"image": item, "rows": rows, "more": len(names) - len(rows)})
    return shown


def matrix_kind(count: int) -> str:
    """Return how a confusion matrix of so many labels is drawn."""
    if not 0 < count <= MATRIX_SQUARES:
        return "none"
    return "numbers" if count <= MATRIX_NUMBERS else "squares"


def _context(data: ReportData) -> dict[str, Any]:
    names = [row.label for row in data.labels]
    shown = data.headline
    matrix = matrix_kind(len(names) if shown.confusion.cells else 0)
    totals = {split: sum(getattr(row, split) for row in data.labels) for split in SPLITS}
    sizes = shown.confusion.row_sums()
    linked = {(group.label, group.predicted) for group in data.mistakes}
    curves = _curves(data)
    pictured = [image for group in data.mistakes for image in group.images]
    return {
        "data": data,
        "shown": shown,
        "verdict": verdict(data),
        "gate": gate(data),
        "command": command_lines(data.command),
        "names": names,
        "json": json_for_html(data.to_dict()),
        "images": sum(totals.values()),
        "totals": totals,
        "whole_splits": curves[0] is not None and curves[0] is data.training_split_curve,
        "has_validation_curve": curves[1] is not None,
        "accuracy_chart": figures.accuracy_chart(*curves),
        "cross_entropy_chart": figures.cross_entropy_chart(*curves),
        "curve_rows": _curve_rows(*curves),
        "interval_mark": figures.interval_mark,
        "matrix": matrix,
        "linked": linked,
        "matrix_grid": figures.confusion_grid(shown.confusion, names, linked)
        if matrix == "squares"
        else None,
        "pairs": confused_pairs(names, shown.confusion),
        "pictured": len(pictured),
        "figures_rows": _shortened(shown.labels, lambda row: (row.f1 is None, row.f1 or 0.0)),
        "count_rows": _shortened(data.labels, lambda row: (-row.images,)),
        "learning_chart": data.forecast and figures.learning_chart(data.forecast),
        "changed_labels": [
            each for each in (data.grown.labels if data.grown else ()) if each.added or each.removed
        ][:ROWS_SHOWN],
        "reliability_chart": data.calibration and figures.reliability_chart(data.calibration),
        "calibration_sentence": data.calibration and data.calibration.sentence(),
        "threshold_rows": [each for each in data.thresholds if each.threshold in THRESHOLDS],
        "threshold_sentence": threshold_sentence(data),
        "threshold_chart": figures.threshold_chart(data.thresholds),
        "comparisons": _best_scores(data),
        "unset": [option for option, setting in data.settings.items() if setting is None],
        "skipped": data.skipped[:LIST_SHOWN],
        "duplicates": data.duplicates[:LIST_SHOWN],
        "largest_share": max(sizes.values()) / sum(sizes.values()) if sizes else None,
        "has_heat_maps": any(image.heat_map for image in pictured),
        "confident_heat_maps": any(
            image.heat_map for image in (*data.most_confident, *data.least_confident)
        ),
    }


def _curves(data: ReportData) -> tuple[Curve | None, Curve | None]:
    """Return the curves to draw, of training and validation: on whole splits if there are any."""
    if data.training_split_curve is not None:
        return data.training_split_curve, data.validation_split_curve
    return data.training_curve, data.validation_curve


def _curve_rows(training: Curve | None, validation: Curve | None) -> list[dict[str, Any]]:
    """Return about ten rows of the curves, for those who read numbers rather than pictures."""
    main = validation or training
    if main is None or not main.steps:
        return []
    by_step: dict[str, dict[int, Sequence[float]]] = {"training": {}, "validation": {}}
    for key, curve in (("training", training), ("validation", validation)):
        if curve is not None:
            found = zip(curve.accuracy, curve.cross_entropy, strict=True)
            by_step[key] = dict(zip(curve.steps, found, strict=True))
    last = len(main.steps) - 1
    steps = [main.steps[index] for index in sorted({round(n * last / 9) for n in range(10)})]
    return [
        {"step": step, **{key: found.get(step, (None, None)) for key, found in by_step.items()}}
        for step in steps
    ]
