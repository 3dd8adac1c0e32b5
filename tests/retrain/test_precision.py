"""``--precision``: what a run is computed in, and where that stands afterwards."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tlcli
from retrain.arguments.options import RetrainOptions
from retrain.inputs import Inputs, gather
from retrain.precision.int8 import COMPARED
from retrain.sources import find_images, in_its_precision
from tests.litert.quantized.quantised import needs_quantizer
from tests.support import Trained
from tests.support import tlcli as command
from tlcli.backbone import Backbone, BackboneGraph
from tlcli.backbones.resolve import resolve
from tlcli.core.bottlenecks import engine_choice, precision
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.engine_choice import largest_difference
from tlcli.core.bottlenecks.engines import NO_BACKEND
from tlcli.core.bottlenecks.extraction import Request, compute
from tlcli.core.bottlenecks.precision import in_bfloat16
from tlcli.core.data.image_folder import scan_folder
from tlcli.core.evaluation.metrics import assign_folds, cross_validate
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import FinalLayer, SgdSettings, fit_sgd
from tlcli.errors import UsageError


def refuse() -> BackboneGraph:
    raise AssertionError("the network was loaded")


BACKBONE = Backbone("fake", "nowhere", "unknown", 8, 8, "fingerprint", 3, refuse)
COUNT = 12


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Return what settles the precision of a run over 12 images, and its cache."""
    monkeypatch.setattr(engine_choice, "bfloat16_backend", lambda: "amx_bf16")
    monkeypatch.setattr(precision, "WORTH_MEASURING", 10)
    monkeypatch.setattr(precision.Trial, "float32", lambda self: 5.0)
    monkeypatch.setattr(precision.Trial, "bfloat16", lambda self, backend: 2.5)
    requests = [Request(tmp_path / f"{number}.jpg", f"{number:064d}") for number in range(COUNT)]
    store = BottleneckStore(tmp_path / "cache")

    def settle(**options: object) -> str:
        chosen = RetrainOptions(image_dir=tmp_path, **options)
        return in_its_precision(chosen, BACKBONE, requests, store).precision

    def cached(backbone: Backbone, count: int) -> None:
        vectors = {request.content: np.ones(3, np.float32) for request in requests[:count]}
        store.put(backbone.fingerprint, None, vectors)

    yield settle, cached
    store.close()


def test_auto_counts_what_the_float32_cache_lacks(run) -> None:  # type: ignore[no-untyped-def]
    settle, cached = run
    assert settle() == "bfloat16"
    cached(BACKBONE, 2)
    assert settle() == "bfloat16"
    cached(BACKBONE, 3)
    assert settle() == "float32"


def test_auto_stays_with_what_an_earlier_run_took(run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    settle, cached = run
    monkeypatch.setattr(precision.Trial, "float32", lambda self: pytest.fail("measured"))
    cached(in_bfloat16(BACKBONE, "amx_bf16"), COUNT)
    assert settle() == "bfloat16"
    cached(BACKBONE, COUNT)
    assert settle() == "float32"


def test_auto_asks_nothing_for_few_images(run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    settle, _ = run
    monkeypatch.setattr(precision, "WORTH_MEASURING", COUNT + 1)
    monkeypatch.setattr(BottleneckStore, "count", lambda *_: pytest.fail("looked up"))
    monkeypatch.setattr(engine_choice, "bfloat16_backend", lambda: pytest.fail("asked"))
    assert settle() == "float32"
    monkeypatch.undo()


def test_views_count_as_images(run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    settle, _ = run
    monkeypatch.setattr(precision, "WORTH_MEASURING", 3 * COUNT)
    assert settle() == "float32"
    assert settle(flip_left_right=True, distortion_views=2) == "bfloat16"


def test_what_is_asked_for_is_taken(run, monkeypatch, caplog) -> None:  # type: ignore[no-untyped-def]
    settle, _ = run
    assert settle(precision="float32") == "float32"
    assert settle(import_bottlenecks="texts") == "float32"
    monkeypatch.setattr(precision, "WORTH_MEASURING", 1000)
    with caplog.at_level(logging.WARNING, "tlcli"):
        assert settle(precision="bfloat16") == "bfloat16"
        assert not caplog.records
        monkeypatch.setattr(engine_choice, "bfloat16_backend", lambda: NO_BACKEND)
        assert settle(precision="bfloat16") == "bfloat16"
    (record,) = caplog.records
    assert "slower here than float32" in record.getMessage()


def test_imported_vectors_are_float32(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--import_bottlenecks brings vectors of float32"):
        RetrainOptions(image_dir=tmp_path, import_bottlenecks=tmp_path, precision="bfloat16")
    with pytest.raises(UsageError, match="those of --precision int8 must not be mixed"):
        RetrainOptions(image_dir=tmp_path, import_bottlenecks=tmp_path, precision="int8")
    with pytest.raises(UsageError, match="choose auto, float32, bfloat16 or int8"):
        RetrainOptions(image_dir=tmp_path, precision="bf16")


def test_a_usual_run_imports_no_tensorflow(trained: Trained) -> None:
    code = (
        "import sys, tlcli\n"
        "done = tlcli.retrain('photos', output_graph='usual/graph.pb', no_report=True,\n"
        "    how_many_training_steps=1)\n"
        "assert done.cache['computed'] == 0, done.cache\n"
        "print(done.backbone['precision'], 'tensorflow' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=trained.folder, capture_output=True, text=True,
        env={**os.environ, "TLCLI_CACHE_DIR": str(trained.cache)}, check=False,
    )  # fmt: skip
    assert done.stdout == "float32 False\n", done.stderr


@pytest.mark.slow
def test_the_precision_stands_in_result_card_and_report(trained: Trained, tmp_path: Path) -> None:
    arguments = ("retrain", "--image_dir", trained.photos, "--format", "json",
                 "--how_many_training_steps", 300, "--testing_percentage", 25)  # fmt: skip
    low = command(*arguments, "--precision", "bfloat16", cwd=tmp_path, cache=trained.cache)
    assert low.code == 0, low.err
    count = sum(trained.run.json["cache"][key] for key in ("hits", "computed"))
    assert low.json["cache"] == {"hits": 0, "computed": count, "imported": 0}
    assert low.json["backbone"]["precision"] == "bfloat16"
    usual = trained.run.json["backbone"]
    assert usual["precision"] == "float32"
    assert usual["fingerprint"] == resolve("efficientnet_lite0").fingerprint
    assert low.json["backbone"]["fingerprint"] != usual["fingerprint"]
    card = json.loads((tmp_path / "output_graph.json").read_text(encoding="utf-8"))
    assert card["backbone"] == low.json["backbone"]
    assert card["training"]["precision"] == "bfloat16"
    report = (tmp_path / "output_report.html").read_text(encoding="utf-8")
    assert "1,280 values, bfloat16" in report
    assert "--precision bfloat16" in report
    # The graph itself is the float32 one, and the second time nothing is computed.
    again = command(*arguments, "--precision", "bfloat16", cwd=tmp_path, cache=trained.cache)
    assert again.json["cache"]["computed"] == 0
    assert abs(low.json["test_accuracy"] - trained.run.json["test_accuracy"]) <= 0.1
    image = trained.photo
    labelled = command("label", "--image", image, cwd=tmp_path)
    assert labelled.out.startswith("house with pool")


@needs_quantizer
@pytest.mark.slow
def test_int8_trains_on_its_own_vectors_and_tests_on_those_of_the_graph(
    trained: Trained, tmp_path: Path
) -> None:
    def gathered(precision: str) -> Inputs:
        options = RetrainOptions(
            image_dir=trained.photos, precision=precision, bottleneck_dir=tmp_path
        )
        return gather(options, find_images(options), resolve("efficientnet_lite0"))

    low, usual = gathered("int8"), gathered("float32")
    assert low.backbone is not None
    assert low.backbone.precision == "int8"
    assert low.splits == usual.splits
    rows = low.rows("testing")
    assert len(rows)
    assert np.array_equal(low.vectors[rows], usual.vectors[rows])
    rows = low.rows("training")
    assert not (low.vectors[rows] == usual.vectors[rows]).all(1).any()
    # Here all training images are compared, so their mean is that of float32.
    assert len(rows) <= COMPARED
    means = [each.vectors[rows].mean(0) for each in (low, usual)]
    assert np.abs(means[0] - means[1]).max() < 1e-4
    # All is cached.
    again = gathered("int8")
    assert again.cache["computed"] == 0
    assert np.array_equal(again.vectors, low.vectors)


@needs_quantizer
@pytest.mark.slow
def test_int8_stands_in_result_and_card_and_needs_a_measured_backbone(
    trained: Trained, tmp_path: Path
) -> None:
    arguments = ("retrain", "--image_dir", trained.photos, "--format", "json", "--precision",
                 "int8", "--how_many_training_steps", 300)  # fmt: skip
    low = command(*arguments, cwd=tmp_path, cache=trained.cache)
    assert low.code == 0, low.err
    assert low.json["backbone"]["precision"] == "int8"
    card = json.loads((tmp_path / "output_graph.json").read_text(encoding="utf-8"))
    assert card["backbone"] == low.json["backbone"]
    # The graph itself computes in float32.
    labelled = command("label", "--image", trained.photo, cwd=tmp_path)
    assert labelled.out.startswith("house with pool")
    refused = command(
        *arguments, "--module", tmp_path / "output_graph.pb", cwd=tmp_path, cache=trained.cache
    )
    assert refused.code == 1
    assert "--precision int8 is offered for efficientnet_lite0 and " in refused.err


@pytest.mark.slow
def test_bfloat16_is_near_float32_on_photos(shared: Path, tmp_path: Path) -> None:
    images = scan_folder(shared / "flowers" / "photos").images[::5]
    backbone = resolve("efficientnet_lite0")
    low = in_bfloat16(backbone, engine_choice.bfloat16_backend())
    with BottleneckStore(tmp_path) as store:
        contents = [str(found) for found in store.contents([image.file for image in images])]
        requests = [Request(image.file, content)
                    for image, content in zip(images, contents, strict=True)]  # fmt: skip
        expected = compute(backbone, requests, store).vectors
        found = compute(low, requests, store).vectors
    assert not (found == expected).all(axis=1).any()
    lengths = np.linalg.norm(expected, axis=1)
    distances = np.linalg.norm(found - expected, axis=1)
    assert 1e-4 < np.median(distances / lengths) < 4e-2
    assert largest_difference(found, expected) < 8e-2
    _, labels = np.unique([image.folder for image in images], return_inverse=True)

    folds = assign_folds(labels, contents, 5)

    def accuracy(vectors: np.ndarray) -> float:
        def fit(training: Samples) -> FinalLayer:
            return fit_sgd(training, 5, SgdSettings(steps=1000))

        return cross_validate(Samples(vectors, labels), folds, fit).accuracy

    # One image of a hundred is a point.
    assert abs(accuracy(found) - accuracy(expected)) <= 0.0201
    assert accuracy(expected) > 0.75


def test_the_python_interface_takes_it() -> None:
    with pytest.raises(UsageError, match="--precision"):
        tlcli.retrain("photos", precision="double")
