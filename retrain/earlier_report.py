"""The report that an earlier run left, which must not be taken for that of a new graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from retrain.options import DEFAULT_REPORT

_MARK = b'<script type="application/json" id="report-data">'
_END = b"</script>"


def earlier_report(graph: Path) -> Path | None:
    """Return the report of the graph that lies, or lay, at ``graph``, where reports lie by default.

    None where there is none, and where the file is another graph's report, or none of tlcli's.
    """
    path = graph.parent / DEFAULT_REPORT
    outputs = _outputs(path)
    # Paths are those of another day's current folder; what stays is that one lies by the other.
    expected = [graph.name, DEFAULT_REPORT]
    found = [Path(str(outputs.get(kind))) for kind in ("graph", "report")]
    beside = found[0].parent == found[1].parent
    return path if beside and [each.name for each in found] == expected else None


def _outputs(path: Path) -> dict[str, Any]:
    """Return what a report says of the places of its run's outputs; empty where it is none."""
    try:
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        _, mark, rest = content.rpartition(_MARK)
        outputs = json.loads(rest.partition(_END)[0])["outputs"] if mark else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return outputs if isinstance(outputs, dict) else {}
