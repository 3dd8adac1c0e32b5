"""The painted houses: repeatable, balanced, readable, and with water where it is promised."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "draw_houses.py"


@pytest.fixture(scope="module")
def drawing() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        # As Python does for a script.
        patch.syspath_prepend(SCRIPT.parent)
        yield importlib.import_module("draw_houses")


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.jpg")}


def test_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--output", tmp_path / "out", "--count", "5", "--seed", "3"],
        capture_output=True,
        text=True,
        check=True,
        # Some set it for all that they run.
        env={**os.environ, "PYTHONSAFEPATH": "1"},
    )
    names = sorted(contents(tmp_path / "out"))
    assert names == [
        "house_with_pool/aerial_00000.jpg",
        "house_with_pool/aerial_00002.jpg",
        "house_with_pool/aerial_00004.jpg",
        "house_without_pool/aerial_00001.jpg",
        "house_without_pool/aerial_00003.jpg",
    ]
    assert done.stdout.startswith("5 pictures in ")
    assert done.stderr == ""


def test_same_seed_same_bytes(drawing: ModuleType, tmp_path: Path) -> None:
    drawing.draw_houses(tmp_path / "a", 6, 1)
    drawing.draw_houses(tmp_path / "b", 4, 1)
    drawing.draw_houses(tmp_path / "c", 4, 2)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert len(set(a.values())) == 6
    # More pictures leave the earlier ones as they are.
    assert all(a[name] == data for name, data in b.items())
    assert not set(b.values()) & set(c.values())


def test_pictures_are_varied_photos(drawing: ModuleType, tmp_path: Path) -> None:
    sizes, means = set(), []
    for path in drawing.draw_houses(tmp_path, 16, 5):
        with Image.open(path) as image:
            assert image.format == "JPEG"
            assert image.mode == "RGB"
            assert min(image.size) >= 150
            assert max(image.size) <= 430
            sizes.add(image.size)
            values = np.asarray(image).astype(float)
        means.append(values.mean())
        assert values.std() > 15
        # Nothing but the scene: no empty black corner.
        corners = [values[:6, :6], values[:6, -6:], values[-6:, :6], values[-6:, -6:]]
        assert min(corner.mean() for corner in corners) > 12
    assert len(sizes) > 10
    assert np.std(means) > 6


def test_pool_is_in_the_picture(drawing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paint the water in a colour that nothing else has, and look for it."""
    monkeypatch.setattr(importlib.import_module("aerial.gardens"), "WATER", [(255, 0, 255)])
    for number in range(12):
        random = np.random.default_rng([7, number])
        values = np.asarray(drawing.paint(number % 2 == 0, random)).astype(int)
        magenta = (values[..., 0] - values[..., 1] > 60) & (values[..., 2] - values[..., 1] > 60)
        share = magenta.mean()
        assert (share > 0.008) if number % 2 == 0 else (share < 0.001), number


def test_wrong_use(drawing: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        drawing.main(["--output", str(tmp_path), "--count", "1"])
    assert stopped.value.code == 2
    assert "--count" in capsys.readouterr().err


def test_a_list_says_what_each_picture_shows(drawing: ModuleType, tmp_path: Path) -> None:
    path = drawing.draw_list(tmp_path / "list", 8, 0)
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    assert head == "path,label"
    shown = [line.partition(",")[2].split("|") for line in lines]
    assert ["pool" in labels for labels in shown] == [True, False] * 4
    assert "" in {labels[0] for labels in shown}
    assert any("trampoline" in labels for labels in shown)
    # They are the pictures that are sorted into folders without a list.
    drawing.draw_houses(tmp_path / "folders", 2, 0)
    first = tmp_path / "folders" / "house_with_pool" / "aerial_00000.jpg"
    assert first.read_bytes() == (path.parent / "photos" / first.name).read_bytes()
