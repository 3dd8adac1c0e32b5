"""The final layer: one matrix and one bias over bottleneck vectors, fitted by the original's SGD.

Randomness is counted, not stored: what step k draws depends on the seed and on k alone, so a
fit that goes on from a checkpoint ends with the very bits of one that was never cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Floats
from tlcli.core.final_layer.batch import Batch
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sampling import LabelSampler, truncated_normal
from tlcli.errors import DataError, TlcliError, UsageError

# The original's: small enough that the first gradients are those of a uniform guess.
INITIAL_DEVIATION = 0.001
# Purposes of random numbers: two of them never share a stream.
_INITIAL, _TRAINING, _VALIDATION = 0, 1, 2


@dataclass(frozen=True)
class FinalLayer:
    """A fitted layer.

    Attributes:
        weights: float32 [D, L].
        biases: float32 [L].
        activation: "softmax", or "sigmoid" where the labels are independent of one another.
    """

    weights: Floats
    biases: Floats
    activation: str = "softmax"

    def logits(self, vectors: npt.ArrayLike) -> Floats:
        """Return vectors @ weights + biases, float32 [N, L], of vectors [N, D]."""
        array = np.asarray(vectors, dtype=np.float32)
        logits: Floats = array @ self.weights + self.biases
        return logits

    def probabilities(self, vectors: npt.ArrayLike) -> Floats:
        """Return probabilities, float32 [N, L], of vectors [N, D]; rows of a softmax sum to 1."""
        logits = self.logits(vectors)
        return softmax(logits) if self.activation == "softmax" else sigmoid(logits)


def softmax(logits: Floats) -> Floats:
    """Return the softmax of each row of ``logits`` [N, L], whatever their size."""
    result: Floats = logits - logits.max(axis=1, keepdims=True)
    np.exp(result, out=result)
    result /= result.sum(axis=1, keepdims=True)
    return result


def sigmoid(logits: Floats) -> Floats:
    """Return 1 / (1 + exp(-logits)), whatever their size."""
    result: Floats = np.tanh(logits * np.float32(0.5))
    result += 1
    result *= np.float32(0.5)
    return result


@dataclass(frozen=True)
class SgdSettings:
    """How the original's SGD is run; each default is the original's.

    Attributes:
        steps: how_many_training_steps, at least 1.
        learning_rate: above 0.
        train_batch_size: rows of a step; -1: all training rows, each once.
        validation_batch_size: rows of a validation measurement; -1: all, each once.
        eval_step_interval: steps between measurements.
        seed: any integer.
    """

    steps: int = 4000
    learning_rate: float = 0.01
    train_batch_size: int = 100
    validation_batch_size: int = 100
    eval_step_interval: int = 10
    seed: int = 0

    def check(self) -> None:
        """Raise UsageError for values that cannot work."""
        if self.steps < 1:
            raise UsageError("--how_many_training_steps must be at least 1")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise UsageError("--learning_rate must be a number above 0")
        if self.eval_step_interval < 1:
            raise UsageError("--eval_step_interval must be at least 1")
        for name in ("train_batch_size", "validation_batch_size"):
            size = getattr(self, name)
            if size < 1 and size != -1:
                raise UsageError(f"--{name} must be at least 1, or -1 for all images")


@dataclass(frozen=True)
class SgdState:
    """A fit in progress, whole at any moment.

    The arrays belong to the fit and hold for one step; copy them to keep them.

    Attributes:
        steps_done: steps taken, 0 at the start.
        weights: float32 [D, L].
        biases: float32 [L].
    """

    steps_done: int
    weights: Floats
    biases: Floats

    def layer(self) -> FinalLayer:
        """Return this moment's final layer, with arrays of its own."""
        return FinalLayer(self.weights.copy(), self.biases.copy())


@dataclass(frozen=True)
class StepStatistics:
    """What is measured at one step, after its update.

    Attributes:
        step: index of the step, from 0.
        train_accuracy: 0 to 1, on the step's own batch.
        cross_entropy: nats, mean over the step's own batch.
        validation_accuracy: 0 to 1, or None without validation images.
        validation_cross_entropy: nats, or None.
        validation_count: rows of the validation batch.
    """

    step: int
    train_accuracy: float
    cross_entropy: float
    validation_accuracy: float | None
    validation_cross_entropy: float | None
    validation_count: int


class SgdFit:
    """The original's plain SGD on the mean softmax cross entropy of each batch.

    ``state`` is whole at any moment, also inside an interrupted `run`: it may be saved then.
    """

    def __init__(
        self,
        training: Samples,
        label_count: int,
        settings: SgdSettings,
        *,
        validation: Samples | None = None,
        start: SgdState | None = None,
    ) -> None:
        """Prepare a fit.

        Args:
            training: at least one row.
            label_count: L; labels without training rows are never drawn.
            settings: checked here.
            validation: rows to measure on, or none.
            start: where to go on; None: from fresh weights.

        Raises:
            UsageError: settings that cannot work.
            DataError: no training rows.
        """
        settings.check()
        if not len(training):
            raise DataError("there is no training image; add images to the labels' folders")
        size = training.size
        self.training = training
        self.validation = validation if validation is not None and len(validation) else None
        self.settings = settings
        self.label_count = label_count
        state = start if start is not None else self._fresh(size)
        if state.steps_done > settings.steps:
            raise ValueError(f"state of {state.steps_done} steps for {settings.steps}")
        if state.weights.shape != (size, label_count):
            raise ValueError(f"state of {state.weights.shape} for {(size, label_count)}")
        # Steps done, weights as [L, D] (the gradient comes out of its product in that order) and
        # biases: one tuple, so that an interruption meets the state before a step or after it.
        self._progress = (
            state.steps_done,
            np.array(state.weights.T, dtype=np.float32, order="C"),
            np.array(state.biases, dtype=np.float32),
        )

    @property
    def state(self) -> SgdState:
        """The fit at this moment; its arrays hold for one step."""
        steps_done, weights, biases = self._progress
        return SgdState(steps_done, weights.T, biases)

    def _fresh(self, size: int) -> SgdState:
        weights = truncated_normal(
            (size, self.label_count), INITIAL_DEVIATION, self.settings.seed, _INITIAL
        )
        return SgdState(0, weights, np.zeros(self.label_count, np.float32))

    def run(
        self,
        *,
        on_evaluation: Callable[[StepStatistics], None] | None = None,
        on_step: Callable[[SgdState], None] | None = None,
    ) -> FinalLayer:
        """Take the steps that are left and return the final layer.

        Args:
            on_evaluation: called each ``eval_step_interval`` steps and at the last step (also
                when no step is left to take).
            on_step: called after each step with the state (also after `on_evaluation`), to
                save checkpoints or intermediate graphs; it must be quick.

        Raises:
            TlcliError: the numbers left the range of float32.
        """
        settings = self.settings
        sampler = LabelSampler(
            self.training.labels, settings.train_batch_size, settings.seed, _TRAINING
        )
        batch = Batch(self.training, sampler, self.label_count)
        validation = self._validation_batch() if on_evaluation is not None else None
        started, current, biases = self._progress
        # What a caller was shown stays as it was; the two pairs below take turns.
        current, biases = current.copy(), biases.copy()
        following, next_biases = np.empty_like(current), np.empty_like(biases)
        with np.errstate(all="ignore"):
            for step in range(started, settings.steps):
                batch.take(step)
                change, bias_change = batch.scaled_gradient(current, biases, settings.learning_rate)
                np.subtract(current, change, out=following)
                np.subtract(biases, bias_change, out=next_biases)
                # A sum is finite only if all that it is of is.
                total = float(following.sum()) + float(next_biases.sum())
                if not math.isfinite(total):
                    raise diverged(step, settings.learning_rate)
                current, following = following, current
                biases, next_biases = next_biases, biases
                self._progress = (step + 1, current, biases)
                last = step + 1 == settings.steps
                if on_evaluation is not None and (step % settings.eval_step_interval == 0 or last):
                    on_evaluation(self._measure(step, batch, validation))
                if on_step is not None:
                    on_step(self.state)
        if on_evaluation is not None and started == settings.steps:
            # A finished fit that was picked up again still tells how it ended.
            batch.take(settings.steps - 1)
            on_evaluation(self._measure(settings.steps - 1, batch, validation))
        return self.state.layer()

    def _validation_batch(self) -> Batch | None:
        if self.validation is None:
            return None
        settings, labels = self.settings, self.validation.labels
        # One batch a block: most steps measure nothing.
        sampler = LabelSampler(
            labels, settings.validation_batch_size, settings.seed, _VALIDATION, block=1
        )
        return Batch(self.validation, sampler, self.label_count)

    def _measure(self, step: int, batch: Batch, validation: Batch | None) -> StepStatistics:
        _, weights, biases = self._progress
        train_accuracy, cross_entropy = batch.measure(weights, biases)
        if not math.isfinite(cross_entropy):
            raise diverged(step, self.settings.learning_rate)
        if validation is None:
            return StepStatistics(step, train_accuracy, cross_entropy, None, None, 0)
        validation.take(step)
        accuracy, loss = validation.measure(weights, biases)
        count = len(validation.labels)
        return StepStatistics(step, train_accuracy, cross_entropy, accuracy, loss, count)


def diverged(step: int, rate: float) -> TlcliError:
    """Return the error of a fit whose numbers left the range of float32."""
    return TlcliError(
        f"training diverged at step {step} with --learning_rate {rate:g}; use a smaller one"
    )


def fit_sgd(
    training: Samples,
    label_count: int,
    settings: SgdSettings | None = None,
    *,
    validation: Samples | None = None,
    start: SgdState | None = None,
    on_evaluation: Callable[[StepStatistics], None] | None = None,
    on_step: Callable[[SgdState], None] | None = None,
) -> FinalLayer:
    """Fit a final layer by the original's SGD; see `SgdFit` for arguments and errors."""
    settings = settings if settings is not None else SgdSettings()
    fit = SgdFit(training, label_count, settings, validation=validation, start=start)
    return fit.run(on_evaluation=on_evaluation, on_step=on_step)
