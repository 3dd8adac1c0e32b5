"""Report pages, plots and TensorBoard summaries: what was learned, and how reliable it is.

The commands, `retrain` and `tlcli.serve` may import it; it imports `tlcli.core` and rooms below.
"""

from __future__ import annotations

from tlcli.report.data import (
    BackboneFacts,
    Comparison,
    Curve,
    Duplicate,
    LabelFigures,
    ReportData,
    SkippedFile,
    TestImage,
)
from tlcli.report.page import render

__all__ = [
    "BackboneFacts",
    "Comparison",
    "Curve",
    "Duplicate",
    "LabelFigures",
    "ReportData",
    "SkippedFile",
    "TestImage",
    "render",
]
