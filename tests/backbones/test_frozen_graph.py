from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backbones.frozen_graphs import FLOAT, pooled, written
from tlcli.backbone import INPUT, Backbone
from tlcli.backbones.frozen_graph import find
from tlcli.backbones.model_options import ModelOptions
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.images.tensorflow_jpeg import label_image_reader
from tlcli.errors import BackboneError
from tlcli.graph.messages import GraphDef
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.graph.surgery import PLAIN_OPERATIONS
from tlcli.runtime.tensorflow import GraphEngine, import_tensorflow

POOLED = "MobilenetV1/Logits/AvgPool_1a/AvgPool"
DAISY = "flowers/photos/daisy/10172567486_2748826a8b.jpg"


def run(backbone: Backbone, batch: Any) -> Any:
    loaded = backbone.load_graph()
    assert {node.op for node in loaded.graph.node} <= PLAIN_OPERATIONS
    assert backbone.bottleneck_size in (None, loaded.bottleneck_size)
    with GraphEngine(loaded.graph, INPUT, loaded.output) as engine:
        vectors = engine.run(batch)
    assert vectors.shape == (len(batch), loaded.bottleneck_size)
    return vectors


def photos(paths: list[Path], side: int) -> Any:
    read = label_image_reader(Preprocessing("label_image", side, side))
    return np.stack([read(path) for path in paths]) / FLOAT(255)


@pytest.mark.parametrize("side", [128, 224])
@pytest.mark.parametrize("kind", ["logits", "pooled"])
def test_reference_features(shared: Path, side: int, kind: str) -> None:
    model = f"mobilenet_v1_0.25_{side}"
    backbone = find(
        shared / "legacy" / "backbones" / model / "frozen_graph.pb",
        ModelOptions(bottleneck_layer=None if kind == "logits" else POOLED),
    )
    assert (backbone.height, backbone.width) == (side, side)
    assert backbone.bottleneck_size == (1001 if kind == "logits" else 256)
    with np.load(shared / "legacy" / "backbones" / "expected_features.npz") as stored:
        features = {key: stored[key] for key in stored.files if key.startswith(f"{model}|{kind}|")}
    assert len(features) == 3
    batch = photos([shared / key.split("|")[2] for key in features], side)
    loaded = backbone.load_graph()
    assert loaded.any_batch
    with GraphEngine(loaded.graph, INPUT, loaded.output) as engine:
        vectors = engine.run(batch)
        singles = np.concatenate([engine.run(batch[index : index + 1]) for index in range(3)])
    np.testing.assert_allclose(vectors, list(features.values()), rtol=0, atol=1e-3)
    np.testing.assert_allclose(vectors, singles, rtol=0, atol=2e-5)


def test_stored_bottlenecks_of_a_retrained_graph(shared: Path) -> None:
    folder = shared / "legacy" / "plates_128"
    backbone = find(folder / "graph.pb")
    paths = sorted((folder / "bottleneck_photos").rglob("*.jpg"))
    assert len(paths) == 5
    stored = [
        np.loadtxt(
            folder / "bottlenecks" / path.parent.name / f"{path.name}_mobilenet_0.25_128.txt",
            delimiter=",",
        )
        for path in paths
    ]
    assert np.abs(run(backbone, photos(paths, 128)) - stored).max() <= 1e-3


@pytest.mark.parametrize(
    ("folder", "side", "width"),
    [
        ("banknotes_224", 224, 1001),
        ("panels_128_optimized", 128, 1001),
        ("mirror_128_quantized", 128, 1001),
        ("hub_style_128_synthetic", 128, 256),
    ],
)
def test_every_generation(shared: Path, folder: str, side: int, width: int) -> None:
    path = shared / "legacy" / folder / "graph.pb"
    backbone = find(path)
    assert (backbone.height, backbone.width, backbone.bottleneck_size) == (side, side, width)
    batch = photos([shared / DAISY], side)
    original = GraphDef.FromString(path.read_bytes())
    hub = folder.startswith("hub")
    bottleneck = [
        each for each in original.node if each.name.endswith("BottleneckInputPlaceholder")
    ]
    with GraphEngine(original, INPUT if hub else "input", bottleneck[0].input[0]) as engine:
        expected = engine.run(batch if hub else (batch * 255 - FLOAT(127.5)) / FLOAT(127.5))
    np.testing.assert_allclose(run(backbone, batch), expected, rtol=0, atol=1e-4)


def test_2015_style(shared: Path) -> None:
    path = shared / "legacy" / "inception2015_style_synthetic" / "graph.pb"
    backbone = find(path)
    loaded = backbone.load_graph()
    assert (loaded.output, loaded.bottleneck_size, loaded.any_batch) == (
        "pool_3/_reshape",
        256,
        True,
    )
    photo = shared / DAISY
    tf = import_tensorflow()
    holder = tf.Graph()
    with holder.as_default():
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(path.read_bytes()), name="")
        with tf.compat.v1.Session() as session:
            contents = {"DecodeJpeg/contents:0": photo.read_bytes()}
            pixels, expected = session.run(["ResizeBilinear:0", "pool_3/_reshape:0"], contents)
    vectors = run(backbone, np.concatenate([pixels, pixels]) / FLOAT(255))
    np.testing.assert_allclose(vectors, np.repeat(expected, 2, 0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("layer", ["DecodeJpeg/contents:0", "import/ResizeBilinear"])
def test_input_of_a_decoder_stands_for_its_resize(shared: Path, layer: str) -> None:
    path = shared / "legacy" / "inception2015_style_synthetic" / "graph.pb"
    backbone = find(path, ModelOptions(input_layer=layer))
    assert backbone.fingerprint == find(path).fingerprint


def inception_of_2015(contents: Any, middle: str = "Mul") -> list[Any]:
    """Return a network of one layer with the operations and names of the real file."""
    rng = np.random.default_rng(5)

    def tensor(*shape: int) -> Any:
        return rng.uniform(0.5, 1.5, shape).astype(FLOAT)

    norm = ["moving_mean", "moving_variance", "beta", "gamma"]
    head = [
        contents,
        node("DecodeJpeg", "DecodeJpeg", ["DecodeJpeg/contents"], channels=3),
        node("Cast", "Cast", ["DecodeJpeg"], SrcT=np.uint8, DstT=FLOAT),
        const("ExpandDims/dim", np.int32(0)),
        node("ExpandDims", "ExpandDims", ["Cast", "ExpandDims/dim"], T=FLOAT, Tdim=np.int32),
        const("ResizeBilinear/size", np.array([15, 15], np.int32)),
        node("ResizeBilinear", "ResizeBilinear", ["ExpandDims", "ResizeBilinear/size"], T=FLOAT),
        const("Sub/y", FLOAT(128)),
        node("Sub", "Sub", ["ResizeBilinear", "Sub/y"], T=FLOAT),
        const("Mul/y", FLOAT(1 / 128)),
        node("Mul", "Mul", ["Sub", "Mul/y"], T=FLOAT),
    ]
    body = [
        const("conv/conv2d_params", tensor(3, 3, 3, 4)),
        node(
            "conv/Conv2D",
            "Conv2D",
            ["Mul", "conv/conv2d_params"],
            T=FLOAT,
            strides=[1, 2, 2, 1],
            padding="VALID",
        ),
        *(const(f"conv/batchnorm/{part}", tensor(4)) for part in norm),
        node(
            "conv/batchnorm",
            "BatchNormWithGlobalNormalization",
            ["conv/Conv2D", *(f"conv/batchnorm/{part}" for part in norm)],
            T=FLOAT,
            variance_epsilon=0.001,
            scale_after_normalization=False,
        ),
        node("conv/CheckNumerics", "CheckNumerics", ["conv/batchnorm"], T=FLOAT, message="NaN"),
        node(
            "conv/control_dependency",
            "Identity",
            ["conv/batchnorm", "^conv/CheckNumerics"],
            T=FLOAT,
        ),
        node("conv", "Relu", ["conv/control_dependency"], T=FLOAT),
        node(
            "pool",
            "MaxPool",
            ["conv"],
            T=FLOAT,
            ksize=[1, 3, 3, 1],
            strides=[1, 1, 1, 1],
            padding="SAME",
        ),
        const("mixed/join/concat_dim", np.int32(3)),
        node("mixed/join", "Concat", ["mixed/join/concat_dim", "conv", "pool"], T=FLOAT, N=2),
        node(
            "pool_3",
            "AvgPool",
            ["mixed/join"],
            T=FLOAT,
            ksize=[1, 7, 7, 1],
            strides=[1, 1, 1, 1],
            padding="VALID",
        ),
        const("pool_3/_reshape/shape", np.array([1, 8], np.int32)),
        node(
            "pool_3/_reshape",
            "Reshape",
            ["pool_3", "pool_3/_reshape/shape"],
            T=FLOAT,
            Tshape=np.int32,
        ),
        const("softmax/weights", tensor(8, 5)),
        node("softmax/logits/MatMul", "MatMul", ["pool_3/_reshape", "softmax/weights"], T=FLOAT),
        const("softmax/biases", tensor(5)),
        node("softmax/logits", "BiasAdd", ["softmax/logits/MatMul", "softmax/biases"], T=FLOAT),
        node("softmax", "Softmax", ["softmax/logits"], T=FLOAT),
    ]
    return [*head, *body] if middle == "Mul" else [placeholder("Mul", FLOAT, None), *body]


@pytest.mark.parametrize("stored", [True, False])
def test_operations_of_the_real_2015_file(tmp_path: Path, stored: bool) -> None:
    if stored:  # the published file contains a JPEG there, which clients replace
        contents = const("DecodeJpeg/contents", np.array(b"no JPEG", object))
    else:
        contents = node("DecodeJpeg/contents", "Placeholder", (), dtype=np.dtype(object))
    nodes = inception_of_2015(contents)
    backbone = find(written(tmp_path, nodes, producer=8))
    assert (backbone.height, backbone.width, backbone.bottleneck_size) == (15, 15, 8)
    pixels = np.random.default_rng(1).uniform(0, 255, (3, 15, 15, 3)).astype(FLOAT)
    original = new_graph(nodes)
    original.versions.producer = 8
    with GraphEngine(original, "ResizeBilinear", "pool_3/_reshape") as engine:
        expected = np.concatenate([engine.run(pixels[index : index + 1]) for index in range(3)])
    np.testing.assert_allclose(run(backbone, pixels / FLOAT(255)), expected, rtol=1e-4, atol=1e-4)
    loaded = backbone.load_graph()
    assert loaded.any_batch
    assert not any("Decode" in each.op for each in loaded.graph.node)


def test_2017_placeholder_mul(tmp_path: Path) -> None:
    nodes = inception_of_2015(None, middle="placeholder")
    backbone = find(written(tmp_path, nodes, producer=8))
    assert (backbone.height, backbone.width) == (15, 15)
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 15, 15, 3)).astype(FLOAT)
    whole = inception_of_2015(const("DecodeJpeg/contents", np.array(b"", object)))
    (tmp_path / "whole").mkdir()
    same = find(written(tmp_path / "whole", whole, producer=8))
    np.testing.assert_allclose(
        run(backbone, pixels / FLOAT(255)), run(same, pixels / FLOAT(255)), rtol=1e-4
    )
    by_name = find(same.source.removeprefix("frozen graph "), ModelOptions(input_layer="Mul:0"))
    np.testing.assert_allclose(
        run(by_name, pixels / FLOAT(255)), run(same, pixels / FLOAT(255)), rtol=1e-4
    )


def test_classifier_without_known_names(tmp_path: Path) -> None:
    weights = np.arange(6, dtype=FLOAT).reshape(3, 2)
    head = [const("w", weights), node("dot", "MatMul", ["features", "w"], T=FLOAT)]
    head += [node("prob", "Softmax", ["dot"], T=FLOAT)]
    path = written(tmp_path, [placeholder("x", FLOAT, [1, 4, 6, 3]), *pooled(), *head])
    backbone = find(path, ModelOptions(input_mean=0, input_std=1))
    assert (backbone.height, backbone.width, backbone.bottleneck_size) == (4, 6, 3)
    image = np.full((2, 4, 6, 3), 0.5, FLOAT)
    np.testing.assert_allclose(run(backbone, image), np.full((2, 3), 127.5), rtol=1e-6)


def test_input_mean_of_zero_is_a_value(shared: Path) -> None:
    path = shared / "legacy" / "backbones" / "mobilenet_v1_0.25_128" / "frozen_graph.pb"
    image = np.random.default_rng(0).uniform(0, 1, (1, 128, 128, 3)).astype(FLOAT)
    fed = run(find(path, ModelOptions(input_mean=0, input_std=255)), image)
    with GraphEngine(
        GraphDef.FromString(path.read_bytes()), "input", "MobilenetV1/Predictions/Reshape"
    ) as engine:
        np.testing.assert_allclose(fed, engine.run(image), rtol=0, atol=1e-4)


def test_unknown_range_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path, [placeholder("x", FLOAT, [None, 4, 4, 3]), *pooled()])
    with caplog.at_level(logging.WARNING, "tlcli"):
        find(path, ModelOptions(input_mean=0.0))
        assert not caplog.records
        find(path)
    assert "--input_mean" in caplog.text


def test_integer_input_is_fed_pixels(tmp_path: Path) -> None:
    cast = node("f", "Cast", ["x"], SrcT=np.uint8, DstT=FLOAT)
    nodes = [placeholder("x", np.uint8, [None, 2, 2, 3]), cast, *pooled(source="f")]
    vectors = run(find(written(tmp_path, nodes)), np.full((2, 2, 2, 3), 0.2, FLOAT))
    np.testing.assert_allclose(vectors, np.full((2, 3), 51), rtol=1e-6)


def test_batch_that_cannot_be_widened(tmp_path: Path) -> None:
    nodes = [
        placeholder("x", FLOAT, [1, 2, 2, 3]),
        const("perm", np.array([3, 1, 2, 0], np.int32)),
        node("turned", "Transpose", ["x", "perm"], T=FLOAT, Tperm=np.int32),
        const("shape", np.array([1, 12], np.int32)),
        node("flat", "Reshape", ["turned", "shape"], T=FLOAT, Tshape=np.int32),
    ]
    backbone = find(written(tmp_path, nodes), ModelOptions(bottleneck_layer="flat"))
    loaded = backbone.load_graph()
    assert (loaded.any_batch, loaded.bottleneck_size) == (False, 12)
    assert run(backbone, np.ones((1, 2, 2, 3), FLOAT)).shape == (1, 12)


def test_given_range_replaces_one_that_cannot_be_inferred(tmp_path: Path) -> None:
    nodes = [
        node("contents", "Placeholder", (), dtype=np.dtype(object)),
        node("decoded", "DecodeJpeg", ["contents"], channels=3),
        node("cast", "Cast", ["decoded"], SrcT=np.uint8, DstT=FLOAT),
        const("axis", np.int32(0)),
        node("batch", "ExpandDims", ["cast", "axis"], T=FLOAT, Tdim=np.int32),
        const("mean", FLOAT(10)),
        node("shifted", "Sub", ["batch", "mean"], T=FLOAT),
        const("size", np.array([4, 4], np.int32)),
        node("resized", "ResizeBilinear", ["shifted", "size"], T=FLOAT),
        *pooled(source="resized"),
    ]
    path = written(tmp_path, nodes)
    with pytest.raises(BackboneError, match=r"changes pixels by Sub \('shifted'\)"):
        find(path)
    backbone = find(path, ModelOptions(input_mean=10, input_std=1))
    image = np.full((1, 4, 4, 3), 0.2, FLOAT)
    np.testing.assert_allclose(run(backbone, image), np.full((1, 3), 41), rtol=1e-6)


def test_own_names_in_the_graph_do_not_collide(tmp_path: Path) -> None:
    nodes = [
        placeholder("Placeholder", FLOAT, [None, 2, 2, 3]),
        const("input_scaling/factor", FLOAT(2)),
        node("m", "Mul", ["Placeholder", "input_scaling/factor"], T=FLOAT),
        *pooled(source="m"),
    ]
    vectors = run(
        find(written(tmp_path, nodes), ModelOptions(input_std=1.0)),
        np.full((1, 2, 2, 3), 0.5, FLOAT),
    )
    assert vectors.tolist() == [[255.0] * 3]


def test_fingerprint(shared: Path, tmp_path: Path) -> None:
    path = shared / "legacy" / "backbones" / "mobilenet_v1_0.25_128" / "frozen_graph.pb"
    copy = tmp_path / "other.pb"
    copy.write_bytes(path.read_bytes())
    assert find(copy, name="mine").fingerprint == find(path).fingerprint
    assert find(path, ModelOptions(input_mean=127.5)).fingerprint == find(path).fingerprint
    others = [
        find(path, ModelOptions(bottleneck_layer=POOLED)),
        find(path, ModelOptions(input_mean=0)),
        find(path, ModelOptions(input_std=1.0)),
        find(path, ModelOptions(bottleneck_layer=POOLED, input_height=160, input_width=160)),
    ]
    copy.write_bytes(path.read_bytes() + b"\x18\x01")  # another version: the same network
    prints = {each.fingerprint for each in [*others, find(copy), find(path)]}
    assert len(prints) == 6


def test_find_imports_no_tensorflow(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    backbone = find(shared / "legacy" / "plates_128" / "graph.pb", name="plates")
    assert (backbone.name, backbone.licence, backbone.bottleneck_size) == (
        "plates",
        "unknown",
        1001,
    )
    assert backbone.load_graph().any_batch


def test_file_that_changes_after_it_was_found(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        [placeholder("Placeholder", FLOAT, [None, 4, 4, 3]), *pooled(source="Placeholder")],
    )
    backbone = find(path)
    path.write_bytes(path.read_bytes() + b"\x18\x01")
    with pytest.raises(BackboneError, match="was changed while it was in use"):
        backbone.load_graph()


@pytest.mark.parametrize("axis", [True, False])
def test_a_graph_for_grey_images_gets_them(tmp_path: Path, axis: bool) -> None:
    shape = (None, 4, 4, 1) if axis else (None, 4, 4)
    nodes = [
        placeholder("input_7", FLOAT, shape),
        const("shape", np.array([-1, 16], np.int32)),
        node("flat", "Reshape", ["input_7", "shape"], T=FLOAT, Tshape=np.int32),
    ]
    backbone = find(written(tmp_path, nodes), ModelOptions(input_mean=0.0, input_std=1.0))
    images = np.random.default_rng(5).random((3, 4, 4, 3)).astype(FLOAT)

    expected = (images @ np.array([0.299, 0.587, 0.114], FLOAT)).reshape(3, 16) * 255

    np.testing.assert_allclose(run(backbone, images), expected, atol=1e-3)
