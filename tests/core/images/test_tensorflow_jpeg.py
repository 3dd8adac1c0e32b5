"""JPEGs come in as label_image.py saw them, whichever decoder is at hand."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlcli.core.images import tensorflow_jpeg
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import ImageError
from tlcli.runtime.tensorflow import import_tensorflow

PREPROCESSING = Preprocessing("label_image", 64, 64)


def without_simplejpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)


def refuse() -> Any:
    raise AssertionError("TensorFlow is not needed")


def photo(format: str = "JPEG", mode: str = "RGB") -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((200, 160)).convert(mode).save(file, format)
    return file.getvalue()


@pytest.mark.slow
def test_pixels_are_those_of_tensorflow(shared: Path) -> None:
    pytest.importorskip("simplejpeg")
    fast, exact = tensorflow_jpeg._simplejpeg(), tensorflow_jpeg._tensorflow()
    assert fast is not None
    folders = sorted((shared / "flowers" / "photos").iterdir())
    photos = [path for folder in folders for path in sorted(folder.iterdir())[::10]]
    assert len(photos) >= 50
    for path in photos:
        np.testing.assert_array_equal(fast(path.read_bytes()), exact(path.read_bytes()))
    grey = photo(mode="L")
    np.testing.assert_array_equal(fast(grey), exact(grey))


@pytest.mark.slow
@pytest.mark.parametrize("with_package", [True, False])
def test_both_ways_read_the_same(with_package: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if with_package:
        pytest.importorskip("simplejpeg")
        monkeypatch.setattr(tensorflow_jpeg, "import_tensorflow", refuse)
    else:
        without_simplejpeg(monkeypatch)
    content = photo()
    given = tensorflow_jpeg.label_image_reader(PREPROCESSING)(content)
    pixels = import_tensorflow().io.decode_jpeg(content, channels=3).numpy()
    expected = import_tensorflow().compat.v1.image.resize_bilinear(pixels[None], [64, 64])[0]
    np.testing.assert_allclose(given, expected, atol=1e-3)


@pytest.mark.parametrize(("format", "mode"), [("PNG", "RGB"), ("BMP", "RGB"), ("JPEG", "CMYK")])
def test_what_is_left_to_pillow(format: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = photo(format, mode)
    given = tensorflow_jpeg.label_image_reader(PREPROCESSING)(content)
    np.testing.assert_array_equal(given, PREPROCESSING.read(content))


def test_a_file_that_is_cut_short_is_an_error_and_needs_no_tensorflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("simplejpeg")
    monkeypatch.setattr(tensorflow_jpeg, "import_tensorflow", refuse)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(photo()[:2000])
    with pytest.raises(ImageError):
        tensorflow_jpeg.label_image_reader(PREPROCESSING)(cut)


def test_tensorflow_reads_what_only_it_forgives(shared: Path) -> None:
    pytest.importorskip("simplejpeg")
    damaged = shared / "odd" / "truncated_app14.jpg"
    fast, exact = tensorflow_jpeg._simplejpeg(), tensorflow_jpeg._tensorflow()
    assert fast is not None
    with pytest.raises(ValueError, match="extraneous"):
        fast(damaged.read_bytes())
    exact(damaged.read_bytes())
    given = tensorflow_jpeg.label_image_reader(PREPROCESSING)(damaged)
    assert given.shape == (64, 64, 3)


def test_an_old_graph_is_labelled_without_tensorflow(shared: Path) -> None:
    pytest.importorskip("simplejpeg")
    graph = shared / "legacy" / "plates_128" / "graph.pb"
    image = next(iter(sorted((shared / "legacy" / "plates_128" / "photos").rglob("*.jpg"))))
    program = (
        "import sys, tlcli\n"
        "print(len(tlcli.load(sys.argv[1]).label([sys.argv[2]], top_k=None)[0].scores),\n"
        "    'tensorflow' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(graph), str(image)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "5 False\n"
