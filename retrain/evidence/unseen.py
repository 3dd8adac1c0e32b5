"""The accuracy on the test photos of which training has seen no copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.core.evaluation.metrics import evaluate
from tlcli.report.data import UnseenTests

if TYPE_CHECKING:
    from retrain.testing import Run
    from tlcli.core.photos.findings import Findings


def unseen_tests(run: Run, found: Findings | None) -> UnseenTests | None:
    """Return how the graph does on test photos without a copy among the training photos.

    Args:
        run: with the predictions for its test photos.
        found: what a check found in its photos.

    Returns:
        None where no test photo has a copy among the training photos, or nothing was checked.
    """
    seen = found.seen_in_training() if found is not None else frozenset()
    tests, images = run.tests, run.inputs.images
    unseen = np.array([images[row].shown not in seen for row in tests.rows], np.bool_)
    if unseen.all():
        return None
    labels: Any = tests.predictions.labels
    figures = evaluate(labels[unseen], tests.truth[unseen], len(run.inputs.labels))
    return UnseenTests(int((~unseen).sum()), figures.accuracy, figures.interval, int(unseen.sum()))
