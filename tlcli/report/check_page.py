"""The page of ``tlcli check``: what was found in photos, with pictures, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tlcli._version import __version__
from tlcli.core.photos.findings import NO_LABEL, Findings
from tlcli.report.page import filled, json_for_html
from tlcli.report.your_photos import your_photos

PICTURES_SHOWN, NEAREST_SHOWN = 60, 3
"""Findings of each kind with pictures on the page of a check, and pictures beside a doubted one."""
_LISTED = 500


def render(found: Findings, title: str, command: str, page: Path | None) -> str:
    """Return the page of a check: it needs no network and runs no script.

    Every name is escaped; the same content is inside as JSON (``id="check-data"``).

    Args:
        found: by the check.
        title: name of the folder.
        command: that makes the page again.
        page: where it will be; None where that is unknown.
    """
    context = {
        "title": title,
        "command": command,
        "found": found,
        "your_photos": your_photos(found, page, PICTURES_SHOWN, NEAREST_SHOWN),
        "listed": _more_files(found),
        "unreadable": found.unreadable[:_LISTED],
        "version": __version__,
        "json": json_for_html(found.to_dict()),
    }
    return filled("check.html", context)


def _more_files(found: Findings) -> Sequence[tuple[str, str]]:
    """Return path and reason of findings beyond those with pictures."""
    more = [(each.path, f"looks like {each.proposed or NO_LABEL}") for each in found.wrong_labels]
    copies = [(each.paths[1], f"{each.reason}: {each.paths[0]}") for each in found.copies]
    odd = [(each.path, each.reason) for each in found.odd]
    return [row for kind in (more, copies, odd) for row in kind[PICTURES_SHOWN:_LISTED]]
