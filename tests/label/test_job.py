"""Finding the graph and the images."""

from __future__ import annotations

import io
import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from label.formats import OutputStyle
from label.job import Images, label_images
from tlcli.arrays import Array
from tlcli.commands.options import find_graph
from tlcli.core.classifier.classifier import Classifier, ImageInput
from tlcli.core.data.image_files import NoImage
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import DataError, GraphError
from tlcli.text import KNOWN_URLS


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of six images, three of them without a suffix of theirs, and of others."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    (folder / "b sub" / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("c.jpg", "a.PNG", "b sub/x.gif", "b sub/deep/y.bmp", ".hidden/z.jpg", ".z.jpg"):
        (folder / name).write_bytes(b"content is not looked at")
    for name, kind in (("no_suffix", "PNG"), ("download.php", "JPEG"), ("cut.dat", "PNG")):
        Image.new("RGB", (40, 40)).save(folder / name, format=kind)
    content = (folder / "cut.dat").read_bytes()
    (folder / "cut.dat").write_bytes(content[:20])
    (folder / "notes.txt").write_text("notes")
    (folder / "empty").write_bytes(b"")
    (tmp_path / "nothing").mkdir()
    return tmp_path


def found(*arguments: str, stdin: bytes = b"") -> list[str]:
    return list(Images(arguments, io.BytesIO(stdin)))


WHOLE = [
    "photos/a.PNG",
    "photos/b sub/deep/y.bmp",
    "photos/b sub/x.gif",
    "photos/c.jpg",
    "photos/cut.dat",
    "photos/download.php",
    "photos/no_suffix",
]


def test_a_folder_is_recursive_sorted_and_by_content(
    tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "tlcli"):
        assert found("photos") == WHOLE
    assert caplog.messages == ["photos: files that are no images and were left out: 2."]


def test_a_named_file_is_kept_whatever_it_is(tree: Path) -> None:
    names = ["photos/notes.txt", "photos/.z.jpg", "absent.jpg", "photos/c.jpg", "photos/c.jpg"]
    assert found(*names) == names


def test_patterns(tree: Path) -> None:
    assert found("photos/*.jpg") == ["photos/c.jpg"]
    assert found("photos/[ab]*") == WHOLE[:3]
    assert found("photos/**/*.[gb]*") == ["photos/b sub/deep/y.bmp", "photos/b sub/x.gif"]
    assert sorted(found("photos/**")) == WHOLE


def test_a_file_may_be_named_like_a_pattern_a_list_or_an_option(tree: Path) -> None:
    for name in ("[1].jpg", "@1.jpg", "-x.jpg", "a*.jpg"):
        Path(name).write_bytes(b"")
        assert found(name) == [name]


def test_a_pattern_and_a_folder_without_images_say_so(tree: Path) -> None:
    found = list(Images(["*.xyz", "nothing"]))
    assert found == ["*.xyz", "nothing"]
    assert [path.reason for path in found if isinstance(path, NoImage)] == [
        "no file matches this pattern",
        "no images in this folder",
    ]


def test_a_list_of_paths(tree: Path) -> None:
    Path("list.txt").write_bytes(b"\xef\xbb\xbfphotos/c.jpg\r\n\r\nphotos/b sub\nabsent.png")
    assert found("@list.txt") == ["photos/c.jpg", *WHOLE[1:3], "absent.png"]


def test_a_list_that_cannot_be_read_or_is_empty(tree: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.txt"):
        found("@absent.txt")
    Path("list.txt").write_text("\n\n")
    with pytest.raises(DataError, match="names no images"):
        found("@list.txt")


def test_standard_input_is_drawn_line_by_line(tree: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source:
        images = Images(["-"], source)
        assert images.is_endless
        paths = iter(images)
        os.write(writing, b"photos/c.jpg\n")
        assert next(paths) == "photos/c.jpg"
        os.write(writing, b"one two.jpg\nlast")
        os.close(writing)
        assert list(paths) == ["one two.jpg", "last"]
    assert not Images(["a.jpg"]).is_endless


def test_names_that_are_no_unicode_pass(tree: Path) -> None:
    assert [os.fsencode(path) for path in found("-", stdin=b"\xff.jpg\n")] == [b"\xff.jpg"]


def test_links_that_lead_back_end(tree: Path) -> None:
    (tree / "photos" / "loop").symlink_to(tree / "photos", target_is_directory=True)
    (tree / "photos" / "a round.jpg").symlink_to("a round.jpg")
    assert found("photos") == ["photos/a round.jpg", *WHOLE]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_gets_a_line(tree: Path) -> None:
    locked = tree / "photos" / "b sub"
    locked.chmod(0)
    try:
        (path,) = (path for path in found("photos") if isinstance(path, NoImage))
        assert path == "photos/b sub"
        assert "cannot be read" in path.reason
    finally:
        locked.chmod(0o755)


def test_the_graph_of_the_current_folder_then_that_of_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(there))
    with pytest.raises(GraphError, match=r"no output_graph\.pb in .*here.*there.*--graph"):
        find_graph(None)
    (there / "output_graph.pb").write_bytes(b"")
    with caplog.at_level(logging.INFO, "tlcli"):
        assert find_graph(None) == there / "output_graph.pb"
    assert str(there / "output_graph.pb") in caplog.text
    (here / "output_graph.pb").write_bytes(b"")
    assert find_graph(None) == Path("output_graph.pb")
    assert find_graph(there) == there


def test_a_name_that_the_system_does_not_allow_takes_no_other_along(tree: Path) -> None:
    long = str(tree / ("x" * 300))
    beyond = str(tree / ("y/" * 3000 + "z.jpg"))
    assert list(Images([long, beyond, str(tree / "x.jpg")])) == [
        long, beyond, str(tree / "x.jpg"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content", [b"\xff\xd8\xff\xe0\0\x10JFIF", b"\x89PNG\r\n\x1a\n", b"a\0b\0"]
)
def test_an_image_in_the_place_of_a_list_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    said = "contains no list of paths but other data"
    with pytest.raises(DataError, match=f"standard input {said}"):
        list(Images(["-"], io.BytesIO(content)))
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=f"{tmp_path / 'x'} {said}"):
        list(Images([f"@{tmp_path / 'x'}"]))


class Below:
    """A graph whose scores are below 0."""

    def run(self, batch: Array) -> Array:
        return np.tile(np.float32([-2.5, -0.5]), (len(batch), 1))

    def close(self) -> None:
        """Hold nothing."""


def test_scores_below_0_are_written_unless_a_threshold_is_given(tree: Path) -> None:
    images = ImageInput(Preprocessing("label_image", 4, 4))

    def written(threshold: float | None) -> str:
        output = io.StringIO()
        with Classifier(Path("g.pb"), ["a", "b"], Below(), images, None) as classifier:
            style = OutputStyle(threshold=threshold)
            label_images(classifier, Images(["photos/no_suffix"]), output, style)
        return output.getvalue()

    assert written(None) == "b (score=-0.50000)\na (score=-2.50000)\n"
    assert written(0.0) == "unsure (best: b, -0.500)\n"


def test_what_is_no_image_says_what_to_do(tmp_path: Path) -> None:
    found = [
        (str(path), path.reason if isinstance(path, NoImage) else None)
        for path in Images(["ftp://x.org/1.jpg", "a.zip", "b.tar.gz", "c.csv", "d.jpg", "e"])
    ]
    assert found == [
        ("ftp://x.org/1.jpg", f"a URL of an unknown kind: known are {KNOWN_URLS}"),
        ("a.zip", "an archive: unpack it and give the folder"),
        ("b.tar.gz", "an archive: unpack it and give the folder"),
        (
            "c.csv",
            "a table: write the paths of its images to a file, one per line, and give it as @FILE",
        ),
        ("d.jpg", None),
        ("e", None),
    ]


def test_lines_of_a_list_may_be_quoted(tmp_path: Path) -> None:
    (tmp_path / "list").write_text('"a b.jpg"\n\'c d.jpg\'\r\n"e.jpg\n""\n')
    assert list(Images([f"@{tmp_path / 'list'}"])) == ["a b.jpg", "c d.jpg", '"e.jpg', '""']
    kept = tmp_path / '"f.jpg"'
    kept.touch()
    (tmp_path / "list").write_text(f"{kept}\n'{kept}'\n")
    assert list(Images([f"@{tmp_path / 'list'}"])) == [str(kept)] * 2
