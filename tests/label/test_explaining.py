"""Pictures that explain: heat maps where the graph has them, scores always."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from label.explaining import PANEL, SIDE, Explainer, _cut, draw
from label.fonts import Fonts
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.loading import load
from tlcli.core.classifier.outputs import Prediction


@pytest.fixture(scope="module")
def classifier(shared: Path) -> Iterator[Classifier]:
    with load(shared / "legacy" / "plates_128" / "graph.pb") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def photo(shared: Path) -> Path:
    return shared / "legacy" / "plates_128" / "photos" / "newyorkTest1.jpg"


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        assert image.format == "JPEG"
        return image.convert("RGB")


def test_image_heat_map_and_scores_side_by_side(
    classifier: Classifier, photo: Path, tmp_path: Path
) -> None:
    with Explainer(classifier, tmp_path / "out", top_k=3) as explainer:
        (prediction,) = classifier.label([photo], top_k=None)
        place = explainer.write(prediction)
        assert explainer.write(Prediction("x.jpg", error="no such file")) is None
        assert explainer.written == 1
    assert place == tmp_path / "out" / "newyorkTest1.explained.jpg"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [place.name]
    shown = opened(place)
    with Image.open(photo) as original:
        width, height = original.size
    scale = min(1.0, SIDE / max(width, height))
    assert shown.width == pytest.approx(2 * width * scale + PANEL + 64, abs=4)
    # The heat map is where the second picture stands: it is not the first.
    one = shown.crop((16, 16, 16 + round(width * scale), 16 + round(height * scale)))
    two = shown.crop((32 + one.width, 16, 32 + 2 * one.width, 16 + one.height))
    assert np.abs(np.asarray(one, int) - np.asarray(two, int)).mean() > 10


def test_a_turned_photo_is_shown_as_the_network_saw_it(
    classifier: Classifier, photo: Path, tmp_path: Path
) -> None:
    assert not classifier.preprocessing.turns_upright
    exif = Image.Exif()
    exif[0x0112] = 6
    shown = []
    for name, options in (("plain.jpg", {}), ("turned.jpg", {"exif": exif.tobytes()})):
        with Image.open(photo) as image:
            image.save(tmp_path / name, quality=95, **options)
        with Explainer(classifier, tmp_path / "out") as explainer:
            (prediction,) = classifier.label([tmp_path / name], top_k=None)
            place = explainer.write(prediction)
        assert place is not None
        shown.append(np.asarray(opened(place)))
    # The scores and the map are the same, so the picture below the map must be.
    assert np.array_equal(*shown)


def test_one_name_in_two_folders_gets_numbers(
    classifier: Classifier, photo: Path, tmp_path: Path
) -> None:
    for name in ("one/a.jpg", "two/a.png", "two/A.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(photo, tmp_path / name)
    with Explainer(classifier, tmp_path / "out") as explainer:
        for path in sorted(tmp_path.glob("*/*.*")):
            (prediction,) = classifier.label([path], top_k=None)
            explainer.write(prediction)
    # In the order of labelling, told apart also where case does not count.
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "A-2.explained.jpg",
        "a-3.explained.jpg",
        "a.explained.jpg",
    ]


def test_a_graph_without_maps_says_so_and_shows_the_scores(
    shared: Path,
    photo: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    graph = shared / "legacy" / "plates_128" / "graph.tflite"
    with load(graph) as loaded, Explainer(loaded, tmp_path) as explainer:
        (prediction,) = loaded.label([photo], top_k=None)
        place = explainer.write(prediction)
    assert caplog.text.count("gives no heat maps") == 1
    assert str(graph) in caplog.text
    assert place is not None
    with_map = 2 * SIDE
    assert opened(place).width < with_map


LABELS = ["수영장 집", "x" * 200, "a\nb\x1b", "\U000f0000", ""]


def drawn(fonts: Fonts) -> Image.Image:
    image = Image.new("RGB", (100, 60), "red")
    scores = [(label, 0.9 - position / 5) for position, label in enumerate(LABELS)]
    numbers = {label: position for position, label in enumerate(LABELS)}
    return draw(image, np.ones((4, 4), np.float32), scores, numbers, fonts)


def test_labels_of_every_script_and_length() -> None:
    shown = drawn(Fonts())
    assert shown.width == 100 * 2 + PANEL + 64
    assert shown.getpixel((20, 20)) == (255, 0, 0)


def test_a_label_without_a_font_is_a_number(caplog: pytest.LogCaptureFixture) -> None:
    fonts = Fonts(folders=())
    assert fonts.of_label(LABELS[0], 0)[0] == "label 1"
    drawn(fonts)
    assert caplog.text.count("no font on this machine has all letters of '수영장 집'") == 1


def test_long_names_are_cut() -> None:
    class Pen:
        def textlength(self, text: str, font: object) -> float:
            return len(text)

    assert _cut(Pen(), "abcdefgh", None, 8) == "abcdefgh"
    assert _cut(Pen(), "abcdefgh", None, 6) == "abc..."
