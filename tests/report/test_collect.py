from __future__ import annotations

import base64
import io
import urllib.parse
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcli.report import collect


def decoded(uri: str) -> Image.Image:
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_data_uri() -> None:
    uri = collect.data_uri(Image.new("RGB", (160, 120), "teal"))
    assert decoded(uri).size == (160, 120)
    assert len(uri) < 20_000


def test_picks() -> None:
    given, scores = [0, 1, 0, 1, 1, 0], [0.9, 0.8, 0.6, 0.55, 0.95, 0.99]
    truth = [0, 0, 0, 0, 1, 1]
    found = collect.pick(given, scores, truth)
    assert found.misclassified == [5, 1, 3]
    assert found.most_confident == [5, 4, 0]
    assert found.least_confident == [3, 2, 1]
    assert found.comparisons == [0, 4, 1, 5, 2, 3]


def test_picks_are_capped() -> None:
    found = collect.pick([1] * 300, np.linspace(0, 1, 300), [0] * 299 + [1])
    assert found.misclassified == list(range(298, 278, -1))
    assert found.most_confident == [299, 298, 297, 296, 295, 294]
    assert found.least_confident == [0, 1, 2, 3, 4, 5]
    assert found.comparisons == [0, 299, 1, 2, 3, 4]
    pictures = [*found.misclassified, *found.most_confident, *found.least_confident]
    assert len(pictures) + len(found.comparisons) <= 40


def test_few_images_are_not_both_most_and_least_confident() -> None:
    found = collect.pick([0, 0, 0], [0.9, 0.6, 0.7], [0, 0, 0])
    assert found.most_confident == [0]
    assert found.least_confident == [1]
    empty = collect.pick([], [], [])
    assert empty == collect.Picks([], [], [], [])


def linked(file: str, page: str) -> tuple[str, Path]:
    """Return the address of a file, and the path to which a browser goes from the page."""
    address = collect.file_link(file, page)
    at = urllib.parse.urljoin(Path(page).as_uri(), address)
    return address, Path(
        urllib.parse.unquote(urllib.parse.urlsplit(at).path, errors="surrogateescape")
    )


@pytest.mark.parametrize(
    ("file", "page", "expected"),
    [
        ("/data/photos/a/1.jpg", "/data/report.html", "photos/a/1.jpg"),
        ("/data/photos/a/1.jpg", "/data/out/report.html", "../photos/a/1.jpg"),
        ("/data/photos/a/1.jpg", "/data/out/../report.html", "photos/a/1.jpg"),
        ("/photos/a/1.jpg", "/home/me/report.html", "file:///photos/a/1.jpg"),
        ("/photos/a/1.jpg", "/report.html", "file:///photos/a/1.jpg"),
        ("/data/a/1 #?%20.jpg", "/data/report.html", "a/1%20%23%3F%2520.jpg"),
        ("/data/javascript:alert(1)", "/data/report.html", "javascript%3Aalert%281%29"),
        ('/data/"><b>.jpg', "/data/report.html", "%22%3E%3Cb%3E.jpg"),
        ("/data/\udcff.jpg", "/data/report.html", "%FF.jpg"),
        ("/data/장미.jpg", "/data/report.html", "%EC%9E%A5%EB%AF%B8.jpg"),
    ],
)
def test_links_to_files(file: str, page: str, expected: str) -> None:
    address, path = linked(file, page)
    assert address == expected
    assert path == Path(file)


def test_mistakes_are_grouped_and_the_largest_group_comes_first() -> None:
    truth = [0, 0, 0, 1, 1, 0]
    given = [1, 1, 0, 0, 1, 2]
    scores = [0.6, 0.7, 0.9, 0.95, 0.9, 0.8]
    assert collect.mistakes_shown(truth, given, scores) == [
        collect.MistakeRows(0, 1, 2, [1, 0], []),
        collect.MistakeRows(1, 0, 1, [3], []),
        collect.MistakeRows(0, 2, 1, [5], []),
    ]
    assert collect.mistakes_shown([0, 1], [0, 1], [0.9, 0.9]) == []
    assert collect.mistakes_shown([], [], []) == []


def test_of_many_mistakes_the_most_certain_and_some_of_each_group_have_pictures() -> None:
    # 500 of one pair, all more certain than the 12 of twelve others.
    truth = [0] * 500 + [1] * 12
    given = [1] * 500 + list(range(2, 14))
    scores = [*np.linspace(0.9, 0.99, 500), *np.linspace(0.5, 0.6, 12)]
    groups = collect.mistakes_shown(truth, given, scores)
    assert [len(group.pictured) for group in groups] == [28] + [1] * 12
    assert groups[0].pictured == list(range(499, 471, -1))
    assert groups[0].count == 500
    assert groups[0].listed == list(range(471, 451, -1))
    # More pairs than anybody looks at.
    count = 2000
    groups = collect.mistakes_shown(range(count), np.arange(count) + 1, [0.5] * count)
    assert sum(len(group.pictured) for group in groups) == collect.MISTAKES_SHOWN
    assert sum(len(group.listed) for group in groups) == collect.LISTED_SHOWN
    assert len(groups) == collect.MISTAKES_SHOWN + collect.LISTED_SHOWN
