"""Images that are like none of the training images, on the page's addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.serve.asking import COLOURS, PREDICT, Colours, ask, picture, rows
from tlcli.core.classifier.classifier import Classifier, ImageInput
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.unknown.reading import UnknownReader
from tlcli.serve.about import about
from tlcli.serve.app import make_app
from tlcli.serve.asked import Shown
from tlcli.serve.limits import Limits
from tlcli.serve.model import ServedModel


class ColoursAndMore(Colours):
    """Gives a score of unknown images and one axis too."""

    def run(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        more = np.tile(np.array([2.5, 1.0], np.float32), (len(batch), 1))
        return np.concatenate([super().run(batch), more], axis=1)


def test_an_unknown_image_has_its_score_and_the_nearest_one() -> None:
    classifier = Classifier(
        Path("colours.pb"), COLOURS, ColoursAndMore(), ImageInput(Preprocessing("tlcli-1", 4, 4))
    )
    references = np.array([[0.0], [0.9]], np.float16)
    classifier.unknown = UnknownReader(3, references, ("a.jpg", "b.jpg"), 9)
    limits = Limits(max_bytes=100_000, max_pixels=1_000_000)
    model = ServedModel(classifier, about(classifier, "colours"), limits.max_pixels)
    app = make_app(model, limits, Shown())
    expected = {"score": 2.5, "threshold": 1.0, "nearest": "b.jpg"}
    for address in ("/label", "/page/label"):
        found = ask(app, "POST", address, picture("red")).json
        assert found["unknown"] == expected
        assert found["predictions"][0]["label"] == "red"
    # The addresses of TensorFlow Serving have the scores alone.
    assert len(ask(app, "POST", PREDICT, rows(picture())).json["predictions"][0]) == 3
