from __future__ import annotations

import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from tlcli.core.bottlenecks.text_files import import_folder
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sampling import LabelSampler, truncated_normal
from tlcli.core.final_layer.sgd import (
    FinalLayer,
    SgdFit,
    SgdSettings,
    SgdState,
    StepStatistics,
    fit_sgd,
    softmax,
)
from tlcli.errors import DataError, TlcliError, UsageError


def make_samples(rows: int = 60, size: int = 7, labels: int = 3, seed: int = 1) -> Samples:
    generator = np.random.default_rng(seed)
    truth = np.arange(rows) % labels
    centres = generator.normal(size=(labels, size)) * 2
    vectors = centres[truth] + generator.normal(size=(rows, size))
    return Samples(vectors.astype(np.float32), truth)


def plain_fit(samples: Samples, label_count: int, settings: SgdSettings) -> FinalLayer:
    """Fit step by step in float64, with the batches and the start of the fit under test."""
    size = samples.vectors.shape[1]
    weights = truncated_normal((size, label_count), 0.001, settings.seed, 0).astype(np.float64)
    biases = np.zeros(label_count)
    sampler = LabelSampler(samples.labels, settings.train_batch_size, settings.seed, 1)
    for step in range(settings.steps):
        rows = sampler.at(step)
        batch = samples.vectors[rows].astype(np.float64)
        exponents = np.exp(batch @ weights + biases)
        slope = exponents / exponents.sum(axis=1, keepdims=True)
        slope -= np.eye(label_count)[samples.labels[rows]]
        slope /= len(rows)
        weights -= settings.learning_rate * batch.T @ slope
        biases -= settings.learning_rate * slope.sum(axis=0)
    return FinalLayer(weights.astype(np.float32), biases.astype(np.float32))


def accuracy_and_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    chosen = softmax(logits)[np.arange(len(labels)), labels]
    return float((logits.argmax(axis=1) == labels).mean()), float(-np.log(chosen).mean())


@pytest.mark.parametrize(
    ("size", "labels", "batch"),
    [
        (7, 3, 5),
        (7, 3, -1),
        (7, 1, 1),
        (1001, 6, 100),
        (2048, 5, 100),
        (2048, 2, 103),
        (5000, 3, 50),
        (301, 90, 60),
        (30, 600, 60),
    ],
)
def test_equals_plain_gradient_descent(size: int, labels: int, batch: int) -> None:
    samples = make_samples(200, size, labels)
    settings = SgdSettings(steps=20, learning_rate=0.1, train_batch_size=batch, seed=3)
    layer = fit_sgd(samples, labels, settings)
    expected = plain_fit(samples, labels, settings)
    np.testing.assert_allclose(layer.weights, expected.weights, atol=2e-4)
    np.testing.assert_allclose(layer.biases, expected.biases, atol=2e-4)
    assert layer.weights.dtype == layer.biases.dtype == np.float32


def test_rows_of_a_larger_matrix_are_fitted_like_a_copy_of_them() -> None:
    whole = make_samples(300, 40, 4)
    rows = np.flatnonzero(np.arange(300) % 3 > 0)[::-1]
    copied = Samples(whole.vectors[rows], whole.labels[rows])
    chosen = Samples(whole.vectors, whole.labels[rows], rows)
    np.testing.assert_array_equal(chosen.gathered(), copied.vectors)
    for size in (20, -1):
        settings = SgdSettings(steps=30, train_batch_size=size, validation_batch_size=size)
        seen: list[list[StepStatistics]] = [[], []]
        layers = [
            fit_sgd(samples, 4, settings, validation=samples, on_evaluation=into.append)
            for samples, into in zip((copied, chosen), seen, strict=True)
        ]
        assert layers[0].weights.tobytes() == layers[1].weights.tobytes()
        assert seen[0] == seen[1]


@pytest.mark.parametrize("rows", [[0, 5], [-1], [[0, 1]]])
def test_samples_that_do_not_match_are_refused(rows: list[int]) -> None:
    with pytest.raises(ValueError, match=r"match|beyond"):
        Samples(np.zeros((5, 2), np.float32), np.zeros(len(rows), np.intp), np.array(rows))


def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    program = """if True:
        import hashlib
        import numpy as np
        from tlcli.core.final_layer.samples import Samples
        from tlcli.core.final_layer.sgd import SgdSettings, fit_sgd
        digest = hashlib.sha256()
        for size, labels in ((2048, 3), (1280, 5), (1001, 51)):
            vectors = np.random.default_rng(0).random((200, size), np.float32)
            samples = Samples(vectors, np.arange(200) % labels)
            seen, settings = [], SgdSettings(steps=21)
            layer = fit_sgd(
                samples, labels, settings, validation=samples, on_evaluation=seen.append
            )
            digest.update(layer.weights.tobytes() + layer.biases.tobytes() + repr(seen).encode())
        print(digest.hexdigest())
    """
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for threads in ("1", "2", "7")
    }
    assert len(digests) == 1


def test_same_seed_same_bits_and_other_seed_others() -> None:
    samples = make_samples()
    one, two = (fit_sgd(samples, 3, SgdSettings(steps=70, seed=5)) for _ in range(2))
    other = fit_sgd(samples, 3, SgdSettings(steps=70, seed=6))
    assert one.weights.tobytes() == two.weights.tobytes()
    assert one.biases.tobytes() == two.biases.tobytes()
    assert one.weights.tobytes() != other.weights.tobytes()


@pytest.mark.parametrize("cut", [1, 63, 64, 65, 149])
def test_fit_goes_on_from_a_state_with_the_same_bits(cut: int) -> None:
    samples = make_samples()
    whole = fit_sgd(samples, 3, SgdSettings(steps=150))
    states: list[SgdState] = []

    def keep(state: SgdState) -> None:
        if state.steps_done == cut:
            states.append(deepcopy(state))

    fit_sgd(samples, 3, SgdSettings(steps=150), on_step=keep)
    resumed = fit_sgd(samples, 3, SgdSettings(steps=150), start=states[0])
    assert resumed.weights.tobytes() == whole.weights.tobytes()
    assert resumed.biases.tobytes() == whole.biases.tobytes()


def test_state_is_whole_when_interrupted_anywhere() -> None:
    samples = make_samples()
    whole = fit_sgd(samples, 3, SgdSettings(steps=50))

    def interrupt(statistics: StepStatistics) -> None:
        if statistics.step == 20:
            raise KeyboardInterrupt

    fit = SgdFit(samples, 3, SgdSettings(steps=50))
    with pytest.raises(KeyboardInterrupt):
        fit.run(on_evaluation=interrupt)
    assert fit.state.steps_done == 21
    resumed = fit_sgd(samples, 3, SgdSettings(steps=50), start=fit.state)
    assert resumed.weights.tobytes() == whole.weights.tobytes()


def test_a_run_that_raised_may_be_run_again() -> None:
    samples = make_samples()
    fit = SgdFit(samples, 3, SgdSettings(steps=50))

    def interrupt(state: SgdState) -> None:
        if state.steps_done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit.run(on_step=interrupt)
    assert (
        fit.run().weights.tobytes() == fit_sgd(samples, 3, SgdSettings(steps=50)).weights.tobytes()
    )


def test_measures_at_intervals_and_at_the_last_step() -> None:
    seen: list[StepStatistics] = []
    settings = SgdSettings(steps=27, eval_step_interval=10, validation_batch_size=12)
    fit_sgd(make_samples(), 3, settings, validation=make_samples(9), on_evaluation=seen.append)
    assert [statistics.step for statistics in seen] == [0, 10, 20, 26]
    assert [statistics.validation_count for statistics in seen] == [12] * 4
    assert all(0 <= statistics.train_accuracy <= 1 for statistics in seen)
    assert seen[-1].cross_entropy < seen[0].cross_entropy


def test_measures_the_batch_of_the_step_after_its_update() -> None:
    samples, seen = make_samples(), []
    settings = SgdSettings(steps=11)
    layer = fit_sgd(samples, 3, settings, on_evaluation=seen.append)
    rows = LabelSampler(samples.labels, 100, 0, 1).at(10)
    logits = layer.logits(samples.vectors[rows])
    accuracy, loss = accuracy_and_cross_entropy(logits, samples.labels[rows])
    assert seen[-1].train_accuracy == pytest.approx(accuracy)
    assert seen[-1].cross_entropy == pytest.approx(loss, rel=1e-5)


def test_measures_drawn_validation_rows_beside_the_batch() -> None:
    samples, validation, seen = make_samples(), make_samples(40, seed=2), []
    settings = SgdSettings(steps=11)
    layer = fit_sgd(samples, 3, settings, validation=validation, on_evaluation=seen.append)
    for part, stream, block in ((samples, 1, 64), (validation, 2, 1)):
        rows = LabelSampler(part.labels, 100, 0, stream, block=block).at(10)
        logits = layer.logits(part.vectors[rows])
        accuracy, loss = accuracy_and_cross_entropy(logits, part.labels[rows])
        measured = seen[-1]
        if part is samples:
            assert measured.train_accuracy == pytest.approx(accuracy)
            assert measured.cross_entropy == pytest.approx(loss, rel=1e-5)
        else:
            assert measured.validation_accuracy == pytest.approx(accuracy)
            assert measured.validation_cross_entropy == pytest.approx(loss, rel=1e-5)


def test_validation_of_minus_one_takes_all_and_of_none_is_none() -> None:
    samples, seen = make_samples(), []
    settings = SgdSettings(steps=5, validation_batch_size=-1)
    validation = make_samples(17, seed=2)
    layer = fit_sgd(samples, 3, settings, validation=validation, on_evaluation=seen.append)
    accuracy, _ = accuracy_and_cross_entropy(layer.logits(validation.vectors), validation.labels)
    assert seen[-1].validation_count == 17
    assert seen[-1].validation_accuracy == pytest.approx(accuracy)
    empty = Samples(np.empty((0, 7), np.float32), np.empty(0, np.intp))
    fit_sgd(samples, 3, settings, validation=empty, on_evaluation=seen.append)
    assert seen[-1].validation_accuracy is None
    assert seen[-1].validation_count == 0


def test_measuring_does_not_change_the_fit() -> None:
    samples = make_samples()
    quiet = fit_sgd(samples, 3, SgdSettings(steps=40))
    seen: list[StepStatistics] = []
    settings = SgdSettings(steps=40, eval_step_interval=3)
    measured = fit_sgd(samples, 3, settings, validation=samples, on_evaluation=seen.append)
    assert quiet.weights.tobytes() == measured.weights.tobytes()


def test_a_finished_fit_still_tells_how_it_ended() -> None:
    samples, seen = make_samples(), []
    fit = SgdFit(samples, 3, SgdSettings(steps=12))
    fit.run(on_evaluation=seen.append)
    again = []
    fit_sgd(samples, 3, SgdSettings(steps=12), start=fit.state, on_evaluation=again.append)
    assert again == seen[-1:]


def test_diverging_fit_names_the_learning_rate() -> None:
    samples = make_samples()
    large = Samples(samples.vectors * np.float32(1e30), samples.labels)
    with pytest.raises(TlcliError, match="--learning_rate 1e\\+20; use a smaller one"):
        fit_sgd(large, 3, SgdSettings(steps=50, learning_rate=1e20))


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"steps": 0}, "how_many_training_steps"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"train_batch_size": 0}, "train_batch_size"),
        ({"validation_batch_size": -2}, "validation_batch_size"),
        ({"eval_step_interval": 0}, "eval_step_interval"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, float], option: str) -> None:
    with pytest.raises(UsageError, match=option):
        fit_sgd(make_samples(), 3, SgdSettings(**change))  # type: ignore[arg-type]


def test_no_training_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no training image"):
        fit_sgd(Samples(np.empty((0, 4), np.float32), np.empty(0, np.intp)), 2)


def test_probabilities_stay_finite_for_huge_logits() -> None:
    logits = np.array([[3e38, -3e38, 0], [1e30, 1e30, -1e30]], np.float32)
    with np.errstate(over="ignore"):
        probabilities = softmax(logits)
    np.testing.assert_allclose(probabilities, [[1, 0, 0], [0.5, 0.5, 0]])


def test_layer_probabilities() -> None:
    layer = FinalLayer(np.eye(2, dtype=np.float32), np.array([0, 1], np.float32))
    vectors = [[1.0, 0.0], [5.0, 0.0]]
    expected = [[0.5, 0.5], [1 / (1 + np.exp(-4)), 1 / (1 + np.exp(4))]]
    np.testing.assert_allclose(layer.probabilities(vectors), expected, rtol=1e-6)
    assert layer.probabilities(vectors).dtype == np.float32


def test_500_steps_on_the_houses(shared: Path) -> None:
    items = import_folder(shared / "houses" / "bottlenecks").bottlenecks
    vectors = np.array([item.vector for item in items])
    labels = np.array([item.folder == "house_without_pool" for item in items]).astype(np.intp)
    tested = np.arange(len(items)) % 5 == 0
    layer = fit_sgd(Samples(vectors[~tested], labels[~tested]), 2, SgdSettings(steps=500))
    right = layer.logits(vectors[tested]).argmax(axis=1) == labels[tested]
    assert right.mean() > 0.8
