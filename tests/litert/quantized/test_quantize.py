from __future__ import annotations

import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.litert.quantized.quantised import needs_quantizer, photos
from tests.support import Trained, tlcli
from tlcli.backbone import INPUT
from tlcli.backbones.resolve import resolve
from tlcli.core.export.tflite import smooth_images
from tlcli.errors import GraphError, OutputError
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.litert.interpreter import LiteRTEngine
from tlcli.litert.quantized.network import FLOAT32, read_network
from tlcli.litert.quantized.quantize import half, quantize
from tlcli.litert.safety import check_litert
from tlcli.litert.writer import write_model

SIDE = 16


def small_network(output: str = "scores") -> bytes:
    """Return a network of one convolution, an average and a matrix of random numbers."""
    random = np.random.default_rng(3)
    kernel = random.normal(0, 0.3, (3, 3, 3, 32)).astype(np.float32)
    matrix = random.normal(0, 0.3, (32, 4)).astype(np.float32)
    graph = new_graph([
        placeholder(INPUT, np.float32, [None, SIDE, SIDE, 3]),
        const("two", np.array(2, np.float32)),
        node("scaled", "Mul", [INPUT, "two"], T=np.float32),
        const("kernel", kernel),
        node("maps", "Conv2D", ["scaled", "kernel"], T=np.float32, strides=[1, 2, 2, 1],
             padding="SAME", data_format="NHWC", dilations=[1, 1, 1, 1]),
        node("relu", "Relu", ["maps"], T=np.float32),
        const("axes", np.array([1, 2], np.int32)),
        node("features", "Mean", ["relu", "axes"], T=np.float32, Tidx=np.int32, keep_dims=False),
        const("matrix", matrix),
        node("logits", "MatMul", ["features", "matrix"], T=np.float32),
        node("scores", "Softmax", ["logits"], T=np.float32),
    ])  # fmt: skip
    return write_model(graph, INPUT, output)


def outputs(content: bytes, images: np.ndarray) -> np.ndarray:
    engine = LiteRTEngine(content)
    return np.concatenate([engine.run(image[np.newaxis]) for image in images])


@needs_quantizer
def test_the_network_computes_in_eight_bits_and_the_final_layer_in_float32() -> None:
    content, images = small_network(), smooth_images(8, SIDE, SIDE)
    made = quantize(content, [images[:4], images[4:]])
    assert made == quantize(content, [images])
    check_litert(made, "made")
    network = read_network(made)
    kinds = {
        each.name: network.tensors[each.outputs[0]].kind == FLOAT32 for each in network.operators
    }
    assert kinds == {
        "QUANTIZE": False, "MUL": False, "CONV_2D": False, "MEAN": False,
        "DEQUANTIZE": True, "FULLY_CONNECTED": True, "SOFTMAX": True,
    }  # fmt: skip
    assert np.abs(outputs(made, images) - outputs(content, images)).max() < 0.01
    engine = LiteRTEngine(made)
    assert (engine.input_type, engine.input_shape) == ("float32", (None, SIDE, SIDE, 3))
    assert np.array_equal(engine.run(images), outputs(made, images))


@needs_quantizer
def test_pixels_of_eight_bits_are_represented_exactly() -> None:
    content = small_network()
    # Calibrated with grey, black and white are not cut off.
    made = quantize(content, [np.full((1, SIDE, SIDE, 3), 0.5, np.float32)])
    network = read_network(made)
    [pixels] = [each.outputs[0] for each in network.operators if each.name == "QUANTIZE"]
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=made)
    interpreter.allocate_tensors()
    [details] = [each for each in interpreter.get_tensor_details() if each["index"] == pixels]
    scale, zero = details["quantization"]
    assert (round(1 / scale), zero) == (255, -128)


@needs_quantizer
@pytest.mark.parametrize("output", ["relu", "features"])
def test_an_output_of_the_network_itself_is_float32(output: str) -> None:
    content, images = small_network(output), smooth_images(8, SIDE, SIDE)
    expected, given = outputs(content, images), outputs(quantize(content, [images]), images)
    assert given.dtype == np.float32
    assert np.abs(given - expected).max() < 0.02 * expected.max()


@needs_quantizer
def test_the_whole_network_in_eight_bits_takes_one_image_and_gives_float32() -> None:
    content, images = small_network(), smooth_images(8, SIDE, SIDE)
    made = quantize(content, [images], whole=True)
    check_litert(made, "made")
    engine = LiteRTEngine(made)
    assert (engine.input_type, engine.input_shape) == ("float32", (1, SIDE, SIDE, 3))
    given = engine.run(images)
    assert np.abs(given - outputs(content, images)).max() < 0.02
    assert np.array_equal(given * 256, np.rint(given * 256))


@needs_quantizer
def test_weights_of_sixteen_bits_halve_the_file() -> None:
    content, images = small_network(), smooth_images(8, SIDE, SIDE)
    made = half(content)
    check_litert(made, "made")
    assert np.abs(outputs(made, images) - outputs(content, images)).max() < 1e-3
    network = read_network(made)
    assert Counter(each.name for each in network.operators)["DEQUANTIZE"] == 2


@needs_quantizer
def test_a_file_that_cannot_be_quantised_is_refused() -> None:
    content, images = small_network(), smooth_images(1, SIDE, SIDE)
    with pytest.raises(GraphError, match="no image to calibrate"):
        quantize(content, [])
    with pytest.raises(GraphError, match="cannot be run on a calibration image"):
        quantize(content, [images[:, :-1]])
    with pytest.raises(GraphError, match="is NaN or infinite for a calibration image"):
        quantize(content, [images * np.float32(np.nan)])
    with pytest.raises(GraphError, match="no float32 network"):
        quantize(quantize(content, [images]), [images])
    with pytest.raises(GraphError, match="no float32 network"):
        half(half(content))
    with pytest.raises(GraphError, match="cannot be quantised"):
        quantize(content[: len(content) // 2], [images])
    graph = new_graph([
        placeholder(INPUT, np.float32, [None, 4, 4, 3]),
        node("scores", "Softmax", [INPUT], T=np.float32),
    ])  # fmt: skip
    with pytest.raises(GraphError, match="has no convolutions"):
        quantize(write_model(graph, INPUT, "scores"), [images])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    for function in (half, lambda content: quantize(content, [])):
        with pytest.raises(OutputError, match=r"needs ai-edge-quantizer: pip install 'tlcli\[int8"):
            function(small_network())


@needs_quantizer
@pytest.mark.slow
def test_the_commands_run_a_quantised_classifier(trained: Trained, tmp_path: Path) -> None:
    content = trained.graph.with_suffix(".tflite").read_bytes()
    images = photos(trained.photos)
    # The card and labels of the graph belong to its LiteRT file as well.
    for name in ("output_graph.json", "output_labels.txt"):
        shutil.copy(trained.folder / name, tmp_path)
    file = tmp_path / "output_graph.tflite"
    expected = outputs(content, images)
    for made in (quantize(content, [images[:20]]), half(content)):
        assert len(made) < 0.6 * len(content)
        file.write_bytes(made)
        given = outputs(made, images)
        assert (given.argmax(1) == expected.argmax(1)).mean() >= 0.9
        run = tlcli("label", "--graph", file, "--image", trained.photo, cwd=tmp_path)
        assert run.code == 0, run.err
        assert run.out.startswith("house with")
        run = tlcli("evaluate", "--graph", file, "--image_dir", trained.photos, cwd=tmp_path)
        assert run.code == 0, run.err


@needs_quantizer
@pytest.mark.slow
@pytest.mark.parametrize("side", [128, 224])
def test_a_frozen_mobilenet_keeps_its_features(side: int, shared: Path) -> None:
    file = shared / "legacy" / "backbones" / f"mobilenet_v1_0.25_{side}" / "frozen_graph.pb"
    graph = resolve(str(file)).load_graph()
    content = write_model(graph.graph, INPUT, graph.output)
    images = photos(shared / "flowers" / "photos" / "tulips", side)[:24]
    made = quantize(content, [images[:12]])
    check_litert(made, "made")
    expected, given = outputs(content, images[12:]), outputs(made, images[12:])
    cosines = (expected * given).sum(1) / (
        np.linalg.norm(expected, axis=1) * np.linalg.norm(given, axis=1)
    )
    assert cosines.min() > 0.95
