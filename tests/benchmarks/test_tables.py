"""Tables and plots of the benchmark, and the document that they are written into."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from benchmarks import performance, plots, tables

ROOT = Path(__file__).resolve().parents[2]


def entry(name: str, value: float, *, own: bool = False, **more: Any) -> dict[str, Any]:
    return {"name": name, "own": own, "value": value, "values": [value], **more}


def figures() -> dict[str, Any]:
    extraction = {
        "name": "extraction_efficientnet_lite0",
        "title": "Extraction <default>",
        "unit": "images/s",
        "note": "100 photos.",
        "rounds": 1,
        "entries": [
            entry("tlcli", 90, own=True, memory=900_000_000, with_start=40.0),
            entry("OpenVINO float32", 100, batch=8, bare=120.0),
            entry("LiteRT", 60),
            {"name": "ONNX Runtime", "own": False, "failed": "onnxruntime is not installed"},
            entry("TensorFlow, one image per call", 30),
        ],
    }
    cold = {
        "name": "label_cold",
        "title": "Label one photo",
        "unit": "s",
        "note": "",
        "rounds": 3,
        "entries": [
            entry("tlcli label", 0.5, own=True),
            entry("as label_image.py (TensorFlow)", 6.0),
        ],
    }
    machine = {"processor": "P", "cores": 2, "features": "avx2", "memory": 8e9, "system": "Linux"}
    machine |= {"load_before": 0.1, "load_after": 1.0}
    return {
        "date": "2026-01-01",
        "quick": False,
        "machine": machine,
        "versions": {"tlcli": "0.1.0", "openvino": None},
        "stages": [extraction, cold],
    }


def test_ratios_say_how_much_faster_this_tool_is() -> None:
    lines = tables.summary(figures()).splitlines()[2:]
    assert [line.split(" | ")[3:] for line in lines] == [
        ["**0.90 x**", "1 x: no |"],
        ["**3.00 x**", "3 x: yes |"],
        ["**12.0 x**", "10 x: yes |"],
    ]
    assert "OpenVINO float32" in lines[0]


def test_bfloat16_is_compared_with_bfloat16() -> None:
    found = figures()
    entries = found["stages"][0]["entries"]
    low = entry("tlcli bfloat16", 150, own=True)
    entries += [low, entry("OpenVINO bfloat16", 120)]
    lines = tables.summary(found).splitlines()[2:]
    assert len(lines) == 5
    assert "Extraction <default>, bfloat16 | 150 images/s | OpenVINO bfloat16: 120" in lines[1]
    assert lines[1].endswith("**1.25 x** | 1 x: yes |")
    # The target of the one-image loop then applies to bfloat16.
    assert lines[2].endswith("TensorFlow, one image per call: 30.0 images/s | **3.00 x** |  |")
    assert lines[3].endswith(
        "TensorFlow, one image per call: 30.0 images/s | **5.00 x** | 3 x: yes |"
    )
    # Without bfloat16 in the processor, nothing is compared.
    entries[-2:] = [{"name": "tlcli bfloat16", "own": True, "failed": "no bfloat16"}, entries[-1]]
    assert len(tables.summary(found).splitlines()[2:]) == 3


def test_a_peer_without_a_figure_stands_in_the_table_with_its_reason() -> None:
    table = tables.stage_table(figures()["stages"][0])
    assert "| ONNX Runtime | no figure |  |  |  | onnxruntime is not installed |" in table
    assert "| **tlcli** | 90.0 |  |  | 900 | 40.0 with loading |" in table
    assert len({line.count("|") for line in table.splitlines()}) == 1


def test_without_any_peer_there_is_still_a_table() -> None:
    found = figures()
    for stage in found["stages"]:
        for place, item in enumerate(stage["entries"]):
            stage["entries"][place] = {"name": item["name"], "own": item["own"], "failed": "x"}
    assert len(tables.summary(found).splitlines()) == 2
    assert "no figure" in tables.details(found)
    assert plots.bars(found["stages"][0]).endswith("</svg>\n")


def test_the_document_is_filled_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(
        "# P\n<!-- summary:begin -->\nold\n<!-- summary:end -->\nprose\n"
        "<!-- details:begin -->\n<!-- details:end -->\n",
        encoding="utf-8",
    )
    for _ in range(2):
        tables.write_document(document, figures())
    text = document.read_text(encoding="utf-8")
    assert "old" not in text
    assert text.count("prose") == 1
    assert text.count("### Label one photo") == 1
    with pytest.raises(ValueError, match="marks"):
        tables.fill("no marks", "summary", "x")


def test_plots_are_svg_for_light_and_dark(tmp_path: Path) -> None:
    found = figures()
    written = plots.draw(found, tmp_path)
    assert [path.name for path in written] == [stage["image"] for stage in found["stages"]]
    root = ElementTree.parse(written[0]).getroot()
    space = "{http://www.w3.org/2000/svg}"
    bars = [r for r in root.iter(f"{space}rect") if r.get("class") in ("own", "other")]
    widths = [float(bar.get("width") or 0) for bar in bars]
    assert widths[0] / widths[1] == pytest.approx(0.9, rel=1e-3)
    assert "prefers-color-scheme: dark" in written[0].read_text(encoding="utf-8")


def test_a_partial_run_replaces_its_own_stages_only() -> None:
    old, new = figures(), figures()
    new["stages"] = [{**new["stages"][1], "title": "again"}]
    found = performance.merged(old, new)
    assert [stage["title"] for stage in found["stages"]] == ["Extraction <default>", "again"]
    new["machine"]["processor"] = "another"
    with pytest.raises(SystemExit):
        performance.merged(old, new)


def test_the_document_shows_the_stored_figures() -> None:
    raw = ROOT / "docs" / "performance.json"
    if not raw.is_file():
        pytest.skip("nothing was measured yet")
    stored = json.loads(raw.read_text(encoding="utf-8"))
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert tables.summary(stored) in text, "run make bench BENCH_ARGS=--redraw"
    assert tables.details(stored) in text, "run make bench BENCH_ARGS=--redraw"
    for stage in stored["stages"]:
        if stage.get("image"):
            assert (ROOT / "docs" / "images" / stage["image"]).is_file()


def test_a_bar_that_would_dwarf_the_others_is_cut() -> None:
    entries = [entry("tlcli", 1.0, own=True), entry("a", 2.0), entry("b", 500.0)]
    stage = {"title": "Fit", "unit": "s", "entries": entries}
    drawn = plots.bars(stage)
    assert plots.longest(entries, "s") == 4.0
    assert "500 (bar cut)" in drawn
    assert drawn.count("bar cut") == 1
    assert plots.longest(entries, "images/s") == 500.0
