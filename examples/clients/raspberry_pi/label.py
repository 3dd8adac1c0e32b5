"""Label images with a LiteRT file on a Raspberry Pi or wherever tlcli is not installed.

    pip install ai-edge-litert numpy pillow
    python label.py output_graph.tflite photo.jpg ...

Prints the best label of each image and its score. The labels are in the file.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps

Array = np.ndarray[Any, Any]


class Labeller:
    """A LiteRT file that tlcli wrote: float32, float16 or int8."""

    def __init__(self, model: Path) -> None:
        with zipfile.ZipFile(model) as files:
            self.labels = files.read("labels.txt").decode().splitlines()
        self._interpreter = Interpreter(str(model))
        self._interpreter.allocate_tensors()
        [self._input] = self._interpreter.get_input_details()
        [self._output] = self._interpreter.get_output_details()

    def scores(self, path: Path) -> list[tuple[str, float]]:
        """Return the labels of an image with their scores, best first."""
        self._interpreter.set_tensor(self._input["index"], self._read(path))
        self._interpreter.invoke()
        [scores] = self._interpreter.get_tensor(self._output["index"])
        scale, zero = self._output["quantization"]
        if scale:
            scores = (scores.astype(np.float32) - zero) * scale
        return [(self.labels[index], float(scores[index])) for index in np.argsort(-scores)]

    def _read(self, path: Path) -> Array:
        """Return an image as the network expects it: upright, RGB, stretched, in [0, 1]."""
        _, height, width, _ = self._input["shape"]
        image = Image.open(path)
        if image.format == "JPEG":
            # Decode at half size or less if that is enough; a photo of 12 megapixels takes a
            # tenth of the time.
            image.draft("RGB", (int(width), int(height)))
        image = ImageOps.exif_transpose(image).convert("RGB")
        image = image.resize((int(width), int(height)), Image.Resampling.BILINEAR)
        pixels = np.asarray(image, np.float32)[np.newaxis] / 255
        scale, zero = self._input["quantization"]
        if scale:
            kind = self._input["dtype"]
            whole = np.rint(pixels / scale + zero)
            return np.clip(whole, np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)
        return pixels


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} MODEL.tflite IMAGE ...")
    labeller = Labeller(Path(sys.argv[1]))
    for name in sys.argv[2:]:
        label, score = labeller.scores(Path(name))[0]
        print(f"{name}: {label} ({score:.3f})")


if __name__ == "__main__":
    main()
