"""Findings as text, JSON and CSV."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

from tlcli.core.photos.findings import Findings
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
            (f"{each.score:.2f}", each.label, each.proposed, printable(each.path), each.reason)
            for each in found.wrong_labels[:_SHOWN]
        ]
        lines += _section("Probably wrong labels", len(found.wrong_labels), table(rows, right=[0]))
    if found.unreadable:
        unreadable = [f"{printable(path)}: {why}" for path, why in found.unreadable[:_SHOWN]]
        lines += _section("Unreadable files", len(found.unreadable), unreadable)
    return "\n".join(lines)


def _section(heading: str, count: int, lines: list[str]) -> list[str]:
    more = [f"and {count - _SHOWN} more"] if count > _SHOWN else []
    return ["", f"{heading}: {count}", *(f"  {line}" for line in [*lines, *more])]
