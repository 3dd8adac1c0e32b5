"""Label images with a LiteRT file where tlcli is not installed, such as a Raspberry Pi.

    pip install ai-edge-litert numpy pillow
    python label_with_litert.py output_graph.tflite photo.jpg

Copy output_graph.tflite and output_graph.json, its card, into one folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps


def read(path: Path, height: int, width: int) -> np.ndarray[Any, Any]:
    """Return an image as the network expects it: upright, RGB, stretched, float32 in [0, 1]."""
    image = Image.open(path)
    if image.format == "JPEG":
        # Decode at half size or less if that is enough; a photo of 12 megapixels takes a
        # tenth of the time.
        image.draft("RGB", (width, height))
    image = ImageOps.exif_transpose(image).convert("RGB")
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)[np.newaxis] / 255


class Labeller:
    """A LiteRT file and its model card."""

    def __init__(self, model: Path) -> None:
        card = json.loads(model.with_suffix(".json").read_text(encoding="utf-8"))
        self.labels: list[str] = card["labels"]
        self.height, self.width = card["input"]["height"], card["input"]["width"]
        self._interpreter = Interpreter(str(model))
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def scores(self, path: Path) -> list[tuple[str, float]]:
        """Return the labels of an image with their scores, best first."""
        self._interpreter.set_tensor(self._input, read(path, self.height, self.width))
        self._interpreter.invoke()
        [scores] = self._interpreter.get_tensor(self._output)
        return [(self.labels[index], float(scores[index])) for index in np.argsort(-scores)]


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} MODEL.tflite IMAGE ...")
    labeller = Labeller(Path(sys.argv[1]))
    for name in sys.argv[2:]:
        label, score = labeller.scores(Path(name))[0]
        print(f"{name}: {label} ({score:.3f})")


if __name__ == "__main__":
    main()
