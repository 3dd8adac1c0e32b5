"""An evaluation of a graph with several labels per image: its figures, page and minimums."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import click

from tlcli.commands.again import command_line, program
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.data.held_out import images_to_evaluate
from tlcli.core.evaluation.metrics import Proportion
from tlcli.core.evaluation.multi_label import tables
from tlcli.core.evaluation.multi_label.graph import MultiLabelAccuracy, measure_multi_label
from tlcli.errors import BELOW_MINIMUM
from tlcli.progress import Progress
from tlcli.storage.locations import is_url, name_of, shown
from tlcli.storage.objects import write
from tlcli.terminal import say_below_minimum, write_any_name


@dataclass(frozen=True)
class Asked:
    """What a call asks for.

    Attributes:
        image_dir: a folder, or None.
        manifest: a list, or None.
        output_format: "text", "json", "csv" or "html".
        output: a file; None: standard output.
        spreadsheet: "csv" is for a spreadsheet.
        min_accuracy: of the images whose labels are all right, or None.
        min_map: of the mean average precision, or None.
        gates_all: both minimums are for all images, not for those alone that did not train it.
    """

    image_dir: Path | None
    manifest: Path | None
    output_format: str
    output: Path | None
    spreadsheet: bool
    min_accuracy: float | None
    min_map: float | None
    gates_all: bool


def has_several_labels(classifier: Classifier) -> bool:
    """Return whether a graph was trained for several labels per image."""
    return classifier.card is not None and bool(classifier.card.thresholds)


def check_single(asked: dict[str, bool]) -> None:
    """Refuse what there is for one label per image only.

    Args:
        asked: whether each option was given, by its name.

    Raises:
        click.UsageError: one was.
    """
    for option, given in asked.items():
        if given:
            raise click.UsageError(
                f"{option} is for graphs with one label per image, and this one has several; leave "
                "it out"
            )


def evaluate_several(classifier: Classifier, asked: Asked, progress: Progress | None) -> int:
    """Print or write the figures, and return the exit code.

    Raises:
        DataError: the images cannot be used.
        GraphError: the graph cannot be run.
        OutputError: the file cannot be written.
    """
    images = images_to_evaluate(asked.image_dir, asked.manifest, several=True)
    merges = asked.manifest is None
    accuracy = measure_multi_label(classifier, images, progress, merges=merges)
    text = _text(accuracy, asked)
    write_any_name(sys.stdout)
    if asked.output is not None:
        write(asked.output, text.encode("utf-8", "surrogateescape"))
        click.echo("\n".join(tables.headlines(accuracy)))
        click.echo(f"Written: {shown(asked.output)}")
    else:
        if asked.output_format == "text" and accuracy.accuracy < 1:
            changed = {"output": "evaluation.html", "output_format": None}
            page = command_line(click.get_current_context(), program(), **changed)
            text += f"\nTo see the images it got wrong: {page}\n"
        click.echo(text, nl=False)
    return _checked(accuracy, asked)


def _text(accuracy: MultiLabelAccuracy, asked: Asked) -> str:
    if asked.output_format == "csv":
        return tables.to_csv(accuracy, asked.spreadsheet)
    if asked.output_format == "json":
        found = accuracy.to_dict()
        text = json.dumps(found, ensure_ascii=False, indent=2)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:  # a file name that is no UTF-8
            text = json.dumps(found, indent=2)
        return text + "\n"
    if asked.output_format == "html":
        return _page(accuracy, asked)
    return tables.to_text(accuracy) + "\n"


def _page(accuracy: MultiLabelAccuracy, asked: Asked) -> str:
    from tlcli.report.collect import file_link, pictures
    from tlcli.report.multi_label.page import (
        Mistake,
        PageFacts,
        PictureFacts,
        chosen_mistakes,
        render,
    )

    measured = accuracy.measured or accuracy
    scored = measured.scored
    assert scored is not None

    def picture(mistake: Mistake) -> PictureFacts:
        image = scored.images[mistake.row]
        link = None
        if image.file is not None and asked.output is not None:
            link = file_link(image.file, asked.output)
        thumbnail = None if image.file is None else pictures(image.file)[0]
        return PictureFacts(image.name, image.label, thumbnail, None, link)

    source = asked.image_dir or asked.manifest or Path()
    facts = PageFacts(
        title=name_of(source if is_url(source) else source.resolve()),
        created=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        command=command_line(click.get_current_context()),
        of="images",
        names=accuracy.labels,
        thresholds=accuracy.thresholds,
        notes=tables.headlines(accuracy),
        tables=[("Images that could not be read", accuracy.skipped)] if accuracy.skipped else [],
        heat_maps_missing="For heat maps, label the images with --explain.",
    )
    mistakes = chosen_mistakes(scored.scores, scored.marks, accuracy.thresholds)
    return render(measured.evaluation, facts, mistakes, picture, accuracy.to_dict())


def _checked(accuracy: MultiLabelAccuracy, asked: Asked) -> int:
    """Return the exit code for figures that should reach a minimum, and print why."""
    gates: list[tuple[str, str, float | None, Callable[[MultiLabelAccuracy], Proportion | None]]]
    gates = [
        (
            "exact-match accuracy",
            "--min_accuracy",
            asked.min_accuracy,
            lambda found: found.evaluation.exact_match,
        ),
        (
            "mean average precision",
            "--min_map",
            asked.min_map,
            lambda found: found.evaluation.mean_average_precision,
        ),
    ]
    gated = accuracy if asked.gates_all else accuracy.measured
    code = 0
    for what, option, minimum, figure in gates:
        if minimum is None:
            continue
        found = None if gated is None else figure(gated)
        if found is None or found.value < minimum:
            unseen = "" if gated is accuracy else " on images that did not train the graph"
            value = None if found is None else found.value
            say_below_minimum(what + unseen, value, minimum, option)
            code = BELOW_MINIMUM
    return code
