"""Draw the figures as bars, in SVG that follows the reader's light or dark theme."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.tables import is_rate, number

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 760, 300, 130, 20, 8, 44
# More times tlcli's seconds than this would leave the other bars a line.
MOST = 30
# Contrast of text and bars on their ground is at least 4.5 and 3 in both themes.
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 14px }
.ground { fill: #ffffff } .own { fill: #0969da } .other { fill: #8c959f }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.ground { fill: #0d1117 } .own { fill: #4493f8 } .other { fill: #6e7681 }
}
"""


def bars(stage: dict[str, Any]) -> str:
    """Return one stage as a bar chart; contenders without a figure are left out."""
    entries = [entry for entry in stage["entries"] if entry.get("value")]
    largest = longest(entries, stage["unit"])
    height = TOP + len(entries) * (BAR + GAP) + GAP
    better = "longer is better" if is_rate(stage["unit"]) else "shorter is better"
    title = escape(f"{stage['title']}, {stage['unit']} ({better})")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="{title}">',
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>',
        f'<text class="title" x="12" y="26">{title}</text>',
    ]
    for place, entry in enumerate(entries):
        y = TOP + place * (BAR + GAP)
        length = max(1.0, min(1.0, entry["value"] / largest) * (WIDTH - LEFT - RIGHT))
        cut = " (bar cut)" if entry["value"] > largest else ""
        kind = "own" if entry["own"] else "other"
        name = escape(_short(entry["name"]))
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{name}</text>',
            f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="3"/>',
            f'<text x="{LEFT + length + 8:.1f}" y="{y + 15}">{number(entry["value"])}{cut}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def longest(entries: list[dict[str, Any]], unit: str) -> float:
    """Return the value that fills the width; what takes far longer than tlcli is cut there."""
    largest = max((entry["value"] for entry in entries), default=1.0)
    own = next((entry["value"] for entry in entries if entry["own"]), largest)
    kept = [e["value"] for e in entries if is_rate(unit) or e["value"] <= MOST * own]
    return largest if len(kept) == len(entries) else max(kept) * 2


def _short(name: str, most: int = 42) -> str:
    return name if len(name) <= most else name[: most - 1].rstrip(" ,(") + "…"


def draw(figures: dict[str, Any], folder: Path) -> list[Path]:
    """Draw every stage that has two figures or more; its file's name goes into the stage."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for stage in figures["stages"]:
        stage.pop("image", None)
        if sum(1 for entry in stage["entries"] if entry.get("value")) < 2:
            continue
        path = folder / f"performance_{stage['name'].lower()}.svg"
        path.write_text(bars(stage), encoding="utf-8")
        stage["image"] = path.name
        written.append(path)
    return written
