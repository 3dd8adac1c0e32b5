"""What is said of a loaded graph, and where each part is known from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tlcli.core.classifier.classifier import Classifier, ImageInput
from tlcli.core.classifier.describing import rows
from tlcli.core.export.model_card import CardInput, ModelCard
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.model_spec.input_spec import UNIT, InputSpec


@pytest.mark.parametrize(
    ("card", "origin", "scores"),
    [
        (ModelCard(("cat", "dog"), CardInput(), "x"), "the model card", "the model card"),
        (None, "its signs", "its last operations"),
    ],
)
def test_sources(tmp_path: Path, card: ModelCard | None, origin: str, scores: str) -> None:
    made = classifier(tmp_path, labels=2, origin="tlcli", activation="softmax")
    made.card = card
    found = {what: source for what, _, source in rows(made)}
    assert (found["origin"], found["scores"]) == (origin, scores)


def test_one_score_for_two_labels_is_not_several_labels(tmp_path: Path) -> None:
    for count, said in ((1, "one for two labels (sigmoid): that of dog"), (2, "independent")):
        found = {
            what: value
            for what, value, _ in rows(classifier(tmp_path, labels=count, activation="sigmoid"))
        }
        assert found["scores"].startswith(said)


def classifier(folder: Path, **values: Any) -> Classifier:
    graph = folder / "model.tflite"
    graph.write_bytes(b"\x18\0\0\0TFL3")
    images = ImageInput(Preprocessing("label_image", 8, 9))
    engine: Any = None
    made = Classifier(graph, ("cat", "dog"), engine, images)
    made.spec = InputSpec(
        8, 9, UNIT, "float32", any_batch=True, sources={"resizing": "x"}, **values
    )
    return made
