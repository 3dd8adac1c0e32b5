"""What is measured: each stage prepares its files, lets its contenders take turns and reports."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.stages.bench import Bench, Stage
from benchmarks.stages.extraction import extraction, inception, mobilenet
from benchmarks.stages.growth import growth
from benchmarks.stages.label import cold_label, folder_label
from benchmarks.stages.retrain import final_layer, instructions, retrain
from benchmarks.stages.start import decode, start

__all__ = ["FULL", "QUICK", "STAGES", "Bench", "Stage"]

STAGES: dict[str, Callable[[Bench], list[Stage]]] = {
    "start": start,
    "final_layer": final_layer,
    "decode": decode,
    "extraction": extraction,
    "cold_label": cold_label,
    "folder_label": folder_label,
    "retrain": retrain,
    "mobilenet": mobilenet,
    "inception": inception,
    "instructions": instructions,
    "growth": growth,
}
QUICK = ("start", "final_layer", "decode", "extraction", "cold_label", "folder_label", "retrain")
FULL = (*QUICK[:-1], "retrain", "mobilenet", "inception", "instructions")
