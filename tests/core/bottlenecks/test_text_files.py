from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tlcli.core.bottlenecks.text_files import (
    export_folder,
    format_vector,
    import_folder,
    module_suffix,
    parse_file_name,
    read_vector,
)
from tlcli.errors import DataError, OutputError
from tlcli.system.atomic_files import TEMPORARY_PREFIX, _machine

HUB = "https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/1"
HUB_SUFFIX = "https~tfhub.dev~google~imagenet~mobilenet_v2_100_224~feature_vector~1"


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        ("photo.jpg.txt", ("photo.jpg", "")),
        ("photo.JPEG.txt", ("photo.JPEG", "")),
        ("a_b.JPG.txt", ("a_b.JPG", "")),
        ("photo.jpg_inception_v3.txt", ("photo.jpg", "inception_v3")),
        ("photo.jpeg_mobilenet_1.0_224.txt", ("photo.jpeg", "mobilenet_1.0_224")),
        ("p.jpg_mobilenet_0.25_128_quantized.txt", ("p.jpg", "mobilenet_0.25_128_quantized")),
        (f"photo.jpg_{HUB_SUFFIX}.txt", ("photo.jpg", HUB_SUFFIX)),
        ("photo.jpg_~home~me~module.txt", ("photo.jpg", "~home~me~module")),
        ("a.jpg_b.jpg_inception_v3.txt", ("a.jpg_b.jpg", "inception_v3")),
        ("a.jpg_b.JPG.txt", ("a.jpg_b.JPG", "")),
        ("no_extension.txt", ("no_extension", "")),
        ("my_house_inception_v3.txt", ("my_house", "inception_v3")),
        (f"my_house_{HUB_SUFFIX}.txt", ("my_house", HUB_SUFFIX)),
        ("꽃 1.jpg_inception_v3.txt", ("꽃 1.jpg", "inception_v3")),
        ("photo.jpg", None),
        (".photo.jpg.txt", None),
    ],
)
def test_image_names_are_recovered(file_name: str, expected: tuple[str, str] | None) -> None:
    assert parse_file_name(file_name) == expected


def test_module_suffix_is_the_originals() -> None:
    assert module_suffix(HUB) == HUB_SUFFIX
    assert module_suffix("C:\\models\\x") == "C~~models~x"
    assert module_suffix("inception_v3") == "inception_v3"


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(arrays(np.float32, st.integers(1, 40), elements=finite))
def test_floats_read_back_to_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, vector: np.ndarray
) -> None:
    path = tmp_path_factory.getbasetemp() / "vector.txt"
    path.write_text(format_vector(vector))
    assert read_vector(path).tobytes() == vector.tobytes()


# As many tools write a float: shortest, C's %g, plain decimals, single precision.
SPELLINGS = (repr, "{:g}".format, "{:.6f}".format, lambda value: str(np.float32(value)))


def check_against_float(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        expected = np.array([float(part) for part in data.split(b",")]).astype(np.float32)
    except ValueError:
        with pytest.raises(DataError, match=r"^(not comma-separated numbers, or cut short|empty)$"):
            read_vector(path)
    else:
        assert read_vector(path).tobytes() == expected.tobytes()


@settings(deadline=None)
@given(
    st.lists(st.floats(-1e7, 1e7), min_size=1, max_size=40),
    st.lists(st.sampled_from(SPELLINGS), min_size=1, max_size=4),
)
def test_numbers_have_the_very_bits_of_float(tmp_path_factory, values, spellings):
    texts = [spellings[i % len(spellings)](value) for i, value in enumerate(values)]
    check_against_float(tmp_path_factory.getbasetemp() / "v.txt", ",".join(texts).encode())


@settings(deadline=None)
@given(st.text("0123456789.,-+ \n\tx\x1c\x1f", min_size=1, max_size=30))
def test_what_float_refuses_is_refused(tmp_path_factory, text):
    check_against_float(tmp_path_factory.getbasetemp() / "v.txt", text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "0.5",
        "-0.0,0.0",
        "12345678.1234567,0.12345678,0.123456789,123456.123456789",
        "99999999.9999999,0.99999999999999,1.00000000000001",
        "0.0735578,6.76e-05,1.42926,0.1,0.2,0.3,0.4,0.5,0.6,0.7",
        " 0.5,0.25\n",
        "0.5,\n0.25\n",
        "0.5\n0.25",
        "1.2.3,4",
        "1.,.5",
        "1:.5,2.5",
        "0./5,2.5",
        "\u0661.5",
        "",
        ",",
        "0.5,",
        "0.5\x00,1.5",
    ],
)
def test_forms_are_read_as_float_reads_them(tmp_path: Path, text: str) -> None:
    check_against_float(tmp_path / "v.txt", text.encode())


image_names = st.builds(
    "{}{}.{}".format,
    st.sampled_from("aZ~_é7"),
    st.text("ab_~ é.-1", max_size=10),
    st.sampled_from(["jpg", "JPG", "jpeg", "png"]),
)
modules = st.sampled_from(["", "inception_v3", "mobilenet_0.25_128_quantized", HUB, "~a~b"])


@settings(deadline=None)
@given(image_names, modules)
def test_any_image_name_is_recovered_with_any_module(name: str, module: str) -> None:
    suffix = module_suffix(module)
    file_name = f"{name}_{suffix}.txt" if suffix else f"{name}.txt"
    assert parse_file_name(file_name) == (name, suffix)


@settings(max_examples=15, deadline=None)
@given(
    st.dictionaries(image_names.map(str.lower), arrays(np.float32, 4, elements=finite), min_size=1),
    modules,
)
def test_round_trip_is_exact(
    tmp_path_factory: pytest.TempPathFactory, vectors: dict[str, np.ndarray], module: str
) -> None:
    folder = tmp_path_factory.mktemp("export")
    items = [(f"label/{name}", vector) for name, vector in vectors.items()]
    export_folder(folder, items, module)
    result = import_folder(folder)
    assert {item.module for item in result.bottlenecks} == {module_suffix(module)}
    assert result.skipped == ()
    assert {item.name: item.vector.tobytes() for item in result.bottlenecks} == {
        name: vector.tobytes() for name, vector in items
    }


def write(folder: Path, name: str, text: str = "1.0,2.0,3.0") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_damaged_files_are_skipped_with_a_reason(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, f"a/{number}.jpg.txt")
    write(tmp_path, "a/short.jpg.txt", "1.0,2.0")
    write(tmp_path, "a/cut.jpg.txt", "1.0,2.0,")
    write(tmp_path, "a/words.jpg.txt", "no numbers here")
    write(tmp_path, "a/underscore.jpg.txt", "1_0,2.0,3.0")
    write(tmp_path, "a/nan.jpg.txt", "1.0,nan,3.0")
    write(tmp_path, "a/large.jpg.txt", "1.0,1e39,3.0")
    write(tmp_path, "a/empty.jpg.txt", "")
    write(tmp_path, "a/binary.jpg.txt", "\x00\x01")
    write(tmp_path, "a/other.npy", "x")
    write(tmp_path, "root.jpg.txt")
    write(tmp_path, "a/.hidden")
    result = import_folder(tmp_path)
    assert [item.name for item in result.bottlenecks] == ["a/0.jpg", "a/1.jpg", "a/2.jpg"]
    assert {len(item.vector) for item in result.bottlenecks} == {3}
    reasons = {path.relative_to(tmp_path).as_posix(): reason for path, reason in result.skipped}
    assert reasons == {
        "a/short.jpg.txt": "2 values where most files have 3",
        "a/cut.jpg.txt": "not comma-separated numbers, or cut short",
        "a/words.jpg.txt": "not comma-separated numbers, or cut short",
        "a/underscore.jpg.txt": "not comma-separated numbers, or cut short",
        "a/nan.jpg.txt": "holds nan or infinite values",
        "a/large.jpg.txt": "holds nan or infinite values",
        "a/empty.jpg.txt": "empty",
        "a/binary.jpg.txt": "not comma-separated numbers, or cut short",
        "a/other.npy": "not a .txt file",
        "root.jpg.txt": "not in the folder of a label",
    }


def test_of_two_lengths_the_longer_is_whole_when_both_are_as_many(tmp_path: Path) -> None:
    write(tmp_path, "a/1.jpg.txt", "1.0,2.0")
    write(tmp_path, "a/2.jpg.txt", "1.0,2.0,3.0")
    assert [len(item.vector) for item in import_folder(tmp_path).bottlenecks] == [3]


@pytest.mark.parametrize("second", ["a/1.jpg_inception_v3.txt", "b/2.jpg_inception_v3.txt"])
def test_two_modules_are_an_error_that_names_both_files(tmp_path: Path, second: str) -> None:
    one = write(tmp_path, "a/1.jpg_mobilenet_0.25_128.txt", "9.0")
    other = write(tmp_path, second)
    with pytest.raises(DataError, match="of two modules") as caught:
        import_folder(tmp_path)
    assert str(one) in str(caught.value)
    assert str(other) in str(caught.value)
    result = import_folder(tmp_path, module="inception_v3")
    assert [item.path for item in result.bottlenecks] == [other]


def test_notes_beside_bottlenecks_of_a_module_are_no_second_module(tmp_path: Path) -> None:
    write(tmp_path, "a/1.jpg_inception_v3.txt")
    write(tmp_path, "a/readme.txt", "made on Monday")
    assert [item.image_name for item in import_folder(tmp_path).bottlenecks] == ["1.jpg"]


def test_nested_folders_keep_their_names(tmp_path: Path) -> None:
    write(tmp_path, "a/sub/1.jpg.txt")
    (item,) = import_folder(tmp_path).bottlenecks
    assert (item.folder, item.image_name, item.name) == ("a", "sub/1.jpg", "a/sub/1.jpg")


def test_nothing_to_import_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        import_folder(tmp_path / "absent")
    with pytest.raises(DataError, match="no text bottleneck was found"):
        import_folder(tmp_path)
    write(tmp_path, "a/1.jpg.txt", "")
    with pytest.raises(DataError, match=r"1\.jpg\.txt, is not one: empty"):
        import_folder(tmp_path)


def test_exported_files_are_named_and_written_as_the_originals(tmp_path: Path) -> None:
    vector = np.array([0.1, 2, 1 / 3], np.float32)
    export_folder(tmp_path, [("daisy/a.jpg", vector)], HUB)
    export_folder(tmp_path, [("daisy/a.jpg", vector)], None)
    assert sorted(path.name for path in (tmp_path / "daisy").iterdir()) == [
        "a.jpg.txt",
        f"a.jpg_{HUB_SUFFIX}.txt",
    ]
    assert (tmp_path / "daisy" / "a.jpg.txt").read_bytes() == b"0.1,2.0,0.33333334"


@pytest.mark.parametrize("name", ["a.jpg", "../a.jpg", "/a.jpg", "a//b.jpg"])
def test_names_outside_the_folder_are_not_exported(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="not a LABEL/NAME"):
        export_folder(tmp_path / "out", [(name, np.ones(2, np.float32))], None)


@pytest.mark.parametrize(
    ("folder", "count", "size", "module"),
    [
        ("houses/bottlenecks", 518, 2048, ""),
        ("flowers/bottlenecks_text", 25, 2048, ""),
        ("legacy/plates_128/bottlenecks", 10, 1001, "mobilenet_0.25_128"),
    ],
)
def test_real_files_are_read(shared: Path, folder: str, count: int, size: int, module: str) -> None:
    result = import_folder(shared / folder)
    assert len(result.bottlenecks) == count
    assert {item.module for item in result.bottlenecks} == {module}
    assert result.skipped == ()
    assert {item.vector.shape for item in result.bottlenecks} == {(size,)}


def test_real_vectors_are_those_of_the_archive(shared: Path) -> None:
    archive = np.load(shared / "flowers" / "bottlenecks.npz")
    rows = {str(name): row for row, name in enumerate(archive["names"])}
    vectors = archive["vectors"]
    for item in import_folder(shared / "flowers" / "bottlenecks_text").bottlenecks:
        stored = vectors[rows[item.name]].astype(np.float32)
        np.testing.assert_allclose(item.vector, stored, atol=0.004)


def test_vectors_are_rows_of_one_matrix_and_held_once(tmp_path: Path) -> None:
    count, size = 60, 2048
    vectors = np.random.default_rng(0).random((count, size), dtype=np.float32)
    # The order of files is not that of names: "a.jpg" sorts behind "a-2.jpg", its file before.
    names = [f"label/{'ab'[row % 2]}{'' if row < 2 else f'-{row:02d}'}.jpg" for row in range(count)]
    export_folder(tmp_path, zip(names, vectors, strict=True), None)
    write(tmp_path / "label", "short.jpg.txt")
    tracemalloc.start()
    try:
        found = import_folder(tmp_path)
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used < 1.3 * vectors.nbytes
    assert [item.name for item in found.bottlenecks] == sorted(names)
    for item in found.bottlenecks:
        np.testing.assert_array_equal(item.vector, vectors[names.index(item.name)])
    matrix = found.bottlenecks[0].vector.base
    assert all(item.vector.base is matrix for item in found.bottlenecks)
    assert matrix is not None
    assert matrix.size == count * size


def test_what_a_killed_export_left_is_swept(tmp_path: Path) -> None:
    # No process has this number, and the name says that it was of this machine.
    left = tmp_path / "daisy" / f"{TEMPORARY_PREFIX}{_machine()}-{2**31 - 1}-x"
    left.mkdir(parents=True)
    vector = np.zeros(2, np.float32)
    export_folder(tmp_path, [("daisy/a.jpg", vector), ("daisy/b.jpg", vector)], None)
    assert sorted(path.name for path in (tmp_path / "daisy").iterdir()) == [
        "a.jpg.txt", "b.jpg.txt",
    ]  # fmt: skip
