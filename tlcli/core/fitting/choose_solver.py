"""The solver of ``--solver auto``: the best of several on held-out images of the training split.

The comparison is paired, image by image, and made on a bounded number of rows. A solver that is
not better than a plainer one by more than a standard error is not chosen. SGD is left out where
images are few and for vectors of several layers, where it takes longest and was never the best;
there discriminant analysis gives way only to what is clearly better. SGD and logistic regression
depend on products of vectors only, so they are compared in the space that the rows span, where a
row has as many values as there are rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tlcli.arrays import Doubles, Floats, Indices
from tlcli.core.final_layer.discriminant_analysis import fit_lda
from tlcli.core.final_layer.lbfgs import lbfgs_bytes
from tlcli.core.final_layer.logistic_regression import fit_lbfgs
from tlcli.core.final_layer.samples import INNER_FOLDS, Samples, inner_folds
from tlcli.core.final_layer.sgd import FinalLayer, SgdSettings, fit_sgd
from tlcli.core.fitting.label_weights import LabelWeights, prior_shift, shifted
from tlcli.runtime.blas_threads import one_blas_thread
from tlcli.text import counted

PLAINEST_FIRST = ("lda", "lbfgs", "sgd")
"""Solvers by how much they have to search: one system of equations, one convex minimum, steps."""

FEW_PER_LABEL = 4
FEW_IMAGES = 100
"""With fewer images per label than the one and fewer in all than the other, nothing is compared."""
ENOUGH_PER_LABEL = 10
"""Below it logistic regression has a fixed strength, and SGD is not compared."""
FIXED_STRENGTH = 1e-5
"""Strength of logistic regression where images are too few to choose it; see docs/accuracy.md."""

# With several layers, by so many standard errors what replaces a plainer solver must be better; few
# held-out images tell cross entropies apart better than they tell which solver errs less often.
_CLEARLY = 2.0
# SGD takes most of the time: where it is behind by so many standard errors it is not fitted again.
_HOPELESS = 2.0
# Relative to the mean squared length: what makes a product of equal rows positive definite.
_JITTER = 1e-6


@dataclass(frozen=True)
class ComparisonLimits:
    """What bounds the time of a comparison.

    Attributes:
        rows: of the training split that are used; with many labels, ``rows_per_label``.
        rows_per_label: rows that are used for each label, on average.
        most_rows: at most so many, whatever the labels.
        few_rows: up to so many rows are held out in three parts, more in two (in five where images
            per label are few), so that fits see enough of few rows and need not be many.
        rows_of_layers: in place of ``rows`` for vectors of several layers, which are long.
        memory: bytes; logistic regression, which would need more, is left out. None: no bound.
    """

    rows: int = 1000
    rows_per_label: int = 16
    most_rows: int = 2000
    few_rows: int = 600
    rows_of_layers: int = 400
    memory: int | None = None


@dataclass(frozen=True)
class Compared:
    """What one solver reached on held-out rows.

    Attributes:
        solver: its name.
        cross_entropy: mean, in nats.
        accuracy: 0 to 1.
        behind: cross entropy above that of the best of all rows, on the same rows, in nats.
        error: standard error of ``behind``; 0 for the best.
        rows: held-out rows that it was measured on.
    """

    solver: str
    cross_entropy: float
    accuracy: float
    behind: float
    error: float
    rows: int


@dataclass(frozen=True)
class SolverChoice:
    """The chosen solver and what it was compared with.

    Attributes:
        solver: the chosen one.
        compared: all candidates, the chosen one included; empty where there was nothing to compare.
        images: training images (or rows) that the comparison used.
        strength: a fixed strength for logistic regression, or None.
    """

    solver: str
    compared: tuple[Compared, ...] = ()
    images: int = 0
    strength: float | None = None

    @property
    def name(self) -> str:
        """The chosen solver in words, its fixed strength included."""
        if self.strength is None:
            return self.solver
        return f"logistic regression of strength {self.strength:g}"

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as JSON types."""
        return {
            "images": self.images,
            "compared": [
                {name: getattr(each, name) for name in ("solver", "cross_entropy", "accuracy")}
                for each in self.compared
            ],
        }

    def lines(self) -> list[str]:
        """Return what the log says of the comparison."""
        if not self.compared:
            return [
                f"{counted(self.images, 'training image')} are too few to compare solvers; "
                f"{self.name} is used"
            ]
        found = ", ".join(
            f"{each.solver} {each.cross_entropy:.3f} ({each.accuracy:.1%})"
            for each in self.compared
        )
        return [
            f"Cross entropy and accuracy on held-out images, of {self.images} training images: "
            f"{found}; {self.solver} is used"
        ]


@one_blas_thread()
def choose_solver(
    training: Samples,
    label_count: int,
    sgd: SgdSettings | None,
    weights: LabelWeights | None = None,
    limits: ComparisonLimits = ComparisonLimits(),
) -> SolverChoice:
    """Return the plainest solver that none is better than by more than a standard error.

    Without SGD, and with enough images per label, another must be better by two and be right as
    often.

    Args:
        training: at least one row, scaled; of one group, never on both sides.
        label_count: L.
        sgd: steps, rates and seed of the solver "sgd"; None for vectors of several layers, for
            which it is not compared.
        weights: of the labels; None: every image counts the same.
        limits: what bounds the time.

    Raises:
        DataError: vectors too large to square.
        TlcliError: SGD diverged.
    """
    images = _group_count(training)
    per_label = images / len(np.unique(training.labels))
    if per_label < FEW_PER_LABEL and images < FEW_IMAGES:
        return _uncompared(images, sgd)
    few = per_label < ENOUGH_PER_LABEL
    if sgd is None:
        limits = replace(limits, rows=limits.rows_of_layers)
    some = _some_rows(training, limits)
    spanned = _spanned(some)
    strength = FIXED_STRENGTH if few else None
    regression = _Regression(spanned, label_count, strength)
    fits: dict[str, Callable[[Indices], FinalLayer]] = {
        "lda": lambda rows: fit_lda(_rows(some, rows), label_count).layer,
        "lbfgs": regression.fit,
    }
    if limits.memory is not None and limits.memory < lbfgs_bytes(label_count, training.size):
        del fits["lbfgs"]
    if sgd is not None and not few:
        fits["sgd"] = lambda rows: fit_sgd(_rows(spanned, rows), label_count, sgd)
    losses: dict[str, list[Doubles]] = {name: [] for name in PLAINEST_FIRST}
    right: dict[str, list[Doubles]] = {name: [] for name in PLAINEST_FIRST}
    wanted = "none" if weights is None else weights
    count = INNER_FOLDS if few else 3 if len(some) <= limits.few_rows else 2
    folds = inner_folds(some.labels, some.groups, count)
    for fold in range(count):
        kept, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if not len(held_out):
            continue
        for name in fits:
            known = _compare(losses, right) if name == "sgd" and losses[name] else ()
            if any(each.solver == name and each.behind > _HOPELESS * each.error for each in known):
                continue
            layer = fits[name](kept)
            shift = prior_shift(some.labels[kept], name, label_count, wanted)
            source = some if name == "lda" else spanned
            loss, hits = _measured(shifted(layer, shift), _rows(source, held_out))
            losses[name].append(loss)
            right[name].append(hits)
    if not losses[PLAINEST_FIRST[0]]:  # one image of each label
        return _uncompared(images, sgd)
    compared = _compare(losses, right)
    solver = plainest(compared, clearly=sgd is None and not few)
    fixed = strength if solver == "lbfgs" else None
    return SolverChoice(solver, compared, _group_count(some), fixed)


def _uncompared(images: int, sgd: SgdSettings | None) -> SolverChoice:
    """Return what is best for few images on the whole; docs/accuracy.md has the figures."""
    if sgd is not None:
        return SolverChoice("sgd", images=images)
    return SolverChoice("lbfgs", images=images, strength=FIXED_STRENGTH)


def plainest(compared: tuple[Compared, ...], clearly: bool) -> str:
    """Return the plainest solver that the best is not better than by more than chance.

    Args:
        compared: the plainest first.
        clearly: the best must be better by two standard errors, not one, and right as often.
    """
    best = min(compared, key=lambda each: each.behind)
    for each in compared:
        errors = _CLEARLY if clearly else 1.0
        if each.behind <= errors * each.error or (clearly and each.accuracy > best.accuracy):
            return each.solver
    return best.solver


class _Regression:
    """Logistic regression of a strength that is given, or chosen once on a fifth of the rows."""

    def __init__(self, samples: Samples, label_count: int, strength: float | None) -> None:
        self._samples, self._label_count = samples, label_count
        self._strength = strength

    def fit(self, rows: Indices) -> FinalLayer:
        training = _rows(self._samples, rows)
        if self._strength is None:
            held_out = inner_folds(training.labels, training.groups) == 0
            chosen = fit_lbfgs(
                training.subset(~held_out),
                self._label_count,
                validation=training.subset(held_out),
            )
            self._strength = chosen.l2_strength
        return fit_lbfgs(training, self._label_count, l2_strength=self._strength).layer


def _compare(
    losses: dict[str, list[Doubles]], right: dict[str, list[Doubles]]
) -> tuple[Compared, ...]:
    """Return the candidates that were measured, the plainest first."""
    # SGD may have been measured on the first rows only: it is compared on those.
    means = {name: float(np.concatenate(found).mean()) for name, found in losses.items() if found}
    whole = [name for name in means if len(losses[name]) == max(map(len, losses.values()))]
    best = min(whole, key=means.__getitem__)
    compared = []
    for name in means:
        found = losses[name]
        own = np.concatenate(found)
        behind = own - np.concatenate(losses[best][: len(found)])
        compared.append(
            Compared(
                name,
                means[name],
                float(np.concatenate(right[name]).mean()),
                float(behind.mean()),
                float(behind.std() / np.sqrt(len(behind))),
                len(own),
            )
        )
    return tuple(sorted(compared, key=lambda each: PLAINEST_FIRST.index(each.solver)))


def _measured(layer: FinalLayer, held_out: Samples) -> tuple[Doubles, Doubles]:
    """Return the loss in nats of each row and whether its label is right, [N] each."""
    logits = layer.logits(held_out.gathered()).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    chosen = logits[np.arange(len(logits)), held_out.labels]
    losses: Doubles = np.log(np.exp(logits).sum(axis=1)) - chosen
    return losses, (logits.argmax(axis=1) == held_out.labels).astype(np.float64)


def _group_count(samples: Samples) -> int:
    return len(samples) if samples.groups is None else len(np.unique(samples.groups))


def _some_rows(training: Samples, limits: ComparisonLimits) -> Samples:
    """Return a bounded number of rows, labels in their shares and groups whole, in plain memory."""
    present = len(np.unique(training.labels))
    rows = max(limits.rows, limits.rows_per_label * present)
    rows = min(rows, limits.most_rows)
    chosen = np.arange(len(training))
    if len(training) > rows:
        groups = chosen if training.groups is None else training.groups
        _, first, group_of = np.unique(groups, return_index=True, return_inverse=True)
        by_label = np.argsort(training.labels[first], kind="stable")
        count = max(1, rows * len(first) // len(training))
        taken = by_label[np.linspace(0, len(first) - 1, count).astype(np.intp)]
        chosen = np.flatnonzero(np.isin(group_of, taken))
    part = np.zeros(len(training), np.bool_)
    part[chosen] = True
    found = training.subset(part)
    return Samples(found.gathered(), found.labels, groups=found.groups)


def _spanned(samples: Samples) -> Samples:
    """Return rows with the same products with one another and at most as many values as rows."""
    count = len(samples)
    if count >= samples.size:
        return samples
    vectors = samples.gathered()
    products = (vectors @ vectors.T).astype(np.float64)
    mean = float(np.trace(products)) / count
    if not 0 < mean < np.inf:
        return samples
    products[np.diag_indices(count)] += _JITTER * mean
    try:
        coordinates: Floats = np.linalg.cholesky(products).astype(np.float32)
    except np.linalg.LinAlgError:  # rounding of float32
        return samples
    return Samples(coordinates, samples.labels, groups=samples.groups)


def _rows(samples: Samples, rows: Indices) -> Samples:
    groups = None if samples.groups is None else samples.groups[rows]
    return replace(samples, labels=samples.labels[rows], rows=rows, groups=groups)
