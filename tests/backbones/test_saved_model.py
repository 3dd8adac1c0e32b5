from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.backbones import modules
from tlcli.backbone import INPUT
from tlcli.backbones import saved_model
from tlcli.backbones.layers.pooled_maps import with_pooled_maps
from tlcli.backbones.model_options import ModelOptions
from tlcli.errors import BackboneError, GraphError, UsageError
from tlcli.runtime.tensorflow import GraphEngine


@pytest.fixture(scope="module")
def hub1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return modules.write_hub1(tmp_path_factory.mktemp("hub1") / "module")


@pytest.fixture(scope="module")
def hub2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return modules.write_hub2(tmp_path_factory.mktemp("hub2") / "module")


def test_tensorflow_1_module_gives_its_feature_vectors(hub1: Path) -> None:
    backbone = saved_model.find(hub1)

    assert (backbone.height, backbone.width) == (modules.SIDE, modules.SIDE)
    batch = modules.images()
    np.testing.assert_allclose(modules.run(backbone, batch), modules.expected(batch), atol=1e-5)


def test_tensorflow_2_module_gives_its_feature_vectors(hub2: Path) -> None:
    backbone = saved_model.find(hub2, ModelOptions(input_height=modules.SIDE))

    assert (backbone.height, backbone.width) == (modules.SIDE, modules.SIDE)
    batch = modules.images()
    np.testing.assert_allclose(modules.run(backbone, batch), modules.expected(batch), atol=1e-5)


def test_graph_is_plain_and_frozen(hub2: Path) -> None:
    loaded = saved_model.find(hub2, ModelOptions(input_height=modules.SIDE)).load_graph()

    operations = {node.op for node in loaded.graph.node}
    assert operations <= {"Placeholder", "Const", "Conv2D", "BiasAdd", "AddV2", "Relu"} | {
        "Mean",
        "Identity",
    }
    assert not loaded.graph.library.function
    assert [node.name for node in loaded.graph.node if node.op == "Placeholder"] == ["Placeholder"]


def test_maps_are_averaged_and_outputs_chosen_by_name(hub1: Path) -> None:
    batch = modules.images()

    maps = saved_model.find(hub1, ModelOptions(bottleneck_layer="maps"))
    logits = saved_model.find(hub1, ModelOptions(bottleneck_layer="default"))

    np.testing.assert_allclose(modules.run(maps, batch), modules.expected(batch), atol=1e-5)
    # "default" names a signature before it names an output.
    np.testing.assert_allclose(modules.run(logits, batch), 2 * modules.expected(batch), atol=1e-5)
    assert maps.fingerprint != logits.fingerprint


def test_mean_and_std_scale_inside_the_graph(hub2: Path) -> None:
    batch = modules.images()
    backbone = saved_model.find(
        hub2,
        ModelOptions(
            input_height=modules.SIDE, input_width=modules.SIDE, input_mean=0, input_std=127.5
        ),
    )

    np.testing.assert_allclose(modules.run(backbone, batch), modules.expected(batch * 2), atol=1e-5)


def test_unknown_size_is_asked_for(hub2: Path) -> None:
    with pytest.raises(UsageError, match="--input_height"):
        saved_model.find(hub2)


def test_hint_of_the_size_is_taken(hub2: Path) -> None:
    assert saved_model.find(hub2, info=saved_model.ModuleInfo(size=(32, 48))).width == 48


def test_unknown_output_names_the_known_ones(hub1: Path) -> None:
    with pytest.raises(UsageError, match=r"image_feature_vector.*maps"):
        saved_model.find(hub1, ModelOptions(bottleneck_layer="pool"))


def test_fingerprint_follows_content_and_size(hub2: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(hub2, copy)
    first = saved_model.find(hub2, ModelOptions(input_height=20)).fingerprint

    assert saved_model.find(copy, ModelOptions(input_height=20)).fingerprint == first
    assert saved_model.find(copy, ModelOptions(input_height=24)).fingerprint != first
    data = copy / "variables" / "variables.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[3] ^= 1
    data.write_bytes(content)
    assert saved_model.find(copy, ModelOptions(input_height=20)).fingerprint != first


def test_find_does_not_import_tensorflow(hub1: Path) -> None:
    import subprocess

    code = (
        "import sys; from pathlib import Path; from tlcli.backbones import saved_model;"
        f"saved_model.find(Path({str(hub1)!r}));"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_operations_outside_inference_are_refused_before_anything_runs(tmp_path: Path) -> None:
    import tensorflow as tf

    target = tmp_path / "written"

    class Module(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32)])
        def __call__(self, images: object) -> object:
            tf.io.write_file(str(target), "x")
            return tf.reduce_mean(images, [1, 2])

    folder = tmp_path / "module"
    tf.saved_model.save(Module(), str(folder))

    with pytest.raises(GraphError, match="WriteFile"):
        saved_model.find(folder)
    assert not target.exists()


def test_folder_that_is_no_saved_model(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"saved_model\.pb"):
        saved_model.find(tmp_path)


def test_damaged_variables_are_one_sentence(hub2: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(hub2, copy)
    (copy / "variables" / "variables.index").write_bytes(b"no index")

    with pytest.raises(BackboneError, match="cannot be loaded"):
        saved_model.find(copy, ModelOptions(input_height=20)).load_graph()


def test_size_that_the_model_does_not_take(tmp_path: Path) -> None:
    folder = modules.write_hub2(tmp_path / "fixed", side=modules.SIDE)

    assert saved_model.find(folder).height == modules.SIDE
    with pytest.raises(UsageError, match="20 x 20 only"):
        saved_model.find(folder, ModelOptions(input_height=32))


def test_keras_export_is_read(tmp_path: Path) -> None:
    from tlcli.backbones.keras_applications import import_keras

    keras = import_keras()
    kernel, bias = modules.weights()
    model = keras.Sequential(
        [
            keras.layers.Input((modules.SIDE, modules.SIDE, 3)),
            keras.layers.Conv2D(modules.FEATURES, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    model.layers[0].set_weights([kernel, bias])
    model.export(str(tmp_path / "export"), verbose=False)
    backbone = saved_model.find(tmp_path / "export")

    batch = modules.images()
    np.testing.assert_allclose(modules.run(backbone, batch), modules.expected(batch), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("saved_by", ["export", "tensorflow"])
def test_several_layers_of_a_model_of_keras_3(tmp_path: Path, saved_by: str) -> None:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(5)
    layers, inputs = keras.layers, keras.Input((32, 32, 3))
    maps, found = inputs, []
    for width in (4, 6, 8, 10):
        maps = layers.Conv2D(width, 3, strides=2, padding="same")(maps)
        maps = layers.ReLU()(layers.BatchNormalization()(maps))
        found.append(maps)
    pool = layers.GlobalAveragePooling2D
    model = keras.Model(inputs, pool()(maps))
    for variable in model.variables:
        variable.assign(keras.random.uniform(variable.shape) + 0.1)
    folder = tmp_path / "model"
    if saved_by == "export":
        model.export(str(folder), verbose=False)
    else:
        tf.saved_model.save(model, str(folder))
    batch = modules.images(side=32)

    backbone = with_pooled_maps(saved_model.find(folder))
    loaded = backbone.load_graph()
    with GraphEngine(loaded.graph, INPUT, loaded.output) as engine:
        vectors = engine.run(batch)

    every = keras.Model(inputs, [pool()(each) for each in found])(batch)
    expected = {each.shape[1]: np.asarray(each) for each in every}
    start = 0
    for block in backbone.blocks:
        part = vectors[:, start : start + block.size]
        np.testing.assert_allclose(part, expected[block.size], rtol=1e-4, atol=1e-4)
        start += block.size
    assert start == vectors.shape[1]
    assert len(backbone.blocks) > 1
