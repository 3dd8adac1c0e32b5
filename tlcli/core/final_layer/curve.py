"""The curve of a fit: accuracy and cross entropy on many images, at a few dozen of its steps.

The originals' lines measure 100 drawn images each, so that they jump; these points do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Indices
from tlcli.core.final_layer.batch import Batch
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sampling import LabelSampler
from tlcli.core.final_layer.sgd import FinalLayer, SgdSettings

# More are not seen in a plot.
_MOST_POINTS = 60
# Fewer show no course, whatever they cost.
_FEWEST_POINTS = 10
# Training images that are measured: they place the curve within two points.
_TRAINING_IMAGES = 500
# Validation images that are measured at most, always the same: they place the curve within one
# point, and a split of hundreds of thousands would take longer than the fit.
VALIDATION_IMAGES = 5000
# Images of all points together for each image of a training step, which passes two products: about
# 4% of the time of the fit.
_IMAGES_PER_TRAINED = 0.09
# Scores of so many images and labels are held at once.
_SCORES_AT_ONCE = 1 << 20
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class CurvePoint:
    """What is measured after one step.

    Attributes:
        step: index of the step, from 0.
        training_accuracy: 0 to 1, on ``training_count`` images spread over the training split.
        training_cross_entropy: nats, mean over the same.
        validation_accuracy: 0 to 1, on ``validation_count`` images, or None without a split.
        validation_cross_entropy: nats, or None.
        training_count: images.
        validation_count: images: the whole validation split, of a large one
            always the same part; 0 without one.
    """

    step: int
    training_accuracy: float
    training_cross_entropy: float
    validation_accuracy: float | None
    validation_cross_entropy: float | None
    training_count: int
    validation_count: int


class CurveMeter:
    """Measures a fit at steps that depend on its settings and on the number of images alone."""

    def __init__(
        self, training: Samples, validation: Samples, label_count: int, settings: SgdSettings
    ) -> None:
        """Choose the steps and the training images.

        Args:
            training: at least one row.
            validation: up to `VALIDATION_IMAGES` of them are measured; may be empty.
            label_count: L.
            settings: of the fit.
        """
        sampled = _spread(training, _TRAINING_IMAGES)
        self._training = _Split(sampled, label_count)
        if len(validation) > VALIDATION_IMAGES:
            draw = np.random.default_rng(0)
            chosen = draw.choice(len(validation), VALIDATION_IMAGES, replace=False)
            validation = _copied(validation, chosen)
        self._validation = _Split(validation, label_count) if len(validation) else None
        batch = settings.train_batch_size
        trained = settings.steps * (len(training) if batch == -1 else batch)
        points = int(_IMAGES_PER_TRAINED * trained) // (len(sampled) + len(validation))
        points = min(max(points, _FEWEST_POINTS), _MOST_POINTS, settings.steps)
        # Rounded up, so that the last is the last step.
        self._due = {1, *(-(-settings.steps * k // points) for k in range(1, points + 1))}

    def is_due(self, steps_done: int) -> bool:
        """Return whether there is a point after that many steps."""
        return steps_done in self._due

    def measure(self, steps_done: int, layer: FinalLayer) -> CurvePoint:
        """Return the point after ``steps_done`` steps (at least 1), which gave ``layer``."""
        training, validation = self._training, self._validation
        accuracy, loss = training.measure(layer)
        measured: tuple[float, float] | tuple[None, None] = (None, None)
        if validation is not None:
            measured = validation.measure(layer)
        return CurvePoint(
            step=steps_done - 1,
            training_accuracy=accuracy,
            training_cross_entropy=loss,
            validation_accuracy=measured[0],
            validation_cross_entropy=measured[1],
            training_count=training.count,
            validation_count=0 if validation is None else validation.count,
        )


class _Split:
    """The images of one split, in parts that are measured one after the other."""

    def __init__(self, samples: Samples, label_count: int) -> None:
        self.count = len(samples)
        self._samples = samples
        self._rows = max(1, min(_ROWS_AT_ONCE, _SCORES_AT_ONCE // label_count))

    def measure(self, layer: FinalLayer) -> tuple[float, float]:
        """Return the proportion of right rows and the mean cross entropy in nats."""
        weights = np.ascontiguousarray(layer.weights.T)
        right, losses = 0, 0.0
        for start in range(0, self.count, self._rows):
            stop = start + self._rows
            part = Samples(self._samples.gathered(start, stop), self._samples.labels[start:stop])
            # A batch has products as small as a training step's: on a busy machine, waking BLAS's
            # threads takes longer than the fit.
            batch = Batch(part, LabelSampler(part.labels, -1, 0, 0), len(layer.biases))
            accuracy, loss = batch.measure(weights, layer.biases)
            right += round(accuracy * len(part))
            losses += loss * len(part)
        return right / self.count, losses / self.count


def _spread(samples: Samples, count: int) -> Samples:
    """Return at most ``count`` samples, evenly spread, copied once: rows in order are fast."""
    count = min(count, len(samples))
    return _copied(samples, np.linspace(0, len(samples) - 1, count).astype(np.intp))


def _copied(samples: Samples, rows: Indices) -> Samples:
    """Return a copy of some samples, in their order."""
    samples = samples.at(np.unique(rows))
    return Samples(samples.gathered(), samples.labels)
