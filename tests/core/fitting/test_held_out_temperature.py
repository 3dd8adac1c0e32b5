"""The temperature of a fitted layer, from scores of rows that it was not fitted on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.core.final_layer.test_discriminant_analysis import clouds
from tlcli.core.calibration.reliability import reliability
from tlcli.core.evaluation.metrics import predict
from tlcli.core.final_layer.discriminant_analysis import fit_lda, held_out_scores
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import FinalLayer, SgdSettings
from tlcli.core.fitting.fit_layer import FitSettings, fit_layer, validation_temperature
from tlcli.core.fitting.held_out_temperature import cooled, cross_fitted
from tlcli.errors import TlcliError

# Steps that are so large that scores become far too sure.
RASH = SgdSettings(steps=200, learning_rate=1.0)


def halves(apart: float = 0.35) -> tuple[Samples, Samples]:
    """Return rows to train on and rows to test, of labels that overlap."""
    samples = clouds(600, 40, 3, apart)
    chosen = np.arange(len(samples)) % 2 == 0
    return samples.subset(chosen), samples.subset(~chosen)


@pytest.mark.parametrize("weights", [None, "balanced", "none", (1.0, 5.0, 0.2)])
@pytest.mark.parametrize("solver", ["sgd", "lbfgs", "lda"])
def test_a_temperature_changes_no_label(
    solver: str, weights: str | tuple[float, ...] | None
) -> None:
    training, testing = halves()
    plain = FitSettings(3, solver, RASH, weights)  # type: ignore[arg-type]
    before = fit_layer(training, None, (), plain)
    after = fit_layer(training, None, (), replace(plain, temperature=None))
    assert before.temperature == 1
    found = [predict(each.layer, testing) for each in (before, after)]
    assert (found[0].labels == found[1].labels).all()


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_scores_that_are_too_sure_become_truer(solver: str) -> None:
    training, testing = halves()
    plain = FitSettings(3, solver, RASH, l2_strength=1e-6)
    found = []
    for temperature in (1.0, None):
        fitted = fit_layer(training, None, (), replace(plain, temperature=temperature))
        predicted = predict(fitted.layer, testing)
        measured = reliability(predicted.score, predicted.labels == testing.labels)
        assert measured is not None
        found.append((measured.error, fitted.temperature))
    assert found[1][1] > 1.1
    assert found[1][0] < found[0][0]


def test_a_given_temperature_divides_the_scores_and_one_keeps_the_bytes() -> None:
    training, testing = halves()
    plain = FitSettings(3, "lbfgs", l2_strength=1e-3)
    layer = fit_layer(training, None, (), plain).layer
    half = fit_layer(training, None, (), replace(plain, temperature=2.0)).layer
    vectors = testing.gathered()
    np.testing.assert_allclose(half.logits(vectors), layer.logits(vectors) / 2, atol=1e-5)
    assert cooled(layer, 1.0) is layer


@pytest.mark.parametrize("size", [40, 400])  # more rows than values, and fewer
def test_scores_of_held_out_rows_are_those_of_analyses_of_the_others(size: int) -> None:
    samples = clouds(90, size, 3)
    analysis = fit_lda(samples, 4)
    found = held_out_scores(samples, 4, analysis, 20)
    assert found is not None
    scores, labels = found
    assert scores.shape == (90, 4)
    assert sorted(labels) == sorted(samples.labels)
    assert (scores.argmax(axis=1) == labels).mean() > 0.5
    assert (scores[:, 3] < scores[:, :3].min(axis=1) - 20).all()  # no row has that label


def test_many_validation_rows_take_the_place_of_fits() -> None:
    training, validation = halves()
    settings = FitSettings(3, "lbfgs", l2_strength=1e-6, temperature=None)
    found = fit_layer(training, validation, (), settings).temperature
    few = validation.at(np.arange(40))
    assert found != fit_layer(training, None, (), settings).temperature
    assert fit_layer(training, few, (), settings).temperature != found


def test_a_fine_tuned_layer_takes_validation_rows_however_few() -> None:
    training, validation = halves()
    plain = FitSettings(3, "lda")
    sure = cooled(fit_layer(training, None, (), plain).layer, 0.3)
    few = validation.at(np.arange(60))
    asked = replace(plain, temperature=None)
    assert 1.5 < validation_temperature(sure, training, few, asked) < 5
    assert validation_temperature(sure, training, few, plain) == 1
    assert validation_temperature(sure, training, few.at(np.arange(0)), asked) == 1


def test_fits_that_fail_and_rows_that_cannot_be_held_out_leave_the_scores() -> None:
    training, _ = halves()

    def fails(rows: Samples) -> FinalLayer:
        raise TlcliError("diverged")

    assert cross_fitted(training, fails) is None
    single = training.at(np.unique(training.labels, return_index=True)[1])
    for solver in ("lbfgs", "lda"):
        settings = FitSettings(3, solver, temperature=None)
        assert fit_layer(single, None, (), settings).temperature == 1
