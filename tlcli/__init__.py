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
    from tlcli.core.classifier.classifier import Classifier, Prediction
    from tlcli.core.classifier.loading import load

__all__ = [
    "Classifier",
    "Prediction",
    "RetrainResult",
    "TlcliError",
    "__version__",
    "errors",
    "load",
    "retrain",
]

# Looked up on first use: importing tlcli must stay as cheap as `tlcli --help`.
_HOMES = {
    "Classifier": "tlcli.core.classifier.classifier",
    "Prediction": "tlcli.core.classifier.classifier",
    "RetrainResult": "retrain.result",
    "load": "tlcli.core.classifier.loading",
    "retrain": "retrain.job",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_own(_HOMES[name]), name)
    raise AttributeError(f"module 'tlcli' has no attribute {name!r}")
