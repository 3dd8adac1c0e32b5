"""What a retraining ended with; the same facts as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class LabelCounts:
    """One label's images by split, and how well the test found it (None: no test image)."""

    images: int
    training: int
    validation: int
    testing: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class Skipped:
    """An image that could not be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class CrossValidationSummary:
    """Mean accuracy and its standard deviation over the folds, as fractions."""

    folds: int
    accuracy: float
    deviation: float


@dataclass(frozen=True)
class RetrainResult:
    """The outcome of one retraining.

    Attributes:
        test_accuracy: fraction of test images labelled right, None without test images.
        test_count: number of test images, N.
        test_interval: 95% Wilson interval of the accuracy, as fractions.
        validation_accuracy: fraction on the whole validation split, None without one.
        labels: counts and figures by label, in output order.
        skipped: images left out, with reasons.
        backbone: name, source, licence, fingerprint, bottleneck size D, precision.
        outputs: kind of output -> path.
        seconds: stage -> seconds of wall time.
        cache: vectors found ("hits"), computed, and imported.
        misclassified: (path, true label, given label) of each wrong test image.
        cross_validation: mean and spread over K folds, where asked for.
        passed: False when the test accuracy is below ``min_accuracy``.
        final_layer_only: the graph takes bottlenecks, not images.
    """

    test_accuracy: float | None
    test_count: int
    test_interval: tuple[float, float] | None
    validation_accuracy: float | None
    labels: dict[str, LabelCounts]
    skipped: tuple[Skipped, ...]
    backbone: dict[str, Any]
    outputs: dict[str, Path]
    seconds: dict[str, float]
    cache: dict[str, int]
    misclassified: tuple[tuple[str, str, str], ...] = ()
    cross_validation: CrossValidationSummary | None = None
    min_accuracy: float | None = None
    passed: bool = True
    final_layer_only: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values, with the contract's keys."""
        found: dict[str, Any] = {
            "test_accuracy": self.test_accuracy,
            "test_count": self.test_count,
            "test_interval": None if self.test_interval is None else list(self.test_interval),
            "validation_accuracy": self.validation_accuracy,
            "labels": {name: vars(counts) for name, counts in self.labels.items()},
            "skipped": [vars(skipped) for skipped in self.skipped],
            "backbone": self.backbone,
            "outputs": {kind: str(path) for kind, path in self.outputs.items()},
            "seconds": {stage: round(value, 3) for stage, value in self.seconds.items()},
            "cache": self.cache,
            "misclassified": [
                {"image": path, "label": true, "predicted": given}
                for path, true, given in self.misclassified
            ],
        }
        if self.cross_validation is not None:
            found["cross_validation"] = vars(self.cross_validation)
        if self.min_accuracy is not None:
            found["min_accuracy"] = self.min_accuracy
            found["passed"] = self.passed
        return found

    def to_json(self) -> str:
        """Return `to_dict` as one JSON object."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)

    def to_text(self) -> str:
        """Return a short summary for a person."""
        lines = [_verdict(self)]
        if self.cross_validation is not None:
            cross = self.cross_validation
            lines.append(
                f"Cross-validation, {cross.folds} folds: "
                f"{cross.accuracy:.1%} (deviation {cross.deviation:.1%})"
            )
        lines += ["", *_label_table(self.labels)]
        if self.skipped:
            lines += ["", f"Skipped {len(self.skipped)} unreadable:"]
            lines += [f"  {skipped.path}: {skipped.reason}" for skipped in self.skipped[:10]]
            if len(self.skipped) > 10:
                lines.append(f"  and {len(self.skipped) - 10} more")
        lines += ["", "Outputs:"]
        width = max(len(kind) for kind in self.outputs)
        lines += [f"  {kind:<{width}}  {path}" for kind, path in self.outputs.items()]
        if self.outputs.get("graph") and not self.final_layer_only:
            lines += ["", f"Next: tlcli label --graph {self.outputs['graph']} --image IMAGE"]
        return "\n".join(lines)


def _verdict(result: RetrainResult) -> str:
    if result.test_accuracy is None or result.test_interval is None:
        return "No test images, so no test accuracy."
    low, high = result.test_interval
    verdict = (
        f"Test accuracy {result.test_accuracy:.1%} (N={result.test_count}, "
        f"95% interval {low:.1%} to {high:.1%})"
    )
    if result.min_accuracy is None:
        return verdict
    if result.passed:
        return f"{verdict}, at or above the minimum of {result.min_accuracy:.1%}"
    return f"{verdict}, below the minimum of {result.min_accuracy:.1%}"


def _label_table(labels: dict[str, LabelCounts]) -> list[str]:
    columns = ("images", "training", "validation", "testing", "precision", "recall")
    width = max([len("label"), *(len(name) for name in labels)])
    lines = [f"{'label':<{width}}  " + "  ".join(f"{name:>10}" for name in columns)]
    for name, counts in labels.items():
        cells = [getattr(counts, column) for column in columns]
        shown = [f"{cell:>10}" for cell in cells[:4]]
        shown += [f"{cell:>10.1%}" if cell is not None else f"{'-':>10}" for cell in cells[4:]]
        lines.append(f"{name:<{width}}  " + "  ".join(shown))
    return lines
