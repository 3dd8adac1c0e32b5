from __future__ import annotations

import re
from pathlib import Path

import pytest

from tlcli.backbones import catalogue
from tlcli.backbones.catalogue import entries, hand_placed, lookup, on_this_machine


@pytest.fixture(autouse=True)
def _empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


def test_every_entry_is_complete() -> None:
    for entry in entries().values():
        assert entry.licence
        assert entry.bottleneck_size > 0
        assert entry.weight_bytes > 100_000
        if entry.kind == "keras":
            assert entry.url.startswith("https://storage.googleapis.com/")
            assert entry.architecture
            assert re.fullmatch(r"|[0-9a-f]{32}|[0-9a-f]{64}", entry.checksum)
    assert next(iter(entries())) == "efficientnet_lite0"


@pytest.mark.parametrize(
    ("name", "file", "checksum"),
    [
        (
            "inception_v3",
            "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "bcbd6486424b2319ff4ef7d526e38f63",
        ),
        ("mobilenet_v1_0.25_128", "mobilenet_2_5_128_tf_no_top.h5", ""),
        (
            "mobilenet_v2_0.35_96",
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5",
            "",
        ),
        ("nasnet_mobile", "nasnet_mobile_no_top.h5", "1ed92395b5b598bdda52abe5c0dbfd63"),
        ("efficientnet_v2_s", "efficientnetv2-s_notop.h5", "af0682fb74e8c54910f2d4393339c070"),
    ],
)
def test_files_are_those_that_keras_looks_for(name: str, file: str, checksum: str) -> None:
    entry = entries()[name]

    assert (entry.file_name, entry.checksum) == (file, checksum)


@pytest.mark.slow
def test_files_and_checksums_are_in_the_source_of_keras() -> None:
    from tlcli.backbones.keras_applications import import_keras

    folder = Path(import_keras().applications.__file__).parent.parent / "src" / "applications"
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    for entry in entries().values():
        if entry.kind == "keras" and entry.checksum:
            assert entry.checksum in source, entry.name


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("MobileNetV2", "mobilenet_v2"),
        ("mobilenet_v1_1.0_224", "mobilenet_v1"),
        ("mobilenet-v1-0.5-160", "mobilenet_v1_0.50_160"),
        ("mobilenet_v2_1.4", "mobilenet_v2_1.40_224"),
        ("EfficientNetV2B0", "efficientnet_v2_b0"),
        ("ResNet50V2", "resnet50_v2"),
    ],
)
def test_names_are_found_however_they_are_spelled(typed: str, name: str) -> None:
    found = lookup(typed)

    assert found is not None
    assert found.name == name


def test_squashed_names_are_distinct() -> None:
    names = [catalogue.squash(name) for name in entries()]

    assert len(set(names)) == len(names)


def test_weights_are_found_in_each_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = entries()["mobilenet_v2"]
    assert not on_this_machine(entry)
    keras = tmp_path / "keras" / "models" / entry.file_name
    cache = tmp_path / "cache" / "models" / entry.file_name
    chosen = tmp_path / "chosen" / entry.file_name
    monkeypatch.setenv("TLCLI_CACHE_DIR", str(tmp_path / "cache"))

    for place in (keras, cache, chosen):
        place.parent.mkdir(parents=True)
        place.write_bytes(b"weights")
        assert on_this_machine(entry, tmp_path / "chosen")
        assert catalogue.weight_file(entry, tmp_path / "chosen") == place


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("mobilenet_v1_0.25_128", "mobilenet_v1_0.25_128/frozen_graph.pb"),
        ("mobilenet_v1_0.25_128", "mobilenet_v1_0.25_128_frozen.pb"),
        ("mine", "mine.keras"),
        ("inception_2015", "classify_image_graph_def.pb"),
        ("inception_2015", "inception_v3/classify_image_graph_def.pb"),
    ],
)
def test_hand_placed_models_are_found_by_name(tmp_path: Path, name: str, place: str) -> None:
    assert hand_placed(name, tmp_path) is None
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"model")

    assert hand_placed(name, tmp_path) == file


def test_hand_placed_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "saved_model.pb").write_bytes(b"model")

    assert hand_placed("mine", tmp_path) == tmp_path / "mine"
    assert hand_placed("../mine", tmp_path) is None
