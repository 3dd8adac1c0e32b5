"""How much of a training is kept: the share of its end, the final layer, and the temperature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Floats, Indices
from tlcli.core.final_layer.sgd import FinalLayer

SHARES = (0.5, 0.25, 0.75, 1.0)
"""Shares of the end in the average of start and end; the first one is used unless another has a
lower validation cross entropy (Wortsman et al., 2022, "Robust fine-tuning of zero-shot models")."""
FEWEST_IMAGES = 20
"""Validation images below which nothing is chosen by them."""

_TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(5), 65))


@dataclass(frozen=True)
class Tempered:
    """A cross entropy at the best temperature.

    Attributes:
        cross_entropy: mean over the images, in nats.
        temperature: what the logits are divided by.
    """

    cross_entropy: float
    temperature: float

    def cooled(self, layer: FinalLayer) -> FinalLayer:
        """Return the layer whose logits are divided by the temperature."""
        factor = np.float32(1 / self.temperature)
        return FinalLayer(layer.weights * factor, layer.biases * factor)


def tempered(layer: FinalLayer, vectors: Floats, labels: Indices) -> Tempered:
    """Return the lowest cross entropy of a layer over all temperatures from 1/5 to 5.

    Networks are compared by it, as a label smoothing and a solver's strength change how sure a
    network is, and a temperature undoes that (Guo et al., 2017).

    Args:
        layer: the final layer.
        vectors: of the images, [N, D].
        labels: index of each image's label, [N].
    """
    logits = layer.logits(vectors).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    true = logits[np.arange(len(labels)), labels]
    best = Tempered(np.inf, 1.0)
    # From 1 outwards: of equal temperatures the one that changes least.
    for temperature in sorted(_TEMPERATURES, key=lambda each: abs(np.log(each))):
        sums = np.log(np.exp(logits / temperature).sum(axis=1))
        entropy = float((sums - true / temperature).mean())
        if entropy < best.cross_entropy:
            best = Tempered(entropy, float(temperature))
    return best
