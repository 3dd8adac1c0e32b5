"""The classifier on an engine of its own, on LiteRT, and by model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlcli.arrays import Array
from tlcli.core.classifier import classifier as module
from tlcli.core.classifier.classifier import Classifier, ImageInput
from tlcli.core.classifier.loading import load
from tlcli.core.classifier.outputs import Prediction, Score
from tlcli.core.export.frozen_graph import final_layer_graph, serialise
from tlcli.core.export.model_card import CardInput, ModelCard, card_path, complete
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import GraphError, ImageError, UsageError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


class Means:
    """Scores are the mean colour; remembers what it was fed."""

    def __init__(self) -> None:
        self.batches: list[Array] = []
        self.closed = False

    def run(self, batch: Array) -> Array:
        self.batches.append(batch)
        return np.asarray(batch.mean(axis=(1, 2)))

    def close(self) -> None:
        self.closed = True


def classifier(engine: Any, **options: Any) -> Classifier:
    labels = options.pop("labels", ["red", "green", "blue"])
    images = {"preprocessing": Preprocessing("label_image", 4, 4), "batch_size": 2, **options}
    return Classifier(Path("some.pb"), labels, engine, ImageInput(**images))


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = []
    for name, colour in (("r", RED), ("g", GREEN), ("b", BLUE)):
        paths.append(tmp_path / f"{name}.png")
        Image.new("RGB", (9, 5), colour).save(paths[-1])
    return paths


def test_predictions_come_in_order_best_first(photos: list[Path]) -> None:
    predictions = classifier(Means()).label(photos)
    assert [prediction.image for prediction in predictions] == [str(path) for path in photos]
    assert [prediction.label for prediction in predictions] == ["red", "green", "blue"]
    # Of equal scores the first label comes first.
    assert predictions[2].scores == (Score("blue", 1.0), Score("red", 0.0), Score("green", 0.0))
    assert predictions[2].score == 1.0


def test_batches_have_the_asked_size(photos: list[Path]) -> None:
    engine = Means()
    list(classifier(engine).stream(photos))
    assert [batch.shape for batch in engine.batches] == [(2, 4, 4, 3), (1, 4, 4, 3)]
    assert engine.batches[0].dtype == np.float32


def test_one_image_alone_bytes_and_a_mixed_list(photos: list[Path]) -> None:
    made = classifier(Means())
    assert made.label(str(photos[1]))[0].label == "green"
    content = photos[0].read_bytes()
    found = made.label([photos[2], content])
    assert [(each.image, each.label) for each in found] == [
        (str(photos[2]), "blue"),
        ("image 2", "red"),
    ]
    assert made.label([]) == []


def test_what_is_no_image_is_one_sentence(photos: list[Path]) -> None:
    with pytest.raises(UsageError, match="image 2 is of the type dict; give a path"):
        classifier(Means()).label([photos[0], {}])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="images is of the type NoneType; give a path"):
        classifier(Means()).label(None)  # type: ignore[arg-type]


def test_pictures_arrays_and_folders_are_labelled_as_their_files(
    photos: list[Path], tmp_path: Path
) -> None:
    made = classifier(Means())
    expected = [prediction.scores for prediction in made.label(photos)]
    pictures = [Image.open(path) for path in photos]
    arrays = [np.asarray(picture) for picture in pictures]
    for given in (pictures, arrays, np.stack(arrays), iter(arrays)):
        found = made.label(given)
        assert [prediction.scores for prediction in found] == expected
    assert made.label(pictures[1])[0].label == made.label(arrays[1])[0].label == "green"
    assert [each.image for each in made.label(tmp_path)] == [
        str(tmp_path / name) for name in ("b.png", "g.png", "r.png")
    ]
    (tmp_path / "empty").mkdir()
    assert made.label(tmp_path / "empty")[0].error == "no images in this folder"


def test_scores_as_one_array(photos: list[Path], tmp_path: Path) -> None:
    made = classifier(Means())
    found = made.predict_proba(photos)
    assert (found.dtype, found.tolist()) == (np.float32, np.eye(3).tolist())
    assert made.predict_proba([]).shape == (0, 3)
    assert made.predict_proba(photos[2]).tolist() == [[0, 0, 1]]
    absent = tmp_path / "absent.png"
    with pytest.raises(ImageError, match=r"absent\.png: no such file; leave it out, or give"):
        made.predict_proba([photos[0], absent])
    rows = made.predict_proba([photos[0], absent], unreadable="nan")
    assert np.isnan(rows).tolist() == [[False] * 3, [True] * 3]


def test_what_notebooks_and_a_prompt_show(photos: list[Path], tmp_path: Path) -> None:
    made = classifier(Means(), labels=["red", "green", "<b>&lue"])
    assert repr(made) == "<Classifier some.pb: 3 labels>"
    assert "some.pb" in made._repr_html_()
    absent = tmp_path / "<i>.png"
    found = made.label([photos[2], absent])
    assert repr(found[0]) == f"<Prediction {photos[2]}: <b>&lue 1.000, red 0.000, green 0.000>"
    assert repr(found[1]) == f"<Prediction {absent}: no such file>"
    assert repr(found) == f"[{found[0]!r}, {found[1]!r}]"
    (unsure,) = made.label(photos[0], threshold=2)
    assert repr(unsure).endswith("r.png: unsure (best: red, 1.000)>")
    for html in (found._repr_html_(), found[0]._repr_html_(), found[1]._repr_html_()):
        assert "<b>" not in html
        assert "<i>" not in html
        assert "&lt;" in html
    many = made.label([photos[0]] * 30)
    assert repr(many).endswith(", ... 30 in all]")
    assert len(many._repr_html_()) < 20_000


def test_predictions_as_a_data_frame(photos: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    frame = classifier(Means()).label([photos[1], tmp_path / "absent.png"]).to_frame()
    assert list(frame.columns) == ["image", "label", "score", "error"]
    assert frame.label[0] == "green"
    assert frame.error[1] == "no such file"


def test_top_k_and_threshold(photos: list[Path]) -> None:
    made = classifier(Means())
    assert len(made.label(photos[0], top_k=2)[0].scores) == 2
    assert made.label(photos[0], threshold=0.5)[0].scores == (Score("red", 1.0),)
    assert len(made.label(photos[0], top_k=None)[0].scores) == 3


def test_what_no_score_reaches_is_unsure(photos: list[Path]) -> None:
    every = Prediction("a.jpg", (Score("red", 0.6), Score("blue", 0.4), Score("green", -0.2)))
    assert every.top(None) == every
    assert every.top(None, 0).scores == every.scores[:2]
    assert every.top(1, 0.5) == Prediction("a.jpg", every.scores[:1])
    unsure = every.top(5, 0.7)
    assert unsure == Prediction("a.jpg", unsure=Score("red", 0.6))
    assert (unsure.label, unsure.score, unsure.best) == (None, None, Score("red", 0.6))
    assert unsure.top(1, 0.9) == unsure
    assert Prediction("b.jpg", error="x").top(5, 0.7) == Prediction("b.jpg", error="x")
    (found,) = classifier(Means()).label(photos[0], threshold=1.1)
    assert (found.scores, found.best) == ((), Score("red", 1.0))


def test_an_unreadable_image_fails_alone(photos: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    found = classifier(Means()).label([broken, photos[0], tmp_path / "absent.png"])
    assert found[0] == Prediction(str(broken), error="not an image")
    assert found[0].label is None
    assert found[0].score is None
    assert found[1].label == "red"
    assert found[2].error == "no such file"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ZeroDivisionError("odd"), "cannot be read (ZeroDivisionError: odd)"),
        (MemoryError(), "memory"),
    ],
)
def test_an_accident_in_the_decoder_is_the_error_of_one_image(
    photos: list[Path], error: Exception, sentence: str
) -> None:
    def reader(image: Any) -> Array:
        if image == str(photos[1]):
            raise error
        return Preprocessing("label_image", 4, 4).read(image)

    found = classifier(Means(), reader=reader).label(photos)
    assert sentence in (found[1].error or "")
    assert [each.label for each in found] == ["red", None, "blue"]


def test_scores_that_are_not_finite_are_an_error(photos: list[Path]) -> None:
    class Broken(Means):
        def run(self, batch: Array) -> Array:
            return np.full((len(batch), 3), np.nan, np.float32)

    assert classifier(Broken()).label(photos[0])[0].error == "the model returned NaN or infinity"


def test_an_output_that_does_not_fit_the_labels(photos: list[Path]) -> None:
    with pytest.raises(GraphError, match=r"\[1, 3\].*4 labels.*--labels"):
        classifier(Means(), labels=list("abcd")).label(photos[0])


def test_scores_of_any_shape_are_flattened(photos: list[Path]) -> None:
    class Square(Means):
        def run(self, batch: Array) -> Array:
            return super().run(batch).reshape(len(batch), 1, 1, 3)

    assert classifier(Square()).label(photos)[1].label == "green"


def test_bytes_are_fed_raw(photos: list[Path]) -> None:
    engine = Means()
    raw = Preprocessing("label_image", 4, 4, 0.0, 1.0)
    classifier(engine, preprocessing=raw, dtype="uint8").label(photos[0])
    assert engine.batches[0].dtype == np.uint8
    assert engine.batches[0][0, 0, 0].tolist() == [255, 0, 0]


def test_numbers_are_the_shortest_that_are_the_same(photos: list[Path]) -> None:
    class Tenth(Means):
        def run(self, batch: Array) -> Array:
            return np.full((len(batch), 3), 0.1, np.float32)

    assert classifier(Tenth()).label(photos[0])[0].score == 0.1


def test_memory_does_not_grow_with_the_number_of_images(
    photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = 0

    def endless() -> Any:
        nonlocal drawn
        while True:
            drawn += 1
            yield photos[0]

    monkeypatch.setattr(module, "available_cpus", lambda: 2)
    stream = classifier(Means()).stream(endless())
    for _ in range(20):
        next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert drawn < 40


def test_closing(photos: list[Path]) -> None:
    engine = Means()
    with classifier(engine):
        pass
    assert engine.closed


def test_a_final_layer_alone_is_said_to_take_bottlenecks(tmp_path: Path) -> None:
    graph = tmp_path / "final.pb"
    layer = FinalLayer(np.zeros((4, 2), "f"), np.zeros(2, "f"))
    graph.write_bytes(serialise(final_layer_graph(layer)))
    with pytest.raises(GraphError, match="takes bottlenecks"):
        load(graph)
    card = ModelCard(("a", "b"), CardInput("BottleneckInputPlaceholder"), "final_result")
    complete(card, card_path(graph), {graph: graph}).write(card_path(graph))
    with pytest.raises(GraphError, match="takes bottlenecks"):
        load(graph)


@pytest.mark.parametrize(("std", "activation"), [(255.0, "sigmoid"), (64.0, "logits")])
def test_a_grey_image_settles_what_scores_are_for_all(
    photos: list[Path], std: float, activation: str
) -> None:
    made = classifier(Means(), preprocessing=Preprocessing("label_image", 4, 4, 0.0, std))
    assert made.settle_scores() == activation
    # Alone, the scores of a red image would be probabilities in the first case.
    sums = [sum(each.score for each in prediction.scores) for prediction in made.label(photos)]
    assert sums == pytest.approx([1.0, 1.0, 1.0])
    assert made.label(photos)[0].score == pytest.approx(
        1.0 if activation == "sigmoid" else 0.964, abs=1e-3
    )
