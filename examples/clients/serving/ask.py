"""Request labels of images from TensorFlow Serving or `tlcli serve`, with the same requests.

python ask.py photo.jpg
python ask.py --url http://localhost:8501 --name model --numbers photo.jpg
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


def ask(address: str, request: dict[str, Any] | None = None) -> Any:
    """Return the JSON response of a server; end with its message if it refuses."""
    data = None if request is None else json.dumps(request).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data)) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.code}: {json.load(error)['error']}")
    except urllib.error.URLError as error:
        sys.exit(f"no server at {address}: {error.reason}")


def input_size(address: str) -> tuple[int, int]:
    """Return height and width of the images that the model expects."""
    signatures = ask(f"{address}/metadata")["metadata"]["signature_def"]["signature_def"]
    sides = signatures["serving_default"]["inputs"]["image"]["tensor_shape"]["dim"]
    return int(sides[1]["size"]), int(sides[2]["size"])


def numbers(path: Path, height: int, width: int) -> Any:
    """Return an image as the signature `serving_default` expects it: upright, RGB, in [0, 1]."""
    import numpy as np
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    # Four decimals are finer than the 256 steps of a pixel.
    return (np.asarray(image, float) / 255).round(4).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--url", default="http://localhost:8501")
    parser.add_argument("--name", default="model", help="name of the model")
    parser.add_argument("--labels", type=Path, help="labels file, one label per line")
    parser.add_argument(
        "--numbers", action="store_true", help="send numbers instead of files (needs Pillow)"
    )
    given = parser.parse_args()
    address = f"{given.url}/v1/models/{given.name}"
    request: dict[str, Any]
    if given.numbers:
        height, width = input_size(address)
        request = {"instances": [numbers(path, height, width) for path in given.images]}
    else:
        files = [base64.b64encode(path.read_bytes()).decode() for path in given.images]
        request = {
            "signature_name": "encoded",
            "instances": [{"image_bytes": {"b64": content}} for content in files],
        }
    answers = ask(f"{address}:predict", request)["predictions"]
    labels = given.labels.read_text(encoding="utf-8").splitlines() if given.labels else None
    for path, scores in zip(given.images, answers, strict=True):
        if isinstance(scores, dict):  # tlcli serve: this image alone was refused
            print(f"{path}: {scores['error']}")
            continue
        best = max(range(len(scores)), key=scores.__getitem__)
        print(f"{path}: {labels[best] if labels else best} ({scores[best]:.3f})")


if __name__ == "__main__":
    main()
