"""Where model files come from, and the one order in which their input is decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.core.model_spec.adjacent_files import AdjacentFiles
from tlcli.core.model_spec.facts import ModelFacts
from tlcli.core.model_spec.input_spec import PIXELS, SIGNED, UNIT, InputOverrides, Scaling
from tlcli.core.model_spec.kinds import ModelKind
from tlcli.core.model_spec.origins import specify
from tlcli.core.model_spec.ultralytics import UltralyticsMetadata
from tlcli.errors import GraphError

BY_255 = (("times", np.array([1 / 255])),)
MANIFEST = AdjacentFiles(manifest={"DomainType": "Classification", "ExporterVersion": "2.0"})
S1 = AdjacentFiles(manifest={"DomainType": "ClassificationS1", "ExporterVersion": "2.0"})
YOLO = AdjacentFiles(ultralytics=UltralyticsMetadata(("a", "b"), "metadata.json"))
LOBE = AdjacentFiles(signature={"inputs": {}, "classes": {"Label": ["a", "b"]}})


def facts(kind: ModelKind = ModelKind.LITERT, **values: Any) -> ModelFacts:
    usual: dict[str, Any] = {
        **{"path": Path("model"), "kind": kind, "input": "x", "output": "Identity"},
        **{"shape": (1, 8, 9, 3), "dtype": "float32", "scores": 2, "any_batch": True},
    }
    return ModelFacts(**(usual | values))


@pytest.mark.parametrize(
    ("found", "scaling", "channels", "resizing", "assumed"),
    [
        pytest.param(facts(), SIGNED, "rgb", "pillow", True, id="convention of LiteRT"),
        pytest.param(
            facts(ModelKind.FROZEN_GRAPH), UNIT, "rgb", "label_image", True, id="of frozen graphs"
        ),
        pytest.param(facts(ModelKind.KERAS_ZIP), UNIT, "rgb", "label_image", True, id="of Keras"),
        pytest.param(facts(steps=BY_255), PIXELS, "rgb", "pillow", False, id="operations"),
        pytest.param(
            facts(steps=BY_255, mean=(0.0,), std=(255.0,)),
            *(UNIT, "rgb", "pillow", False),
            id="metadata before operations",
        ),
        pytest.param(
            facts(input="serving_default_sequential_1_input:0", indexed_labels=True),
            *(SIGNED, "rgb", "pillow", False),
            id="Teachable Machine",
        ),
        pytest.param(
            facts(input="sequential_1_input", indexed_labels=True, steps=BY_255),
            *(PIXELS, "rgb", "pillow", False),
            id="operations before signs of origin",
        ),
        pytest.param(
            facts(input="sequential_1_input"), SIGNED, "rgb", "pillow", True, id="labels unnumbered"
        ),
        pytest.param(
            facts(ModelKind.KERAS_HDF5, input="sequential_3_input", path=Path("keras_model.h5")),
            *(SIGNED, "rgb", "pillow", False),
            id="Teachable Machine by its file name",
        ),
        pytest.param(
            facts(input="Placeholder", output="loss"),
            *(PIXELS, "bgr", "pillow", False),
            id="Custom Vision for LiteRT without a manifest",
        ),
        pytest.param(
            facts(input="input", output="final_result"),
            *(Scaling(128.0, 128.0), "rgb", "label_image", False),
            id="the original tools",
        ),
        pytest.param(
            facts(input="Placeholder", output="final_result"),
            *(UNIT, "rgb", "label_image", False),
            id="the original tools with a Hub module",
        ),
        pytest.param(
            facts(ModelKind.FROZEN_GRAPH, adjacent=MANIFEST),
            *(Scaling((105.0, 117.0, 124.0), 1.0), "bgr", "pillow", False),
            id="Custom Vision",
        ),
        pytest.param(
            facts(ModelKind.FROZEN_GRAPH, adjacent=MANIFEST, steps=BY_255),
            *(PIXELS, "bgr", "pillow", False),
            id="Custom Vision that normalises",
        ),
        pytest.param(
            facts(ModelKind.FROZEN_GRAPH, input="Placeholder", output="loss"),
            *(Scaling((105.0, 117.0, 124.0), 1.0), "bgr", "pillow", False),
            id="Custom Vision without a manifest",
        ),
        pytest.param(
            facts(adjacent=MANIFEST), PIXELS, "bgr", "pillow", False, id="Custom Vision for LiteRT"
        ),
        pytest.param(facts(adjacent=S1), PIXELS, "rgb", "pillow", False, id="Custom Vision S1"),
        pytest.param(facts(adjacent=LOBE), UNIT, "rgb", "pillow", False, id="Lobe"),
        pytest.param(facts(adjacent=YOLO), UNIT, "rgb", "pillow", False, id="Ultralytics"),
        pytest.param(facts(dtype="uint8"), PIXELS, "rgb", "pillow", False, id="integers"),
        pytest.param(
            facts(dtype="int8"), Scaling(128.0, 1.0), "rgb", "pillow", False, id="signed integers"
        ),
        pytest.param(
            facts(dtype="uint8", mean=(127.5,), std=(127.5,)),
            *(PIXELS, "rgb", "pillow", False),
            id="integers before metadata",
        ),
        pytest.param(
            facts(shape=(1, 8, 9, 1)), SIGNED, "grey", "pillow", True, id="one channel is grey"
        ),
        pytest.param(
            facts(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0)),
            *(Scaling((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), "rgb", "pillow", False),
            id="metadata per channel",
        ),
        pytest.param(
            facts(ModelKind.SAVED_MODEL, input="image"),
            *(UNIT, "rgb", "label_image", False),
            id="retrain.py's SavedModel",
        ),
    ],
)
def test_what_decides(
    found: ModelFacts, scaling: Scaling, channels: str, resizing: str, assumed: bool
) -> None:
    spec = specify(found, InputOverrides())
    assert (spec.scaling, spec.channels, spec.resizing.name, spec.assumed) == (
        scaling,
        channels,
        resizing,
        assumed,
    )
    assert (spec.height, spec.width) == (8, 9)


def test_what_the_user_gave_goes_before_all_else() -> None:
    given = InputOverrides(input_height=4, input_std=2.0, channel_order="bgr")
    spec = specify(facts(mean=(1.0,), std=(255.0,)), given)
    assert (spec.height, spec.width, spec.channels) == (4, 9, "bgr")
    assert spec.scaling == Scaling(1.0, 2.0)
    for part in ("height", "scaling", "channels"):
        assert spec.sources[part] == "given by an option"
    assert spec.sources["width"] == "the file"
    assert not spec.assumed


@pytest.mark.parametrize(
    ("found", "given", "message"),
    [
        (facts(shape=(1, None, None, 3)), InputOverrides(), "--input_height and --input_width"),
        (facts(mean=(1.0, 2.0), std=(1.0,)), InputOverrides(), "2 means .* for 3 channels"),
        (facts(mean=(1.0,), std=(0.0,)), InputOverrides(), "no usable numbers"),
        (facts(mean=(1.0,), std=(float("nan"),)), InputOverrides(), "--input_mean and --input_std"),
        (facts(shape=(1, 8, 8, 1)), InputOverrides(channel_order="rgb"), "takes grey images"),
    ],
)
def test_what_cannot_be_fed_is_refused(
    found: ModelFacts, given: InputOverrides, message: str
) -> None:
    with pytest.raises(GraphError, match=message):
        specify(found, given)


def test_metadata_that_cannot_be_used_may_be_replaced() -> None:
    given = InputOverrides(input_mean=1.0, input_std=2.0)
    assert specify(facts(mean=(1.0,), std=(0.0,)), given).scaling == Scaling(1.0, 2.0)
