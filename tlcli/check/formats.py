"""Findings as text, JSON and CSV."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

from tlcli.core.photos.findings import NO_LABEL, Findings
from tlcli.spreadsheet import CsvRows
from tlcli.text import counted, printable, table

COLUMNS = ("kind", "path", "label", "proposed", "score", "reason")
# More rows push the first ones, which matter most, off the screen.
_SHOWN = 20


def to_json(found: Findings) -> str:
    """Return one JSON object."""
    return json.dumps(found.to_dict(), ensure_ascii=False, indent=2)


def to_csv(found: Findings) -> str:
    """Return one finding per row under `COLUMNS`."""
    stream = io.StringIO()
    rows = CsvRows(stream, False)
    rows.write(COLUMNS)
    for row in _rows(found):
        rows.write(row)
    return stream.getvalue()


def _rows(found: Findings) -> Iterator[tuple[str, ...]]:
    for wrong in found.wrong_labels:
        yield (
            *("wrong label", wrong.path, wrong.label, wrong.proposed),
            *(f"{wrong.score:.4f}", wrong.reason),
        )
    for pair in found.copies:
        # The second one is the one to remove.
        yield "copy", pair.paths[1], pair.labels[1], "", "", f"{pair.paths[0]}: {pair.reason}"
    for odd in found.odd:
        yield "odd", odd.path, odd.label, "", "", odd.reason
    for note in found.notes:
        yield note.kind, "", note.label, "", "", note.text
    for path, reason in found.unreadable:
        yield "unreadable", path, "", "", "", reason


def to_text(found: Findings) -> str:
    """Return the findings for people, each kind under a heading with its number."""
    lines = [f"{counted(found.photos, 'photo')}, {counted(found.labels, 'label')}"]
    if not found.issues:
        return f"{lines[0]}: nothing found."
    if found.wrong_labels:
        rows = [("score", "label", "looks like", "photo", "why")]
        rows += [
            (
                *(f"{each.score:.2f}", each.label or NO_LABEL, each.proposed or NO_LABEL),
                *(printable(each.path), each.reason),
            )
            for each in found.wrong_labels[:_SHOWN]
        ]
        lines += _section("Probably wrong labels", len(found.wrong_labels), table(rows, right=[0]))
    if found.wrong_labels and found.doubted is not None:
        numbers = [("label", "probably without it", "probably with it")]
        numbers += [
            (label, str(has), str(lacks))
            for label, (has, lacks) in found.doubted.items()
            if has or lacks
        ]
        lines += ["", *(f"  {line}" for line in table(numbers, right=[1, 2]))]
    if found.copies:
        pairs = [("photo", "same picture", "how")]
        pairs += [(*each.paths, each.reason) for each in found.copies[:_SHOWN]]
        heading = "Near copies"
        if found.straddling:
            heading += f" ({found.straddling} of them in two splits)"
        lines += _section(heading, len(found.copies), table(pairs, right=[]))
    if found.odd:
        odd = [(each.path, each.reason) for each in found.odd[:_SHOWN]]
        lines += _section("Odd photos", len(found.odd), table(odd, right=[]))
    if found.notes:
        notes = [printable(each.text) for each in found.notes[:_SHOWN]]
        lines += _section("Labels", len(found.notes), notes)
    if found.films:
        films = [
            f"{printable(each[0])} to {printable(each[-1])} ({len(each)} photos)"
            for each in found.films[:_SHOWN]
        ]
        lines += _section("Perhaps frames of one film", len(found.films), films)
    if found.unreadable:
        unreadable = [f"{printable(path)}: {why}" for path, why in found.unreadable[:_SHOWN]]
        lines += _section("Unreadable files", len(found.unreadable), unreadable)
    return "\n".join(lines)


def _section(heading: str, count: int, lines: list[str]) -> list[str]:
    more = [f"and {count - _SHOWN} more"] if count > _SHOWN else []
    return ["", f"{heading}: {count}", *(f"  {line}" for line in [*lines, *more])]
