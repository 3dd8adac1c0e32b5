"""Vectors in a file: the same layer as from memory, whatever computed them and in which order."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrain.arguments.options import RetrainOptions
from retrain.fitting import fit
from retrain.folds import cross_validate_fit
from retrain.inputs import Inputs, gather
from retrain.large import rows
from retrain.sources import find_images
from retrain.testing import evaluate_fit
from tlcli.backbone import Backbone, BackboneGraph, FeatureBlock
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.parts.part_cache import part_path
from tlcli.core.parts.part_file import PartFacts, PartRows, write_part
from tlcli.errors import UsageError
from tlcli.shards.planning import plan
from tlcli.system.digests import sha256_bytes
from tlcli.system.mapped_arrays import is_mapped

SIZE, LABELS, PER_LABEL = 12, ("daisy", "rose", "tulip"), 40


def refuse() -> BackboneGraph:
    raise AssertionError("the network was loaded")


PLAIN = Backbone("fake", "nowhere", "unknown", 8, 8, "fingerprint", SIZE, refuse)
BLOCKS = replace(PLAIN, blocks=(FeatureBlock("a", 8, 4.0), FeatureBlock("b", 4, 1.0)))


def vector_of(name: str) -> np.ndarray:
    random = np.random.default_rng(int(sha256_bytes(name.encode())[:8], 16))
    values = random.normal(size=SIZE).astype(np.float32)
    values[LABELS.index(name.split("/")[0])] += 2
    return values


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        for number in range(PER_LABEL):
            name = f"{label}/{number:02d}.jpg"
            (folder / name).write_text(name)
    return folder


def write_parts(photos: Path, folder: Path, usual_size: int, order: int) -> None:
    """Write the parts of shards of a size, as workers do that end in some order."""
    images = find_images(RetrainOptions(image_dir=photos)).dataset.images
    shards = list(plan(images, "fingerprint", "{}", usual_size))
    assert len(shards) > 3
    for number in np.random.default_rng(order).permutation(len(shards)):
        shard = shards[number]
        names = [image.name for image in shard.images]
        count = len(names)
        texts = [[image.label for image in shard.images], [""] * count, [""] * count]
        write_part(
            part_path(folder, "fingerprint", f"{order}{shard.key}"),
            PartRows(
                *(names, [""] * count, [sha256_bytes(name.encode()) for name in names], *texts),
                np.stack([vector_of(name) for name in names]),
            ),
            PartFacts(
                *(shard.key, "fingerprint", "fake", "{}", str(photos), shard.first, shard.last),
                *(count, SIZE),
            ),
        )


def gathered(photos: Path, cache: str, backbone: Backbone = PLAIN, **options: object) -> Inputs:
    chosen = RetrainOptions(image_dir=photos, bottleneck_dir=photos.parent / cache, **options)
    return gather(chosen, find_images(chosen), backbone)


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "usable_memory", lambda: 1000)


@pytest.mark.parametrize(
    ("backbone", "solver"),
    [
        (PLAIN, "sgd"),
        (BLOCKS, "sgd"),
        (BLOCKS, "lda"),
        pytest.param(BLOCKS, "lbfgs", marks=pytest.mark.slow),
    ],
)
def test_a_file_gives_the_layer_of_memory_whatever_the_order_of_shards(
    photos: Path, monkeypatch: pytest.MonkeyPatch, backbone: Backbone, solver: str
) -> None:
    options = {"solver": solver, "how_many_training_steps": 20, "cross_validate": 2}
    found = []
    for number, (usual_size, memory) in enumerate([(7, 1 << 40), (7, 1000), (20, 1000)]):
        monkeypatch.setattr(rows, "usable_memory", lambda memory=memory: memory)
        cache = f"cache {number}"
        write_parts(photos, photos.parent / cache, usual_size, number)
        inputs = gathered(photos, cache, backbone, **options)
        assert is_mapped(inputs.vectors) == (memory == 1000)
        chosen = RetrainOptions(image_dir=photos, **options)
        fitted = fit(inputs, chosen)
        tests = evaluate_fit(inputs, chosen, fitted)
        cross = cross_validate_fit(inputs, chosen).result
        found.append(
            (
                [image.name for image in inputs.images],
                inputs.vectors.tobytes(),
                fitted.layer.weights.tobytes(),
                fitted.layer.biases.tobytes(),
                tests.after.predicted.tolist(),
                tests.validation.accuracy,
                cross.predictions.score.tobytes(),
            )
        )
    assert found[0] == found[1] == found[2]


def test_images_without_a_vector_leave_no_gap_in_the_file(
    photos: Path, little_memory: None, caplog: pytest.LogCaptureFixture
) -> None:
    with BottleneckStore(photos.parent / "cache") as store:
        for path in sorted(photos.rglob("*.jpg")):
            name = path.relative_to(photos).as_posix()
            (content,) = store.contents([path])
            if name in ("daisy/00.jpg", "rose/31.jpg", "tulip/39.jpg"):
                store.record_failure(content, "truncated image")
            else:
                store.put("fingerprint", None, {content: vector_of(name)})
    with caplog.at_level(logging.INFO, "tlcli"):
        inputs = gathered(photos, "cache")
    assert is_mapped(inputs.vectors)
    assert len(inputs.images) == len(inputs.vectors) == 3 * PER_LABEL - 3
    for row, image in enumerate(inputs.images):
        assert inputs.vectors[row].tolist() == vector_of(image.name).tolist()
    told = [record.message for record in caplog.records if "free memory" in record.message]
    assert told == [
        "The vectors take 5.8 KB, more than half of the free memory (1.0 KB): they are read from "
        f"a temporary file in {photos.parent / 'cache'}"
    ]
    # It has no name, so nothing is left whatever ends the process.
    assert {path.suffix for path in (photos.parent / "cache").iterdir()} <= {
        ".sqlite", ".sqlite-shm", ".sqlite-wal"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"train_batch_size": -1}, "--train_batch_size -1 takes all images at once"),
        ({"fine_tune": "all"}, "--fine_tune all keeps vectors in memory"),
    ],
)
def test_what_needs_all_vectors_at_once_is_refused(
    photos: Path, little_memory: None, options: dict[str, object], sentence: str
) -> None:
    write_parts(photos, photos.parent / "cache", 20, 0)
    with pytest.raises(UsageError, match=sentence):
        gathered(photos, "cache", **options)
