from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.backbones.frozen_graphs import FLOAT, pooled, written
from tests.support import Trained
from tlcli.backbones.model_options import ModelOptions
from tlcli.backbones.resolve import architecture_to_module, fetch, resolve
from tlcli.errors import BackboneError, UsageError
from tlcli.graph.nodes import placeholder


@pytest.fixture
def placed(shared: Path, tmp_path: Path) -> Path:
    """Return a model folder with two MobileNets as the poets' archives leave them."""
    for side in (128, 224):
        source = shared / "legacy" / "backbones" / f"mobilenet_v1_0.25_{side}" / "frozen_graph.pb"
        target = tmp_path / "models" / f"mobilenet_v1_0.25_{side}" / "frozen_graph.pb"
        target.parent.mkdir(parents=True)
        shutil.copy(source, target)
    return tmp_path / "models"


def test_default_comes_out_of_its_wheel() -> None:
    backbone = resolve("efficientnet_lite0")

    assert (backbone.name, backbone.height, backbone.bottleneck_size) == (
        "efficientnet_lite0",
        224,
        1280,
    )
    assert resolve("EfficientNet-Lite0").fingerprint == backbone.fingerprint


def test_size_of_a_wheel_is_fixed() -> None:
    assert (
        resolve("efficientnet_lite0", ModelOptions(input_height=224, input_width=224)).height == 224
    )
    with pytest.raises(UsageError, match="--input_height cannot be changed"):
        resolve("efficientnet_lite0", ModelOptions(input_height=128))


def test_frozen_graph_by_path_and_by_name(placed: Path) -> None:
    path = placed / "mobilenet_v1_0.25_128" / "frozen_graph.pb"

    by_path = resolve(str(path))
    by_name = resolve("mobilenet_v1_0.25_128", model_dir=placed)

    assert (by_path.height, by_path.width) == (128, 128)
    assert by_name.fingerprint == by_path.fingerprint
    assert by_name.name == "mobilenet_v1_0.25_128"


def test_hand_placed_models_in_the_cache_folder(
    placed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLCLI_CACHE_DIR", str(placed.parent))

    assert resolve("mobilenet_v1_0.25_224").height == 224
    assert resolve("mobilenet_0.25_224").name == "mobilenet_v1_0.25_224"


@pytest.mark.parametrize(
    ("architecture", "module"),
    [
        ("inception_v3", "inception_v3"),
        ("mobilenet_1.0_224", "mobilenet_v1"),
        ("mobilenet_0.50_160", "mobilenet_v1_0.50_160"),
        ("mobilenet_0.25_128", "mobilenet_v1_0.25_128"),
        ("mobilenet_0.75_192_quantized", "mobilenet_v1_0.75_192"),
    ],
)
def test_architectures_become_modules(architecture: str, module: str) -> None:
    assert architecture_to_module(architecture) == module


def test_hand_placed_graphs_come_first_for_architectures(tmp_path: Path) -> None:
    for place in ("classify_image_graph_def.pb", "mobilenet_v1_1.0_224/frozen_graph.pb"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(b"graph")

    assert architecture_to_module("inception_v3", tmp_path) == "inception_2015"
    assert architecture_to_module("mobilenet_1.0_224", tmp_path) == "mobilenet_v1_1.0_224"


@pytest.mark.parametrize(
    "name", ["mobilenet_0.3_224", "mobilenet_1.0_225", "inception_v4", "", "mobilenet"]
)
def test_bad_architecture_lists_the_valid_ones(name: str) -> None:
    with pytest.raises(UsageError, match=r"inception_v3.*0\.50.*_quantized"):
        architecture_to_module(name)


def test_unknown_name_suggests_the_closest() -> None:
    with pytest.raises(BackboneError, match=r"did you mean 'mobilenet_v2'\?.*tlcli modules"):
        resolve("moblenet_v2")


@pytest.mark.parametrize("path", ["folder/model.pb", "./nothing", "model.keras"])
def test_absent_path_is_named(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackboneError, match="there is no file or folder"):
        resolve(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("graph.tflite", "cannot be a backbone.*SavedModel folder"),
        ("weights.pth", "PyTorch"),
        ("model.onnx", "ONNX"),
        ("module.tgz", "an archive: unpack it"),
        ("notes.txt", "not a frozen TensorFlow graph"),
    ],
)
def test_other_files_are_refused_with_what_works(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"something")

    with pytest.raises(BackboneError, match=message):
        resolve(str(tmp_path / name))


def test_empty_module_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="--module is empty"):
        resolve(" ")


def test_folder_named_like_a_known_backbone_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "efficientnet_lite0").mkdir()
    monkeypatch.chdir(tmp_path)

    assert resolve("efficientnet_lite0").bottleneck_size == 1280


def test_inception_of_2015_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"put classify_image_graph_def\.pb into"):
        resolve("inception_2015", model_dir=tmp_path)
    with pytest.raises(BackboneError, match="cannot be fetched"):
        fetch("inception_2015", model_dir=tmp_path)


def test_a_foreign_backbone_is_run_in_a_child_before_its_graph_is_loaded(
    tmp_path: Path, count_children: Callable[[], int]
) -> None:
    path = written(tmp_path, [placeholder("x", FLOAT, (None, 4, 4, 3)), *pooled()])
    backbone = resolve(str(path))
    assert count_children() == 0
    for _ in range(2):
        assert backbone.load_graph().bottleneck_size == 3
    assert count_children() == 1
    resolve(str(path)).load_graph()
    assert count_children() == 1
    resolve(str(path), ModelOptions(trust=True)).load_graph()
    assert count_children() == 1


def test_a_backbone_that_tlcli_wrote_needs_no_child(
    trained: Trained, count_children: Callable[[], int]
) -> None:
    resolve(str(trained.graph)).load_graph()
    assert count_children() == 0
