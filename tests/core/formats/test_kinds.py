"""The formats of an export: names, places, and what is refused before the work."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from tlcli.core.formats.kinds import KINDS, check_packages, check_target, parse_kinds
from tlcli.errors import OutputError, UsageError


def test_formats_are_named_with_commas_between_them() -> None:
    assert parse_kinds("onnx, TFLITE-INT8,onnx,") == ("onnx", "tflite-int8")
    assert parse_kinds(["openvino"]) == ("openvino",)
    assert parse_kinds("savedmodel") == ("saved_model",)


@pytest.mark.parametrize("text", ["", ",", "onnyx", "onnx,tflite8"])
def test_an_unknown_format_is_named_with_the_known_ones(text: str) -> None:
    with pytest.raises(UsageError, match=r"choose from onnx, tflite, .*coreml"):
        parse_kinds(text)


@pytest.mark.parametrize("name", KINDS)
def test_each_file_has_the_name_of_the_graph_and_never_its_path(name: str) -> None:
    for graph in ("a/flowers.pb", f"a/flowers{KINDS[name].ending}"):
        path = KINDS[name].path_beside(Path(graph))
        assert path.parent == Path("a")
        assert path.name.startswith("flowers")
        assert path != Path(graph)


def test_a_folder_with_something_else_in_it_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("words")
    with pytest.raises(OutputError, match="no older TensorFlow SavedModel"):
        check_target("saved_model", tmp_path)
    with pytest.raises(OutputError, match="it is a folder"):
        check_target("onnx", tmp_path)
    with pytest.raises(OutputError, match="it is a file"):
        check_target("saved_model", tmp_path / "thesis.txt")
    (tmp_path / "saved_model.pb").touch()
    check_target("saved_model", tmp_path)


def test_the_ending_that_other_programs_look_for_is_kept(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"NAME\.mlpackage"):
        check_target("coreml", tmp_path / "app.mlmodel")
    check_target("openvino", tmp_path / "new.xml")


def test_a_format_without_its_package_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_packages(["tflite", "saved_model"])
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(sys.modules, "coremltools", raising=False)
    importlib.invalidate_caches()
    with pytest.raises(OutputError, match=r"pip install 'tlcli\[coreml\]'"):
        check_packages(["coreml"])
