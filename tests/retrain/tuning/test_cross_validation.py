"""What the folds of a fine-tuned run are made of."""

from __future__ import annotations

import numpy as np

from retrain.inputs import Inputs
from retrain.tuning.cross_validation import expected_time, fold_inputs
from retrain.tuning.fine_tuning import FineTuning
from tlcli.core.data.image_list import ImageFile

SPLITS = ("training",) * 6 + ("validation",) * 3 + ("testing",) * 3
# Label 2 has no training image but the last.
LABELS = np.array([0, 0, 1, 1, 0, 2, 0, 1, 2, 0, 1, 2], np.int64)


def inputs() -> Inputs:
    """Return twelve images with two views of each; each vector is the number of its image."""
    rows = np.arange(len(LABELS))
    views = np.repeat(rows, 2)
    names = tuple(str(row) for row in rows)
    return Inputs(
        labels=("a", "b", "c"),
        images=tuple(ImageFile(None, "a", name, "a") for name in names),
        contents=names,
        targets=LABELS,
        splits=SPLITS,
        vectors=rows[:, None].astype(np.float32),
        views=views[:, None].astype(np.float32),
        view_rows=views,
    )


def test_a_fold_trains_and_chooses_by_images_of_other_folds_alone() -> None:
    rows = np.arange(len(LABELS))
    tested = np.isin(rows, (11, 0, 6))
    fold = fold_inputs(inputs(), rows[~tested], rows[tested])
    assert fold.vectors[:, 0].tolist() == [1, 2, 3, 4, 5, 9, 10, 7, 8, 0, 6, 11]
    assert fold.vectors[fold.part("validation"), 0].tolist() == [7, 8]
    assert fold.vectors[fold.part("testing"), 0].tolist() == [0, 6, 11]
    assert (fold.targets == LABELS[fold.vectors[:, 0].astype(int)]).all()
    assert [image.name for image in fold.images] == [str(int(each)) for each in fold.vectors[:, 0]]
    assert (np.diff(fold.view_rows) >= 0).all()
    assert (fold.views[:, 0] == fold.vectors[fold.view_rows, 0]).all()


def test_a_label_that_only_validation_images_have_is_trained_on_them() -> None:
    rows = np.arange(len(LABELS))
    tested = np.isin(rows, (5, 11))
    fold = fold_inputs(inputs(), rows[~tested], rows[tested])
    assert 8 in fold.vectors[fold.part("training"), 0]
    assert fold.vectors[fold.part("validation"), 0].tolist() == [6, 7]


def test_the_time_of_the_folds_is_estimated_from_the_fine_tuning() -> None:
    tuned = FineTuning(inputs(), None, {"kept": True, "seconds_per_epoch": 7.0})  # type: ignore[arg-type]
    assert expected_time(5, tuned, 120).endswith("again in each of 5 folds: about 10 minutes")
    resumed = FineTuning(inputs(), None, {"kept": True, "seconds_per_epoch": None})  # type: ignore[arg-type]
    assert expected_time(5, resumed, 2).endswith("5 times as long as one fine-tuning")
