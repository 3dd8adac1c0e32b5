"""How much the images of a label count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.final_layer.test_discriminant_analysis import clouds
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import SgdSettings
from tlcli.core.fitting.fit_layer import FitSettings, fit_layer
from tlcli.core.fitting.label_weights import (
    LabelWeights,
    label_weights,
    prior_shift,
    read_label_weights,
)
from tlcli.errors import DataError, UsageError

SHORT = SgdSettings(steps=100)


def uneven(counts: tuple[int, ...] = (60, 20, 10)) -> Samples:
    labels = np.repeat(np.arange(len(counts)), counts)
    return Samples(clouds(len(labels), 8, len(counts), 1.0).vectors, labels)


def fitted(solver: str, weights: LabelWeights | None) -> np.ndarray:
    samples = uneven()
    found = fit_layer(samples, None, (), FitSettings(3, solver, SHORT, weights))
    return np.log(found.layer.probabilities(samples.vectors).astype(np.float64))


@pytest.mark.parametrize("solver", ["sgd", "lbfgs", "lda"])
def test_balanced_and_none_differ_by_the_shares_of_the_labels(solver: str) -> None:
    balanced, none = fitted(solver, "balanced"), fitted(solver, "none")
    difference = none - balanced
    difference -= difference[:, :1]
    np.testing.assert_allclose(difference - np.log([1, 20 / 60, 10 / 60]), 0, atol=1e-3)


@pytest.mark.parametrize(
    ("solver", "own"), [("sgd", "balanced"), ("lbfgs", "none"), ("lda", "none")]
)
def test_without_the_option_each_solver_has_its_own(solver: str, own: LabelWeights) -> None:
    np.testing.assert_array_equal(fitted(solver, None), fitted(solver, own))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=3, max_size=3), st.sampled_from(["sgd", "lda"]))
def test_weights_multiply_the_odds_whatever_their_sum(weights: list[float], solver: str) -> None:
    labels = uneven().labels
    ones = prior_shift(labels, solver, 3, (1.0, 1.0, 1.0))
    np.testing.assert_allclose(ones, prior_shift(labels, solver, 3, "none"), atol=1e-12)
    found = prior_shift(labels, solver, 3, weights) - ones
    np.testing.assert_allclose(found - found[0], np.log(weights) - np.log(weights[0]), atol=1e-9)
    scaled = prior_shift(labels, solver, 3, [7 * each for each in weights])
    np.testing.assert_allclose(scaled, prior_shift(labels, solver, 3, weights), atol=1e-9)


def test_a_label_without_images_stays_as_it_is() -> None:
    assert prior_shift(np.array([0, 0, 2]), "lda", 4, "balanced")[[1, 3]].tolist() == [0, 0]


@pytest.mark.parametrize(
    "text",
    [
        "label,weight\nroses,2\ntulips, 0.5\n",
        "roses,2\ntulips,0.5",
        "\ufeffroses\t2\n\ntulips\t0.5\n",
    ],
)
def test_a_table_of_weights(text: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.csv"
    path.write_text(text, encoding="utf-8")
    assert read_label_weights(path) == {"roses": 2, "tulips": 0.5}
    assert label_weights(str(path), ["daisy", "roses", "tulips"]) == (1, 2, 0.5)


def test_weights_as_json(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    path.write_text('{"roses": 2, "a, b": 3}')
    assert label_weights(str(path), ["a, b", "roses"]) == (3, 2)
    assert label_weights("balanced", ["roses"]) == "balanced"
    assert label_weights(None, ["roses"]) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("roses,0\n", "gives 'roses' the weight '0'; give a number above 0"),
        ("roses,-1\n", "above 0"),
        ("roses,nan\n", "above 0"),
        ("roses,inf\n", "above 0"),
        ("roses,many\n", "above 0"),
        ('{"roses": true}', "above 0"),
        ('{"roses": [1]}', "above 0"),
        ("roses,1\nroses,2\n", "two weights for 'roses'"),
        ("roses\n", "line 1: 1 field; give label,weight"),
        ("roses,1,2\n", "line 1: 3 fields"),
        ("", "has no weights"),
        ("label,weight\n", "has no weights"),
        ("[1, 2]", "JSON list"),
        ('{"roses": ', "not valid JSON"),
        ("\udcff", "UTF-8"),
    ],
)
def test_files_that_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.csv"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(DataError, match=message):
        read_label_weights(path)


def test_unknown_labels_and_absent_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.csv"
    path.write_text("rose,2\n")
    with pytest.raises(UsageError, match="'rose', which no image has; the labels are 'roses'"):
        label_weights(str(path), ["roses"])
    with pytest.raises(DataError, match="give balanced, none, or a CSV or JSON file"):
        label_weights("even", ["roses"])
    with pytest.raises(DataError, match="cannot be read"):
        read_label_weights(tmp_path)
