"""What a training starts from, and how much of it is kept: shares, temperatures, both networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Doubles, Floats, Indices
from tlcli.core.final_layer.sgd import FinalLayer

SHARES = (0.5, 0.25, 0.75, 1.0)
"""Shares of the end in the average of start and end; the first one is used unless another has a
lower validation cross entropy (Wortsman et al., 2022, "Robust fine-tuning of zero-shot models")."""
FEWEST_IMAGES = 20
"""Validation images below which nothing is chosen by them, and a gain must exceed its noise."""

_TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(5), 65))
# A temperature of 2 is one deviation from 1: without it, a few images that are all right would
# have a cross entropy near 0, whatever the network.
_DEVIATION = np.log(2)
# Weakly regularised layers have logits in the hundreds.
_START_TEMPERATURES = 1.05 ** np.arange(-60, 128)


@dataclass(frozen=True)
class Tempered:
    """A cross entropy at the best temperature.

    Attributes:
        losses: cross entropy of each image, in nats, [N].
        temperature: what the logits are divided by.
    """

    losses: Doubles
    temperature: float

    @property
    def cross_entropy(self) -> float:
        """The mean over the images, in nats."""
        return float(self.losses.mean())

    def cooled(self, layer: FinalLayer) -> FinalLayer:
        """Return the layer whose logits are divided by the temperature."""
        return _divided(layer, self.temperature)


def tempered(layer: FinalLayer, vectors: Floats, labels: Indices) -> Tempered:
    """Return the cross entropy of a layer at the most likely temperature from 1/5 to 5.

    Networks are compared by it, as a label smoothing and a solver's strength change how sure a
    network is, and a temperature undoes that (Guo et al., 2017). The fewer images there are, the
    closer to 1 it stays.

    Args:
        layer: the final layer.
        vectors: of the images, [N, D].
        labels: index of each image's label, [N].
    """
    best, least = Tempered(np.zeros(0), 1.0), np.inf
    # From 1 outwards: of equal temperatures the one that changes least.
    logits = layer.logits(vectors)
    for temperature in sorted(_TEMPERATURES, key=lambda each: abs(np.log(each))):
        losses = -_log_probabilities(logits, temperature)[np.arange(len(labels)), labels]
        unlikely = losses.sum() + 0.5 * (np.log(temperature) / _DEVIATION) ** 2
        if unlikely < least:
            best, least = Tempered(losses, float(temperature)), unlikely
    return best


def gains(before: Tempered, after: Tempered) -> bool:
    """Return whether the same images have a lower cross entropy after a training than before it.

    With fewer than `FEWEST_IMAGES` it must be lower by more than the standard error of the
    difference; one image decides nothing.
    """
    differences = before.losses - after.losses
    count = len(differences)
    if count >= FEWEST_IMAGES:
        return bool(differences.mean() > 0)
    return count > 1 and bool(differences.mean() > differences.std(ddof=1) / np.sqrt(count))


def softened(layer: FinalLayer, vectors: Floats, labels: Indices, smoothing: float) -> FinalLayer:
    """Return a layer at the temperature that suits a training with label smoothing best.

    A layer of a weak regularisation has logits so far apart that the first steps of a training
    would only bring them down, and take the network to where no average with its start works.

    Args:
        layer: the final layer.
        vectors: of images, [N, D], N at least 1.
        labels: index of each image's label, [N].
        smoothing: probability that is spread evenly over all labels.
    """
    best, least = layer, np.inf
    logits, rows = layer.logits(vectors), np.arange(len(labels))
    for temperature in sorted(_START_TEMPERATURES, key=lambda each: abs(np.log(each))):
        logs = _log_probabilities(logits, temperature)
        loss = -((1 - smoothing) * logs[rows, labels].mean() + smoothing * logs.mean())
        if loss < least:
            best, least = _divided(layer, temperature), loss
    return best


def side_by_side(first: FinalLayer, second: FinalLayer) -> FinalLayer:
    """Return a layer over both layers' vectors, one after another, that averages their logits."""
    weights = np.concatenate([first.weights, second.weights]) / np.float32(2)
    return FinalLayer(weights, (first.biases + second.biases) / np.float32(2))


def _divided(layer: FinalLayer, temperature: float) -> FinalLayer:
    factor = np.float32(1 / temperature)
    return FinalLayer(layer.weights * factor, layer.biases * factor)


def _log_probabilities(logits: Floats, temperature: float) -> Doubles:
    divided = logits.astype(np.float64) / temperature
    divided -= divided.max(axis=1, keepdims=True)
    logs: Doubles = divided - np.log(np.exp(divided).sum(axis=1, keepdims=True))
    return logs
