"""Options that have no meaning with several labels per image."""

from __future__ import annotations

from typing import Any

import pytest

from retrain.job import options_of
from tlcli.errors import TlcliError


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"solver": "lda"}, "labels that exclude each other; with --multi_label give lbfgs"),
        ({"fine_tune": "auto"}, "with --multi_label give --fine_tune none"),
        ({"module": "auto"}, "name the backbone"),
        ({"label_weights": "weights.csv"}, "weights.csv"),
        ({"label_weights": "balanced", "solver": "sgd"}, "or give --solver lbfgs"),
        ({"checkpoint_path": "fit"}, "leave it or --multi_label out"),
        ({"summaries_dir": "logs"}, "leave it or --multi_label out"),
        ({"import_bottlenecks": "texts", "manifest": None}, "leave it or --multi_label out"),
        ({"multi_label": False, "min_map": 0.5}, "add --multi_label"),
        ({"min_map": 0.5, "testing_percentage": 0}, "--min_map needs test images"),
        ({"min_map": 1.5}, "--min_map is 1.5"),
    ],
)
def test_one_sentence_says_no(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TlcliError, match=sentence):
        options_of({"manifest": "list.csv", "multi_label": True, **given})


@pytest.mark.parametrize(
    ("preset", "solver"), [("standard", "auto"), ("best", "auto"), ("fast", "lbfgs")]
)
def test_presets_leave_out_what_is_for_one_label(preset: str, solver: str) -> None:
    chosen, _ = options_of({"manifest": "list.csv", "multi_label": True, "preset": preset})
    assert (chosen.solver, chosen.fine_tune) == (solver, "none")
