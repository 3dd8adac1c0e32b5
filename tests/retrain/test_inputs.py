"""What a retraining learns from: one matrix, sorted by split, that no split copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain.arguments.options import RetrainOptions
from retrain.fitting import samples, training_samples
from retrain.folds import cross_validate_fit
from retrain.inputs import Inputs, gather
from retrain.large.imported import stack_imported
from retrain.large.rows import take_rows
from retrain.sources import find_images
from tlcli.backbone import Backbone, BackboneGraph
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.text_files import export_folder
from tlcli.core.data.splits import SPLITS
from tlcli.errors import UsageError

SIZE = 3
LABELS = ("daisy", "rose")


def refuse() -> BackboneGraph:
    raise AssertionError("the network was loaded")


BACKBONE = Backbone("fake", "nowhere", "unknown", 8, 8, "fingerprint", SIZE, refuse)


def vector_of(name: str) -> np.ndarray:
    """Return a vector that tells the image."""
    label, number = name.removesuffix(".jpg").split("/")
    return np.array([LABELS.index(label), int(number), 1], np.float32)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of images whose vectors are all in the cache ``cache`` beside it."""
    folder = tmp_path / "photos"
    with BottleneckStore(tmp_path / "cache") as store:
        for label in LABELS:
            (folder / label).mkdir(parents=True)
            for number in range(40):
                name = f"{label}/{number:02d}.jpg"
                (folder / name).write_text(name)
                (content,) = store.contents([folder / name])
                store.put("fingerprint", None, {content: vector_of(name)})
    return folder


def gathered(photos: Path, **options: object) -> Inputs:
    chosen = RetrainOptions(image_dir=photos, bottleneck_dir=photos.parent / "cache", **options)
    return gather(chosen, find_images(chosen), BACKBONE)


def check(inputs: Inputs) -> None:
    """Assert that all fields belong together, in the order that splits are slices."""
    for row, image in enumerate(inputs.images):
        assert inputs.vectors[row].tolist() == vector_of(image.name).tolist()
        assert inputs.labels[inputs.targets[row]] == image.label
    assert list(inputs.splits) == sorted(inputs.splits, key=SPLITS.index)
    for split in SPLITS:
        names = [image.name for image in inputs.images[inputs.part(split)]]
        assert names == sorted(names)
        assert inputs.rows(split).tolist() == [
            row for row, found in enumerate(inputs.splits) if found == split
        ]
        assert inputs.counts(split).sum() == len(names) > 0


def test_rows_are_sorted_by_split_then_by_name(photos: Path) -> None:
    inputs = gathered(photos)
    assert len(inputs.images) == 80
    assert inputs.counts().tolist() == [40, 40]
    assert inputs.cache == {"hits": 80, "computed": 0, "imported": 0}
    check(inputs)


def test_no_split_is_a_copy(photos: Path) -> None:
    inputs = gathered(photos)
    for split in SPLITS:
        part = samples(inputs, split)
        assert np.shares_memory(part.vectors, inputs.vectors)
        assert np.shares_memory(inputs.vectors_at(inputs.rows(split)), inputs.vectors)
        assert [inputs.labels[label] for label in part.labels] == [
            image.label for image in inputs.images[inputs.part(split)]
        ]
    assert np.shares_memory(training_samples(inputs).vectors, inputs.vectors)
    some = inputs.rows("testing")[[0, 2]]
    np.testing.assert_array_equal(inputs.vectors_at(some), inputs.vectors[some])


def test_images_without_a_vector_leave_no_gap(photos: Path) -> None:
    cache = photos.parent / "cache"
    for name in ("daisy/00.jpg", "daisy/21.jpg", "rose/39.jpg"):
        with BottleneckStore(cache) as store:
            (photos / name).write_text(f"broken {name}")
            (content,) = store.contents([photos / name])
            store.record_failure(content, "truncated image")
    (photos / "rose" / "05.jpg").unlink()
    (photos / "rose" / "05.jpg").symlink_to("nowhere")
    inputs = gathered(photos)
    assert len(inputs.images) == len(inputs.vectors) == 76
    assert [Path(skipped.path).name for skipped in inputs.skipped] == [
        "00.jpg",
        "21.jpg",
        "05.jpg",
        "39.jpg",
    ]
    check(inputs)


def test_imported_vectors_take_their_places_among_the_others(photos: Path) -> None:
    texts = photos.parent / "texts"
    names = ["daisy/03.jpg", "rose/00.jpg", "rose/50.jpg"]  # the last has no photo
    export_folder(texts, [(name, vector_of(name)) for name in names], "fake")
    inputs = gathered(photos, import_bottlenecks=texts)
    assert len(inputs.images) == 81
    assert inputs.cache == {"hits": 78, "computed": 0, "imported": 3}
    check(inputs)


def test_imported_vectors_of_another_size_are_refused(photos: Path) -> None:
    texts = photos.parent / "texts"
    export_folder(texts, [("rose/00.jpg", np.ones(5, np.float32))], "fake")
    with pytest.raises(UsageError, match="have 5 values, those of fake have 3"):
        gathered(photos, import_bottlenecks=texts)


def test_folds_do_not_depend_on_the_split(photos: Path) -> None:
    found = []
    for percentage in (10, 30):
        options = RetrainOptions(
            image_dir=photos,
            testing_percentage=percentage,
            cross_validate=4,
            how_many_training_steps=5,
        )
        inputs = gathered(photos, testing_percentage=percentage)
        found.append(cross_validate_fit(inputs, options).result.fold_of.tolist())
    assert found[0] == found[1]


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 3), st.data())
def test_rows_are_taken_in_the_matrixs_own_memory(
    count: int, size: int, data: st.DataObject
) -> None:
    matrix = np.random.default_rng(0).random((count, size), np.float32)
    rows = np.array(
        data.draw(st.lists(st.integers(0, count - 1), max_size=count, unique=True)), np.int64
    )
    expected = matrix[rows]
    result = take_rows(matrix, rows)
    np.testing.assert_array_equal(result, expected)
    assert not len(rows) or np.shares_memory(result, matrix)


def test_rows_of_one_matrix_are_stacked_without_a_copy() -> None:
    matrix = np.arange(12, dtype=np.float32).reshape(4, 3).copy()
    assert stack_imported(list(matrix), None) is matrix
    for other in (list(matrix)[::-1], list(matrix)[:3], [row.copy() for row in matrix]):
        stacked = stack_imported(other, None)
        assert not np.shares_memory(stacked, matrix)
        np.testing.assert_array_equal(stacked, np.array(other))


def test_warnings_of_duplicates_stay_short(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(21):
        first = photos / "daisy" / f"{number:02d}.jpg"
        for copy in range(11 if number == 0 else 1):
            (photos / "rose" / f"9{number:02d}{copy:02d}.jpg").write_bytes(first.read_bytes())
    found = gathered(photos)
    assert [len(group) for group in found.duplicates] == [12, *[2] * 20]
    messages = [record.getMessage() for record in caplog.records]
    beginning = "the same image has different labels: "
    names = ", ".join(["daisy/00.jpg", *(f"rose/900{copy:02d}.jpg" for copy in range(9))])
    assert messages == [
        f"{beginning}{names} and 2 more",
        *(f"{beginning}daisy/{row:02d}.jpg, rose/9{row:02d}00.jpg" for row in range(1, 20)),
        "1 more image has different labels; the report lists them",
    ]
