"""One fit for every solver, over vectors of one layer or of several."""

from __future__ import annotations

import os
import subprocess
import sys
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


_DIGEST = """
import hashlib, sys
import numpy as np
from tlcli.backbone import FeatureBlock
from tlcli.core.final_layer.samples import Samples
from tlcli.core.fitting.fit_layer import FitSettings, fit_layer

found = hashlib.sha256()
for rows, size, labels in ((400, 900, 3), (900, 400, 3), (900, 420, 70)):
    draw = np.random.default_rng(1)
    means, own = draw.normal(size=(labels, size)), np.arange(rows) % labels
    vectors = (0.3 * means[own] + draw.normal(size=(rows, size))).astype(np.float32)
    blocks = [FeatureBlock("head", size - 50, 2.0), FeatureBlock("block", 50, 1.0)]
    for solver in ("lda", "lbfgs"):
        settings = FitSettings(labels, solver, temperature=None)
        layer = fit_layer(Samples(vectors, own), None, blocks, settings).layer
        found.update(layer.weights.tobytes() + layer.biases.tobytes())
print(found.hexdigest())
"""


def test_the_bytes_do_not_depend_on_the_threads_of_the_library_of_products() -> None:
    """Other threads of a run change their number at any time."""
    digests = [
        subprocess.run(
            [sys.executable, "-c", _DIGEST],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    ]
    assert digests[0] == digests[1] != ""
