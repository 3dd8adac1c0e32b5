"""What the page states about the model: never a path."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.serve.asking import ask, model
from tests.support import Trained
from tlcli.core.classifier.loading import load
from tlcli.serve.about import about
from tlcli.serve.app import make_app
from tlcli.serve.limits import Limits
from tlcli.serve.model import ServedModel


@pytest.fixture(scope="module")
def folder(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a graph, its labels and its card."""
    found = tmp_path_factory.mktemp("people") / "somebody" / "houses & <pools>"
    found.mkdir(parents=True)
    for suffix in (".pb", ".json", ".tflite"):
        shutil.copy(trained.graph.with_suffix(suffix), found)
    return found


def test_folder_accuracy_and_date(folder: Path) -> None:
    card = json.loads((folder / "output_graph.json").read_text())
    with load(folder / "output_graph.pb") as classifier:
        found = about(classifier)
        assert about(classifier, "mine").title == about(classifier, "mine").name == "mine"
    assert (found.name, found.title, found.file) == ("model", folder.name, "output_graph.pb")
    count = card["accuracy"]["count"]
    assert found.accuracy.startswith(f"{card['accuracy']['test']:.1%} on {count} test images (95%")
    assert found.date == card["created"][:10]


def test_a_graph_without_a_card_has_the_date_of_its_file(folder: Path, tmp_path: Path) -> None:
    # In another folder, with another name; a home folder is named after a person.
    graph = shutil.copy(folder / "output_graph.pb", tmp_path / "other.pb")
    with load(graph, labels=["a", "b"]) as classifier:
        found = about(classifier)
    assert found.title == tmp_path.name
    assert found.accuracy == ""
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", found.date)


def test_a_home_folder_is_not_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    with load(folder / "output_graph.pb") as classifier:
        assert about(classifier).title == "output_graph.pb"


def test_the_page_shows_them_and_no_path(folder: Path) -> None:
    classifier = load(folder / "output_graph.pb")
    served = ServedModel(classifier, about(classifier), 1_000_000)
    page = ask(make_app(served, Limits()), "GET", "/").body.decode()
    served.close()
    assert "<bdi>houses &amp; &lt;pools&gt;</bdi>" in page
    assert served.about.accuracy in page
    assert f"<time>{served.about.date}</time>" in page
    assert "somebody" not in page
    assert str(folder.parent) not in page


def test_a_graph_whose_file_is_gone() -> None:
    served = model()
    assert served.about.file == "colours.pb"
    assert served.about.date == ""
    served.close()
