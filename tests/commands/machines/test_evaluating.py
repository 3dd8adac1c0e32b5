"""An evaluation by pieces, as on a cluster: the figures of one process."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest

from tests.support import tlcli
from tlcli.commands.machines.evaluating import measure_on
from tlcli.commands.machines.model import Model
from tlcli.core.classifier.loading import load
from tlcli.core.data.held_out import images_to_evaluate
from tlcli.core.evaluation.graph_accuracy import accuracy_of, measure_accuracy, outcomes
from tlcli.core.evaluation.labelled_folder import LabelledFolder
from tlcli.runners.machines import Machines


@pytest.fixture
def plates(shared: Path) -> Path:
    return shared / "legacy" / "plates_128"


@pytest.fixture
def photos(plates: Path, tmp_path: Path) -> Path:
    """Return photos, of which one is in the wrong folder and one cannot be read."""
    folder = tmp_path / "photos"
    shutil.copytree(plates / "bottleneck_photos", folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shutil.copyfile(next((folder / "Indiana").iterdir()), folder / "Oklahoma" / "wrong.jpg")
    (folder / "Oklahoma" / "broken.jpg").write_bytes(b"")
    return folder


def test_pieces_together_have_the_figures_of_the_whole(plates: Path, photos: Path) -> None:
    dataset = images_to_evaluate(photos)
    with load(plates / "graph.tflite") as classifier:
        whole = measure_accuracy(classifier, dataset)
        folder = LabelledFolder(dataset)
        found = folder.predict(classifier, folder.truth(classifier), "images")
        rows = range(len(dataset.images))
        # As they come from another process.
        parts = pickle.loads(
            pickle.dumps([outcomes(found, folder.images, each) for each in (rows[:2], rows[2:])])
        )
        assert accuracy_of(classifier, parts).to_dict() == whole.to_dict()
        assert (len(whole.misclassified), len(whole.skipped)) == (1, 1)

        model = pickle.loads(pickle.dumps(Model.of(plates / "graph.tflite", {"trust": False})))
        measured = measure_on(Machines(), model, classifier, dataset)
        assert measured.to_dict() == whole.to_dict()


def test_a_graph_travels_with_what_lies_beside_it(plates: Path, tmp_path: Path) -> None:
    graph, labels = plates / "graph.tflite", tmp_path / "names.txt"
    with load(graph) as here:
        labels.write_text("\n".join(f"label {name}" for name in here.labels))
    model = Model.of(graph, {"labels": None})
    other = Model.of(graph, {"labels": labels})
    assert model.digest != other.digest
    with model.load() as there, other.load() as named:
        assert there.labels == here.labels
        assert there.spec == here.spec
        assert named.labels == tuple(f"label {name}" for name in here.labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--address", "auto"), "--runner ray"),
        (("--runner", "ray", "--compare", "b.pb"), "one machine"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    run = tlcli("evaluate", "--image_dir", tmp_path, *options)
    assert run.code == 2
    assert message in run.err
