"""`tlcli.evaluate` has the figures of the command, and shows them in notebooks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tlcli as package
from tests.support import Trained, tlcli
from tlcli.errors import UsageError


@pytest.mark.slow
def test_it_measures_as_the_command_does(trained: Trained) -> None:
    found = package.evaluate(trained.graph, trained.photos)
    command = tlcli(
        "evaluate", "--graph", trained.graph, "--image_dir", trained.photos, "--format", "json"
    )
    expected = command.json
    assert found.to_dict() == expected
    with package.load(trained.graph) as classifier:
        again = package.evaluate(classifier, str(trained.photos))
        assert again.to_dict() == found.to_dict()
        assert classifier.label(trained.photos / "house_with_pool" / "broken.jpg")[0].error
    unseen = expected["unseen"]
    assert repr(found) == (
        f"<GraphAccuracy of {trained.graph}: accuracy {unseen['accuracy']:.1%} "
        f"(N={unseen['count']}, 95% interval {unseen['interval'][0]:.1%} to "
        f"{unseen['interval'][1]:.1%}) without the {expected['trained']['count']} images that "
        "trained it>"
    )
    assert found.confusion.labels == ("house with pool", "house without pool")
    assert found.confusion.matrix.tolist() == expected["confusion"]
    html = found._repr_html_()
    assert "house without pool" in html
    assert len(html) < 20_000
    assert "all 48 images trained it" in repr(replace(found, trained=48, unseen=None))
    assert "without the" not in repr(replace(found, trained=None, unseen=None))


def test_a_manifest_in_place_of_the_folder(trained: Trained, tmp_path: Path) -> None:
    photos = sorted((trained.photos / "house_with_pool").glob("aerial_*"))[:3]
    lines = [f"{path},house with pool\n" for path in photos]
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(lines))
    assert package.evaluate(trained.graph, manifest=tmp_path / "list.csv").evaluation.count == 3
    wrong: list[dict[str, Any]] = [{}, {"image_dir": trained.photos, "manifest": "list.csv"}]
    for given in wrong:
        with pytest.raises(UsageError, match="by image_dir or by manifest"):
            package.evaluate(trained.graph, **given)


def test_its_table_and_picture(trained: Trained) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    found = package.evaluate(trained.graph, trained.photos)
    frame = found.to_frame()
    assert list(frame.index) == ["house with pool", "house without pool"]
    assert list(frame.columns) == ["images", "predicted", "precision", "recall", "f1"]
    assert frame.images.sum() == 48
    assert found.plot()._repr_png_().startswith(b"\x89PNG")
