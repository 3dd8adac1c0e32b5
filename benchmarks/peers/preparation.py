"""Files that the stages need: models with random weights, ONNX files, many distinct photos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.measuring import UnavailableError

SIZES = {"InceptionV3": 299, "MobileNetV2": 224}


def write_keras(network: str, path: str) -> dict[str, Any]:
    """Write a network of Keras Applications with seeded random weights, ending in its features.

    Batch norms get random weights too: as they are made they shift nothing, and runtimes join
    a convolution with the activation behind it only if a bias is between them, as is the case
    in every trained network.
    """
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    draw = np.random.default_rng(0)
    side = SIZES[network]
    model = getattr(keras.applications, network)(
        weights=None, include_top=False, pooling="avg", input_shape=(side, side, 3)
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            *shifts, variance = layer.get_weights()
            shifts = [draw.normal(0, 0.1, values.shape) for values in shifts]
            layer.set_weights([*shifts, draw.uniform(0.5, 1.5, variance.shape)])
    model.save(path)
    return {"parameters": model.count_params()}


def write_onnx(graph: str, path: str) -> dict[str, Any]:
    """Convert an exported graph by tf2onnx's own command."""
    import runpy

    import tf2onnx  # noqa: F401  so that its absence is reported as such

    sys.argv = ["tf2onnx", "--graphdef", graph, "--inputs", "Placeholder:0"]
    sys.argv += ["--outputs", "final_result:0", "--output", path]
    runpy.run_module("tf2onnx.convert", run_name="__main__")
    if not Path(path).is_file():
        raise UnavailableError("tf2onnx wrote no file")
    return {"bytes": Path(path).stat().st_size}


def write_distinct(folder: str, source: str, count: int, side: int = 0) -> dict[str, Any]:
    """Write ``count`` photos of distinct content: real ones, with a number after their end.

    Decoders stop at the end of the picture, so that the pixels are those of the real photo.

    Args:
        folder: where LABEL/NUMBER.jpg go.
        source: folder of folders of photos.
        count: how many.
        side: in pixels, 0 for the photo as it is; small ones keep the disk free.
    """
    import io

    real = {
        label.name: sorted(label.glob("*.jpg"))
        for label in sorted(Path(source).iterdir())
        if label.is_dir()
    }
    content: dict[Path, bytes] = {}

    def read(path: Path) -> bytes:
        if path not in content:
            data = path.read_bytes()
            if side:
                from PIL import Image

                small = io.BytesIO()
                Image.open(path).resize((side, side)).save(small, "JPEG")
                data = small.getvalue()
            content[path] = data
        return content[path]

    labels = list(real)
    for label in labels:
        Path(folder, label).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        label = labels[number % len(labels)]
        paths = real[label]
        data = read(paths[number // len(labels) % len(paths)])
        Path(folder, label, f"{number:07d}.jpg").write_bytes(data + f"#{number}".encode())
    return {"count": count}


def fill_cache(folder: str, cache: str) -> dict[str, Any]:
    """Store a vector for each photo under its content, as a cold run would; random numbers."""
    import hashlib

    import numpy as np

    from tlcli.backbones.resolve import resolve
    from tlcli.core.bottlenecks.cache import BottleneckStore

    backbone = resolve("efficientnet_lite0")
    random = np.random.default_rng(0)
    stored = 0
    with BottleneckStore(Path(cache)) as store:
        for label in sorted(Path(folder).iterdir()):
            # Labels differ by their mean, so that the fit converges.
            centre = random.standard_normal(1280, dtype=np.float32)
            paths = sorted(label.iterdir())
            for start in range(0, len(paths), 1000):
                keys = [
                    hashlib.sha256(path.read_bytes()).hexdigest()
                    for path in paths[start : start + 1000]
                ]
                rows = centre + random.standard_normal((len(keys), 1280), dtype=np.float32)
                store.put(backbone.fingerprint, None, dict(zip(keys, np.abs(rows), strict=True)))
                stored += len(keys)
    return {"stored": stored}


def open_cache(cache: str) -> dict[str, Any]:
    """Open a cache and look for one vector."""
    import time

    from tlcli.core.bottlenecks.cache import BottleneckStore

    started = time.perf_counter()
    with BottleneckStore(Path(cache)) as store:
        store.get("0" * 64, None, ["0" * 64])
    return {"seconds": time.perf_counter() - started}
