"""Small modules in each format, written by TensorFlow, with the features they compute.

All compute the same: a 3 x 3 convolution, ReLU, and its average over the image.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.backbone import INPUT, Backbone
from tlcli.runtime.tensorflow import GraphEngine

SIDE = 20
FEATURES = 6


def weights() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    random = np.random.default_rng(7)
    kernel = random.normal(0, 0.5, (3, 3, 3, FEATURES)).astype(np.float32)
    return kernel, random.normal(0, 0.1, FEATURES).astype(np.float32)


def images(count: int = 3, side: int = SIDE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).uniform(0, 1, (count, side, side, 3)).astype(np.float32)


def expected(batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the features in plain NumPy: valid convolution, ReLU, average."""
    kernel, bias = weights()
    windows = np.lib.stride_tricks.sliding_window_view(batch, (3, 3), axis=(1, 2))
    convolved = np.einsum("nhwcij,ijcf->nhwf", windows, kernel) + bias
    return np.asarray(np.maximum(convolved, 0).mean(axis=(1, 2)))


def run(backbone: Backbone, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return what the loaded graph of ``backbone`` gives."""
    loaded = backbone.load_graph()
    with GraphEngine(loaded.graph, INPUT, loaded.output) as engine:
        result = engine.run(batch)
    assert result.shape == (len(batch), loaded.bottleneck_size)
    return result


def write_hub1(folder: Path, *, attach: bool = True, side: int | None = None) -> Path:
    """Write a module in the Hub's TensorFlow 1 format: no tags, variables, a "train" graph."""
    import tensorflow as tf

    v1 = tf.compat.v1
    kernel, bias = weights()
    builder = v1.saved_model.Builder(str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tags in (["train"], []):
            with tf.Graph().as_default(), v1.Session() as session:
                x = v1.placeholder(tf.float32, [None, side, side, 3], "hub_input/images")
                w = v1.Variable(kernel, name="conv/weights", use_resource=False)
                b = v1.Variable(bias, name="conv/biases")
                maps = tf.nn.relu(tf.nn.conv2d(x, w, 1, "VALID") + b, name="maps")
                pooled = tf.reduce_mean(maps, [1, 2], name="hub_output/feature_vector")
                logits = tf.multiply(pooled, 2.0, name="logits")
                session.run(v1.global_variables_initializer())
                info = v1.saved_model.utils.build_tensor_info
                method = v1.saved_model.signature_def_utils.build_signature_def
                signatures = {
                    "default": method({"images": info(x)}, {"default": info(logits)}, "default"),
                    "image_feature_vector": method(
                        {"images": info(x)},
                        {"default": info(pooled), "maps": info(maps)},
                        "image_feature_vector",
                    ),
                }
                if tags:
                    builder.add_meta_graph_and_variables(session, tags, signatures)
                else:
                    builder.add_meta_graph(tags, signatures)
        builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")
    if attach:
        _attach_size(folder, SIDE)
    return folder


def _attach_size(folder: Path, side: int) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    size = b"\x08" + bytes([side]) + b"\x10" + bytes([side])
    info = b"\x0a" + bytes([len(size)]) + size
    key = b"image_module_info"
    attachment = b"\x0a" + bytes([len(key)]) + key + b"\x12" + bytes([len(info)]) + info
    for meta in model.meta_graphs:
        meta.collection_def["hub_module_attachments"].bytes_list.value.append(attachment)
    path.write_bytes(model.SerializeToString())


def write_hub2(folder: Path, *, side: int | None = None, maps: bool = False) -> Path:
    """Write a module in the Hub's TensorFlow 2 format: callable, with ``training``."""
    import tensorflow as tf

    class Module(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            kernel, bias = weights()
            self.kernel = tf.Variable(kernel)
            self.bias = tf.Variable(bias)

        @tf.function
        def __call__(self, images: Any, training: bool = False) -> Any:
            found = tf.nn.relu(tf.nn.conv2d(images, self.kernel, 1, "VALID") + self.bias)
            if training:
                found = tf.nn.dropout(found, 0.5)
            return found if maps else tf.reduce_mean(found, [1, 2])

    module = Module()
    specification = tf.TensorSpec([None, side, side, 3], tf.float32, name="inputs")
    for training in (True, False):
        concrete = module.__call__.get_concrete_function(specification, training)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tf.saved_model.save(module, str(folder), signatures={"serving_default": concrete})
    return folder
