"""One fit for every solver, over vectors of one layer or of several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.core.final_layer.test_discriminant_analysis import clouds
from tlcli.backbone import FeatureBlock
from tlcli.core.evaluation.metrics import evaluate_layer
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import SgdSettings, fit_sgd
from tlcli.core.fitting.fit_layer import SOLVERS, FitSettings, fit_layer
from tlcli.errors import DataError

SHORT = SgdSettings(steps=300)


def two_layers(count: int = 240) -> tuple[Samples, tuple[FeatureBlock, ...]]:
    """Return samples whose second block is informative and ten thousand times smaller."""
    samples = clouds(count, 40, 3)
    noise = 1e4 * clouds(count, 20, 1, seed=5).vectors
    vectors = np.concatenate([noise, samples.vectors], axis=1)
    return Samples(vectors, samples.labels), (FeatureBlock("noise", 20), FeatureBlock("signal", 40))


@pytest.mark.parametrize("solver", SOLVERS)
def test_blocks_of_any_scale_count_as_their_weights_ask(solver: str) -> None:
    samples, blocks = two_layers()
    chosen = np.arange(len(samples)) < 160
    fitted = fit_layer(samples.subset(chosen), None, blocks, FitSettings(3, solver, SHORT))
    assert fitted.solver == solver.replace("auto", "lda")
    assert (evaluate_layer(fitted.layer, samples.subset(~chosen)).accuracy or 0) > 0.85


def test_one_block_keeps_the_bytes_of_its_solver() -> None:
    samples = clouds(60, 20, 3)
    blocks = (FeatureBlock("head", 20, 4.0),)
    found = fit_layer(samples, None, blocks, FitSettings(3, "sgd", SHORT))
    assert found.layer.weights.tobytes() == fit_sgd(samples, 3, SHORT).weights.tobytes()


def test_a_solver_for_which_memory_is_too_small_is_not_chosen_and_not_begun() -> None:
    samples = clouds(60, 20, 3, 2.0)
    little = FitSettings(3, "auto", SgdSettings(steps=20), memory=8 * 3 * 21 * 24 - 1)
    compared = fit_layer(samples, None, (), little).details["compared"]
    assert [each["solver"] for each in compared] == ["lda", "sgd"]
    enough = replace(little, memory=8 * 3 * 21 * 24)
    compared = fit_layer(samples, None, (), enough).details["compared"]
    assert [each["solver"] for each in compared] == ["lda", "lbfgs", "sgd"]
    with pytest.raises(DataError, match=r"needs 12\.1 KB for 3 labels, and 12\.1 KB are free"):
        fit_layer(samples, None, (), replace(little, solver="lbfgs"))
    assert fit_layer(samples, None, (), replace(enough, solver="lbfgs")).solver == "lbfgs"
