"""Which backbone is used: the drawn images, the comparison, the choice, the count of work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.backbones import frozen_graphs
from tlcli.backbones.probe.comparison import (
    ProbeSettings,
    compare_modules,
)
from tlcli.backbones.probe.operation_count import multiplications
from tlcli.backbones.probe.ranking import Candidate, ModuleComparison, faster, order
from tlcli.backbones.probe.sample import MOST_LABELS, draw
from tlcli.core.data.image_folder import scan_folder
from tlcli.core.data.image_list import ImageFile
from tlcli.core.evaluation.metrics import Proportion
from tlcli.errors import BackboneError, DataError
from tlcli.graph.nodes import const, new_graph, node, shape_message

FLOAT = np.float32
SIDE = 16


def network(folder: Path, name: str, channels: int) -> str:
    """Write a backbone that gives the mean colour, or that of fewer channels."""
    kernel = np.eye(3, channels, dtype=FLOAT)[None, None]
    nodes = [
        node("x", "Placeholder", dtype=FLOAT, shape=shape_message([None, SIDE, SIDE, 3])),
        const("kernel", kernel),
        node(
            *("seen", "Conv2D", ["x", "kernel"]),
            **{"T": FLOAT, "strides": [1, 1, 1, 1], "padding": "VALID"},
        ),
        *frozen_graphs.pooled(source="seen"),
    ]
    folder = folder / name
    folder.mkdir()
    return str(frozen_graphs.written(folder, nodes))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return photos of three labels that differ in red alone, in green and in blue."""
    random = np.random.default_rng(0)
    for label, colour in (
        ("red", (200, 90, 90)),
        ("green", (90, 200, 90)),
        ("blue", (90, 90, 200)),
    ):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        for number in range(12):
            pixels = np.clip(random.normal(colour, 40, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "photos" / "red" / "broken.png").write_bytes(b"no image")
    return tmp_path / "photos"


def compared(photos: Path, *modules: str, **changes: Any) -> Any:
    settings = ProbeSettings(modules, trust=True, measures_speed=False, **changes)
    return compare_modules(scan_folder(photos).images, settings)


def test_the_most_accurate_backbone_is_first_and_used(tmp_path: Path, photos: Path) -> None:
    red, colour = network(tmp_path, "red", 1), network(tmp_path, "colour", 3)

    found = compared(photos, red, colour)

    assert [each.module for each in found.candidates] == [colour, red]
    assert found.best == colour
    assert found.candidates[0].accuracy.value == 1
    assert found.candidates[1].accuracy.value < 0.9
    assert found.candidates[0].cross_entropy < found.candidates[1].cross_entropy
    assert found.faster is None
    assert (found.images, found.labels) == (36, 3)
    ((path, reason),) = found.skipped
    assert path.endswith("broken.png")
    assert reason
    assert found.candidates[0].multiplications == SIDE * SIDE * 3 * 3
    assert found.to_dict() == compared(photos, red, colour).to_dict()


def test_one_backbone_that_fails_is_left_out_and_named(tmp_path: Path, photos: Path) -> None:
    good, bad = network(tmp_path, "good", 3), str(tmp_path / "absent.pb")
    found = compared(photos, bad, good)
    assert [each.module for each in found.candidates] == [good, bad]
    assert "absent.pb" in found.candidates[1].reason
    assert found.to_dict()["candidates"][1]["accuracy"] is None
    with pytest.raises(BackboneError, match=r"absent\.pb"):
        compared(photos, bad)


def test_too_few_images_are_refused(tmp_path: Path, photos: Path) -> None:
    for label in ("red", "green", "blue"):
        for path in sorted((photos / label).iterdir())[5:]:
            path.unlink()
    with pytest.raises(DataError, match="a comparison needs 20; add images"):
        compared(photos, network(tmp_path, "colour", 3))


def images(counts: dict[str, int]) -> list[ImageFile]:
    return [
        ImageFile("photos", label, f"{label}/{number}.jpg", label)
        for label, count in counts.items()
        for number in range(count)
    ]


def test_each_label_gives_equally_many_images_as_far_as_it_has_them() -> None:
    drawn = draw(images({"a": 500, "b": 300, "c": 10}))
    counts = [sum(image.label == label for image in drawn) for label in "abc"]
    assert counts == [95, 95, 10]


def test_what_is_drawn_depends_on_names_and_seed_alone() -> None:
    some = images({"a": 500, "b": 300})
    assert draw(some) == draw(some[::-1])
    assert draw(some) != draw(some, seed=1)
    assert draw([]) == ()


def test_of_many_labels_some_are_drawn() -> None:
    drawn = draw(images({f"label {number}": 20 for number in range(300)}))
    assert len({image.label for image in drawn}) == MOST_LABELS
    assert len(drawn) == 200


def candidate(name: str, right: list[int], work: int, loss: float) -> Candidate:
    hits = np.array(right, np.float64)
    accuracy = Proportion(float(hits.mean()), 0, 1)
    return Candidate(name, accuracy, loss, multiplications=work, right=hits)


def test_the_lowest_cross_entropy_is_preferred_and_the_least_work_decides_a_tie() -> None:
    some = [
        candidate("large", [1, 1, 1, 0], 900, 0.25),
        candidate("sure", [1, 1, 1, 0], 900, 0.2),
        candidate("small", [1, 1, 1, 0], 100, 0.25),
    ]
    assert [each.module for each in sorted(some, key=order)] == ["sure", "small", "large"]


def test_a_backbone_with_less_work_is_named_if_it_is_hardly_worse() -> None:
    best = candidate("large", [1] * 95 + [0] * 5, 900, 0.2)
    near = candidate("small", [1] * 94 + [0] + [1, 0, 0, 0, 0], 100, 0.3)
    bad = candidate("tiny", [1] * 80 + [0] * 20, 10, 0.9)
    huge = candidate("huge", [1] * 95 + [0] * 5, 9000, 0.25)
    assert faster([best, huge, near, bad]) == near
    assert faster([best, huge, bad]) is None
    assert faster([best]) is None
    # Far fewer images say less, and the difference may be chance, but two points are two points.
    unsure = candidate("unsure", [1, 0] * 46 + [1] * 1 + [0] * 7, 100, 0.5)
    other = candidate("other", [0, 1] * 46 + [1] * 3 + [0] * 5, 900, 0.4)
    assert faster([other, unsure]) is None


def test_the_advice_states_the_work_and_the_accuracy_of_a_faster_backbone() -> None:
    best = candidate("large", [1] * 95 + [0] * 5, 900, 0.2)
    near = candidate("small", [1] * 94 + [0] + [1, 0, 0, 0, 0], 90, 0.3)
    found = ModuleComparison((best, near), "large", "small", 100, 5)
    assert found.advice == "small takes 10% of its work and is as accurate on these images"
    assert found.sentence().endswith("5 labels; faster: " + found.advice)
    worse = replace(near, accuracy=Proportion(0.94, 0.9, 0.97))
    found = ModuleComparison((best, worse), "large", "small", 100, 5)
    assert found.advice.endswith("is 1.0 points less accurate on these images, which may be chance")
    assert ModuleComparison((best,), "large", None, 100, 5).advice is None


def test_of_several_layers_each_network_gives_those_that_its_graph_shows(
    tmp_path: Path, photos: Path
) -> None:
    # The mean of the only map is the bottleneck itself: there are no further layers.
    colour = network(tmp_path, "colour", 3)
    assert compared(photos, colour, layers="ms").to_dict() == compared(photos, colour).to_dict()


def test_multiplications_of_each_kind_of_layer() -> None:
    graph = new_graph(
        [
            node("x", "Placeholder", dtype=FLOAT, shape=shape_message([None, 8, 8, 3])),
            const("kernel", np.zeros((3, 3, 3, 4), FLOAT)),
            node(
                *("conv", "Conv2D", ["x", "kernel"]),
                **{"T": FLOAT, "strides": [1, 2, 2, 1], "padding": "SAME"},
            ),
            const("own", np.zeros((3, 3, 4, 1), FLOAT)),
            node(
                *("depthwise", "DepthwiseConv2dNative", ["conv", "own"]),
                **{"T": FLOAT, "strides": [1, 1, 1, 1], "padding": "SAME"},
            ),
            *frozen_graphs.pooled(source="depthwise"),
            const("weights", np.zeros((4, 5), FLOAT)),
            node("scores", "MatMul", ["features", "weights"], T=FLOAT),
        ]
    )
    expected = 4 * 4 * 4 * 27 + 4 * 4 * 4 * 9 + 4 * 5
    assert multiplications(graph, "x", (1, 8, 8, 3)) == expected
