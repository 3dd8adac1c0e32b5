"""The report: one HTML page that shows what was learned and how far it can be trusted."""

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
