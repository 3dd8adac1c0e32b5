"""Ways to a classifier: the presets of `tlcli retrain`, and scikit-learn on the same vectors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from retrain.presets.choice import PRESETS
from tlcli.backbone import Backbone, FeatureBlock
from tlcli.backbones.resolve import resolve
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import SgdSettings
from tlcli.core.fitting.fit_layer import FitSettings, fit_layer

DEFAULT_MODULE = "efficientnet_lite0"
JOINED_MODULES = "efficientnet_lite0+efficientnet_lite1+efficientnet_lite2"
# Of more values one fit takes ten seconds.
_LARGEST_ANALYSIS = 1500

Predict = Callable[[np.ndarray], np.ndarray]
Fit = Callable[[Samples, Sequence[FeatureBlock], int, int], Predict]
"""(training, blocks, label count, seed) -> (vectors [N, D] -> labels [N])."""


@dataclass(frozen=True)
class Recipe:
    """How to fit, and on which vectors.

    Attributes:
        name: for the table.
        module: value of ``--module``.
        layers: "head" or "ms".
        fit: the fit.
        largest: of more values per vector it is left out.
        most_seeds: divisions into folds at most, of a fit that takes seconds.
        on_stored: whether it is measured on vectors without photos, where layers and backbone
            have no say.
    """

    name: str
    module: str
    layers: str
    fit: Fit
    largest: int | None = None
    most_seeds: int | None = None
    on_stored: bool = True

    def backbone(self) -> Backbone:
        """Return the backbone with the layers that the recipe reads."""
        backbone = resolve(self.module)
        if self.layers == "head":
            return backbone
        from tlcli.backbones.layers.pooled_maps import with_pooled_maps

        return with_pooled_maps(backbone)


def _by_solver(solver: str) -> Fit:
    def fit(
        training: Samples, blocks: Sequence[FeatureBlock], label_count: int, seed: int
    ) -> Predict:
        settings = FitSettings(label_count, solver, SgdSettings(seed=seed))
        layer = fit_layer(training, None, blocks, settings).layer
        return lambda vectors: layer.logits(vectors).argmax(axis=1)

    return fit


def _scikit_logistic(
    training: Samples, blocks: Sequence[FeatureBlock], label_count: int, seed: int
) -> Predict:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(max_iter=300).fit(training.gathered(), training.labels)
    return lambda vectors: np.asarray(model.predict(vectors))


def _scikit_analysis(
    training: Samples, blocks: Sequence[FeatureBlock], label_count: int, seed: int
) -> Predict:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    model.fit(training.gathered(), training.labels)
    return lambda vectors: np.asarray(model.predict(vectors))


def recipes() -> dict[str, Recipe]:
    """Return all recipes by name, "original" first."""
    found = {}
    for name, preset in PRESETS.items():
        module = JOINED_MODULES if preset.joins else DEFAULT_MODULE
        layers = preset.settings.get("layers", "head")
        fit = _by_solver(preset.settings["solver"])
        found[name] = Recipe(name, module, layers, fit, on_stored=name in ("original", "standard"))
    for layers in ("head", "ms"):
        name = f"scikit-learn, logistic regression, {layers}"
        seeds = None if layers == "head" else 1
        on_stored = layers == "head"
        found[name] = Recipe(
            name, DEFAULT_MODULE, layers, _scikit_logistic, most_seeds=seeds, on_stored=on_stored
        )
    name = "scikit-learn, LDA, head"
    found[name] = Recipe(
        name, DEFAULT_MODULE, "head", _scikit_analysis, largest=_LARGEST_ANALYSIS, most_seeds=1
    )
    return found
