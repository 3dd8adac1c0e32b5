"""The photos that a check is timed on."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from benchmarks.check_time import draw
from tests.core.photos.pictures import drawn


def test_crops_are_all_different_and_have_the_label_of_their_photo(tmp_path: Path) -> None:
    sources = []
    for seed, label in enumerate(("daisy", "rose")):
        folder = tmp_path / "sources" / "photos" / label
        folder.mkdir(parents=True)
        sources.append(folder / "photo.png")
        drawn(seed).save(sources[-1])
    for numbers in (range(0, 12, 2), range(1, 12, 2)):
        draw(sources, tmp_path / "drawn", numbers, 48)
    made = sorted((tmp_path / "drawn").glob("*/*.jpg"))
    assert len({path.read_bytes() for path in made}) == 12
    assert {path.parent.name for path in made} == {"photos daisy", "photos rose"}
    assert [int(path.stem) % 2 for path in made] == [0] * 6 + [1] * 6
    for path in made:
        with Image.open(path) as image:
            assert max(image.size) == 48
