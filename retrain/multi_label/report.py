"""The report page of a run with several labels per image."""

from __future__ import annotations

import shlex
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrain.evidence.heat_maps import heat_maps
from retrain.report import FINDINGS_SHOWN, NEAREST_SHOWN, option_arguments
from retrain.result import RetrainResult
from tlcli.core.photos.findings import Findings
from tlcli.report.collect import file_link, pictures
from tlcli.report.multi_label.page import (
    Mistake,
    PageFacts,
    PictureFacts,
    chosen_mistakes,
    render,
)
from tlcli.report.page import percent
from tlcli.report.your_photos import your_photos
from tlcli.storage.locations import name_of, shown
from tlcli.system.atomic_files import write_text
from tlcli.text import counted

if TYPE_CHECKING:
    from retrain.multi_label.job import MultiLabelRun

_SKIPPED_SHOWN = 20


def write_report(
    path: Path, result: RetrainResult, run: MultiLabelRun, photos: Findings | None
) -> dict[str, Any]:
    """Write the page and return the result that it contains, as JSON types.

    Args:
        path: to write to.
        result: of the run.
        run: with all that the result leaves out.
        photos: what a check found in the photos; None: nothing was checked.

    Raises:
        OutputError: it cannot be written.
    """
    options, inputs, fit = run.options, run.inputs, run.fit
    mistakes = chosen_mistakes(run.scores, run.marks[run.rows], fit.thresholds)
    drawn = {int(run.rows[each.row]): each.label for each in mistakes}
    maps = heat_maps(inputs, options, fit.layer, drawn)

    def picture(mistake: Mistake) -> PictureFacts:
        row = int(run.rows[mistake.row])
        image, thumbnail, heat_map, link = inputs.images[row], None, None, None
        if image.file is not None:
            thumbnail, (heat_map,) = pictures(image.file, [maps.maps.get(row)])
            if options.report_path is not None:
                link = file_link(image.file, options.report_path)
        return PictureFacts(image.name, image.label, thumbnail, heat_map, link)

    found, page = result.to_dict(), options.report_path
    pictured = None
    if photos is not None:
        pictured = your_photos(photos, page, FINDINGS_SHOWN, NEAREST_SHOWN)
    facts = PageFacts(
        title=name_of(options.image_dir or options.manifest or ""),
        created=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        command=shlex.join(["tlcli", "retrain", *option_arguments(options)]),
        of="test images",
        names=inputs.labels,
        thresholds=fit.thresholds,
        notes=_notes(result, run),
        tables=_tables(result),
        heat_maps_missing=maps.missing or "",
        your_photos=pictured,
    )
    write_text(path, render(run.figures.tested, facts, mistakes, picture, found))
    return found


def _notes(result: RetrainResult, run: MultiLabelRun) -> list[str]:
    notes = []
    for what, value, minimum, _ in result.below_minimum():
        notes.append(f"The {what} of {percent(value)} is below the minimum of {percent(minimum)}.")
    if run.grown is not None:
        notes += run.grown.lines()
    folds = run.figures.folds
    if folds is not None and folds.mean_average_precision is not None:
        mean = folds.mean_average_precision
        notes.append(
            f"Cross-validation over {run.options.cross_validate} folds: mean average precision "
            f"{percent(mean.value)} ({percent(mean.low)} to {percent(mean.high)})."
        )
    if run.inputs.given_split is not None:
        notes.append(run.inputs.given_split.sentence())
    return notes


def _tables(result: RetrainResult) -> list[tuple[str, list[tuple[str, str]]]]:
    counts = [
        (
            label,
            f"{counted(row.images, 'image')}: {row.training} for training, {row.validation} for "
            f"validation, {row.testing} for testing",
        )
        for label, row in result.labels.items()
    ]
    tables = [
        ("Images", counts),
        ("Backbone", [(key, str(text)) for key, text in result.backbone.items() if text]),
        ("Fit", [(key.replace("_", " "), str(text)) for key, text in result.solver.items()]),
        ("Outputs", [(kind, shown(path)) for kind, path in result.outputs.items()]),
    ]
    if result.exports is not None:
        headings, *rows = result.exports.rows()
        named = [zip(headings[1:], row[1:], strict=True) for row in rows]
        facts = [", ".join(f"{name}: {cell}" for name, cell in each if cell) for each in named]
        tables.append(("Formats", [(row[0], text) for row, text in zip(rows, facts, strict=True)]))
    if result.skipped:
        listed = [(each.path, each.reason) for each in result.skipped[:_SKIPPED_SHOWN]]
        tables.append((f"Skipped: {counted(len(result.skipped), 'file')}", listed))
    return tables
