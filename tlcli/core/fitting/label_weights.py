"""How much the images of a label count, as the priors that the biases of a final layer contain.

A solver fits for priors of its own: SGD draws every label equally often, the others see each label
as often as it has images. Scores for other priors differ from those by one number per label, the
logarithm of the ratio of the priors (M. Saerens, P. Latinne and C. Decaestecker, Adjusting the
Outputs of a Classifier to New a Priori Probabilities, 2002), so nothing has to be fitted again.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from tlcli.arrays import Doubles, Floats, Indices
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import DataError, UsageError
from tlcli.text import counted

LabelWeights = Literal["balanced", "none"] | Sequence[float]
"""Every label counts the same, every image does, or an image of each label counts so much, [L]."""

# Of a table of labels; a larger file is something else.
_MOST_BYTES = 16 << 20
_NAMES_SHOWN = 3


def prior_shift(labels: Indices, solver: str, label_count: int, wanted: LabelWeights) -> Doubles:
    """Return what to add to the biases of a layer, [L], for the priors that weights ask for.

    Args:
        labels: of the training rows, [N].
        solver: what fitted the layer: "sgd", "lbfgs" or "lda".
        label_count: L; labels without rows get no shift.
        wanted: the weights.
    """
    counts = np.bincount(labels, minlength=label_count).astype(np.float64)
    present = counts > 0
    even = np.ones(label_count)
    if isinstance(wanted, str):
        priors = even if wanted == "balanced" else counts
    else:
        priors = counts * np.asarray(wanted, np.float64)
    fitted = even if solver == "sgd" else counts
    shift = np.zeros(label_count)
    shares = priors[present] / priors[present].sum()
    shift[present] = np.log(shares) - np.log(fitted[present] / fitted[present].sum())
    return shift


def shifted(layer: FinalLayer, shift: Doubles | None) -> FinalLayer:
    """Return the layer with ``shift`` [L] added to its biases; None or zeros keep its bytes."""
    if shift is None or not shift.any():
        return layer
    biases: Floats = (layer.biases + shift).astype(np.float32)
    return FinalLayer(layer.weights, biases)


def label_weights(given: str | None, labels: Sequence[str]) -> LabelWeights | None:
    """Return the weights that the value of ``--label_weights`` stands for.

    Args:
        given: "balanced", "none" or the path of a file; None: each solver's own.
        labels: names in output order.

    Raises:
        UsageError: a file names a label that there is not.
        DataError: the file cannot be read, or a weight is no number above 0.
    """
    if given is None or given == "balanced" or given == "none":
        return given  # type: ignore[return-value]  # mypy 1.13 keeps it as text
    found = read_label_weights(Path(given))
    unknown = sorted(set(found) - set(labels))
    if unknown:
        names = ", ".join(map(repr, unknown[:_NAMES_SHOWN]))
        if len(unknown) > _NAMES_SHOWN:
            names += f" and {counted(len(unknown) - _NAMES_SHOWN, 'more label')}"
        known = ", ".join(map(repr, labels[:_NAMES_SHOWN]))
        raise UsageError(
            f"--label_weights {given} has weights for {names}, which no image has; the labels are "
            f"{known}{' ...' if len(labels) > _NAMES_SHOWN else ''}"
        )
    return tuple(found.get(label, 1.0) for label in labels)


def read_label_weights(path: Path) -> Mapping[str, float]:
    """Return weights by label from a JSON object, or from a CSV table of label and weight.

    The first row of a table may be a heading.

    Raises:
        DataError: the file cannot be read, has no such content, or a weight is no number above 0.
    """
    wrong = f"--label_weights {path}"
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{wrong} is larger than a table of labels; give CSV or JSON")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{wrong} is not UTF-8 text; give CSV or JSON of label and weight"
        ) from error
    except OSError as error:
        raise DataError(
            f"{wrong} cannot be read: {error.strerror}; give balanced, none, or a CSV or JSON file "
            "of label and weight"
        ) from error
    pairs = _pairs(text, wrong)
    found: dict[str, float] = {}
    for label, value in pairs:
        if label in found:
            raise DataError(f"{wrong} has two weights for {label!r}; keep one")
        try:
            weight = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            weight = math.nan
        if not (0 < weight < math.inf):
            raise DataError(f"{wrong} gives {label!r} the weight {value!r}; give a number above 0")
        found[label] = weight
    if not found:
        raise DataError(f"{wrong} has no weights; give rows of label and weight")
    return found


def _pairs(text: str, wrong: str) -> list[tuple[str, object]]:
    if text.lstrip()[:1] in ("{", "["):
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{wrong} is not valid JSON ({error}); correct it") from error
        if not isinstance(content, dict):
            raise DataError(f'{wrong} is a JSON list; give an object, such as {{"daisy": 2}}')
        return list(content.items())
    rows: list[tuple[str, object]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            fields = next(csv.reader([line], delimiter=_delimiter(line)))
        except csv.Error as error:
            raise DataError(f"{wrong}, line {number}: {error}; give label,weight") from error
        if len(fields) != 2:
            raise DataError(
                f"{wrong}, line {number}: {counted(len(fields), 'field')}; give label,weight"
            )
        label, weight = (field.strip() for field in fields)
        if not rows and (label.lower(), weight.lower()) == ("label", "weight"):
            continue
        rows.append((label, weight))
    return rows


def _delimiter(line: str) -> str:
    return next((each for each in ("\t", ";") if each in line and "," not in line), ",")
