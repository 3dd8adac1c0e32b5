"""The fit of one run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrain.arguments.options import RetrainOptions
from retrain.fitting import Observers, fit, training_samples
from retrain.folds import cross_validate_fit
from retrain.inputs import Inputs
from tests.core.final_layer.test_sgd import make_samples
from tlcli.backbone import FeatureBlock
from tlcli.core.data.image_list import ImageFile
from tlcli.core.evaluation.metrics import evaluate_layer
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import fit_sgd

COUNTS = {"training": 60, "validation": 30, "testing": 10}


@pytest.fixture
def inputs() -> Inputs:
    found = make_samples(sum(COUNTS.values()))
    count = len(found)
    return Inputs(
        labels=("a", "b", "c"),
        images=(ImageFile(None, "a", "a/1.jpg", "a"),) * count,
        contents=(None,) * count,
        targets=found.labels.astype(np.int64),
        splits=tuple(split for split, number in COUNTS.items() for _ in range(number)),
        vectors=found.vectors,
        views=np.zeros((0, found.size), np.float32),
        view_rows=np.zeros(0, np.int64),
    )


def options(**chosen: object) -> RetrainOptions:
    return RetrainOptions(image_dir=Path("photos"), **chosen)


def test_the_curve_ends_with_what_the_layer_reaches(inputs: Inputs) -> None:
    chosen = options(how_many_training_steps=400, eval_step_interval=150)
    fitted = fit(inputs, chosen)
    part = inputs.part("validation")
    validation = Samples(inputs.vectors[part], inputs.targets[part])
    last = fitted.curve[-1]
    assert (last.step, last.validation_count) == (399, 30)
    assert last.validation_accuracy == evaluate_layer(fitted.layer, validation).accuracy
    assert [point.step for point in fitted.curve] == sorted({p.step for p in fitted.curve})
    assert fitted.curve[0].training_cross_entropy > last.training_cross_entropy


def test_measuring_changes_no_bit_of_the_layer(inputs: Inputs) -> None:
    part = inputs.part("training")
    training = Samples(inputs.vectors[part], inputs.targets[part])
    plain = fit_sgd(training, 3)
    assert fit(inputs, options()).layer.weights.tobytes() == plain.weights.tobytes()


@pytest.mark.parametrize(("rate", "warnings"), [(1000, 1), (1, 0)])
def test_a_large_learning_rate_is_warned_of(
    inputs: Inputs, rate: float, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    fit(inputs, options(learning_rate=rate, how_many_training_steps=20))
    found = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(found) == warnings
    assert all("--learning_rate 1000 is far above the usual 0.001 to 1" in each for each in found)


def test_logistic_regression_has_no_curve(inputs: Inputs) -> None:
    assert fit(inputs, options(solver="lbfgs")).curve == []


@pytest.mark.parametrize("solver", ["sgd", "lbfgs", "lda"])
def test_a_cross_validation_trains_on_what_the_fit_trains_on(inputs: Inputs, solver: str) -> None:
    """Views that are the vectors of the next label lead every fold astray."""
    names = [ImageFile(None, "a", f"a/{n}.jpg", "a") for n in range(len(inputs.images))]
    whole = replace(inputs, images=tuple(names))
    chosen = options(solver=solver, cross_validate=5, how_many_training_steps=300)
    right = cross_validate_fit(whole, chosen)
    rows = np.arange(len(names))
    of_label = [np.flatnonzero(inputs.targets == label) for label in range(3)]
    others = [of_label[(label + 1) % 3] for label in inputs.targets]
    other = [rows_of[row % len(rows_of)] for row, rows_of in enumerate(others)]
    views = replace(whole, views=inputs.vectors[other], view_rows=rows)
    astray = cross_validate_fit(views, chosen)
    assert right.result.accuracy > 0.8
    assert astray.result.accuracy < 0.2
    training = training_samples(views)
    assert len(training) == COUNTS["training"]
    np.testing.assert_array_equal(training.groups, rows[: COUNTS["training"]])


def test_a_finished_fit_that_is_picked_up_has_one_point(inputs: Inputs, tmp_path: Path) -> None:
    chosen = options(how_many_training_steps=50, checkpoint_path=tmp_path / "fit")
    first = fit(inputs, chosen, Observers())
    again = fit(inputs, chosen, Observers())
    assert again.curve == first.curve[-1:]


@pytest.mark.parametrize("solver", ["sgd", "lda"])
def test_vectors_of_several_layers_are_scaled_and_the_layer_takes_plain_ones(
    inputs: Inputs, solver: str
) -> None:
    size = inputs.bottleneck_size
    noise = np.random.Generator(np.random.Philox(0)).standard_normal(inputs.vectors.shape) * 1e4
    joined = replace(
        inputs,
        vectors=np.concatenate([noise, inputs.vectors], axis=1).astype(np.float32),
        blocks=(FeatureBlock("noise", size), FeatureBlock("signal", size, 4.0)),
    )
    chosen = options(solver=solver, how_many_training_steps=300)
    fitted = fit(joined, chosen)
    part = joined.part("validation")
    validation = Samples(joined.vectors[part], joined.targets[part])
    assert (evaluate_layer(fitted.layer, validation).accuracy or 0) > 0.8
    assert solver == "lda" or fitted.curve[-1].validation_accuracy == pytest.approx(
        evaluate_layer(fitted.layer, validation).accuracy
    )
