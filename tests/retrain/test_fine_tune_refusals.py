"""What `--fine_tune` cannot be combined with is refused before any work."""

from __future__ import annotations

from typing import Any

import pytest

from retrain.arguments.options import RetrainOptions
from tlcli.errors import UsageError


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"fine_tune": "some"}, "--fine_tune is 'some'; choose none"),
        ({"fine_tune": "auto", "validation_percentage": 0}, "needs validation images to decide"),
        ({"fine_tune": "all", "final_layer_only": True}, "--fine_tune has nothing to train"),
    ],
)
def test_a_fine_tuning_that_cannot_be_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        RetrainOptions(image_dir="photos", **options)  # type: ignore[arg-type]
