"""The benchmark's command, without anything that takes time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import performance


def test_figures_name_the_machine_and_the_versions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "flowers" / "photos").mkdir(parents=True)
    options = performance._options(["--data", str(tmp_path), "--work", str(tmp_path)])
    figures = performance.measure(options, [])
    assert figures["stages"] == []
    assert figures["machine"]["cores"] >= 1
    assert figures["machine"]["memory"] > 1 << 28
    assert figures["machine"].keys() >= {"load_before", "load_after"}
    assert figures["versions"]["Python"] == ".".join(map(str, sys.version_info[:3]))
    assert "s in all" in capsys.readouterr().err
