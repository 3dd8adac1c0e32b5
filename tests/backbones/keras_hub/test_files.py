from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from tlcli.backbones.keras_hub import library
from tlcli.backbones.keras_hub.files import check_preset, read_preset
from tlcli.backbones.resolve import resolve
from tlcli.core.classifier.loading import load
from tlcli.core.model_spec.kinds import ModelKind, kind_of
from tlcli.errors import BackboneError, GraphError

_DTYPE = {
    "module": "keras",
    "class_name": "DTypePolicy",
    "config": {"name": "float32"},
    "registered_name": None,
}
_CONFIG = {
    "module": "keras_hub.src.models.vit.vit_backbone",
    "class_name": "ViTBackbone",
    "config": {"name": "vit", "dtype": _DTYPE, "image_shape": [32, 32, 3], "patch_size": 16},
    "registered_name": "keras_hub>ViTBackbone",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a preset's folder as keras-hub lays it out, with one weight."""
    path = tmp_path / "preset"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(_CONFIG))
    converter = {"config": {"image_size": [24, 28], "scale": 1 / 127.5, "offset": -1.0}}
    (path / "image_converter.json").write_text(json.dumps(converter))
    with h5py.File(path / "model.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = [1.0, 2.0]
    return path


def _changed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = copy.deepcopy(_CONFIG)
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def test_preset_is_read_and_passes(folder: Path) -> None:
    assert kind_of(folder) is ModelKind.KERAS_HUB
    preset = read_preset(folder)
    check_preset(preset)
    assert preset.class_name == "ViTBackbone"
    assert preset.size == (24, 28)
    assert preset.scaling is not None
    assert preset.scaling.mean == pytest.approx(127.5)
    assert preset.scaling.std == pytest.approx(127.5)


def test_size_of_the_network_where_no_converter_has_one(folder: Path) -> None:
    (folder / "image_converter.json").unlink()
    preset = read_preset(folder)
    assert (preset.size, preset.scaling) == ((32, 32), None)


def test_scaling_by_channel(folder: Path) -> None:
    converter = {"config": {"scale": [0.1, 0.2, 0.5], "offset": [-1, -2, -3]}}
    (folder / "image_converter.json").write_text(json.dumps(converter))
    scaling = read_preset(folder).scaling
    assert scaling is not None
    assert scaling.mean == pytest.approx((10, 10, 6))
    assert scaling.std == pytest.approx((10, 5, 2))


@pytest.mark.parametrize("names", [("mean", "variance"), ("norm_mean", "norm_std")])
def test_scaling_as_older_versions_wrote_it(folder: Path, names: tuple[str, str]) -> None:
    given = 0.25 if names[1] == "variance" else 0.5
    converter = {"scale": 1 / 255, "offset": None, names[0]: [0.5] * 3, names[1]: [given] * 3}
    (folder / "image_converter.json").write_text(json.dumps({"config": converter}))
    scaling = read_preset(folder).scaling
    assert scaling is not None
    assert scaling.single == pytest.approx((127.5, 127.5))


@pytest.mark.parametrize("scale", ["x", [1, 2], 0, [1, 2, float("nan")]])
def test_scaling_that_is_none(folder: Path, scale: Any) -> None:
    (folder / "image_converter.json").write_text(json.dumps({"config": {"scale": scale}}))
    with pytest.raises(BackboneError, match="its scaling is not that of images"):
        read_preset(folder)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        # keras-hub registers classes that read files: only networks may be made.
        (
            {
                "module": "keras_hub.src.tokenizers",
                "class_name": "SentencePieceTokenizer",
                "config": {"proto": "/etc/passwd"},
                "registered_name": "keras_hub>SentencePieceTokenizer",
            },
            "SentencePieceTokenizer, which is no part of an image backbone",
        ),
        (
            {
                "module": "keras.layers",
                "class_name": "Dense",
                "config": {},
                "registered_name": "keras_hub>SentencePieceTokenizer",
            },
            "SentencePieceTokenizer, which is no part of an image backbone",
        ),
        ({"module": "keras.layers", "class_name": "Lambda", "config": {}}, "Lambda layer"),
        ({"module": "os", "class_name": "system", "config": {}}, "os.system"),
        ("keras_hub>SentencePieceTokenizer", "names keras_hub>SentencePieceTokenizer"),
    ],
)
def test_parts_that_are_no_network_are_refused(folder: Path, part: Any, message: str) -> None:
    _changed(folder, lambda config: config["config"].update(activation=part))
    with pytest.raises(BackboneError, match=message):
        check_preset(read_preset(folder))


def test_weights_in_another_file_are_refused(folder: Path) -> None:
    with h5py.File(folder / "model.weights.h5", "a") as file:
        file["layers/other"] = h5py.ExternalLink("elsewhere.h5", "/x")
    with pytest.raises(BackboneError, match="points to another object or file"):
        check_preset(read_preset(folder))


def test_shards_lie_in_the_folder(folder: Path) -> None:
    (folder / "model.weights.h5").rename(folder / "model_00000.weights.h5")
    listed = folder / "model.weights.json"
    listed.write_text(json.dumps({"weight_map": {"/a": "model_00000.weights.h5", "/b": []}}))
    assert [each.name for each in read_preset(folder).parts] == ["model_00000.weights.h5"]
    listed.write_text(json.dumps({"weight_map": {"/a": "../model_00000.weights.h5"}}))
    with pytest.raises(BackboneError, match="it lists no weight files"):
        read_preset(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "cannot read .*config.json"),
        ("config.json", "[1]", "holds no object"),
        ("config.json", "[" * 5000 + "]" * 5000, "nested too deeply|cannot read"),
        ("image_converter.json", "{}", "holds no image converter"),
        ("model.weights.h5", "", "weights are damaged"),
    ],
)
def test_damaged_files_are_one_sentence(
    folder: Path, name: str, content: str, message: str
) -> None:
    (folder / name).write_text(content)
    with pytest.raises(BackboneError, match=message):
        check_preset(read_preset(folder))


def test_networks_of_text_are_no_backbones(folder: Path) -> None:
    other = {"class_name": "GemmaBackbone", "registered_name": "keras_hub>GemmaBackbone"}
    _changed(folder, lambda config: config.update(other))
    with pytest.raises(
        BackboneError, match=r"is a GemmaBackbone, which cannot be a backbone: tlcli exports DINOv2"
    ):
        read_preset(folder)


def test_models_of_the_transformers_library_are_no_backbones(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "dinov2", "image_size": 518}')
    (tmp_path / "model.safetensors").write_bytes(bytes(8))
    with pytest.raises(BackboneError, match=r"is a model of the transformers library.*hf://keras"):
        resolve(str(tmp_path))


def test_missing_files(folder: Path) -> None:
    (folder / "model.weights.h5").unlink()
    with pytest.raises(BackboneError, match="holds no weights"):
        read_preset(folder)
    (folder / "config.json").unlink()
    with pytest.raises(BackboneError, match=r"holds no config\.json"):
        read_preset(folder)


def test_preset_labels_no_images(folder: Path) -> None:
    with pytest.raises(GraphError, match="a backbone without labels: retrain on it"):
        load(folder)


def test_without_keras_hub_one_sentence_has_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library.importlib.util, "find_spec", lambda name: None)
    for module in (str(folder), "keras_hub:dinov2_small", "hf://keras/dinov2_small"):
        with pytest.raises(BackboneError, match=r"run: pip install 'tlcli\[hub\]'"):
            resolve(module)
