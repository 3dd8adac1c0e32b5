"""The script for CI in both outcomes, and the workflow: valid, and of commands that exist."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lowest_versions import PROJECT
from tests.support import ROOT, Trained
from tlcli.cli import COMMANDS

FOLDER = ROOT / "examples" / "ci"
SCRIPT = FOLDER / "retrain_and_gate.sh"


def run(trained: Trained, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # The photos of the fixture are in its cache already.
    environment = {**os.environ, "PATH": path, "TLCLI_CACHE_DIR": str(trained.cache)}
    return subprocess.run(
        ["bash", str(SCRIPT), *map(str, arguments)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_above_the_minimum_new_images_get_their_labels(trained: Trained, tmp_path: Path) -> None:
    output = tmp_path / "out put"
    new = tmp_path / "new photos"
    new.mkdir()
    for path in sorted((trained.photos / "house_with_pool").glob("aerial_*"))[:3]:
        (new / path.name).write_bytes(path.read_bytes())
    done = run(trained, trained.photos, new, output, "0.2")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in output.iterdir()} >= {
        *("output_graph.pb", "output_labels.txt", "output_graph.json", "output_report.html"),
        *("result.json", "labels.csv"),
    }
    assert json.loads((output / "result.json").read_text())["passed"] is True
    rows = list(csv.DictReader((output / "labels.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["image"] for row in rows] == sorted(map(str, new.iterdir()))
    assert {row["label"] for row in rows} <= {"house with pool", "house without pool"}


@pytest.mark.slow
def test_below_the_minimum_it_ends_with_3(trained: Trained, tmp_path: Path) -> None:
    few = tmp_path / "few"
    # The same photos under both labels cannot be told apart.
    for label in ("a", "b"):
        (few / label).mkdir(parents=True)
        for path in sorted((trained.photos / "house_without_pool").glob("aerial_*"))[:12]:
            (few / label / f"{label}_{path.name}").write_bytes(path.read_bytes())
    done = run(trained, few, few, tmp_path / "out", "100%")
    assert done.returncode == 3, done.stderr
    assert " is below --min_accuracy 100.0%.\n" in done.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"output_graph.pb", "output_report.html", "result.json"} <= names
    assert "labels.csv" not in names


def test_wrong_use(tmp_path: Path) -> None:
    done = subprocess.run(["bash", str(SCRIPT), "photos"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")


def test_the_workflow_is_valid_and_its_commands_exist() -> None:
    yaml = pytest.importorskip("yaml")
    text = (FOLDER / "retrain.yml").read_text(encoding="utf-8")
    workflow: Any = yaml.safe_load(text)
    # YAML 1.1 takes the key "on" for true.
    assert set(workflow) == {"name", True, "permissions", "jobs"}
    [job] = workflow["jobs"].values()
    assert job["runs-on"]
    assert "TLCLI_CACHE_DIR" in job["env"]
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step)
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
    commands = [step["run"] for step in job["steps"] if "run" in step]
    # From the repository: tlcli is on no package index.
    [repository] = re.findall(r'^Repository = "(.*)"$', PROJECT.read_text("utf-8"), re.MULTILINE)
    address = f"git+{repository}"
    assert commands == [
        f'pip install "{address}#subdirectory=install/tensorflow_cpu" "{address}"',
        "bash ci/retrain_and_gate.sh photos new output 0.9",
    ]
    cached = next(step for step in job["steps"] if step.get("uses", "").startswith("actions/cache"))
    assert job["env"]["TLCLI_CACHE_DIR"].endswith("/" + cached["with"]["path"])


def test_the_script_asks_for_commands_and_options_that_exist() -> None:
    import importlib

    text = SCRIPT.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"^tlcli (\w+) (.*)$", text, flags=re.MULTILINE)
    assert [name for name, _ in found] == ["retrain", "label"]
    for name, arguments in found:
        command = importlib.import_module(COMMANDS[name][0]).command
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--\w+", arguments)) <= known


def test_no_document_installs_it_from_an_index() -> None:
    """Only an environment that has tlcli can add a part of it by its name."""
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.*")]
    assert len(documents) > 20
    for document in documents:
        if document.suffix in (".md", ".yml", ".sh", ".ipynb"):
            text = document.read_text(encoding="utf-8")
            assert not re.search(r"pip3? install '?tlcli(?!\[)", text), document
