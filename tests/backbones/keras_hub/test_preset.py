from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backbones.keras_hub import presets
from tlcli.backbone import INPUT, Backbone, BackboneGraph
from tlcli.backbones.keras_hub import preset
from tlcli.backbones.keras_hub.library import import_keras_hub
from tlcli.backbones.model_options import ModelOptions
from tlcli.backbones.resolve import resolve
from tlcli.errors import BackboneError, UsageError
from tlcli.litert.interpreter import LiteRTEngine
from tlcli.litert.writer import write_model
from tlcli.runtime.tensorflow import GraphEngine

pytestmark = [
    pytest.mark.slow,
    # Keras asks NumPy for copies in a way that newer NumPy warns of.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

_MAPS = ("MobileNet", "HGNetV2", "ResNet", "CSPNet")


@pytest.fixture(scope="session")
def keras_hub() -> Any:
    pytest.importorskip("kagglehub", reason="needs the extra hub (keras-hub)")
    return import_keras_hub()


@pytest.fixture(scope="module")
def folder(keras_hub: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a preset of DINOv2."""
    path = tmp_path_factory.mktemp("presets") / "dinov2"
    presets.save(keras_hub, "DINOV2", path)
    return path


@dataclass(frozen=True)
class Made:
    """The preset of a family, as a backbone, and what its graph gives for `_images`."""

    family: str
    path: Path
    backbone: Backbone
    loaded: BackboneGraph
    given: np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest, keras_hub: Any, tmp_path_factory: Any) -> Made:
    """Return what several tests of a family need; saving and loading it takes seconds."""
    path = tmp_path_factory.mktemp(request.param) / "preset"
    presets.save(keras_hub, request.param, path)
    backbone = preset.find(path)
    loaded = backbone.load_graph()
    return Made(request.param, path, backbone, loaded, _given(backbone, loaded))


def _images(backbone: Backbone) -> np.ndarray[Any, Any]:
    shape = (3, backbone.height, backbone.width, 3)
    return np.random.default_rng(3).integers(0, 256, shape).astype(np.float32)


def _run(backbone: Backbone) -> np.ndarray[Any, Any]:
    return _given(backbone, backbone.load_graph())


def _given(backbone: Backbone, loaded: BackboneGraph) -> np.ndarray[Any, Any]:
    assert loaded.any_batch
    with GraphEngine(loaded.graph, INPUT, loaded.output) as engine:
        given = engine.run(_images(backbone) / 255)
    assert given.shape == (3, loaded.bottleneck_size)
    return given


def _called(network: Any, images: Any) -> Any:
    given = network.input
    images = images if not isinstance(given, dict) else {next(iter(given)): images}
    return network(images, training=False)


def _expected(keras_hub: Any, family: str, path: Path, images: Any) -> np.ndarray[Any, Any]:
    """Return what keras-hub itself makes of images that have the right size."""
    converter = keras_hub.layers.ImageConverter.from_preset(str(path))
    network = keras_hub.models.Backbone.from_preset(str(path))
    if family == "SigLIP":
        return np.asarray(network.get_vision_embeddings(converter(images)))
    output = _called(network, converter(images))
    if family == "HGNetV2":
        output = output[network.stage_names[-1]]
    if family in _MAPS:
        return np.asarray(output).mean(axis=(1, 2))
    if family in ("ViT", "DeiT"):
        return np.asarray(output[:, 0])
    output = np.asarray(output)
    patches = output[:, 1 + network.num_register_tokens :]
    return np.concatenate([output[:, 0], patches.mean(axis=1)], axis=1)


@pytest.mark.parametrize("made", presets.NETWORKS, indirect=True)
def test_vectors_are_those_of_keras_hub(keras_hub: Any, made: Made) -> None:
    expected = _expected(keras_hub, made.family, made.path, _images(made.backbone))
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(made.given, expected, atol=1e-4)


@pytest.mark.parametrize("made", presets.NETWORKS, indirect=True)
def test_litert_computes_the_same_without_tensorflow(made: Made) -> None:
    model = LiteRTEngine(write_model(made.loaded.graph, INPUT, made.loaded.output))

    with contextlib.closing(model):
        given = model.run(_images(made.backbone) / 255)
    np.testing.assert_allclose(given, made.given, atol=1e-4)


def test_images_may_have_another_size(keras_hub: Any, folder: Path) -> None:
    backbone = preset.find(folder, ModelOptions(input_height=56))

    network = keras_hub.models.Backbone.from_preset(str(folder), image_shape=(56, 56, 3))
    images = _images(backbone)
    output = np.asarray(_called(network, images * presets.SCALE + presets.OFFSET))
    expected = np.concatenate([output[:, 0], output[:, 3:].mean(axis=1)], axis=1)
    np.testing.assert_allclose(_run(backbone), expected, atol=1e-4)
    assert backbone.fingerprint != preset.find(folder).fingerprint


def test_size_that_a_network_cannot_take(keras_hub: Any, tmp_path: Path) -> None:
    presets.save(keras_hub, "ViT", tmp_path)
    backbone = preset.find(tmp_path, ModelOptions(input_height=64))

    with pytest.raises(BackboneError, match="cannot be loaded for images of 64 x 64"):
        backbone.load_graph()


def test_options_replace_the_scaling(folder: Path) -> None:
    own = preset.find(folder)
    given = preset.find(folder, ModelOptions(input_mean=127.5, input_std=127.5))

    assert own.fingerprint != given.fingerprint
    assert np.abs(_run(own) - _run(given)).max() > 1e-3


def test_half_precision_is_computed_in_float32(keras_hub: Any, tmp_path: Path) -> None:
    network = keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3), patch_size=16, num_layers=1, num_heads=2, hidden_dim=16,
        mlp_dim=32, dtype="bfloat16",
    )  # fmt: skip
    network.save_to_preset(str(tmp_path))

    found = preset.find(tmp_path, ModelOptions(input_mean=0, input_std=255)).load_graph()

    kinds = {each.attr["T"].type for each in found.graph.node if each.op == "Conv2D"}
    assert kinds == {1}


def test_changed_weights_are_another_backbone(folder: Path, tmp_path: Path) -> None:
    import shutil

    import h5py

    before = preset.find(folder)
    copied = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert preset.find(copied).fingerprint == before.fingerprint
    with h5py.File(copied / "model.weights.h5", "a") as file:
        file.attrs["other"] = 1
    assert preset.find(copied).fingerprint != before.fingerprint


def test_resolve_runs_it_in_a_child_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []
    from tlcli.core.classifier import trial

    monkeypatch.setattr(trial, "require_pass", lambda each, *_: tried.append(each))
    assert resolve(str(folder)).height == 42
    assert [each.target for each in tried] == ["tlcli.backbones.foreign.files:run_trial"]
    tried.clear()
    resolve(str(folder), ModelOptions(trust=True))
    assert not tried


def test_names_that_keras_hub_has_and_has_not(keras_hub: Any) -> None:
    from tlcli.backbones.keras_hub.addresses import preset_address
    from tlcli.backbones.keras_hub.known import known_presets

    assert preset_address("keras_hub:vit_base_patch32_384_imagenet").handle.startswith("keras/vit")
    with pytest.raises(BackboneError, match="did you mean keras_hub:dinov2_small"):
        preset_address("keras_hub:dinov2_smal")
    published = keras_hub.models.Backbone.presets
    for known in known_presets():
        assert published[known.name]["kaggle_handle"] == f"kaggle://{known.kaggle}"
        assert published[known.name]["metadata"]["params"] == known.parameters


def test_damaged_weights_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    import shutil

    copied = Path(shutil.copytree(folder, tmp_path / "copy"))
    content = (copied / "model.weights.h5").read_bytes()
    (copied / "model.weights.h5").write_bytes(content[:2000])
    with pytest.raises(BackboneError, match=r"weights are damaged.*fetch or save it again"):
        preset.find(copied)


def test_preset_without_converter_asks_for_the_scaling(folder: Path, tmp_path: Path) -> None:
    import shutil

    copied = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copied / "image_converter.json").unlink()
    with pytest.raises(UsageError, match=r"no image_converter.json.*--input_mean"):
        preset.find(copied)
    assert preset.find(copied, ModelOptions(input_mean=0, input_std=1)).height == 42


def test_older_converters(folder: Path, tmp_path: Path) -> None:
    import shutil

    copied = Path(shutil.copytree(folder, tmp_path / "copy"))
    path = copied / "image_converter.json"
    converter = json.loads(path.read_text())
    config = converter["config"]
    del config["image_size"], config["offset"]
    config |= {"height": 42, "width": 42, "scale": 1 / 255}
    config |= {"mean": [0.485, 0.456, 0.406], "variance": [0.229**2, 0.224**2, 0.225**2]}
    path.write_text(json.dumps(converter))

    np.testing.assert_allclose(_run(preset.find(copied)), _run(preset.find(folder)), atol=1e-3)
