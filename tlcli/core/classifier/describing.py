"""What a loaded graph takes and returns, and where each part of that is known from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlcli.core.model_spec.kinds import kind_of
from tlcli.core.model_spec.origins import OWN_METADATA

if TYPE_CHECKING:
    from tlcli.core.classifier.classifier import Classifier

Row = tuple[str, str, str]

_ACTIVATIONS = {
    "softmax": "probabilities, which sum to 1 (softmax)",
    "log_softmax": "logarithms of probabilities, of which the exponential is taken",
    "sigmoid": "independent of one another (sigmoid): several labels may be right",
    "logits": "logits, which a softmax turns into probabilities",
    None: "no numbers for a grey image",
}


def describe(classifier: Classifier) -> dict[str, Any]:
    """Return the input specification of a loaded graph, as JSON can hold it.

    Args:
        classifier: as `loading.load` returns it.
    """
    spec = classifier.spec
    assert spec is not None
    return {
        "graph": str(classifier.graph),
        "kind": kind_of(classifier.graph).name.lower(),
        "origin": spec.origin,
        "input": {
            "name": spec.input,
            "height": spec.height,
            "width": spec.width,
            "channels": spec.channels,
            "dtype": spec.dtype,
            "mean": spec.scaling.mean,
            "std": spec.scaling.std,
            "resizing": str(spec.resizing),
            "assumed": spec.assumed,
            "sources": dict(spec.sources),
        },
        "output": {
            "name": spec.output,
            "scores": spec.labels,
            "activation": spec.activation,
            "multi_label": spec.activation == "sigmoid" and spec.labels != 1,
        },
        **({} if classifier.thresholds is None else {"thresholds": dict(classifier.thresholds)}),
        "labels": list(classifier.labels),
        "labels_source": classifier.labels_source,
    }


def rows(classifier: Classifier) -> list[Row]:
    """Return the same in words: what, its value, and where it is known from."""
    spec = classifier.spec
    assert spec is not None
    kind = kind_of(classifier.graph)
    bytes_of_files = spec.dtype == "string"
    size = "its own" if bytes_of_files else f"{spec.height} x {spec.width} pixels"
    channels = {"rgb": "red, green, blue", "bgr": "blue, green, red", "grey": "grey"}
    sources = spec.sources
    scaling = "the bytes of image files" if bytes_of_files else str(spec.scaling)
    # What tlcli made is not looked into: its card says all.
    shown = "the model card" if classifier.card is not None else ""
    found: list[Row] = [
        ("kind", kind.value, "its content"),
        ("origin", spec.origin or "unknown", "" if spec.origin is None else shown or "its signs"),
        ("input", f"{spec.input or '?'} ({spec.dtype})", sources.get("input", "")),
        ("size", size, sources.get("height", "")),
        ("channels", channels[spec.channels], sources.get("channels", "")),
        ("pixels", scaling, f"{sources.get('scaling', '')}{' (assumed)' if spec.assumed else ''}"),
        ("resizing", "its own" if bytes_of_files else str(spec.resizing), sources["resizing"]),
        ("output", spec.output or "?", sources.get("output", "")),
        ("scores", _scores(classifier), shown or "its last operations"),
        (
            "labels",
            f"{len(classifier.labels)}: {_first(classifier.labels)}",
            classifier.labels_source,
        ),
    ]
    if classifier.thresholds is not None:
        limits = [f"{label} {limit:g}" for label, limit in classifier.thresholds.items()]
        is_own = classifier.card is not None and bool(classifier.card.thresholds)
        has_own = spec.origin == OWN_METADATA
        source = "the model card" if is_own else "its metadata" if has_own else "the default"
        found.append(("thresholds", _first(tuple(limits)), source))
    return found


def _scores(classifier: Classifier) -> str:
    spec = classifier.spec
    assert spec is not None
    if spec.labels == 1 and len(classifier.labels) == 2:
        return f"one for two labels (sigmoid): that of {classifier.labels[1]}"
    return _ACTIVATIONS[spec.activation]


def _first(labels: tuple[str, ...]) -> str:
    shown = ", ".join(labels[:4])
    return f"{shown}, ..." if len(labels) > 4 else shown
