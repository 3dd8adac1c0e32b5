"""Retrain the last layer of an image network on your own images, and label images with it.

    >>> import tlcli
    >>> result = tlcli.retrain("photos", output_graph="output_graph.pb")
    >>> result.test_accuracy
    >>> classifier = tlcli.load("output_graph.pb")
    >>> [prediction.label for prediction in classifier.label(["new.jpg"])]

Every option of ``tlcli retrain`` and ``tlcli label`` that does not speak of printing is a
keyword of the same name. Nothing is printed; talk goes to the logger ``tlcli``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlcli import errors
from tlcli._packages import import_own
from tlcli._version import __version__
from tlcli.errors import TlcliError

if TYPE_CHECKING:
    from retrain.job import retrain
    from retrain.result import RetrainResult
    from tlcli.commands.exporting.job import export
    from tlcli.core.classifier.classifier import Classifier
    from tlcli.core.classifier.explanations import Explanation
    from tlcli.core.classifier.loading import load
    from tlcli.core.classifier.outputs import Prediction, Predictions
    from tlcli.core.evaluation.confusion import ConfusionMatrix
    from tlcli.core.evaluation.evaluating import evaluate, evaluate_multi_label
    from tlcli.core.evaluation.graph_accuracy import GraphAccuracy
    from tlcli.core.evaluation.multi_label.graph import MultiLabelAccuracy
    from tlcli.core.formats.figures import Exports

__all__ = [
    "Classifier",
    "ConfusionMatrix",
    "Explanation",
    "Exports",
    "GraphAccuracy",
    "MultiLabelAccuracy",
    "Prediction",
    "Predictions",
    "RetrainResult",
    "TlcliError",
    "__version__",
    "errors",
    "evaluate",
    "evaluate_multi_label",
    "export",
    "load",
    "retrain",
]

# Looked up on first use: importing tlcli must stay as cheap as `tlcli --help`.
_HOMES = {
    "Classifier": "tlcli.core.classifier.classifier",
    "ConfusionMatrix": "tlcli.core.evaluation.confusion",
    "Explanation": "tlcli.core.classifier.explanations",
    "Exports": "tlcli.core.formats.figures",
    "GraphAccuracy": "tlcli.core.evaluation.graph_accuracy",
    "MultiLabelAccuracy": "tlcli.core.evaluation.multi_label.graph",
    "Prediction": "tlcli.core.classifier.outputs",
    "Predictions": "tlcli.core.classifier.outputs",
    "RetrainResult": "retrain.result",
    "evaluate": "tlcli.core.evaluation.evaluating",
    "evaluate_multi_label": "tlcli.core.evaluation.evaluating",
    "export": "tlcli.commands.exporting.job",
    "load": "tlcli.core.classifier.loading",
    "retrain": "retrain.job",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_own(_HOMES[name]), name)
    raise AttributeError(f"module 'tlcli' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names that a prompt completes after ``tlcli.``."""
    return __all__
