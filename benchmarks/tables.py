"""Turn figures into the tables that are printed and written into docs/performance.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Figures = dict[str, Any]
Entry = dict[str, Any]
# Marks in the document: each run replaces what is between them.
SUMMARY, DETAILS = "summary", "details"


def number(value: float) -> str:
    """Return a figure with three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def is_rate(unit: str) -> bool:
    """Return whether more of the unit is better."""
    return unit.endswith("/s")


def times_faster(own: Entry, other: Entry, unit: str) -> float | None:
    """Return how many times faster ``own`` is, None where a figure is missing."""
    if not own.get("value") or not other.get("value"):
        return None
    ratio: float = own["value"] / other["value"]
    return ratio if is_rate(unit) else 1 / ratio


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: int = 1) -> str:
    """Return a Markdown table; columns from ``right`` on are numbers."""
    rule = ["---" if place < right else "---:" for place in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def memory(entry: Entry) -> str:
    """Return an entry's peak memory."""
    return f"{entry['memory'] / 1e6:,.0f}" if entry.get("memory") else ""


def stage_table(stage: dict[str, Any]) -> str:
    """Return one stage's table; ratios are of its first line of this tool."""
    unit = stage["unit"]
    own: Entry = next((entry for entry in stage["entries"] if entry["own"]), {})
    busy = busy_column(stage)
    rows = []
    for entry in stage["entries"]:
        name = f"**{entry['name']}**" if entry["own"] else entry["name"]
        if "value" not in entry:
            rows.append([name, "no figure", *[""] * (4 if busy else 3), entry["failed"]])
            continue
        ratio = None if entry["own"] else times_faster(own, entry, unit)
        values = entry["values"]
        spread = f"{number(min(values))} to {number(max(values))}" if len(values) > 1 else ""
        cells = [name, number(entry["value"]), spread, f"{ratio:.2f}" if ratio else ""]
        if busy:
            cells.append(number(entry[busy[0]]) if busy[0] in entry else "")
        rows.append([*cells, memory(entry), remark(entry)])
    header = ["", unit, "range", "speed-up of tlcli"]
    return table([*header, *([busy[1]] if busy else []), "peak MB", ""], rows)


def busy_column(stage: dict[str, Any]) -> tuple[str, str] | None:
    """Return key and title of the column of processor time, None where there is none."""
    if stage.get("whole"):
        return "cpu", "CPU s"
    columns = {"busy_rate": "images per CPU s", "busy": "CPU s"}
    for key, title in columns.items():
        if any(key in entry for entry in stage["entries"]):
            return key, title
    return None


def remark(entry: Entry) -> str:
    """Return what else is known of an entry."""
    parts = []
    if entry.get("batch"):
        parts.append(f"batches of {entry['batch']:g}")
    if (entry.get("settings") or {}).get("hint"):
        parts.append(f"hint {entry['settings']['hint']}")
    if "bare" in entry and "share" not in entry:
        parts.append(f"bare {number(entry['bare'])}")
    if "loop" in entry:
        parts.append(f"without prefetch {number(entry['loop'])}")
    if "with_start" in entry:
        parts.append(f"{number(entry['with_start'])} with loading")
    if "share" in entry:
        parts.append(f"{entry['share']:.0%} of bare inference")
    if "growth" in entry:
        parts.append(
            f"memory grew by {entry['growth'] / 1e6:.0f} MB from the first round to the last"
        )
    for key in ("engine", "precision"):
        if entry.get(key):
            parts.append(str(entry[key]))
    if "loss" in entry:
        parts.append(f"training loss {entry['loss']:.3f}")
    return ", ".join(parts)


def summary(figures: Figures) -> str:
    """Return the short table: this tool, the best of the others, the ratio, the target."""
    rows = []
    for line in _comparisons(figures):
        what, own, unit, other, target = line
        ratio = times_faster(own, other, unit)
        if ratio is None:
            continue
        shown = f"{number(ratio)} x"
        reached = "" if target is None else f"{target:g} x: {'yes' if ratio >= target else 'no'}"
        rows.append(
            [
                what,
                f"{number(own['value'])} {unit}",
                f"{other['name']}: {number(other['value'])} {unit}",
                f"**{shown}**",
                reached,
            ]
        )
    stage = _stage(figures, "label_folder")
    if stage and "share" in stage["entries"][0]:
        entry = stage["entries"][0]
        rows.append(
            [
                "Label many photos in one process",
                f"{number(entry['value'])} images/s",
                f"bare inference by the same engine: {number(entry['bare'])} images/s",
                f"**{number(entry['share'])} x**",
                f"0.9 x: {'yes' if entry['share'] >= 0.9 else 'no'}",
            ]
        )
    return table(["", "tlcli", "compared with", "speed-up of tlcli", "target"], rows)


def _stage(figures: Figures, name: str) -> dict[str, Any] | None:
    found = [stage for stage in figures["stages"] if stage["name"] == name]
    return found[0] if found and any(e["own"] for e in found[0]["entries"]) else None


def _comparisons(figures: Figures) -> Iterable[tuple[str, Entry, str, Entry, float | None]]:
    target = {"extraction_efficientnet_lite0": (1.0, 3.0), "extraction_InceptionV3": (1.0, 2.0)}
    for name, (best_target, loop_target) in target.items():
        stage = _stage(figures, name)
        if stage is None:
            continue
        own = stage["entries"][0]
        best = best_runtime(stage["entries"], str(own.get("precision") or "float32"))
        if best is not None:
            yield stage["title"], own, stage["unit"], best, best_target
        low_title = f"{stage['title']}, bfloat16"
        named = (each for each in stage["entries"] if each["name"] == "tlcli bfloat16")
        low = next((each for each in named if each.get("value")), None)
        rival = best_runtime(stage["entries"], "bfloat16")
        if low is not None and rival is not None:
            yield low_title, low, stage["unit"], rival, best_target
        for entry in stage["entries"]:
            if "one image per call" not in entry["name"]:
                continue
            # The target presupposes bfloat16 if the processor has it.
            goal = loop_target if low is None else None
            yield stage["title"], own, stage["unit"], entry, goal
            if low is not None:
                yield low_title, low, stage["unit"], entry, loop_target
    for name, other, goal in (
        ("extraction_MobileNetV2", "Keras predict", None),
        ("retrain", "the original", 50.0),
        ("final_layer", "NumPy, take", None),
        ("final_layer", "text files", None),
        ("label_cold", "as label_image.py", 10.0),
        ("label_inception", "as label_image.py", 10.0),
        ("label_legacy", "as label_image.py", None),
        ("decode", "Pillow, no draft scaling, a thread", None),
        ("decode_large", "Pillow, no draft scaling, a thread", None),
    ):
        stage = _stage(figures, name)
        if stage is None:
            continue
        if name == "retrain" and stage.get("count") != 3670:
            continue  # the original's figure is of 3670 photos
        own = next(entry for entry in stage["entries"] if entry["own"])
        for entry in stage["entries"]:
            if entry["name"].startswith(other):
                yield stage["title"], own, stage["unit"], entry, goal


def best_runtime(entries: Sequence[Entry], precision: str) -> Entry | None:
    """Return the quickest of OpenVINO, ONNX Runtime and LiteRT at a precision."""
    names = ["OpenVINO float32", "ONNX Runtime", "LiteRT"]
    if precision == "bfloat16":
        names = ["OpenVINO bfloat16"]
    ran = [entry for entry in entries if entry["name"] in names and entry.get("value")]
    return max(ran, key=lambda entry: float(entry["value"]), default=None)


def machine(figures: Figures) -> str:
    """Return what the figures were measured on and with, as a list."""
    facts, versions = figures["machine"], figures["versions"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    lines = [
        f"- Processor: {facts['processor']}, {facts['cores']} cores"
        + (f" ({facts['features']})" if facts.get("features") else ""),
        f"- Memory: {facts['memory'] / 1e9:.0f} GB; {facts['system']}",
        f"- Versions: {named}",
        f"- Measured on {figures['date']}"
        + (", in quick mode" if figures.get("quick") else "")
        + f"; load before the run {facts['load_before']:.1f}, after it {facts['load_after']:.1f}",
    ]
    reasons = ["few photos and rounds"] if figures.get("quick") else []
    if facts["load_before"] > facts["cores"] / 2:
        reasons.append("the machine had other work")
    if reasons:
        lines.append(f"- **Rough figures**: {' and '.join(reasons)}.")
    return "\n".join(lines)


def details(figures: Figures) -> str:
    """Return all tables, each with its plot."""
    parts = []
    for stage in figures["stages"]:
        parts.append(f"### {stage['title']}")
        if stage.get("image"):
            parts.append(f"![{stage['title']}](images/{stage['image']})")
        parts.append(stage_table(stage))
        rounds = f"Median of {stage['rounds']} rounds." if stage["rounds"] > 1 else "One round."
        parts.append(" ".join(filter(None, [stage["note"], rounds])))
    return "\n\n".join(parts)


def fill(text: str, name: str, content: str) -> str:
    """Return the document with ``content`` between the marks of ``name``.

    Raises:
        ValueError: the document has no such marks.
    """
    pattern = rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)"
    filled, count = re.subn(
        pattern, lambda match: f"{match[1]}{content}\n{match[2]}", text, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError(f"the document has no marks <!-- {name}:begin --> and :end")
    return filled


def write_document(path: Path, figures: Figures) -> None:
    """Write the tables into the document at ``path``."""
    text = path.read_text(encoding="utf-8")
    text = fill(text, SUMMARY, f"{summary(figures)}\n\n{machine(figures)}")
    path.write_text(fill(text, DETAILS, f"\n{details(figures)}\n"), encoding="utf-8")
