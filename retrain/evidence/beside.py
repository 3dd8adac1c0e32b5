"""What the end of a run needs and no fitted layer: it is computed beside the fit."""

from __future__ import annotations

from retrain.arguments.options import RetrainOptions
from retrain.evidence.photos import findings_for_report
from retrain.inputs import Inputs
from retrain.testing import measure_forecast
from tlcli.core.fitting.main_axes import on_main_axes
from tlcli.report.page import prepare
from tlcli.runtime.ahead import Ahead, Once
from tlcli.system.mapped_arrays import is_mapped


def begin_beside(ahead: Ahead, inputs: Inputs, options: RetrainOptions) -> None:
    """Begin the work whose results the steps after the fit ask for."""
    reports = options.report_path is not None
    if reports:
        ahead.begin(prepare)
    # Steps of SGD are too short to share a processor; products are computed beside others.
    if options.solver == "sgd" or options.fine_tune != "none":
        return
    turned = Once(on_main_axes, inputs.vectors, inputs.blocks)
    ahead.begin(measure_forecast, inputs, options, turned)
    # Vectors in a file are there for want of memory.
    if reports and not is_mapped(inputs.vectors):
        ahead.begin(findings_for_report, inputs, options, None, turned)
