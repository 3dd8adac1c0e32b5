"""Facts of images: read once, kept in the cache, and exact where they must be."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.core.photos.pictures import blurred, drawn, encoded
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.photos.facts import Facts, facts_of_bytes, gather_facts
from tlcli.core.photos.odd import odd_photos


def facts(*contents: bytes) -> Facts:
    return Facts(np.stack([facts_of_bytes(each) for each in contents]))


def test_size_colour_quality_and_camera() -> None:
    image = Image.new("RGB", (120, 80), (200, 100, 50))
    exif = Image.Exif()
    exif[271], exif[272], exif[274] = "Maker", "Model 1", 6
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75, exif=exif)
    plain = io.BytesIO()
    image.save(plain, "PNG")
    found = facts(buffer.getvalue(), plain.getvalue())
    # Turned upright by EXIF.
    assert found.column("width").tolist() == [80, 120]
    assert found.column("red") == pytest.approx([200, 200], abs=3)
    assert found.column("quality").tolist() == [75, 0]
    assert found.column("camera")[0] > 0 == found.column("camera")[1]
    assert found.column("size").tolist() == [len(buffer.getvalue()), len(plain.getvalue())]


def test_the_thumbnail_has_the_grey_pixels() -> None:
    values = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    assert (facts(buffer.getvalue()).thumbnails()[0] == values).all()


def test_facts_are_read_once(tmp_path: Path) -> None:
    photo, bad = tmp_path / "photo.jpg", tmp_path / "bad.jpg"
    photo.write_bytes(encoded(drawn(1)))
    bad.write_bytes(b"no image")
    with BottleneckStore(tmp_path / "cache") as store:
        first = gather_facts([photo, bad, None], ["a" * 64, "b" * 64, None], store)
        assert first.known.tolist() == [True, False, False]
        photo.unlink()
        again = gather_facts([photo], ["a" * 64], store)
    np.testing.assert_array_equal(again.table[0], first.table[0])


def test_odd_photos_are_named_with_their_reason() -> None:
    usual = [encoded(drawn(seed)) for seed in range(5)]
    odd = {
        "almost black": Image.new("RGB", (100, 100), (3, 3, 3)),
        "almost white": Image.new("RGB", (100, 100), (253, 253, 253)),
        "one colour": Image.new("RGB", (100, 100), (90, 10, 10)),
        "a side below 64 pixels": drawn(6).resize((40, 50)),
        "one side more than 4 times the other": drawn(7).resize((500, 100)),
    }
    found = facts(*usual, *map(encoded, odd.values()))
    assert list(odd_photos(found)) == list(enumerate(odd, start=len(usual)))


def test_a_blurred_photo_is_odd_among_sharp_ones() -> None:
    sharp = [
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, (200, 200, 3), dtype=np.uint8))
        for seed in range(4)
    ]
    found = facts(*map(encoded, sharp), encoded(blurred(drawn(1))))
    assert list(odd_photos(found)) == [(4, "blurred")]


def test_a_photo_unlike_all_others_is_odd() -> None:
    usual = facts(*[encoded(drawn(seed)) for seed in range(9)])
    cosines = np.full((9, 3), 0.6, np.float32) + np.arange(9)[:, np.newaxis] / 100
    cosines[4] = 0.05
    assert list(odd_photos(usual, cosines.astype(np.float32))) == [(4, "unlike all other photos")]
